"""Which items belong together: turns, limits of reads, safe cuts, calls with their outputs."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_sessions._items.forms import to_replay
from openai_sessions._items.text import item_text
from openai_sessions._items.turns import (
    CallMatches,
    TurnLimits,
    calls_by_output,
    complete_items,
    match_calls,
    open_calls,
    partners,
    safe_cuts,
    split_turns,
    turn_spans,
)
from openai_sessions._items.types import is_user_message
from tests.selection import examples
from tests.strategies import histories
from tests.turns.histories import (
    PAIRS,
    assistant,
    call,
    ids,
    interleaved,
    message,
    output,
    reasoning,
    torn,
    user,
)


def test_a_turn_is_a_user_message_and_all_that_follows_it():
    items = [user("one"), assistant("1"), user("two"), call("a"), output("a"), assistant("2")]
    first, second = split_turns(items)
    assert (first.number, first.text, list(first.item_ids)) == (1, "one", ids(items[:2]))
    assert (second.number, second.text, list(second.item_ids)) == (2, "two", ids(items[2:]))
    assert list(second.items) == to_replay(items[2:])


def test_what_precedes_the_first_user_message_is_turn_0():
    items = [message("system", "Be brief."), user("Hello"), assistant("Hi")]
    assert [(turn.number, turn.text) for turn in split_turns(items)] == [(0, ""), (1, "Hello")]
    assert [turn.number for turn in split_turns(items[:1])] == [0]


def test_an_empty_history_has_no_turns():
    assert split_turns([]) == []


def test_each_of_consecutive_user_messages_starts_a_turn():
    assert [turn.text for turn in split_turns([user("a"), user("b"), assistant()])] == ["a", "b"]


@pytest.mark.parametrize("call_type", PAIRS)
def test_a_user_message_between_a_call_and_its_output_does_not_start_a_turn(call_type):
    items = [
        user("one"),
        call("a", call_type),
        user("meanwhile"),
        assistant(),
        output("a", call_type),
        assistant(),
        user("two"),
        assistant(),
    ]
    assert [(turn.number, turn.text) for turn in split_turns(items)] == [(1, "one\nmeanwhile"), (2, "two")]
    assert turn_spans(items) == {1: (0, 6), 2: (6, 8)}


def test_a_call_before_the_first_user_message_keeps_its_output_in_turn_0():
    items = [call("a"), user(), output("a"), user()]
    assert turn_spans(items) == {0: (0, 3), 1: (3, 4)}


def test_unmatched_calls_and_outputs_do_not_extend_a_turn():
    assert turn_spans([user(), call("a"), user(), output("b"), user()]) == {1: (0, 2), 2: (2, 4), 3: (4, 5)}


def test_reasoning_that_led_to_nothing_is_left_out_with_its_id():
    items = [user("one"), reasoning(), user("two"), reasoning("secret"), assistant()]
    first, second = split_turns(items)
    assert list(first.item_ids) == ids(items[:1])
    assert list(second.item_ids) == ids(items[2:])
    assert [len(turn.items) for turn in (first, second)] == [1, 3]


def test_text_of_a_message_of_several_parts():
    """An image has no text."""
    parts = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        {"type": "input_text", "text": "And this?"},
    ]
    (turn,) = split_turns([{**user(), "content": parts}])
    assert turn.text == "What is this?\nAnd this?"


def test_a_message_without_a_type_is_a_message():
    assert [is_user_message({"role": role, "content": ""}) for role in ("user", "assistant")] == [True, False]
    assert not is_user_message({"type": "hologram", "role": "user"})


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])
@given(histories() | interleaved)
def test_turns_joined_are_the_history_and_separate_no_pair(items):
    turns = split_turns(items)
    replayed = to_replay(items)
    assert [item for turn in turns for item in turn.items] == replayed
    assert all(len(turn.items) == len(turn.item_ids) > 0 for turn in turns)
    left = iter(items)  # an output may have the id of a call
    kept = [
        next(item for item in left if item["id"] == item_id) for turn in turns for item_id in turn.item_ids
    ]
    assert to_replay(kept) == replayed
    numbers = [turn.number for turn in turns]
    assert numbers == list(range(numbers[0], numbers[0] + len(turns))) if turns else numbers == []
    assert all(is_user_message(turn.items[0]) for turn in turns if turn.number)


@given(interleaved)
def test_a_turn_ends_before_a_user_message_that_separates_no_pair(items):
    """The starts are those that a check without turns finds."""
    starts = [span[0] for number, span in turn_spans(items).items() if number]
    expected = [place for place, item in enumerate(items) if is_user_message(item) and not torn(items, place)]
    assert starts == expected


@given(interleaved)
def test_safe_cuts_separate_no_pair_and_include_every_turn(items):
    cuts = safe_cuts(items)
    assert cuts == sorted(set(cuts))
    assert not any(torn(items, cut) for cut in cuts)
    assert {0, len(items), *(start for start, _ in turn_spans(items).values())} <= set(cuts)
    apart = [place for place in range(1, len(items)) if items[place - 1]["type"] != "reasoning"]
    assert [place for place in apart if place not in cuts] == [place for place in apart if torn(items, place)]


def test_no_safe_cut_is_between_reasoning_and_the_item_it_led_to():
    items = [user(), reasoning(), call("a"), output("a"), assistant()]
    assert safe_cuts(items) == [0, 1, 4, 5]
    assert safe_cuts([user(), reasoning(), user()]) == [0, 1, 2, 3]


HISTORY = [
    message("system", "s"),
    *(user("12345"), assistant("1")),
    *(user("12345"), call("a"), output("a"), assistant("1")),
    *(user("12"), assistant("1")),
]
"""Turns of 1, 2, 4 and 2 items that start at 0, 1, 3 and 7."""

MAXIMA = st.none() | st.integers(0, 12)


def start(history, /, *, is_all=True, **limits):
    return TurnLimits(**limits, count_tokens=len).start_of_newest(history, is_all=is_all)


@pytest.mark.parametrize(("turns", "expected"), [(0, 9), (1, 7), (2, 3), (3, 1), (4, 0), (5, 0), (None, 0)])
def test_the_turn_limit_counts_turns(turns, expected):
    assert start(HISTORY, turns=turns) == expected


@pytest.mark.parametrize(("tokens", "expected"), [(2, 9), (3, 7), (8, 7), (9, 3), (14, 3), (15, 1), (16, 0)])
def test_the_token_limit_counts_whole_turns(tokens, expected):
    assert start(HISTORY, tokens=tokens) == expected


@pytest.mark.parametrize(("items", "expected"), [(1, 9), (2, 7), (5, 7), (6, 3), (8, 1), (9, 0), (99, 0)])
def test_the_item_limit_counts_whole_turns(items, expected):
    assert start(HISTORY, items=items) == expected


def test_all_limits_apply():
    assert start(HISTORY, turns=3, tokens=9, items=99) == 3
    assert start(HISTORY, turns=3, tokens=99, items=5) == 7
    assert start(HISTORY, turns=1, tokens=99, items=99) == 7


def test_older_items_are_needed_until_a_limit_is_exceeded():
    """A turn is certain once its user message is known; that it is the oldest, once all items are."""
    assert start(HISTORY[8:], is_all=False, turns=1) is None
    assert start(HISTORY[7:], is_all=False, turns=1) == 0
    assert start(HISTORY[7:], is_all=False, turns=2) is None
    assert start(HISTORY[4:], is_all=False, tokens=8) is None
    assert start(HISTORY[3:], is_all=False, tokens=8) == 4


def test_an_output_without_its_call_makes_a_turn_uncertain():
    items = [call("a"), user("one"), output("a"), user("two")]
    assert start(items[1:], is_all=False, turns=2) is None
    assert start(items[1:], is_all=False, turns=1) == 2
    assert start(items, turns=2) == 0


def test_an_exceeded_limit_ends_the_read_although_a_turn_is_uncertain():
    items = [user("one"), output("a"), user("two")]
    assert start(items, is_all=False, tokens=5) == 2
    assert start(items, is_all=False, items=2) == 2


@given(items=interleaved, turns=MAXIMA, tokens=MAXIMA, most=MAXIMA)
def test_the_newest_items_give_the_start_of_the_whole_history_or_none(items, turns, tokens, most):
    """The result does not depend on where pages end."""
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
def test_a_counter_that_does_not_return_a_number_is_refused(tokens):
    limits = TurnLimits(tokens=5, count_tokens=lambda _: tokens)
    with pytest.raises(TypeError, match="count_tokens must return a whole number from 0") as caught:
        limits.start_of_newest(HISTORY, is_all=True)
    assert repr(tokens) in str(caught.value)


@pytest.mark.parametrize("limit", ["turns", "tokens", "items"])
def test_a_limit_of_0_or_less_admits_no_item(limit):
    assert [TurnLimits(**{limit: most}).admit_nothing for most in (-1, 0, 1)] == [True, True, False]
    assert not TurnLimits().admit_nothing


@pytest.mark.parametrize("call_type", PAIRS)
def test_an_output_belongs_to_the_call_that_it_names(call_type):
    items = [
        call("a", call_type),
        call("b", call_type),
        user(),
        output("b", call_type),
        output("a", call_type),
    ]
    assert calls_by_output(items) == {3: 1, 4: 0}


def test_an_output_without_a_call_has_none():
    assert calls_by_output([call("a"), output("b")]) == {1: None}


def test_an_output_belongs_to_the_newest_call_with_its_id():
    assert calls_by_output([call("a"), output("a"), call("a"), output("a")]) == {1: 0, 3: 2}


def test_one_call_may_have_several_outputs():
    assert calls_by_output([call("a"), output("a"), output("a")]) == {1: 0, 2: 0}


def test_calls_and_outputs_without_an_id_are_matched_by_type():
    """A tool search that the server ran has no call_id."""
    search = {"id": "tsc_1", "type": "tool_search_call", "call_id": None, "arguments": {}}
    found = {"id": "tso_1", "type": "tool_search_output", "call_id": None, "tools": []}
    assert calls_by_output([search, call("a"), found, output("a")]) == {2: 0, 3: 1}
    assert calls_by_output([call("a"), found]) == {1: None}


def test_an_output_with_the_id_of_another_call_is_not_matched_by_type():
    search = {"id": "tsc_1", "type": "tool_search_call", "call_id": None, "arguments": {}}
    assert calls_by_output([search, output("a", "tool_search_call")]) == {1: None}


def test_calls_with_their_own_result_and_messages_have_no_partner():
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {}}
    assert calls_by_output([user(), search, assistant()]) == {}


def test_the_next_item_belongs_to_reasoning():
    items = [reasoning(), call("a"), output("a"), reasoning("x"), assistant()]
    assert partners(items) == [[1], [2], [], [4], []]


def test_the_last_item_has_no_partner():
    assert partners([]) == []
    assert partners([reasoning()]) == [[]]


WAITING = sorted(PAIRS.keys() - {"program", "hologram_call", "tool_search_call"})


@pytest.mark.parametrize("call_type", WAITING)
def test_a_call_without_its_output_is_open(call_type):
    items = [user(), call("a", call_type), call("b", call_type), output("b", call_type)]
    assert open_calls(items) == [1]
    assert open_calls([*items, assistant(), output("a", call_type)]) == []


@pytest.mark.parametrize(
    "hosted",
    [
        {"type": "web_search_call", "status": "completed", "action": {}},
        {"type": "hologram_call", "call_id": "a"},
        {"type": "mcp_call", "server_label": "s", "name": "n", "arguments": "{}"},
        {"type": "program", "call_id": "a"},
        {"type": "tool_search_call", "call_id": None, "execution": "server"},
        {"type": "tool_search_call", "call_id": "a"},
        {
            "type": "shell_call",
            "call_id": "a",
            "environment": {"type": "container_reference", "container_id": "cntr_1"},
        },
    ],
    ids=lambda item: item["type"],
)
def test_a_call_that_the_api_executes_is_never_open(hosted):
    assert open_calls([user(), {"id": "x_1", **hosted}, user()]) == []


def test_a_call_that_the_client_executes_is_open():
    search = {"id": "tsc_1", "type": "tool_search_call", "call_id": "a", "execution": "client"}
    shell = {"id": "sh_1", "type": "shell_call", "call_id": "b", "environment": {"type": "local"}}
    assert open_calls([search, {**shell, "environment": None}, shell]) == [0, 1, 2]


def test_an_output_of_another_type_does_not_close_a_call():
    items = [call("a"), output("a", "custom_tool_call")]
    assert match_calls(items) == CallMatches({}, open_calls=(0,), orphans=(1,), extras=())


def test_an_output_before_its_call_does_not_close_it():
    items = [output("a"), call("a")]
    assert match_calls(items) == CallMatches({}, open_calls=(1,), orphans=(0,), extras=())


def test_calls_with_one_call_id_are_answered_once_each_the_newest_first():
    assert match_calls([call("a"), call("a"), output("a")]).open_calls == (0,)
    both = [call("a"), call("a"), output("a"), output("a")]
    assert match_calls(both) == CallMatches({2: 1, 3: 0}, (), (), ())
    assert match_calls([*both, output("a")]) == CallMatches({2: 1, 3: 0, 4: 0}, (), (), extras=(4,))
    assert match_calls([call("a"), output("a"), call("a"), output("a")]).call_of == {1: 0, 3: 2}
    assert match_calls([call("a"), output("a"), call("a")]).open_calls == (2,)


def test_an_output_belongs_to_a_call_that_waits_before_one_that_does_not():
    hosted = {"type": "container_reference", "container_id": "cntr_1"}
    items = [call("a", "shell_call"), {**call("a", "shell_call"), "environment": hosted}]
    matches = match_calls([*items, output("a", "shell_call")])
    assert (matches.call_of, matches.open_calls) == ({2: 0}, ())


def test_the_output_of_a_search_by_the_api_is_no_orphan():
    found = {"id": "tso_1", "type": "tool_search_output", "call_id": None, "tools": []}
    assert match_calls([found, output("a", "hologram_call")]) == CallMatches({}, (), (), ())
    assert match_calls([{**found, "call_id": "a"}]).orphans == ()
    assert match_calls([{**found, "call_id": "a", "execution": "client"}]).orphans == (0,)


def test_what_the_api_has_found_does_not_close_a_search_by_the_client():
    search = {"id": "tsc_1", "type": "tool_search_call", "call_id": "a", "execution": "client"}
    found = {"id": "tso_1", "type": "tool_search_output", "call_id": "a", "tools": []}
    assert open_calls([search, found]) == [0]
    assert open_calls([search, {**found, "execution": "client"}]) == []


@given(interleaved)
def test_an_output_for_each_open_call_leaves_none_open(items):
    kinds = {"mcp_approval_request": "id"}
    missing = [
        output(items[place][kinds.get(items[place]["type"], "call_id")], items[place]["type"])
        for place in open_calls(items)
    ]
    assert open_calls([*items, *missing]) == []
    assert match_calls([*items, *missing]).extras == match_calls(items).extras


def _typed(kinds):
    return [
        {
            "u": {"role": "user", "content": "?"},
            "a": {"role": "assistant", "content": "!"},
            "r": {"type": "reasoning", "summary": [], "encrypted_content": "x"},
            "c": {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
            "o": {"type": "function_call_output", "call_id": "1", "output": "x"},
            "C": {"type": "function_call", "call_id": "2", "name": "f", "arguments": "{}"},
            "O": {"type": "function_call_output", "call_id": "2", "output": "x"},
        }[kind]
        for kind in kinds
    ]


@pytest.mark.parametrize(
    ("before", "items", "kept"),
    [
        ("", "urcoa", "urcoa"),
        ("", "ura", "ura"),
        ("", "urc", "u"),
        ("", "ur", "u"),
        ("", "urr", "u"),
        ("", "urrco", "urrco"),
        ("", "uru", "uu"),
        ("", "uro", "u"),
        ("", "urCcoa", "urcoa"),
        ("", "urcCoa", "urcoa"),
        ("", "urCrcoa", "urcoa"),
        ("", "uroa", "ua"),
        ("", "urCoca", "ua"),
        ("", "urcua", "uua"),
        ("", "urOcoa", "ucoa"),
        ("c", "oa", "oa"),
        ("c", "Oa", "a"),
        ("co", "ua", "ua"),
        ("", "", ""),
    ],
)
def test_complete_items_leave_nothing_open(before, items, kept):
    places = complete_items(_typed(before), _typed(items), is_whole=True)
    assert kept == "".join(items[place] for place in places)


def test_an_output_is_complete_if_its_call_may_precede_the_items():
    assert [0] == complete_items([], _typed("o"), is_whole=False)
    assert [] == complete_items([], _typed("o"), is_whole=True)
