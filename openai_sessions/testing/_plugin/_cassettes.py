"""The cassette of a test: where it is, and how it ends with the test."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest

from openai_sessions.testing._plugin._extra import testing_extra
from openai_sessions.testing._plugin._state import RunningTest

if TYPE_CHECKING:
    from openai_sessions.testing.cassettes import ConversationCassette

_LONGEST_NAME = 100
"""Characters of a name before it is shortened: file systems take 255 bytes, with the suffix."""


def cassette_path(item: pytest.Item) -> Path:
    """Return the path of a test's cassette, in the folder that the configuration names, from the rootdir on.

    `tests/test_a.py::TestB::test_c[d]` has `tests/test_a/TestB.test_c[d].yaml`.
    """
    folder = item.config.rootpath / str(item.config.getini("conversations_cassette_dir"))
    file, *names = item.nodeid.split("::")
    parts = [part for part in PurePath(file).with_suffix("").parts if part not in ("..", "/")]
    return folder.joinpath(*map(_safe, parts), f"{_safe('.'.join(names))}.yaml")


def _safe(name: str) -> str:
    """Return a name that any file system takes; one that is changed has a digest, and so stays its own."""
    safe = re.sub(r"[^\w.\-\[\]]+", "-", name, flags=re.ASCII)
    if safe == name and len(name) <= _LONGEST_NAME:
        return name
    return f"{safe[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@contextmanager
def playing(path: Path, *, record_mode: str, test: RunningTest) -> Iterator[ConversationCassette]:
    """Replay or record a cassette inside the block, and end it as the test has ended.

    After a test that failed nothing is written, and what it did not use is no error.
    """
    with testing_extra():
        from openai_sessions.testing.cassettes import use_cassette  # noqa: PLC0415 -- needs the extra

    context = use_cassette(path, record_mode=record_mode)
    yield context.__enter__()
    if test.error is None:
        context.__exit__(None, None, None)
    else:
        context.__exit__(type(test.error), test.error, test.error.__traceback__)
