"""JSON Lines files: exact, atomic, and checked before anything is imported."""

from __future__ import annotations

import io
import json
import os
import stat
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

import openai_sessions.transfer as public
from openai_sessions import InvalidItemError, OpenAIConversationsSession, export_session, import_session
from openai_sessions.errors import TransferConflictError, TransferFileError
from openai_sessions.transfer import TransferReport, read_header
from openai_sessions.transfer._files import from_line, to_line
from openai_sessions.transfer._sessions import Journal
from tests.reading.changes import some

from .items import every_kind, turns, users

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=5),
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(st.text(st.characters()), values, max_size=3)
    ),
    max_leaves=6,
)


class InMemory:
    """A session that returns the same objects that it was given."""

    def __init__(self, *items):
        self.items = list(items)

    async def get_items(self, limit=None):
        return self.items if limit is None else self.items[-limit:]

    async def add_items(self, items):
        self.items += items

    async def pop_item(self):
        return self.items.pop() if self.items else None

    async def clear_session(self):
        self.items.clear()


@pytest.fixture
def hosted(emulator):
    client = emulator.client()
    return lambda **options: OpenAIConversationsSession(openai_client=client, **options)


@pytest.fixture
async def exported(tmp_path):
    """A file with three messages, which a test may damage."""
    path = tmp_path / "history.jsonl"
    await export_session(InMemory(*users(3)), path)
    return path


@some(100)
@given(value=JSON)
def test_every_json_value_is_one_line_and_is_restored(value):
    line = to_line(value)
    assert line.endswith(b"\n")
    assert 1 == len(line.decode().splitlines())
    assert repr(value) == repr(from_line(line))


@pytest.mark.parametrize(
    "text", ["\x7f\x80\x85\x9b31m", "\u061c\u200e\u200f\u202a\u202e\u2066\u2069", "\U000e0041"]
)
async def test_characters_that_control_a_terminal_are_escaped_and_restored(tmp_path, text):
    item = {"role": "user", "content": text, text: text}
    target = InMemory()
    await export_session(InMemory(item), tmp_path / "file.jsonl")
    written = (tmp_path / "file.jsonl").read_text(encoding="utf-8")
    assert not {each for each in text if not each.isalnum()} & set(written)
    await import_session(tmp_path / "file.jsonl", target)
    assert [item] == target.items


@pytest.mark.parametrize(
    "text", ["\u2028\u2029\x85\x1c\x0b\r\n", "\ud800 alone", "\udcff", "\U0001f600", "\x00", '"\\']
)
async def test_difficult_text_is_restored(tmp_path, text):
    item = {"role": "user", "content": text, text: 2**70, "order": {"b": 1.0, "a": 1}}
    target = InMemory()
    await export_session(InMemory(item), tmp_path / "file.jsonl")
    await import_session(tmp_path / "file.jsonl", target)
    assert [item] == target.items
    assert list(item) == list(target.items[0])
    assert 2 == len((tmp_path / "file.jsonl").read_text(encoding="utf-8").splitlines())


async def test_every_kind_of_item_is_restored(tmp_path, hosted):
    source, target = hosted(), hosted()
    await source.add_items(every_kind())
    await export_session(source, tmp_path / "file.jsonl")
    report = await import_session(tmp_path / "file.jsonl", target)
    assert await source.get_items() == await target.get_items()
    assert TransferReport(copied=len(await source.get_items())) == report


async def test_file_contains_a_header_and_one_item_per_line(tmp_path, hosted):
    source = hosted(metadata={"user": "first", "openai_sessions.parent": "conv_1"})  # which is not told
    await source.add_items(turns(30))
    assert TransferReport(copied=120) == await export_session(source, tmp_path / "file.jsonl")
    header, *items = map(json.loads, (tmp_path / "file.jsonl").read_text().splitlines())
    assert await source.get_items() == items
    exported_at = header.pop("exported_at")
    assert exported_at.endswith("+00:00")
    assert {
        "openai_sessions": 1,
        "origin": "OpenAIConversationsSession",
        "session_id": source.session_id,
        "items": 120,
        "metadata": {"user": "first"},
    } == header
    told = read_header(tmp_path / "file.jsonl")
    assert (120, {"user": "first"}, exported_at) == (told.items, told.metadata, told.exported_at)


