"""Reading a history from a JSON Lines file."""

from __future__ import annotations

import asyncio
import codecs
import os
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from openai_sessions._types import Item
from openai_sessions.errors import InvalidItemError
from openai_sessions.errors.transfer import TransferFileError
from openai_sessions.transfer._copying import Transfer
from openai_sessions.transfer._header import ExportHeader, NewerVersionError
from openai_sessions.transfer._lines import from_line
from openai_sessions.transfer._report import Progress, TransferReport
from openai_sessions.transfer._sources import PIECE, AnySession, check_session
from openai_sessions.transfer._targets import Target, target_of

File: TypeAlias = "str | os.PathLike[str] | IO[str] | IO[bytes]"
"""A path, or a file that was opened, for text or for bytes."""

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
