"""Where the newest whole turns within limits begin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_sessions._items.text import item_text
from openai_sessions._items.turns import TurnLimits, turn_spans

from .histories import assistant, call, interleaved, message, output, user

HISTORY = [
    message("system", "s"),
    *(user("12345"), assistant("1")),
    *(user("12345"), call("a"), output("a"), assistant("1")),
    *(user("12"), assistant("1")),
]
"""Turns of 1, 2, 4 and 2 items that begin at 0, 1, 3 and 7."""

MAXIMA = st.none() | st.integers(0, 12)


def start(history, /, *, is_all=True, **limits):
    return TurnLimits(**limits, count_tokens=len).start_of_newest(history, is_all=is_all)


@pytest.mark.parametrize(("turns", "expected"), [(0, 9), (1, 7), (2, 3), (3, 1), (4, 0), (5, 0), (None, 0)])
def test_turns(turns, expected):
    assert start(HISTORY, turns=turns) == expected


@pytest.mark.parametrize(("tokens", "expected"), [(2, 9), (3, 7), (8, 7), (9, 3), (14, 3), (15, 1), (16, 0)])
def test_tokens_are_of_whole_turns_that_fit(tokens, expected):
    assert start(HISTORY, tokens=tokens) == expected


@pytest.mark.parametrize(("items", "expected"), [(1, 9), (2, 7), (5, 7), (6, 3), (8, 1), (9, 0), (99, 0)])
def test_items_are_of_whole_turns_that_fit(items, expected):
    assert start(HISTORY, items=items) == expected


def test_all_limits_hold():
    assert start(HISTORY, turns=3, tokens=9, items=99) == 3
    assert start(HISTORY, turns=3, tokens=99, items=5) == 7
    assert start(HISTORY, turns=1, tokens=99, items=99) == 7


def test_what_is_not_known_yet():
    """One turn is known once its user message is; that it is the oldest, only at the beginning."""
    assert start(HISTORY[8:], is_all=False, turns=1) is None
    assert start(HISTORY[7:], is_all=False, turns=1) == 0
    assert start(HISTORY[7:], is_all=False, turns=2) is None
    assert start(HISTORY[4:], is_all=False, tokens=8) is None
    assert start(HISTORY[3:], is_all=False, tokens=8) == 4


def test_an_output_whose_call_is_not_known_makes_a_turn_uncertain():
    items = [call("a"), user("one"), output("a"), user("two")]
    assert start(items[1:], is_all=False, turns=2) is None
    assert start(items[1:], is_all=False, turns=1) == 2
    assert start(items, turns=2) == 0


def test_more_than_fits_ends_the_reading_although_a_turn_is_uncertain():
    items = [user("one"), output("a"), user("two")]
    assert start(items, is_all=False, tokens=5) == 2
    assert start(items, is_all=False, items=2) == 2


@given(items=interleaved, turns=MAXIMA, tokens=MAXIMA, most=MAXIMA)
def test_the_newest_items_tell_what_the_whole_history_does_or_nothing(items, turns, tokens, most):
    """So that the result does not depend on where pages end."""
    limits = {"turns": turns, "tokens": tokens, "items": most}
    whole = start(items, **limits)
    for known in range(len(items)):
        found = start(items[len(items) - known :], is_all=False, **limits)
        assert found is None or found + len(items) - known == whole


@given(items=interleaved, turns=MAXIMA, tokens=MAXIMA, most=MAXIMA)
def test_the_result_is_the_most_turns_within_the_limits(items, turns, tokens, most):
    fitting = [len(items)]
    for number, (begin, _) in enumerate(reversed(turn_spans(items).values()), 1):
        size = sum(len(item_text(item)) for item in items[begin:])
        sizes = [(number, turns), (size, tokens), (len(items) - begin, most)]
        if any(limit is not None and count > limit for count, limit in sizes):
            break
        fitting.append(begin)
    assert start(items, turns=turns, tokens=tokens, items=most) == fitting[-1]


@pytest.mark.parametrize("tokens", [None, 1.5, True, -1, "7"])
def test_a_counter_that_returns_no_number_is_refused(tokens):
    limits = TurnLimits(tokens=5, count_tokens=lambda _: tokens)
    with pytest.raises(TypeError, match="count_tokens must return a whole number from 0") as caught:
        limits.start_of_newest(HISTORY, is_all=True)
    assert repr(tokens) in str(caught.value)


@pytest.mark.parametrize("limit", ["turns", "tokens", "items"])
def test_a_limit_of_0_or_less_admits_nothing(limit):
    assert [TurnLimits(**{limit: most}).admit_nothing for most in (-1, 0, 1)] == [True, True, False]
    assert not TurnLimits().admit_nothing