async def test_id_of_another_type_is_written_as_a_string():
    session, file = InMemory(), io.StringIO()
    session.session_id = uuid.UUID(int=7)
    await export_session(session, file)
    file.seek(0)
    assert "00000000-0000-0000-0000-000000000007" == read_header(file).session_id


async def test_unused_session_exports_an_empty_file_without_a_request(emulator, hosted):
    file = io.StringIO()
    assert TransferReport() == await export_session(hosted(), file)
    assert (
        '{"openai_sessions": 1, "origin": "OpenAIConversationsSession", "session_id": null' in file.getvalue()
    )
    assert TransferReport() == await import_session(io.StringIO(file.getvalue()), hosted())
    assert () == emulator.requests


@pytest.mark.parametrize("opened", [io.StringIO, io.BytesIO], ids=["text", "bytes"])
async def test_open_files_are_written_and_read_and_stay_open(opened):
    file, target = opened(), InMemory()
    await export_session(InMemory(*users(250)), file)
    file.seek(0)
    await import_session(file, target)
    assert users(250) == target.items
    assert not file.closed


async def test_pipe_is_read_to_its_end():
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as out:
        await export_session(InMemory(*users(10)), out)
    target = InMemory()
    with os.fdopen(reading, "rb") as file:
        await import_session(file, target)
    assert users(10) == target.items


class Failing(InMemory):
    async def get_items(self, limit=None):
        raise LookupError


async def test_failed_export_keeps_the_old_file_and_leaves_no_other(exported):
    old = exported.read_bytes()
    with pytest.raises(LookupError):
        await export_session(Failing(), exported)
    with pytest.raises(InvalidItemError, match=r"items\[1\].*nan.*\. No file was written\.$") as caught:
        await export_session(InMemory({"role": "user"}, {"n": float("nan")}), exported)
    assert 1 == caught.value.index
    with pytest.raises(InvalidItemError, match=r"items\[1\] .*set.*\. No file was written\.$"):
        await export_session(InMemory({"role": "user"}, {1, 2}), exported)
    assert old == exported.read_bytes()
    assert [exported] == list(exported.parent.iterdir())


async def test_failed_export_writes_nothing_to_an_open_file():
    file = io.StringIO()
    with pytest.raises(InvalidItemError, match=r"items\[0\]"):
        await export_session(InMemory({"n": float("inf")}), file)
    assert "" == file.getvalue()


async def test_new_file_replaces_the_old_one_and_is_private(exported):
    await export_session(InMemory(*users(1)), exported)
    assert 1 == read_header(exported).items
    assert 0o600 == stat.S_IMODE(exported.stat().st_mode)
    assert [exported] == list(exported.parent.iterdir())


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
async def test_replaced_file_keeps_its_mode(exported, mode):
    exported.chmod(mode)
    await export_session(InMemory(*users(1)), exported)
    assert 1 == read_header(exported).items
    assert mode == stat.S_IMODE(exported.stat().st_mode)


@pytest.mark.parametrize("is_there", [True, False])
async def test_symbolic_link_is_not_written_through(tmp_path, is_there):
    """In a folder that others write to, it may point to any file of the user."""
    target, link = tmp_path / "folder" / "file", tmp_path / "link"
    target.parent.mkdir()
    if is_there:
        target.write_text("precious")
    link.symlink_to(target)
    with pytest.raises(OSError, match="is a symbolic link: give the path of the file itself") as caught:
        await export_session(Failing(), link)
    assert str(link) == caught.value.filename
    assert link.is_symlink()
    assert ["precious"] * is_there == [each.read_text() for each in target.parent.iterdir()]


async def test_symbolic_link_to_a_folder_is_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    await export_session(InMemory(*users(2)), tmp_path / "link" / "file")
    assert 2 == read_header(tmp_path / "folder" / "file").items


