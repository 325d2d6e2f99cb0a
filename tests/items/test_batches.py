"""Requests of at most 20 items."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_sessions._items.turns import batches


def users(count: int) -> list[dict]:
    return [{"role": "user", "content": str(number)} for number in range(count)]


def call(key: str) -> dict:
    return {"type": "function_call", "call_id": key, "name": "f", "arguments": "{}"}


def output(key: str) -> dict:
    return {"type": "function_call_output", "call_id": key, "output": "1"}


def sizes(items: list[dict]) -> list[int]:
    return [len(batch) for batch in batches(items, 20, 10_000)]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, []), (1, [1]), (20, [20]), (21, [20, 1]), (45, [20, 20, 5]), (200, [20] * 10)],
)
def test_unrelated_items_fill_each_request(count, expected):
    assert sizes(users(count)) == expected


def test_a_call_and_its_output_stay_together():
    assert sizes([*users(19), call("c"), output("c")]) == [19, 2]


def test_parallel_calls_and_their_outputs_stay_together():
    keys = "abcde"
    assert sizes([*users(15), *map(call, keys), *map(output, keys), *users(5)]) == [15, 15]


def test_reasoning_stays_with_the_next_item():
    items = [
        *users(19),
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "assistant", "content": "Hi"},
    ]
    assert sizes(items) == [19, 2]


def test_reasoning_a_call_and_its_output_stay_together():
    items = [*users(18), {"type": "reasoning", "id": "rs_1", "summary": []}, call("c"), output("c")]
    assert sizes(items) == [18, 3]


@pytest.mark.parametrize(
    ("asks", "answers"),
    [
        (
            {"type": "mcp_approval_request", "id": "mcpr_1"},
            {"type": "mcp_approval_response", "approval_request_id": "mcpr_1"},
        ),
        (
            {"type": "program", "id": "p_1", "call_id": "c"},
            {"type": "program_output", "id": "po_1", "call_id": "c"},
        ),
        ({"type": "shell_call", "call_id": "c"}, {"type": "shell_call_output", "call_id": "c"}),
        (
            {"type": "local_shell_call", "id": "lsh_1", "call_id": "c"},
            {"type": "local_shell_call_output", "id": "c"},
        ),
        ({"type": "hologram_call", "call_id": "c"}, {"type": "hologram_call_output", "call_id": "c"}),
    ],
)
def test_every_kind_of_call_stays_with_its_output(asks, answers):
    assert sizes([*users(19), asks, answers]) == [19, 2]


def test_a_group_of_over_20_items_is_split_between_the_fewest_pairs():
    """Eleven calls and their outputs are 22 items: two requests, and at least two separated pairs."""
    keys = "abcdefghijk"
    requests = batches([*map(call, keys), *map(output, keys)], 20, 10_000)
    assert [len(request) for request in requests] == [20, 2]
    assert torn(requests) == 2


def test_a_call_stays_with_its_output_despite_an_item_between_them():
    assert sizes([*users(18), call("c"), *users(1), output("c")]) == [18, 3]


def test_another_request_is_made_rather_than_a_pair_separated():
    """Twenty items that belong together are between items that would fill their request."""
    keys = "abcdefghij"
    assert sizes([*users(1), *map(call, keys), *map(output, keys), *users(19)]) == [1, 20, 19]


def torn(requests: list[list[dict]]) -> int:
    place = {
        (item["type"], item["call_id"]): number
        for number, request in enumerate(requests)
        for item in request
        if "call_id" in item
    }
    return sum(
        number != place.get(("function_call_output", key), number)
        for (item_type, key), number in place.items()
        if item_type == "function_call"
    )


@given(st.lists(st.sampled_from(["user", "call", "output"]), max_size=90))
def test_batches_keep_the_order_and_never_separate_a_pair_that_fits(kinds):
    """A group of calls and outputs before the next group is separated only if it has over 20 items."""
    items, open_calls, group, groups, number = [], [], 0, [], itertools.count()
    for kind in kinds:
        if kind == "call":
            open_calls.append(f"c{next(number)}")
            items.append(call(open_calls[-1]))
        elif kind == "output" and open_calls:
            items.append(output(open_calls.pop(0)))
        else:
            items.append({"role": "user", "content": str(next(number))})
        group += 1
        if not open_calls:
            groups.append(group)
            group = 0
    requests = batches(items, 20, 10_000)
    assert [item for request in requests for item in request] == items
    assert all(1 <= len(request) <= 20 for request in requests)
    if not open_calls and all(size <= 20 for size in groups):
        assert torn(requests) == 0


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [([50, 50, 50], [2, 1]), ([50, 51], [1, 1]), ([300], [1]), ([300, 1], [1, 1]), ([1, 300, 1], [1, 1, 1])],
)
def test_requests_are_cut_by_size_and_a_larger_item_goes_alone(lengths, expected):
    around = len('{"role":"user","content":""},')
    items = [{"role": "user", "content": "x" * length} for length in lengths]
    assert [len(batch) for batch in batches(items, 20, 2 * around + 100)] == expected


def test_size_is_counted_in_bytes():
    item = {"role": "user", "content": "\u20ac" * 100}
    size = len(f"{{'role':'user','content':'{item['content']}'}},".encode())
    assert [len(batch) for batch in batches([item] * 4, 20, 2 * size)] == [2, 2]
    assert [len(batch) for batch in batches([item] * 4, 20, 2 * size - 1)] == [1, 1, 1, 1]
    assert [len(batch) for batch in batches([item] * 4, 20, 1)] == [1, 1, 1, 1]


def test_a_call_and_its_output_are_separated_only_if_they_do_not_fit():
    pair = [call("c"), {**output("c"), "output": "x" * 500}]
    assert [len(batch) for batch in batches([*users(1), *pair], 20, 700)] == [3]
    assert [len(batch) for batch in batches([*users(5), *pair], 20, 700)] == [5, 2]
    assert [len(batch) for batch in batches(pair, 20, 300)] == [1, 1]
