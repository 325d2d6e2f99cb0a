"""Histories as files of JSON Lines."""

from __future__ import annotations

import asyncio
import codecs
import json
import math
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from openai_sessions._items.forms import plain_json
from openai_sessions._items.types import Item
from openai_sessions.errors import InvalidItemError, TransferFileError
from openai_sessions.session import OpenAIConversationsSession
from openai_sessions.transfer._copying import Transfer
from openai_sessions.transfer._sessions import (
    PIECE,
    AnySession,
    Progress,
    SessionSource,
    Target,
    TransferReport,
    check_session,
    id_of,
    target_of,
)

VERSION = 1

_MARK = "openai_sessions"


class NewerVersionError(ValueError):
    """Tell that an export was written by a newer version of this library."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"is of version {version}, and {VERSION} is understood: install a newer openai-sessions"
        )


@dataclass(frozen=True, slots=True)
class ExportHeader:
    """What the first line of an export says.

    Attributes:
        origin: The class of the session that was exported.
        session_id: What it called itself, or None.
        exported_at: When, in ISO 8601, UTC.
        items: How many items follow, or None where it does not say.
        metadata: What the API kept with the conversation, or None where it was not hosted.
    """

    origin: str | None = None
    session_id: str | None = None
    exported_at: str | None = None
    items: int | None = None
    metadata: dict[str, str] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the value of the line."""
        told = {key: value for key, value in asdict(self).items() if key != "metadata" or value is not None}
        return {_MARK: VERSION, **told}

    @classmethod
    def from_json(cls, value: object) -> ExportHeader:
        """Read it back. Fields that are not known are passed over.

        Raises:
            NewerVersionError: It is of a newer version.
            ValueError: It is none.
        """
        version = value.get(_MARK) if isinstance(value, Mapping) else None
        if not isinstance(value, Mapping) or type(version) is not int or version < 1:
            raise ValueError('is not {"openai_sessions": 1, ...}')
        if version > VERSION:
            raise NewerVersionError(version)
        items = value.get("items")
        if items is not None and (isinstance(items, bool) or not isinstance(items, int) or items < 0):
            raise ValueError(f"has {items!r} for its number of items")
        return cls(
            origin=_text(value.get("origin")),
            session_id=_text(value.get("session_id")),
            exported_at=_text(value.get("exported_at")),
            items=items,
            metadata=_pairs(value.get("metadata")),
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _pairs(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError(f"has {value!r} for its metadata")  # noqa: TRY004 -- of a file, not of a caller
    for key, text in value.items():
        if not isinstance(text, str):
            raise ValueError(f"has {text!r} for its metadata {key!r}")  # noqa: TRY004 -- as above
    return dict(value)


_BREAKS = {character: f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}
"""What some programs take for the end of a line, escaped; JSON itself escapes the others."""


def to_line(value: object) -> bytes:
    """Return a JSON value as a line of UTF-8, its end included. Half of a surrogate pair is escaped.

    Raises:
        ValueError: It is not JSON.
    """
    text = _dumped(value, ensure_ascii=False)
    for character, escaped in _BREAKS.items():
        text = text.replace(character, escaped)  # they can only stand in a string
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return _dumped(value, ensure_ascii=True).encode() + b"\n"


def _dumped(value: object, *, ensure_ascii: bool) -> str:
    try:
        return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # the objects of an SDK, or what plain_json has words for
        return json.dumps(plain_json(value), ensure_ascii=ensure_ascii, allow_nan=False)


def from_line(line: bytes) -> Any:
    """Return the JSON value on a line.

    Raises:
        ValueError: It is not JSON; says where.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 (at byte {error.start})") from None
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error.msg} at character {error.pos})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _refuse(name: str) -> float:
    raise ValueError(f"holds {name}, which is not JSON")


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"holds a number of too many digits ({digits[:20]}…)") from None


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"holds a number that is too large ({digits[:20]})")
    return number


File: TypeAlias = "str | os.PathLike[str] | IO[str] | IO[bytes]"
"""A path, or a file that was opened, for text or for bytes."""


async def export_session(
    session: AnySession, file: File, *, on_progress: Progress | None = None
) -> TransferReport:
    """Write a history to a JSON Lines file: a line that says what it is, then one item a line.

    The lines are UTF-8, and exactly what `import_session` gives back. The file is there whole or not at
    all: the items are collected on disk first, beside the path, and a file that stands there, or that a
    link leads to, is replaced at the end. Memory does not grow with a history that can be read page by page.

    Args:
        session: The session; it is only read.
        file: A path, readable by its owner alone afterwards, or that of a pipe or a device, which is
            written to; or a file opened for writing text (in UTF-8) or bytes, which stays open.
        on_progress: Called with the number of items written and of all, or None where that is not known.

    Returns:
        How many items were written.

    Raises:
        TypeError: It is no session.
        InvalidItemError: An item is not JSON. No file was written.
        OSError: The file cannot be written.
        Exception: What the session raises. No file was written.
    """
    check_session("session", session)
    place = _place_of(file)
    with tempfile.TemporaryFile(dir=place and place.parent) as body:
        count = await _write_items(SessionSource(session), body, on_progress)
        session_id = id_of(session)
        hosted = session if isinstance(session, OpenAIConversationsSession) else None
        header = ExportHeader(
            origin=type(session).__name__,
            session_id=None if session_id is None else str(session_id),
            exported_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            items=count,
            metadata=await hosted.get_metadata() if hosted else None,
        )
        body.seek(0)
        with _replacing(place) if place else _opened(file) as write:
            write(to_line(header.as_json()))
            for line in body:
                write(line)
    return TransferReport(copied=count)


async def _write_items(source: SessionSource, body: IO[bytes], on_progress: Progress | None) -> int:
    count = 0
    async with aclosing(source.read()) as items:
        async for item in items:
            try:
                body.write(to_line(item))
            except ValueError as error:
                raise InvalidItemError(count, str(error)) from None
            count += 1
            if on_progress is not None and count % PIECE == 0:
                on_progress(count, source.total)
    if on_progress is not None:
        on_progress(count, count)
    return count


def _is_open(file: File) -> bool:
    return hasattr(file, "write")


def _place_of(file: File) -> Path | None:
    """Return where a new file is to be put; None for an open file, and for a path of what is no file."""
    if _is_open(file):
        return None
    path = Path(cast("str", file))
    is_written_to = path.exists() and not path.is_file() and not path.is_dir()
    return None if is_written_to else Path(os.path.realpath(path))


@contextmanager
def _opened(file: File) -> Iterator[Callable[[bytes], object]]:
    """Give what writes a line to an open file, or to a pipe or a device."""
    if not _is_open(file):
        with Path(cast("str", file)).open("wb") as device:
            yield device.write
        return
    opened = cast("IO[Any]", file)
    try:
        opened.write(b"")
    except TypeError:
        yield lambda line: opened.write(line.decode())
    else:
        yield opened.write


@contextmanager
def _replacing(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Give what writes a line to a new file beside a path, which is put there once it is whole."""
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False
    ) as out:
        try:
            yield out.write
            out.flush()
            os.fsync(out.fileno())
            Path(out.name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(out.name).unlink()
            raise


_LONGEST_HEADER = 1 << 16
"""Bytes: a longer first line is none of ours, and may be a file without lines."""

_IN_MEMORY = 1 << 20
"""Bytes of an open file that are kept in memory."""


async def import_session(
    file: File,
    session: AnySession,
    *,
    append: bool = False,
    keep_partial: bool = False,
    on_progress: Progress | None = None,
) -> TransferReport:
    """Write the history in a file of `export_session` to a session, and read it back.

    Every line is looked at before the first request: a file that is damaged, cut short, newer, or
    something else is refused, and nothing is written. After that the promises are those of
    `copy_session`, of a killed import too: called again with the same file and session, it goes on.

    Args:
        file: A path; or a file opened for reading text or bytes, which is read from where it stands to
            its end, kept on disk meanwhile, and stays open.
        session: Where the items go to: empty, or left by an import of this file that was cut short. It
            gets the items alone: the metadata in the first line is what `read_header` returns.
        append: As for `copy_session`.
        keep_partial: As for `copy_session`.
        on_progress: Called with the number of items that are done, and of all.

    Returns:
        How many items were written, were there already, and were left out.

    Raises:
        TypeError: It is no session.
        TransferFileError: The file cannot be imported; names the line and the remedy.
        TransferConflictError: The session holds something else. Nothing was written.
        TransferVerificationError: The session gives back something else.
        UnsettledTransferError: The import failed and could not be undone; says what is left.
        OSError: The file cannot be read.
        Exception: What the session raises. Nothing of the import is left.
    """
    check_session("session", session)
    with _reading(file) as opened:
        source = FileSource(opened)
        target = target_of(session)
        await source.check(target)
        transfer = Transfer(source, target, keep_partial=keep_partial, on_progress=on_progress)
        return await transfer.run(append=append)


def read_header(file: File) -> ExportHeader:
    """Return what the first line of an export says: where it came from, and its conversation's metadata.

    Args:
        file: As for `import_session`. An open file is read to its end.

    Raises:
        TransferFileError: It is no export, or a newer one.
        OSError: The file cannot be read.
    """
    with _reading(file) as opened:
        return FileSource(opened).header


class FileSource:
    """The items of an export.

    Args:
        file: Opened for reading bytes, and seekable; at its beginning.

    Attributes:
        header: What its first line says.
        total: How many items it has, once it was checked.

    Raises:
        TransferFileError: It is no export, or a newer one.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        first = file.readline(_LONGEST_HEADER)
        try:
            self.header = ExportHeader.from_json(from_line(first.removeprefix(codecs.BOM_UTF8)))
        except NewerVersionError as error:
            raise TransferFileError(1, str(error)) from None
        except ValueError as error:
            raise TransferFileError(1, f"{error}. Give a file that export_session has written") from None
        self._start = len(first)
        self.total: int | None = None

    async def check(self, target: Target) -> None:
        """Look at every line: is it an item that the target can keep?

        Raises:
            TransferFileError: It is not, or lines are missing.
        """
        count = 0
        for number, item in self._items():
            try:
                target.check(item)
            except InvalidItemError as error:
                raise TransferFileError(
                    number, f"holds an item that cannot be stored: {error.reason}"
                ) from None
            count += 1
            if count % PIECE == 0:
                await asyncio.sleep(0)
        expected = self.header.items
        if expected not in (None, count):
            raise TransferFileError(
                count + 2,
                f"is not as expected: the first line tells of {expected} items, and {count} are there. The "
                'file was cut short: export it again; or, if you edited it, correct "items" in line 1',
            )
        self.total = count

    async def read(self) -> AsyncGenerator[Item, None]:
        """Give all items, oldest first."""
        for _, item in self._items():
            yield item

    def _items(self) -> Iterator[tuple[int, Item]]:
        """Yield the number of each line, and its item."""
        self._file.seek(self._start)
        for number, line in enumerate(self._file, start=2):
            try:
                item = from_line(line)
            except ValueError as error:
                end = "" if line.endswith(b"\n") else " and is the last: the file was cut short"
                raise TransferFileError(
                    number, f"{error}{end}. Export it again, or correct the line"
                ) from None
            if not isinstance(item, dict):
                raise TransferFileError(
                    number, f"is no item, which is an object, but a {type(item).__name__}"
                )
            yield number, item


@contextmanager
def _reading(file: File) -> Iterator[IO[bytes]]:
    """Give a seekable file of bytes: that of a path, or a copy of what an open file holds from here on."""
    if not hasattr(file, "read"):
        with Path(cast("str", file)).open("rb") as opened:
            yield opened
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        while chunk := cast("IO[Any]", file).read(_IN_MEMORY):
            copy.write(chunk.encode() if isinstance(chunk, str) else chunk)
        copy.seek(0)
        yield cast("IO[bytes]", copy)
