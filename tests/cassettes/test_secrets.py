"""Keys, accounts and cookies never reach the disk, nor any message."""

import base64
import json
import subprocess

import openai
import pytest
import vcr

from openai_sessions.testing._scrubbing import Scrubber
from openai_sessions.testing.cassettes import CassetteMissError, use_cassette
from tests.cassettes.exchanges import KEY, answering, raw, sync_client

ACCOUNT = {"organization": "org-recognisable1234567890", "project": "proj_recognisable1234567890"}

MARK = "recognisable"
"""It is in each secret here, and in nothing else."""


def refusal(method, path, headers, body):
    """Answer as the API and its edge do: with the account in headers and cookies, and the key in the text."""
    account = [
        ("openai-organization", "recognisable-company"),
        ("openai-project", "proj_recognisable1234567890"),
        ("Set-Cookie", "__cf_bm=recognisable-cookie.1234; path=/; domain=.api.openai.com; HttpOnly; Secure"),
        ("Set-Cookie", "_cfuvid=recognisable-visitor; path=/"),
        ("x-ratelimit-remaining-tokens", "4999"),
    ]
    message = f"Incorrect API key provided: {KEY}. recognisable-company, {ACCOUNT['organization']}, {path}"
    answer = {
        "error": {
            "message": message,
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
        }
    }
    return 401, [*account, ("content-type", "application/json")], json.dumps(answer).encode()


def tool(secret):
    """A tool that carries a secret of another server in the body of a request."""
    return {"type": "mcp", "server_label": "x", "authorization": secret, "headers": {"X-Api-Key": secret}}


def send(url, **body):
    """Send what holds a secret in every place that has one, and return the error of openai."""
    extra = {"Cookie": "session=recognisable-session", "X-Api-Key": f"{MARK}-api-key"}
    with sync_client(url, max_retries=0, default_headers=extra, **ACCOUNT) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.post(f"/responses?api_key={KEY}&after=msg_1", cast_to=object, body=body)
        return caught.value


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_no_secret_is_in_the_file(suffix, path):
    path = path.with_suffix(suffix)
    body = {"tools": [tool(f"{MARK}-mcp-token")], "note": f"my key is {KEY}", "max_output_tokens": 4999}
    with answering(refusal) as url, use_cassette(path):
        live = send(url, **body)
    found = subprocess.run(["grep", "-c", MARK, str(path)], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S607
    assert (found.returncode, found.stdout) == (1, "0\n")
    assert MARK in str(live)  # the code under test had the real answer
    with use_cassette(path):
        played = send("http://nowhere.invalid/v1", **body)
    assert "REDACTED. REDACTED, REDACTED, /v1/responses?api_key=REDACTED&after=msg_1" in str(played)
    assert played.response.headers["x-ratelimit-remaining-tokens"] == "4999"
    assert "set-cookie" not in played.response.headers


def test_other_keys_play_the_same_cassette(path):
    with answering(refusal) as url, use_cassette(path):
        send(url, tools=[tool(f"{MARK}-mcp-token")])
    with use_cassette(path) as cassette:
        send("http://nowhere.invalid/v1", tools=[tool("another")])
    assert cassette.play_count == 1


def test_credentials_in_the_address_and_in_forms_are_left_out(path):
    content = f"grant_type=client_credentials&client_secret={MARK}&scope=a".encode()
    form = {"content-type": "application/x-www-form-urlencoded"}

    def grant(*_):
        return (
            200,
            [("content-type", "application/json")],
            b'{"access_token": "recognisable", "expires_in": 3}',
        )

    with answering(grant) as url, use_cassette(path):
        address = url.replace("http://", f"http://{MARK}:{MARK}@")
        live = raw("POST", "/v1/token", content, to=address, headers=form).json()
    text = path.read_text()
    assert live["access_token"] == MARK
    assert MARK not in text
    assert "grant_type=client_credentials&client_secret=REDACTED&scope=a" in text
    assert base64.b64encode(f"{MARK}:{MARK}".encode()).decode() not in text


def test_no_secret_is_in_the_message_of_a_miss(path):
    with answering(refusal) as url, use_cassette(path):
        send(url, note="recorded")
    with pytest.raises(CassetteMissError) as caught, use_cassette(path):
        send("http://nowhere.invalid/v1", note=f"sent {KEY}", tools=[tool(f"{MARK}-mcp-token")])
    message = str(caught.value)
    assert 'body.note: recorded "recorded", sent "sent REDACTED"' in message
    assert MARK not in message
    assert MARK not in repr(caught.value.request.headers)


def scrubbed(header):
    response = {"headers": {header: ["x"]}, "body": {"string": b""}}
    return Scrubber().response(response)["headers"]


def test_secret_is_removed_from_an_earlier_header():
    headers = {"x-note": f"it is {MARK}-value", "x-api-key": f"{MARK}-value"}
    request = vcr.request.Request("GET", "http://nowhere.invalid/", b"", headers)
    assert dict(Scrubber().request(request).headers) == {"x-note": "it is REDACTED"}


def test_secrets_of_a_response_in_the_form_of_vcrpy_4_are_left_out():
    response = {"status_code": 200, "headers": {"set-cookie": "a=recognisable", "x": "y"}, "content": "old"}
    assert Scrubber().response(response) == {"status_code": 200, "headers": {"x": ["y"]}, "content": "old"}


@pytest.mark.parametrize(
    "header",
    [
        *(
            "Authorization",
            "Proxy-Authorization",
            "api-key",
            "x-api-key",
            "OpenAI-Organization",
            "OpenAI-Project",
        ),
        *(
            "Cookie",
            "Set-Cookie",
            "Ocp-Apim-Subscription-Key",
            "X-Amz-Security-Token",
            "cf-access-client-secret",
        ),
    ],
)
def test_header_is_secret(header):
    assert header not in scrubbed(header)


@pytest.mark.parametrize(
    "header",
    [
        "www-authenticate",
        "x-ratelimit-limit-tokens",
        "content-type",
        "x-request-id",
        "retry-after",
        "openai-version",
    ],
)
def test_header_is_not_secret(header):
    assert header in scrubbed(header)


def test_short_values_and_cookie_attributes_are_kept_elsewhere(path):
    def answer(*_):
        return 200, [("set-cookie", "a=abc; domain=openai.com")], b"abc at domain=openai.com is test"

    with answering(answer) as url, use_cassette(path):
        raw("GET", "/v1/models", to=url, headers={"authorization": "Bearer test"})
    assert "abc at domain=openai.com is test" in path.read_text()
