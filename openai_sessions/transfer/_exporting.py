"""Writing a history to a JSON Lines file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from openai_sessions.errors import InvalidItemError
from openai_sessions.session import OpenAIConversationsSession
from openai_sessions.transfer._header import ExportHeader
from openai_sessions.transfer._lines import to_line
from openai_sessions.transfer._report import Progress, TransferReport
from openai_sessions.transfer._sources import PIECE, AnySession, SessionSource, check_session
from openai_sessions.transfer._targets import id_of

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