async def test_symbolic_link_to_a_device_is_written_to(tmp_path):
    (tmp_path / "link").symlink_to("/dev/null")
    await export_session(InMemory(*users(2)), tmp_path / "link")
    assert (tmp_path / "link").is_char_device()


async def test_named_pipe_is_written_to_and_kept(tmp_path):
    """The same applies to `/dev/stdout`, which must not be replaced by a file."""
    os.mkfifo(pipe := tmp_path / "pipe")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        await export_session(InMemory(*users(2)), pipe)
        assert 3 == os.read(reader, 10_000).count(b"\n")
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [pipe] == list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [None, "conv_1", 7])
async def test_object_that_is_not_a_session_cannot_be_exported(tmp_path, given):
    with pytest.raises(TypeError, match=rf"session must be a session, .* not {given!r}"):
        await export_session(given, tmp_path / "file")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [None, "conv_1"])
async def test_object_that_is_not_a_session_cannot_be_imported_into(exported, given):
    with pytest.raises(TypeError, match=rf"session must be a session, .* not {given!r}"):
        await import_session(exported, given)


def damaged(change):
    """Return a function that changes the lines of a file."""

    def damage(path):
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return damage


HEADER = {"openai_sessions": 1}

DAMAGES = {
    "cut in a line": (
        damaged(lambda lines: [*lines[:3], lines[3][:10]]),
        4,
        "is the last line: the file was truncated",
    ),
    "cut between lines": (damaged(lambda lines: lines[:3]), 4, "announces 3 items: the file contains 2"),
    "a line too many": (
        damaged(lambda lines: [*lines, lines[1]]),
        6,
        "announces 3 items: the file contains 4",
    ),
    "an empty line": (
        damaged(lambda lines: [lines[0], b"\n", *lines[1:]]),
        2,
        "is not JSON .* Export it again, or correct the line",
    ),
    "an integer too large": (
        damaged(lambda lines: [lines[0], b'{"a": ' + 5_000 * b"9" + b"}\n"]),
        2,
        "contains a number with too many digits",
    ),
    "a damaged line": (damaged(lambda lines: [*lines[:2], lines[2][5:], lines[3]]), 3, "is not JSON"),
    "not UTF-8": (
        damaged(lambda lines: [*lines[:2], b'{"a": "\xff"}\n', lines[3]]),
        3,
        r"is not UTF-8 \(at byte 7\)",
    ),
    "NaN": (damaged(lambda lines: [*lines[:2], b'{"a": NaN}\n', lines[3]]), 3, "contains NaN"),
    "a key twice": (
        damaged(
            lambda lines: [*lines[:2], b'{"role": "user", "content": "a", "role": "system"}\n', lines[3]]
        ),
        3,
        "contains the key 'role' twice in one object",
    ),
    "a key twice further in": (
        damaged(lambda lines: [lines[0], b'{"type": "x", "list": [{"a": {"\\u0062": 1, "b": 1}}]}\n']),
        2,
        "contains the key 'b' twice in one object",
    ),
    "a key twice in the header": (
        damaged(lambda lines: [b'{"openai_sessions": 2, "openai_sessions": 1}\n', *lines[1:]]),
        1,
        "contains the key 'openai_sessions' twice in one object",
    ),
    "a number too large": (
        damaged(lambda lines: [lines[0], b'{"a": 1e999}\n']),
        2,
        "a number that is too large",
    ),
    "no item": (damaged(lambda lines: [lines[0], b"[1]\n"]), 2, r"is a list, not an item \(an object\)"),
    "nested too deeply": (
        damaged(lambda lines: [lines[0], 100_000 * b"[", b"\n"]),
        2,
        "is nested too deeply",
    ),
    "newer": (damaged(lambda lines: [b'{"openai_sessions": 2}\n']), 1, "version 2, .* install a newer"),
    "version true": (
        damaged(lambda lines: [b'{"openai_sessions": true}\n']),
        1,
        "Pass a file written by export_session",
    ),
    "metadata that is none": (
        damaged(lambda lines: [b'{"openai_sessions": 1, "metadata": {"a": null}}\n']),
        1,
        "has None as its metadata 'a'",
    ),
    "metadata of another kind": (
        damaged(lambda lines: [b'{"openai_sessions": 1, "metadata": [1]}\n']),
        1,
        r"has \[1\] as its metadata",
    ),
    "something else": (damaged(lambda lines: lines[1:]), 1, "Pass a file written by export_session"),
    "no lines": (
        damaged(lambda lines: [b"\x00" * 200_000]),
        1,
        "Pass a file written by export_session",
    ),
    "empty": (damaged(lambda lines: []), 1, "Pass a file written by export_session"),
    "a wrong count": (
        damaged(lambda lines: [b'{"openai_sessions": 1, "items": "3"}\n']),
        1,
        "number of items",
    ),
    "never storable": (
        damaged(lambda lines: [*lines[:3], b'{"role": "user", "content": 7}\n']),
        4,
        "cannot be stored: its content is of type",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
async def test_invalid_file_is_refused_with_the_line(emulator, hosted, exported, name):
    damage, line, reason = DAMAGES[name]
    damage(exported)
    with pytest.raises(
        TransferFileError, match=f"Line {line} of the export .*{reason}.*Nothing was written"
    ) as caught:
        await import_session(exported, hosted())
    assert line == caught.value.line
    assert () == emulator.requests


async def test_edited_file_is_imported(hosted, exported):
    """It has no count, CRLF line ends, and unknown fields."""
    lines = exported.read_text().splitlines()[1:]
    exported.write_bytes("\r\n".join(['{"openai_sessions": 1, "comment": "by hand"}', *lines]).encode())
    target = hosted()
    assert 3 == (await import_session(exported, target)).copied
    assert users(3) == await target.get_items()


async def test_file_with_a_byte_order_mark_is_imported(exported):
    exported.write_bytes(b"\xef\xbb\xbf" + exported.read_bytes())
    target = InMemory()
    assert 3 == (await import_session(exported, target)).copied
    assert users(3) == target.items


async def test_import_continues_and_refuses_other_items(exported):
    target = InMemory(*users(2))
    assert TransferReport(copied=1, already_there=2) == await import_session(exported, target)
    assert TransferReport(already_there=3) == await import_session(exported, target)
    other = InMemory(*users(1, "other"))
    with pytest.raises(TransferConflictError):
        await import_session(exported, other)
    assert TransferReport(copied=3) == await import_session(exported, other, append=True)


async def test_progress_is_reported(tmp_path):
    told = []
    await export_session(
        InMemory(*users(250)), tmp_path / "file", on_progress=lambda *done: told.append(done)
    )
    assert [(100, 250), (200, 250), (250, 250)] == told
    told.clear()
    await import_session(tmp_path / "file", InMemory(), on_progress=lambda *done: told.append(done))
    assert [(100, 250), (200, 250), (250, 250)] == told


async def test_pydantic_objects_are_exported_as_json(tmp_path, local):
    from openai.types.responses import ResponseOutputMessage, ResponseOutputText  # noqa: PLC0415

    text = ResponseOutputText(annotations=[], text="Hello", type="output_text")
    message = ResponseOutputMessage(
        id="msg_1", content=[text], role="assistant", status="completed", type="message"
    )
    target = local("objects")
    await export_session(InMemory(message), tmp_path / "file")
    await import_session(tmp_path / "file", target)
    assert [message.model_dump(exclude_unset=True)] == await target.get_items()
    target.close()


async def test_missing_file_raises_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        await import_session(tmp_path / "none", InMemory())
    with pytest.raises(FileNotFoundError):
        await export_session(InMemory(), tmp_path / "none" / "file")


def test_journal_is_read_from_both_ends():
    journal = Journal()
    lists = [[f"{number} {'x' * 4000}", "\ud800"] for number in range(600)]  # more than it keeps in memory
    for values in lists:
        journal.write(values)
    assert lists == list(journal.oldest_first())
    assert lists[::-1] == list(journal.newest_first())
    journal.close()


def test_public_names_exist():
    assert set(public.__all__) <= set(dir(public))
    assert all(getattr(public, name).__doc__ for name in public.__all__)
