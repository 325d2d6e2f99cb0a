"""A secret in any place of an exchange does not reach the file; what is harmless does."""

import json
from urllib.parse import quote, urlencode

import pytest

from openai_sessions.testing.cassettes import use_cassette
from tests.cassettes.exchanges import NOWHERE, answering, raw
from tests.selection import one_in

NAMES = (
    *(
        "Authorization",
        "Proxy-Authorization",
        "X-Auth-Token",
        "x-api-key",
        "api_key",
        "apiKey",
        "APIKey",
        "OPENAI_API_KEY",
    ),
    *(
        "subscription-key",
        "Ocp-Apim-Subscription-Key",
        "X-Functions-Key",
        "client_secret",
        "clientSecret",
        "secret_value",
    ),
    *(
        "client_assertion",
        "private_key",
        "privateKeyPem",
        "passphrase",
        "password",
        "dbPassword",
        "DB_PASS",
        "passwd2",
    ),
    *(
        "refresh_token",
        "id-token",
        "sessionToken",
        "token",
        "X-Amz-Credential",
        "sas_token",
        "jwt",
        "credentials",
    ),
    *(
        "connection_string",
        "code_verifier",
        "device_code",
        "account_key",
        "auth",
        "session-cookie",
        "OpenAI-Project",
    ),
)
"""They are secret as names of headers, parameters and fields alike."""

NAMES_OUTSIDE_JSON = (
    *NAMES,
    *("code", "key", "sig", "signature", "X-Amz-Signature", "assertion", "SAMLResponse", "otp", "ticket"),
)

JSON = {"headers": {"content-type": "application/json"}}
FORM = {"headers": {"content-type": "application/x-www-form-urlencoded"}}
MULTIPART = {"headers": {"content-type": "multipart/form-data; boundary=b"}}


def planted(names, mark):
    """Return a value for each name. None is the beginning of another one."""
    return {name: f"{mark}/{number:02}+7f3a==" for number, name in enumerate(names)}


def multipart(values):
    head = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    return "".join(head.format(*each) for each in values.items()) + "--b--\r\n"


def fields(values):
    return {"metadata": {"topic": "bridges"}, "items": [{**values, "n": 1}]}


def address(values):
    return f"https://host.example/mcp?a=1&{urlencode(values)}#top"


OUTSIDE_JSON = {
    "header": lambda values: {"headers": values},
    "parameter": lambda values: {"target": f"/v1/x?{urlencode(values)}&after=msg_1"},
    "form": lambda values: {**FORM, "content": urlencode(values)},
    "multipart form": lambda values: {**MULTIPART, "content": multipart(values)},
    "answered header": lambda values: {"answered": list(values.items())},
    "answered form": lambda values: {"answer": urlencode(values)},
    "Location": lambda values: {"answered": [("location", f"/callback?{urlencode(values)}")]},
    "server_url": lambda values: {
        **JSON,
        "content": json.dumps({"tools": [{"server_url": address(values)}]}),
    },
    "address in an address": lambda values: {"target": f"/v1/x?{urlencode({'to': address(values)})}"},
    "address in a text": lambda values: {"answer": f"See <{address(values)}>."},
    "grant": lambda values: {**JSON, "content": json.dumps({"grant_type": "code", **values})},
}

IN_JSON = {
    "field": lambda values: {**JSON, "content": json.dumps(fields(values))},
    "answered field": lambda values: {"answer": json.dumps(fields(values), indent=2)},
    "list": lambda values: {"answer": json.dumps({name: [value] for name, value in values.items()})},
    "object": lambda values: {"answer": json.dumps({name: {"of": value} for name, value in values.items()})},
    "pair": lambda values: {
        "answer": json.dumps([{"name": name, "value": value} for name, value in values.items()])
    },
    "JSON in a string": lambda values: {
        **JSON,
        "content": json.dumps({"arguments": json.dumps(fields(values))}),
    },
    "lines": lambda values: {"answer": f"{{}}\n{json.dumps(fields(values))}\n"},
    "event": lambda values: {"answer": f"event: x\ndata: {json.dumps(fields(values))}\n\ndata: [DONE]\n\n"},
    "parameter": lambda values: {"target": f"/v1/x?{urlencode({'filter': json.dumps(fields(values))})}"},
    "file": lambda values: {**MULTIPART, "content": multipart({"file": json.dumps(fields(values))})},
    "text": lambda values: {"answer": "\n".join(f"{name}: {value}" for name, value in values.items())},
    "broken JSON": lambda values: {"answer": json.dumps(fields(values))[:-1]},
}

