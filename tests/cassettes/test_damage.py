"""A damaged file raises an error with the remedy, and is never overwritten."""

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
    "empty": (b"", "no list of 'interactions'"),
    "not UTF-8": (b"interactions: []\n\xff\xfe", "can't decode byte 0xff in position 17"),
    "not YAML": (b"interactions: [\n}", "line 2"),
    "a conflict of git": (b"<<<<<<< HEAD\n" + WHOLE + b"=======\n", "line 2"),
    "a NUL": (b"interactions: []\nversion: 1\n\x00", "characters are not allowed"),
    "a Python object": (
        b"interactions: !!python/object:os.system []\nversion: 1",
        "could not determine a constructor for the tag",
    ),
    "text": (b"Hello", "no list of 'interactions'"),
    "a list": (b"- request: {}\n  response: {}\n", "no list of 'interactions'"),
    "cut off between two exchanges": (WHOLE[: WHOLE.rindex(b"- request")], "its version is None"),
    "another version": (of(version=2), "its version is 2 instead of 1"),
    "an interaction as text": (of(["x"]), r"interactions\[0\]\.request\.method is missing"),
    "no response": (without(None, "response"), r"interactions\[0\]\.response\.headers is missing"),
    "no uri": (without("request", "uri"), r"interactions\[0\]\.request\.uri is missing"),
    "method as a number": (
        with_("request", "method", 3),
        r"request\.method is missing or has the wrong",
    ),
    "status as text": (
        with_("response", "status", {"code": "200"}),
        r"status\.code is missing or has",
    ),
    "body without string": (with_("response", "body", {}), r"response\.body\.string is missing"),
}


@pytest.mark.parametrize(("content", "reason"), DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("mode", ["once", "all"])
def test_damaged_file_is_reported_and_unchanged(content, reason, mode, path):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CassetteDamagedError, match=reason) as caught:
        use_cassette(path, record_mode=mode).__enter__()
    assert path.read_bytes() == content
    assert str(caught.value).startswith(f"Cannot read the cassette {path}: ")
    assert str(caught.value).endswith("Restore it from version control, or delete it and record it again.")
    assert (caught.value.path, isinstance(caught.value, CassetteError)) == (str(path), True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(WHOLE_JSON[:-30], "line 1"), (b"[" * 100_000, "recursion")],
    ids=["cut off", "deep"],
)
def test_damaged_json_is_reported(content, reason, path):
    path = path.with_suffix(".json")
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CassetteDamagedError, match=reason):
        use_cassette(path).__enter__()


def test_folder_is_reported(path):
    path.mkdir(parents=True)
    with pytest.raises(CassetteDamagedError, match="Is a directory"):
        use_cassette(path).__enter__()


def test_truncated_file_is_reported(path):
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

    def test_without_reason_phrase(self, path):
        write_cassette(path, exchange(status={"code": 204, "message": None}, headers={}, body={"string": ""}))
        answer = self.play(path)
        assert (answer.status_code, answer.reason_phrase) == (204, "No Content")

    def test_unknown_fields_are_accepted(self, path):
        write_cassette(path, {**exchange(), "recorded_at": "2025"}, recorded_with="another tool")
        assert self.play(path).status_code == 200

    def test_binary_body(self, path):
        write_cassette(path, exchange(body={"string": b"\x89PNG\xff"}))
        assert self.play(path).content == b"\x89PNG\xff"

    def test_byte_order_mark(self, path):
        write_cassette(path, exchange())
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert self.play(path).status_code == 200
