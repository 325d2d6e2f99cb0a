"""Whose time it was."""

import pytest

from tools.bench.profile import by_group, group_of

LIBRARY = "/home/someone/openai_sessions/.venv/lib/python3.11/site-packages"
TO_REPLAY = ("/home/someone/openai_sessions/openai_sessions/_items.py", 51, "to_replay")
MODULE = (f"{LIBRARY}/openai/_base_client.py", 1, "request")
ISINSTANCE = ("~", 0, "<built-in method builtins.isinstance>")
DECODE = ("~", 0, "<built-in method jiter.from_json>")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (TO_REPLAY, "openai_sessions"),
        (MODULE, "openai"),
        ((f"{LIBRARY}/httpcore2/_async/http11.py", 1, "read"), "HTTP (httpx, httpcore, h11)"),
        ((f"{LIBRARY}/h11/_state.py", 1, "x"), "HTTP (httpx, httpcore, h11)"),
        ((f"{LIBRARY}/anyio/_core/_tasks.py", 1, "x"), "asyncio, anyio, ssl"),
        (("/usr/lib/python3.11/asyncio/events.py", 1, "_run"), "asyncio, anyio, ssl"),
        (("/usr/lib/python3.11/ssl.py", 1, "read"), "asyncio, anyio, ssl"),
        (("~", 0, "<method 'send' of '_socket.socket' objects>"), "sending, receiving, waiting"),
        (("/usr/lib/python3.11/json/decoder.py", 1, "decode"), "json"),
        (DECODE, "jiter"),
        (("/usr/lib/python3.11/enum.py", 1, "x"), "the rest"),
        (ISINSTANCE, None),
    ],
)
def test_group_is_that_of_the_package(function, expected):
    assert expected == group_of(function)


def test_time_of_a_builtin_counts_for_its_callers():
    functions = {
        TO_REPLAY: (1, 1, 2.0, 5.0, {}),
        MODULE: (1, 1, 3.0, 9.0, {}),
        ISINSTANCE: (3, 3, 1.5, 1.5, {TO_REPLAY: (2, 2, 1.0, 1.0), MODULE: (1, 1, 0.5, 0.5)}),
        DECODE: (1, 1, 4.0, 4.0, {TO_REPLAY: (1, 1, 4.0, 4.0)}),
    }
    assert {"openai_sessions": 3.0, "openai": 3.5, "jiter": 4.0} == by_group(functions)