USER_AND_PASSWORD = {
    **{
        name: (lambda url, name=name: {"headers": {name: url}})
        for name in ("Referer", "Origin", "X-Forwarded-Uri")
    },
    **{
        name: (lambda url, name=name: {"answered": [(name, url)]})
        for name in ("Location", "Content-Location")
    },
    "Link": lambda url: {"answered": [("Link", f'<{url}>; rel="next"')]},
    "field": lambda url: {**JSON, "content": json.dumps({"tools": [{"type": "mcp", "server_url": url}]})},
    "answered text": lambda url: {"answer": json.dumps({"output": [{"text": f"Read {url}, please: {url}"}]})},
    "text": lambda url: {"answer": f"{url}\nSee {url}."},
    "form": lambda url: {**FORM, "content": urlencode({"to": url})},
    "multipart form": lambda url: {**MULTIPART, "content": multipart({"to": url})},
    "parameter": lambda url: {"target": f"/v1/x?{urlencode({'to': url})}"},
}


def exchanged(url, *, target="/v1/x", headers=None, content="", answer="", answered=()):
    """Send a request to a server that gives an answer, and return the answer."""
    return raw("POST", target, content.encode(), to=url, headers=headers)


def recorded(path, **what):
    """Record an exchange over a socket, and return the text of the file."""
    answered = [("x-kept", "kept"), *what.get("answered", ())]
    with answering(lambda *_: (200, answered, what.get("answer", "").encode())) as url, use_cassette(path):
        exchanged(url, **what)
    return path.read_text()


def in_file(value, text):
    """Return whether a value is in the text of a cassette, however it is written there."""
    folded = "".join(text.split())  # YAML folds long lines
    return any(each in folded for each in (value, quote(value, safe=""), quote(quote(value, safe=""))))


@pytest.mark.parametrize(
    ("place", "names"),
    [
        *(pytest.param(place, NAMES_OUTSIDE_JSON, id=name) for name, place in OUTSIDE_JSON.items()),
        *(pytest.param(place, NAMES, id=f"JSON: {name}") for name, place in IN_JSON.items()),
    ],
)
def test_value_of_a_secret_name_is_left_out(place, names, path):
    values = planted(names, "Planted")
    text = recorded(path, **place(values))
    assert [name for name, value in values.items() if in_file(value, text)] == []
    assert "kept" in text
    with use_cassette(path) as cassette:
        exchanged(NOWHERE, **place(planted(names, "Another")))
    assert cassette.all_played


@pytest.mark.parametrize("place", USER_AND_PASSWORD.values(), ids=USER_AND_PASSWORD)
@pytest.mark.parametrize("scheme", ["https", "postgresql+asyncpg"])
def test_user_and_password_of_an_address_are_left_out(scheme, place, path):
    text = recorded(path, **place(f"{scheme}://somebody:Planted-7f3a@host.example/path"))
    assert "somebody" not in text
    assert "Planted" not in text
    assert "host.example" in text
    with use_cassette(path) as cassette:
        exchanged(NOWHERE, **place(f"{scheme}://x:another@host.example/path"))
    assert cassette.all_played


RANDOM = "Fj4kQ9vT2mZx7LpR8sWn3YbC5dHg6aUe"

