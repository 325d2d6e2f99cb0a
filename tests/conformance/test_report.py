"""What a report says to a person who wrote a session."""

import pytest

from openai_sessions.testing import CHECKS, ConformanceError, ConformanceReport, check_session, run_check
from tests.conformance.broken.history import Raises
from tests.conformance.memory import MemorySession


async def test_run_check_keeps_what_the_session_raised():
    result = await run_check("items_keep_their_order", Raises.maker()[0])

    assert result.detail == "add_items(5 items) raised OSError: disk full"
    assert isinstance(result.error, OSError)


async def test_report_cuts_errors_that_are_too_long_to_read():
    class Wordy(MemorySession):
        async def get_items(self, limit=None):
            raise OSError("no" * 10_000)

    result = await run_check("limit_zero_gives_none", Wordy.maker()[0])

    assert result.detail.startswith("get_items(limit=0) raised OSError: nono")
    assert len(result.detail) < 700
    assert len(str(result.error)) == 20_000


async def test_raise_if_failed_raises_the_report_from_the_first_error():
    report = ConformanceReport((await run_check("items_keep_their_order", Raises.maker()[0]),))

    with pytest.raises(ConformanceError) as raised:
        report.raise_if_failed()

    assert str(report) == str(raised.value)
    assert report.failed[0].error is raised.value.__cause__


async def test_report_as_text_tells_what_is_wrong_failures_first():
    class Reversed(MemorySession):
        async def get_items(self, limit=None):
            return (await super().get_items(limit))[::-1]

    checks = [
        "empty_history_pops_none",
        "reopened_session_reads_the_history",
        "items_keep_their_order",
        "empty_history_clears",
    ]
    results = [await run_check(name, Reversed.maker()[0]) for name in checks]

    assert (
        str(ConformanceReport(tuple(results)))
        == """\
Session conformance: 2 passed, 1 failed, 1 skipped

FAILED   items_keep_their_order
         Items added in one call are read in their order.
         get_items() after add_items of 5 items: item 1 of 5
         expected: 'message 0'
         actual:   'message 4'

skipped  reopened_session_reads_the_history
         Another session on the same history reads it completely and in order.
         needs reopen=, which opens another session on the same history

passed   empty_history_pops_none, empty_history_clears"""
    )


async def test_report_of_all_checks_passed_has_no_line_that_is_too_long():
    make, reopen = MemorySession.maker()

    report = await check_session(make, reopen=reopen)

    lines = str(report).splitlines()
    assert lines[0] == f"Session conformance: {len(CHECKS)} passed, 0 failed, 0 skipped"
    assert max(map(len, lines)) <= 110


async def test_report_says_where_nested_values_differ():
    class Blurring(MemorySession):
        def into(self, item):
            content = [
                {**part, **({"detail": "low"} if "detail" in part else {})} for part in item["content"]
            ]
            return {**item, "content": content}

    result = await run_check("user_picture_comes_back", Blurring.maker()[0])

    assert (
        result.detail.splitlines()[-1] == "differ:   ['content'][1]['detail']: expected 'high', actual 'low'"
    )


async def test_report_says_which_key_is_too_many():
    class Numbering(MemorySession):
        def out(self, item):
            return {**item, "number": 1}

    result = await run_check("pop_gives_what_was_added", Numbering.maker()[0])

    assert result.detail.splitlines()[-1] == "differ:   ['number']: expected nothing, actual 1"


async def test_report_cuts_values_that_are_too_long_to_read():
    class Cutting(MemorySession):
        def into(self, item):
            return {**item, "content": item["content"][:-1]}

    result = await run_check("long_text_comes_back", Cutting.maker()[0])

    assert len(result.detail.splitlines()) == 4
    assert "… (200002 characters)" in result.detail
    assert result.detail.splitlines()[-1] == "differ:   from character 199999 on: expected '9', actual ''"
    assert len(result.detail) < 600
