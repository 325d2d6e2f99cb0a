"""Export histories to JSON Lines files, and import them.

The first line of a file is a header with the version of the format and the origin of the history; each
further line is one item.
"""

from __future__ import annotations

import asyncio
import codecs
import errno
import json
import math
import os
import stat
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from openai_sessions._arguments import is_whole_number
from openai_sessions._items.forms import plain_json
from openai_sessions._items.text import safe_json
from openai_sessions._items.types import Item
from openai_sessions.errors import InvalidItemError, TransferFileError
from openai_sessions.session import OpenAIConversationsSession
from openai_sessions.transfer._copying import Transfer
from openai_sessions.transfer._sessions import (
    BATCH,
    AnySession,
    Progress,
    SessionSource,
    Target,
    TransferReport,
    check_session,
    id_of,
    target_of,
)

File: TypeAlias = "str | os.PathLike[str] | IO[str] | IO[bytes]"
"""A path, or an open text or binary file."""

_VERSION_KEY = "openai_sessions"
"""The key of the header that contains the version of the format."""

_VERSION = 1

_MAX_HEADER = 1 << 16
"""Bytes: a longer first line is not a header, and may belong to a file without lines."""

_SHOWN_CHARACTERS = 40
"""How much of a repeated key a message shows."""

_IN_MEMORY = 1 << 20
"""Bytes of an open file that are kept in memory."""


async def export_session(
    session: AnySession, file: File, *, on_progress: Progress | None = None
) -> TransferReport:
    """Write a history to a JSON Lines file: a header line, then one item per line.

    The lines are UTF-8, and `import_session` restores exactly the same items. The export is atomic: the
    items are first collected on disk next to the path, and an existing file is replaced at the end by one of
    the same mode. Memory does not grow with a history that can be read page by page.

    Args:
        session: The session to read. It is not modified.
        file: A path, whose new file only its owner can read; the path of a pipe or a device, which is written
            to; or an open file for text (in UTF-8) or bytes, which stays open. A symbolic link to a file is
            not followed.
        on_progress: Called with the number of items written and the total, or None if it is unknown.

    Returns:
        The number of items written.

    Raises:
        TypeError: The session is not a session.
        InvalidItemError: An item is not JSON. No file was written.
        OSError: The file cannot be written, or the path is a symbolic link to a file.
        Exception: An error of the session. No file was written.
    """
    check_session("session", session)
    place = _place_of(file)
    with tempfile.TemporaryFile(dir=place and place.parent) as body:
        try:
            count = await _write_items(SessionSource(session), body, on_progress)
        except InvalidItemError as error:
            raise InvalidItemError(error.index, error.reason, outcome="No file was written") from None
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
        with _replacing(place) if place else _writing(file) as write:
            write(to_line(header.as_json()))
            for line in body:
                write(line)
    return TransferReport(copied=count)


async def import_session(
    file: File,
    session: AnySession,
    *,
    append: bool = False,
    keep_partial: bool = False,
    on_progress: Progress | None = None,
) -> TransferReport:
    """Write the history in a file of `export_session` to a session, and read it back.

    Checks every line before the first request: a damaged, truncated, newer or foreign file is refused, and
    nothing is written. After that the guarantees are those of `copy_session`, including a killed import: the
    same call with the same file and session continues it.

    Args:
        file: A path; or an open text or binary file, which is read from its current position to its end,
            buffered on disk, and stays open.
        session: The session to write: empty, or containing an interrupted import of this file. Only items
            are written; `read_header` returns the metadata of the first line.
        append: As for `copy_session`.
        keep_partial: As for `copy_session`.
        on_progress: Called with the number of items done and the total.

    Returns:
        The number of items that were written, already there, and skipped.

    Raises:
        TypeError: The session is not a session.
        TransferFileError: The file cannot be imported; names the line and the remedy.
        TransferConflictError: The session contains other items. Nothing was written.
        TransferVerificationError: The session returned other items than were written.
        UnsettledTransferError: The import failed and could not be undone; says what is left.
        OSError: The file cannot be read.
        Exception: An error of the session. Nothing of the import is left.
    """
    check_session("session", session)
    with _reading(file) as opened:
        source = FileSource(opened)
        target = target_of(session)
        await source.check(target)
        transfer = Transfer(source, target, keep_partial=keep_partial, on_progress=on_progress)
        return await transfer.run(append=append)


