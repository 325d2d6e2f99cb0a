"""What a model needs of a history that was compacted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_sessions._items.forms import to_replay
from openai_sessions._items.text import item_text
from openai_sessions._items.turns import TurnLimits, calls_by_output, from_newest_compaction
from openai_sessions._items.types import is_compaction
from tests.turns.histories import (
    assistant,
    call,
    compacted,
    compaction,
    interleaved,
    message,
    output,
    reasoning,
    user,
)

MAXIMA = st.none() | st.integers(1, 12)


def start(items, /, *, is_all=True, **limits):
    limits = TurnLimits(**limits, count_tokens=len, from_compaction=True)
    return limits.start_of_newest(items, is_all=is_all)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], 0),
        ([user(), assistant()], 0),
        ([compaction()], 0),
        ([user(), assistant(), compaction()], 2),
        ([user(), assistant(), compaction(), user()], 2),
        ([compaction(), user(), compaction(), user()], 1),
        ([user(), assistant(), compaction(), user(), assistant(), compaction(), user()], 5),
        ([assistant(), user(), user(), compaction(), user()], 1),
        ([assistant(), message("system", "s"), user(), compaction()], 1),
        ([user(), call("a"), compaction(), output("a")], 1),
        ([user(), reasoning(), call("a"), compaction(), output("a")], 1),
        ([user(), reasoning(), call("a"), call("b"), output("a"), compaction(), output("b")], 1),
        ([call("a"), output("a"), compaction(), call("b"), output("b")], 2),
        ([call("a"), assistant(), compaction(), output("c")], 2),
        ([assistant(), reasoning(), compaction(), user()], 2),
    ],
)
def test_where_a_compacted_history_starts(items, expected):
    assert start(items) == expected


@given(compacted)
def test_what_is_left_out_before_a_compaction_item_is_needed_by_nothing(items):
    kept = list(from_newest_compaction(items))
    before = len(items) - len(kept)
    assert kept == items[before:]
    assert any(map(is_compaction, items)) == any(map(is_compaction, kept))
    calls = calls_by_output(items)
    assert not [
        place for place, made in calls.items() if place >= before and made is not None and made < before
    ]
    assert to_replay(kept) == to_replay(items)[len(to_replay(items)) - len(to_replay(kept)) :]


@given(interleaved)
def test_a_history_that_was_not_compacted_is_left_as_it_is(items):
    assert from_newest_compaction(items) == items


@given(items=compacted, turns=MAXIMA, tokens=MAXIMA, most=MAXIMA)
def test_the_newest_items_give_the_start_of_the_whole_history_or_none(items, turns, tokens, most):
    """The result does not depend on where pages end."""
    limits = {"turns": turns, "tokens": tokens, "items": most}
    whole = start(items, **limits)
    for known in range(len(items)):
        found = start(items[len(items) - known :], is_all=False, **limits)
        assert found is None or found + len(items) - known == whole


@given(items=compacted, tokens=MAXIMA, most=MAXIMA)
def test_tokens_and_items_are_within_the_limits(items, tokens, most):
    kept = items[start(items, tokens=tokens, items=most) :]
    assert tokens is None or sum(len(item_text(item)) for item in kept) <= tokens
    assert most is None or len(kept) <= most


AFTER = [user("12"), assistant("1"), user("12"), assistant("1")]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"turns": 3}, 1),
        ({"turns": 2}, 1),
        ({"turns": 1}, 6),
        ({"tokens": 100}, 1),
        ({"tokens": 6}, 3),
        ({"tokens": 5}, 6),
        ({"items": 7}, 1),
        ({"items": 6}, 3),
        ({"items": 4}, 4),
    ],
)
def test_the_compaction_item_is_kept_where_all_after_it_is_within_the_limits(limits, expected):
    items = [assistant(), user("1234"), user("1234"), compaction(), *AFTER]
    assert start(items, **limits) == expected


def test_a_call_whose_output_is_after_the_compaction_item_is_left_out_with_it():
    items = [call("a"), assistant("1234567890"), compaction(), output("a"), user("1"), assistant("1")]
    assert start(items, tokens=2) == 4
    assert start(items[:4], tokens=2) == 4


@given(items=compacted, turns=MAXIMA, most=MAXIMA)
def test_the_starts_are_those_of_limits_that_admit_less_and_less(items, turns, most):
    limits = TurnLimits(turns=turns, items=most, from_compaction=True)
    starts, may_go_on = limits.starts_of_newest(items, is_all=True)
    assert starts == sorted(set(starts), reverse=True)
    assert not may_go_on
    assert [*starts, len(items)][-1 if not starts else len(starts) - 1] == start(
        items, turns=turns, items=most
    )
    for known in range(len(items)):
        dropped = len(items) - known
        found, may_go_on = limits.starts_of_newest(items[dropped:], is_all=False)
        found = [place + dropped for place in found]
        assert found == starts[: len(found)]
        assert may_go_on or found == starts
