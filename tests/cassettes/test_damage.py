"""A damaged file is an error that names it and what to do: never an empty cassette that is recorded over."""

import json

import pytest
import yaml

from openai_sessions.testing.cassettes import CassetteDamagedError, CassetteError, use_cassette
from tests.cassettes.exchanges import create, exchange, raw, write_cassette

WHOLE = yaml.safe_dump({"interactions": [exchange(), exchange("DELETE")], "version": 1}).encode()
WHOLE_JSON = json.dumps({"interactions": [exchange()], "version": 1}).encode()


def of(interactions=(), **fields):
    return yaml.safe_dump({"interactions": list(interactions), "version": 1, **fields}).encode()


def without(part, key):
    damaged = exchange()
    del (damaged[part] if part else damaged)[key]
    return of([damaged])


def with_(part, key, value):
    damaged = exchange()
    (damaged[part] if part else damaged)[key] = value
    return of([damaged])


DAMAGES = {
    "empty": (b"", "it is empty"),
    "white space": (b"\n \n", "it is empty"),
    "not UTF-8": (b"interactions: []\n\xff\xfe", r"it is not UTF-8 text \(byte 17 is 0xff\)"),
    "not YAML": (b"interactions: [\n}", "not the YAML of a cassette at line 2"),
    "a conflict of git": (b"<<<<<<< HEAD\n" + WHOLE + b"=======\n", "not the YAML of a cassette at line"),
    "a NUL": (b"interactions: []\nversion: 1\n\x00", "not the YAML of a cassette"),
    "a Python object": (
        b"interactions: !!python/object:os.system []\nversion: 1",
        "not the YAML of a cassette",
    ),
    "text": (b"Hello", "it holds text"),
    "null": (b"null", "it holds nothing"),
    "a list": (b"- request: {}\n  response: {}\n", "before 1.0"),
    "no interactions": (b"version: 1", "no 'interactions'"),
    "cut off between two exchanges": (WHOLE[: WHOLE.rindex(b"- request")], "no 'version'"),
    "another version": (of(version=2), "its version is 2, and only 1 is known"),
    "version as text": (of(version="1"), "its version is '1'"),
    "version as a truth": (of(version=True), "its version is True"),
    "interactions as a mapping": (b"interactions: {}\nversion: 1", "interactions is a mapping, not a list"),
    "an interaction as text": (of(["x"]), r"interactions\[0\] is text"),
    "an interaction as null": (of([None]), r"interactions\[0\] is nothing"),
    "no request": (without(None, "request"), r"interactions\[0\].request is missing"),
    "no response": (without(None, "response"), r"interactions\[0\].response is missing"),
    "no method": (without("request", "method"), r"interactions\[0\].request.method is missing"),
    "no uri": (without("request", "uri"), r"interactions\[0\].request.uri is missing"),
    "method as a number": (with_("request", "method", 3), r"request.method is a number, not text"),
    "headers as a list": (with_("request", "headers", ["a"]), r"request.headers is a list, not a mapping"),
    "no status": (without("response", "status"), r"response.status is missing"),
    "status as a number": (with_("response", "status", 200), r"response.status is a number, not a mapping"),
    "status as text": (with_("response", "status", {"code": "200"}), r"status.code is text, not a number"),
    "no body": (without("response", "body"), r"response.body is missing"),
    "body as text": (with_("response", "body", "x"), r"response.body is text, not a mapping"),
    "body without string": (with_("response", "body", {}), r"response.body.string is missing"),
    "metadata as text": (of(metadata="x"), "metadata is text, not a mapping"),
}


@pytest.mark.parametrize(("content", "reason"), DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("mode", ["once", "all"])
def test_damaged_file_is_told_and_stays(content, reason, mode, path):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CassetteDamagedError, match=reason) as caught:
        use_cassette(path, record_mode=mode).__enter__()
    assert path.read_bytes() == content
    assert str(caught.value).startswith(f"{path} is no cassette that can be read: ")
    assert str(caught.value).endswith("Restore it from version control, or delete it and record it anew.")
    assert (caught.value.path, isinstance(caught.value, CassetteError)) == (str(path), True)