def read_header(file: File) -> ExportHeader:
    """Return the header of an export: its origin, and the metadata of its conversation.

    Args:
        file: As for `import_session`. An open file is read to its end.

    Raises:
        TransferFileError: The file is not an export, or of a newer version.
        OSError: The file cannot be read.
    """
    with _reading(file) as opened:
        return FileSource(opened).header


@dataclass(frozen=True, slots=True)
class ExportHeader:
    """The first line of an export.

    Attributes:
        origin: The class of the exported session.
        session_id: The id of the session, or None.
        exported_at: The time of the export in ISO 8601, UTC.
        items: The number of items that follow, or None if it is not given.
        metadata: The metadata of the conversation, or None if the session was not hosted.
    """

    origin: str | None = None
    session_id: str | None = None
    exported_at: str | None = None
    items: int | None = None
    metadata: dict[str, str] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the header as a JSON object."""
        fields = {key: value for key, value in asdict(self).items() if key != "metadata" or value is not None}
        return {_VERSION_KEY: _VERSION, **fields}

    @classmethod
    def from_json(cls, value: object) -> ExportHeader:
        """Return the header in a JSON value. Unknown fields are ignored.

        Raises:
            ValueError: It is not a header of this version; the message continues "Line 1 of the export".
        """
        version = value.get(_VERSION_KEY) if isinstance(value, Mapping) else None
        if not isinstance(value, Mapping) or type(version) is not int or version < 1:
            raise ValueError(f'is not {{"openai_sessions": 1, ...}}. {_REMEDY}')
        if version > _VERSION:
            raise ValueError(
                f"has format version {version}, and this version of openai-sessions reads {_VERSION}: "
                "install a newer openai-sessions"
            )
        items = value.get("items")
        if items is not None and not (is_whole_number(items) and items >= 0):
            raise ValueError(f"has {items!r} as its number of items. {_REMEDY}")
        return cls(
            origin=_string(value.get("origin")),
            session_id=_string(value.get("session_id")),
            exported_at=_string(value.get("exported_at")),
            items=items,
            metadata=_metadata(value.get("metadata")),
        )


_REMEDY = "Pass a file written by export_session"


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _metadata(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError(f"has {value!r} as its metadata. {_REMEDY}")  # noqa: TRY004 -- of a file
    for key, text in value.items():
        if not isinstance(text, str):
            raise ValueError(f"has {text!r} as its metadata {key!r}. {_REMEDY}")  # noqa: TRY004 -- same
    return dict(value)


class FileSource:
    """The items of an export.

    Args:
        file: A seekable binary file at its start.

    Attributes:
        header: The first line.
        total: The number of items, once the file was checked.

    Raises:
        TransferFileError: The file is not an export, or of a newer version.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        first = file.readline(_MAX_HEADER)
        try:
            value = from_line(first.removeprefix(codecs.BOM_UTF8))
        except ValueError as error:
            raise TransferFileError(1, f"{error}. {_REMEDY}") from None
        try:
            self.header = ExportHeader.from_json(value)
        except ValueError as error:
            raise TransferFileError(1, str(error)) from None
        self._start = len(first)
        self.total: int | None = None

    async def check(self, target: Target) -> None:
        """Check that every line is an item that the target can store.

        Raises:
            TransferFileError: A line is not, or lines are missing.
        """
        count = 0
        for number, item in self._items():
            try:
                target.check(item)
            except InvalidItemError as error:
                raise TransferFileError(
                    number, f"contains an item that cannot be stored: {error.reason}"
                ) from None
            count += 1
            if count % BATCH == 0:
                await asyncio.sleep(0)
        expected = self.header.items
        if expected not in (None, count):
            raise TransferFileError(
                count + 2,
                f"does not match the header, which announces {expected} items: the file contains {count}. It "
                'was truncated: export it again; or, if you edited it, correct "items" in line 1',
            )
        self.total = count

    async def read(self) -> AsyncGenerator[Item, None]:
        """Yield all items, oldest first."""
        for _, item in self._items():
            yield item

    def _items(self) -> Iterator[tuple[int, Item]]:
        """Yield the number of each line and its item."""
        self._file.seek(self._start)
        for number, line in enumerate(self._file, start=2):
            try:
                item = from_line(line)
            except ValueError as error:
                end = "" if line.endswith(b"\n") else " and is the last line: the file was truncated"
                raise TransferFileError(
                    number, f"{error}{end}. Export it again, or correct the line"
                ) from None
            if not isinstance(item, dict):
                raise TransferFileError(number, f"is a {type(item).__name__}, not an item (an object)")
            yield number, item