TOKENS = (
    *(f"sk-{RANDOM}", f"sk-proj-{RANDOM}_{RANDOM}-A", f"sk_live_{RANDOM}", f"sess-{RANDOM}", f"ek_{RANDOM}"),
    *(f"org-{RANDOM}", f"proj_{RANDOM}", f"ghp_{RANDOM}", f"github_pat_{RANDOM}_{RANDOM}", f"glpat-{RANDOM}"),
    *(f"xoxb-1234567890-{RANDOM}", f"xoxp-1234567890-{RANDOM}", f"hf_{RANDOM}", f"AKIA{RANDOM.upper()[:16]}"),
    *(
        f"AIza{RANDOM}abc",
        f"ya29.{RANDOM}",
        f"GOCSPX-{RANDOM}",
        f"npm_{RANDOM}abcd",
        f"pypi-{RANDOM}",
        f"gsk_{RANDOM}",
    ),
    *(
        f"eyJhbGciOiJIUzI1NiJ9.eyJ{RANDOM}.{RANDOM}",
        f"SG.{RANDOM}.{RANDOM}",
        f"whsec_{RANDOM}",
        f"12345678:A{RANDOM}ab",
    ),
    *(f"Bearer {RANDOM}", f"bearer {RANDOM[:9]}", "Basic c29tZWJvZHk6c2VjcmV0", f"AccountKey={RANDOM}=="),
    *(
        f"https://hooks.slack.com/services/T0/B0/{RANDOM}",
        f"PASSWORD='{RANDOM}'",
        f"-H 'X-Api-Key: {RANDOM}'",
    ),
    *(
        f"-----BEGIN {kind}PRIVATE KEY-----\n{RANDOM}\n{RANDOM}\n-----END {kind}PRIVATE KEY-----"
        for kind in ("", "RSA ")
    ),
)

TEXTS = {
    "field": lambda text: {**JSON, "content": json.dumps({"input": [{"role": "user", "content": text}]})},
    "answered field": lambda text: {"answer": json.dumps({"error": {"message": text, "code": "invalid"}})},
    "event": lambda text: {"answer": f"data: {json.dumps({'delta': text})}\n\n"},
    "text": lambda text: {"answer": text},
    "parameter": lambda text: {"target": f"/v1/x?{urlencode({'q': text})}"},
    "form": lambda text: {**FORM, "content": urlencode({"q": text})},
    "header": lambda text: {"headers": {"x-note": text.replace("\n", " ")}},
    "multipart form": lambda text: {**MULTIPART, "content": multipart({"note": text})},
}


@pytest.mark.parametrize("place", one_in(4, TEXTS))
def test_token_is_known_by_its_form_in_any_text(place, path):
    found = []
    for token in TOKENS:
        text = recorded(path, **TEXTS[place](f"It is {token}, which is all"))
        found += [token] if RANDOM[:9] in text or "c29tZWJvZH" in text or RANDOM.upper()[:16] in text else []
        assert "which" in text
        path.unlink()
    assert found == []


@pytest.mark.parametrize("place", TEXTS.values(), ids=TEXTS)
def test_value_of_a_secret_name_is_left_out_of_any_text(place, path):
    secret = "correct horse planted-1"
    what = place(f"It is {secret}, kept")
    with (
        answering(lambda *_: (200, [], what.get("answer", "").encode())) as url,
        use_cassette(path),
    ):
        exchanged(url, **JSON, content=json.dumps({"passphrase": secret}))
        exchanged(url, **what)
    text = path.read_text()
    assert "horse" not in text
    assert "kept" in text


def test_value_of_a_secret_name_is_left_out_where_it_has_no_name(path):
    """Before it and after it in the exchange, and in those that follow."""
    secret = "Planted-7f3a/é"

    def answer(method, target, headers, body):
        return (
            200,
            [("x-echo", quote(secret))],
            f"{secret}: {json.dumps(secret)} {quote(secret, safe='')}".encode(),
        )

    sent = json.dumps({"first": f"it is {secret}", "password": secret}).encode()
    with answering(answer) as url, use_cassette(path):
        raw("POST", f"/v1/x/{quote(secret, safe='')}", sent, to=url)
        raw("POST", "/v1/x", secret.encode(), to=url, headers={"x-note": quote(secret, safe="")})
    assert not in_file("Planted", path.read_text())