@pytest.mark.parametrize("content", [WHOLE_JSON[:-30], WHOLE_JSON + b"}", b"{", WHOLE], ids=str)
def test_damaged_json_is_told(content, path):
    path = path.with_suffix(".json")
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CassetteDamagedError, match="it is not JSON at line"):
        use_cassette(path).__enter__()


def test_json_that_is_nested_too_deeply_is_told(path):
    path = path.with_suffix(".json")
    path.parent.mkdir()
    path.write_text("[" * 100_000)
    with pytest.raises(CassetteDamagedError, match="nested too deeply"):
        use_cassette(path).__enter__()


def test_folder_is_told(path):
    path.mkdir(parents=True)
    with pytest.raises(CassetteDamagedError, match="is a directory"):
        use_cassette(path).__enter__()


def test_file_that_was_cut_off_anywhere_is_told(path):
    """Whatever a write that was broken off leaves is noticed."""
    path.parent.mkdir()
    last = WHOLE.rindex(b"version: 1")
    for length in [*range(0, last, 37), last + len(b"version:")]:
        path.write_bytes(WHOLE[:length])
        with pytest.raises(CassetteDamagedError):
            use_cassette(path).__enter__()


def test_intercepts_nothing_after_a_damaged_file(served, path):
    path.parent.mkdir()
    path.write_text("damaged")
    with pytest.raises(CassetteDamagedError):
        use_cassette(path).__enter__()
    create(served.url)
    assert len(served.requests) == 1


class TestCassettesOfOthers:
    """What other tools write is no damage."""

    def play(self, path, **options):
        with use_cassette(path, **options):
            return raw("GET", "/v1/models")

    def test_without_reason_phrase_and_headers(self, path):
        recorded = exchange(status={"code": 204}, headers=None, body={"string": ""})
        recorded["request"].pop("headers")
        write_cassette(path, recorded)
        answer = self.play(path)
        assert (answer.status_code, answer.reason_phrase) == (204, "No Content")

    def test_headers_as_text_and_numbers(self, path):
        write_cassette(
            path, exchange(headers={"x-request-id": "req_1", "content-length": [2]}, body={"string": "{}"})
        )
        assert self.play(path).headers["x-request-id"] == "req_1"

    def test_form_of_vcrpy_before_5(self, path):
        recorded = exchange()
        recorded["response"] = {
            "content": '{"a": 1}',
            "headers": {"content-type": ["application/json"]},
            "http_version": "HTTP/1.1",
            "status_code": 201,
        }
        write_cassette(path, recorded)
        answer = self.play(path)
        assert (answer.status_code, answer.json()) == (201, {"a": 1})

    def test_form_of_vcrpy_before_5_maps_ids_too(self, path):
        identifier = "conv_" + "1" * 48
        recorded = exchange("GET", f"/v1/{identifier}")
        recorded["response"] = {"content": f'"{identifier}"', "headers": None, "status_code": 200}
        write_cassette(path, recorded)
        with use_cassette(path, map_ids=True):
            assert raw("GET", f"/v1/conv_{'2' * 48}").json() == f"conv_{'2' * 48}"

    def test_bodies_as_their_json(self, path):
        recorded = exchange("POST", "/v1/conversations")
        del recorded["request"]["body"], recorded["response"]["body"]
        recorded["request"]["parsed_body"] = {"metadata": {"a": "b"}}
        recorded["response"]["parsed_body"] = {"id": "conv_1", "object": "conversation"}
        write_cassette(path, recorded)
        with use_cassette(path):
            assert create(metadata={"a": "b"}) == "conv_1"

    def test_fields_that_nobody_knows(self, path):
        write_cassette(path, {**exchange(), "recorded_at": "2025"}, recorded_with="another tool")
        assert self.play(path).status_code == 200

    def test_binary_and_binary_as_yaml_has_it(self, path):
        write_cassette(path, exchange(body={"string": b"\x89PNG\xff"}))
        assert self.play(path).content == b"\x89PNG\xff"

    def test_byte_order_mark(self, path):
        write_cassette(path, exchange())
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert self.play(path).status_code == 200