@contextmanager
def _reading(file: File) -> Iterator[IO[bytes]]:
    """Open a path, or copy the rest of an open file; the result is binary and seekable."""
    if not hasattr(file, "read"):
        with Path(cast("str", file)).open("rb") as opened:
            yield opened
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        while chunk := cast("IO[Any]", file).read(_IN_MEMORY):
            copy.write(chunk.encode() if isinstance(chunk, str) else chunk)
        copy.seek(0)
        yield cast("IO[bytes]", copy)


async def _write_items(source: SessionSource, body: IO[bytes], on_progress: Progress | None) -> int:
    count = 0
    async with aclosing(source.read()) as items:
        async for item in items:
            try:
                body.write(to_line(item))
            except ValueError as error:
                raise InvalidItemError(count, str(error)) from None
            count += 1
            if on_progress is not None and count % BATCH == 0:
                on_progress(count, source.total)
    if on_progress is not None:
        on_progress(count, count)
    return count


def _is_open(file: File) -> bool:
    return hasattr(file, "write")


def _place_of(file: File) -> Path | None:
    """Return the path of the new file; None for an open file, a pipe or a device.

    Raises:
        OSError: It is a symbolic link to a file, which may be another user's trap in a shared folder.
    """
    if _is_open(file):
        return None
    path = Path(cast("str", file)).absolute()
    if path.exists() and not path.is_file() and not path.is_dir():
        return None
    if path.is_symlink():
        reason = "is a symbolic link: give the path of the file itself, or remove the link"
        raise OSError(errno.ELOOP, reason, str(file))
    return path


@contextmanager
def _writing(file: File) -> Iterator[Callable[[bytes], object]]:
    """Yield a function that writes a line to an open file, a pipe or a device."""
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
    """Yield a function that writes a line to a temporary file, which replaces the path at the end.

    A file that is replaced keeps its mode; a new one can be read by its owner only.
    """
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False
    ) as out:
        try:
            yield out.write
            out.flush()
            os.fsync(out.fileno())
            with suppress(FileNotFoundError):
                Path(out.name).chmod(stat.S_IMODE(path.stat(follow_symlinks=False).st_mode))
            Path(out.name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(out.name).unlink()
            raise


def to_line(value: object) -> bytes:
    """Return a JSON value as a line of UTF-8 with its line break.

    Characters that end a line for some programs, control a terminal or cannot be encoded are escaped.

    Raises:
        ValueError: The value is not JSON.
    """
    return safe_json(_dumped(value)).encode() + b"\n"


def _dumped(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # an SDK object, or an error that plain_json explains
        return json.dumps(plain_json(value), ensure_ascii=False, allow_nan=False)


def from_line(line: bytes) -> Any:
    """Return the JSON value on a line.

    Raises:
        ValueError: The line is not JSON; the message says where.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 (at byte {error.start})") from None
    try:
        return json.loads(
            text,
            object_pairs_hook=_without_repetition,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_integer,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error.msg} at character {error.pos})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"contains the key {repeated[:_SHOWN_CHARACTERS]!r} twice in one object")
    return value


def _refuse(name: str) -> float:
    raise ValueError(f"contains {name}, which is not JSON")


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"contains a number with too many digits ({digits[:20]}…)") from None


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"contains a number that is too large ({digits[:20]})")
    return number