HARMLESS = {
    "usage": {
        "input_tokens": 4999,
        "output_tokens_details": {"reasoning_tokens": 7},
        "max_output_tokens": 12345,
    },
    "cache": {"prompt_cache_key": "my-users-1234", "prompt_cache_retention": "24h"},
    "error": {"error": {"code": "invalid_api_key", "message": "Incorrect API key provided.", "param": "key"}},
    "code_interpreter_call": {
        "code": "token = tokens[0]; print('a=1', key='b')",
        "container_id": "cntr_1234567890",
    },
    "logprobs": [
        {"token": "Golden", "logprob": -0.1, "bytes": [1], "top_logprobs": [{"token": "Gate", "logprob": -1}]}
    ],
    "filter": {"type": "eq", "key": "region-1", "value": "us-east-1"},
    "action": {"type": "keypress", "keys": ["CTRL", "ALT"]},
    "schema": {
        "properties": {"password": {"type": "string", "description": "It has 8 characters", "minLength": 8}}
    },
    "page": {
        "next_page_token": "page-0002",
        "first_id": "msg_0123456789abcdef0123456789abcdef",
        "has_more": True,
    },
    "names": {
        "token_type": "bearer",
        "key_id": "key1",
        "public_key": "ssh-ed25519 AAAA1234",
        "sort_key": "created-1",
    },
    "reasoning": {"encrypted_content": "gAAAAABo" + RANDOM, "thought_signature": RANDOM},
    "text": {"text": "Token: https://host.example/a?page=2&state=open#code. Mail a@host.example, sk-learn"},
    "prose": {
        "text": "The password: anything-of-eight-letters, in 2 rows; Basic knowledge, bearer certificates"
    },
    "ids": {"id": "conv_" + "0123456789abcdef" * 3, "call_id": "call_" + RANDOM, "file_id": "file-" + RANDOM},
    "flags": {"auth": None, "secret": False, "token": 0, "cookie": ""},
    "escapes": {"text": "caf\u00e9 \ud83d \U0001f44b"},
}


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("options", [{}, {"indent": 2}, {"ensure_ascii": False}], ids=str)
def test_harmless_value_stays_as_it_is(options, name, path):
    text = json.dumps({name: HARMLESS[name]}, **options)
    if name == "escapes" and options == {"ensure_ascii": False}:
        text = text.replace("\ud83d", "")
    with (
        answering(lambda *_: (200, [("x-request-id", "req-1234")], text.encode())) as url,
        use_cassette(path),
    ):
        exchanged(url, **JSON, content=text)
    with use_cassette(path) as cassette:
        played = exchanged(NOWHERE, **JSON, content=text)
    assert played.content == cassette.requests[0].body == text.encode()
    assert played.headers["x-request-id"] == "req-1234"


def test_json_around_a_secret_stays_as_it_was_written(path):
    text = '{"é": "\\ud83d", "password": "x", "n": 1.0, "b": [true, null, 12345678901234567890]}\n'
    with answering(lambda *_: (200, [], text.encode())) as url, use_cassette(path):
        exchanged(url)
    with use_cassette(path):
        assert exchanged(NOWHERE).json() == {**json.loads(text), "password": "REDACTED"}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": ' * 5000,
        "[" * 900 + '{"password": "Planted-7f3a"}' + "]" * 900,
        "{",
        "\udcff",
        "https://a?b=" * 5000,
        "a:" * 50000,
    ],
)
def test_body_that_cannot_be_parsed_is_played(text, path):
    body = text.encode("utf-8", "surrogateescape")
    with answering(lambda *_: (200, [], body)) as url, use_cassette(path):
        exchanged(url)
    with use_cassette(path):
        assert len(exchanged(NOWHERE).content) <= len(body)
    assert "Planted" not in path.read_text()
