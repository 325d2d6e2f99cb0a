"""What a report says to a person who wrote a session."""

import pytest

from openai_sessions.testing import ConformanceError, ConformanceReport, run_check
from tests.conformance.broken.history import Raises
from tests.conformance.memory import MemorySession


async def test_run_check_keeps_what_the_session_raised():
    result = await run_check("items_keep_their_order", Raises.maker()[0])

    assert result.detail == "raised OSError: disk full"
    assert isinstance(result.error, OSError)


async def test_raise_if_failed_raises_the_report_from_the_first_error():
    report = ConformanceReport((await run_check("items_keep_their_order", Raises.maker()[0]),))

    with pytest.raises(ConformanceError) as raised:
        report.raise_if_failed()

    assert str(report) == str(raised.value)
    assert report.failed[0].error is raised.value.__cause__


async def test_report_as_text_names_what_is_wrong_failures_first():
    class Reversed(MemorySession):
        async def get_items(self, limit=None):
            return (await super().get_items(limit))[::-1]

    checks = ["empty_history_pops_none", "reopened_session_reads_the_history", "items_keep_their_order"]
    results = [await run_check(name, Reversed.maker()[0]) for name in checks]

    assert (
        str(ConformanceReport(tuple(results)))
        == """\
Session conformance: 1 passed, 1 failed, 1 skipped

FAILED   items_keep_their_order: Items of one call come back in their order.
         5 items of one call: item 1 of 5
         expected: 'message 0'
         actual:   'message 4'
skipped  reopened_session_reads_the_history: Another session on the same history reads it whole and in order.
         needs reopen=, which opens another session on the same history
passed   empty_history_pops_none: A pop from an empty history gives None."""
    )


async def test_report_cuts_values_that_are_too_long_to_read():
    class Cutting(MemorySession):
        def into(self, item):
            return {**item, "content": item["content"][:-1]}

    result = await run_check("long_text_comes_back", Cutting.maker()[0])

    assert len(result.detail.splitlines()) == 3
    assert "… (200002 characters)" in result.detail
    assert len(result.detail) < 600
