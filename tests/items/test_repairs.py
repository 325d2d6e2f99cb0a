"""What is wrong with a history, and what would repair it; what cannot be deleted or replaced alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openai_sessions._items.forms import sent_form
from openai_sessions._items.repairs import (
    NOT_ANSWERED,
    NOT_COMPLETED,
    RepairReport,
    missing_partners,
    plan_closing,
    plan_repair,
    repaired,
    torn_by_replacing,
    unsound,
)
from openai_sessions._items.turns import match_calls, open_calls
from openai_sessions.emulator._items import prepare_items
from openai_sessions.emulator._responses._operations import _check_approvals, _check_calls, _check_reasoning
from tests.selection import examples
from tests.turns.histories import assistant, call, ids, interleaved, message, output, reasoning, user

listed = interleaved.filter(lambda items: len({*ids(items)}) == len(items))
"""Histories as a listing has them: no id is there twice."""


def carried_out(items, plan):
    """Return a history after its repair."""
    kept = [item for item in items if item["id"] not in plan.removed]
    written = [{"id": f"new_{number}", **item} for number, item in enumerate(plan.outputs)]
    return [*kept, *written]


def problems(items):
    """Return each finding as its problem, the position of its item, and its remedy."""
    found = plan_repair(items).findings
    return [(each.problem, ids(items).index(each.item_id), each.remedy) for each in found]


def test_a_sound_history_has_no_findings():
    items = [message("system", "s"), user(), reasoning(), call("a"), output("a"), assistant(), user()]
    assert plan_repair(items) == plan_repair([])
    assert problems(items) == []


def test_a_call_of_the_newest_turn_is_closed():
    items = [user(), reasoning(), call("a"), call("b"), output("b")]
    assert problems(items) == [("call without output", 2, "close")]
    assert plan_repair(items).outputs == (
        {"type": "function_call_output", "call_id": "a", "output": NOT_COMPLETED},
    )
    assert plan_repair(items).removed == ()


def test_calls_are_closed_in_their_order():
    items = [user(), call("a"), call("b"), assistant(), call("c", "custom_tool_call")]
    assert [item["call_id"] for item in plan_repair(items).outputs] == ["a", "b", "c"]


def test_a_call_of_a_history_without_a_user_message_is_closed():
    assert problems([call("a")]) == [("call without output", 0, "close")]


def test_a_call_further_back_is_removed_with_reasoning_that_led_to_nothing_else():
    items = [user(), reasoning(), call("a"), user(), assistant()]
    assert problems(items) == [
        ("reasoning without result", 1, "remove"),
        ("call without output", 2, "remove"),
    ]
    assert plan_repair(items).removed == tuple(ids(items[1:3]))


@pytest.mark.parametrize(
    "results", [[call("a"), call("b"), output("b")], [assistant(), call("a")], [call("a"), assistant()]]
)
def test_reasoning_that_led_to_something_else_stays(results):
    items = [user(), reasoning(), reasoning(), *results, user()]
    assert [problem for problem, *_ in problems(items)] == ["call without output"]


def test_reasoning_before_other_reasoning_goes_with_its_own_call():
    items = [user(), reasoning(), call("a"), reasoning(), call("b"), output("b"), user()]
    assert plan_repair(items).removed == tuple(ids(items[1:3]))


@pytest.mark.parametrize(
    "follower",
    [
        [],
        [user()],
        [output("a")],
        [message("developer", "d")],
        [{"id": "at_1", "type": "additional_tools", "role": "developer", "tools": []}],
    ],
)
@pytest.mark.parametrize("encrypted", [None, "secret"])
def test_reasoning_that_led_to_nothing_is_removed(follower, encrypted):
    items = [
        user(),
        call("a"),
        reasoning(encrypted),
        reasoning(encrypted),
        *follower,
        output("a"),
        assistant(),
    ]
    if not follower:
        items = items[:4]
    assert [place for problem, place, _ in problems(items) if problem == "reasoning without result"] == [2, 3]


def test_reasoning_may_lead_to_what_a_search_by_the_api_has_found():
    found = {"id": "tso_1", "type": "tool_search_output", "call_id": None, "tools": []}
    assert problems([user(), reasoning(), found, assistant()]) == []


def test_an_output_without_its_call_is_removed():
    items = [user(), output("a"), call("a"), output("b", "hologram_call"), output("a", "custom_tool_call")]
    assert problems(items) == [
        ("output without call", 1, "remove"),
        ("call without output", 2, "close"),
        ("output without call", 4, "remove"),
    ]


def test_the_first_of_several_outputs_stays():
    items = [user(), call("a"), output("a"), assistant(), output("a")]
    assert problems(items) == [("second output", 4, "remove")]


def test_an_approval_that_nobody_answered_is_refused():
    items = [user(), call("mcpr_1", "mcp_approval_request")]
    items[1]["id"] = "mcpr_1"
    assert problems(items) == [("approval not answered", 1, "close")]
    assert plan_repair(items).outputs == (
        {
            "type": "mcp_approval_response",
            "approval_request_id": "mcpr_1",
            "approve": False,
            "reason": NOT_ANSWERED,
        },
    )
    assert problems([*items, user()]) == [("approval not answered", 1, "remove")]


def test_the_call_of_a_computer_is_removed_with_its_reasoning():
    """A picture of the screen cannot be invented."""
    items = [user(), reasoning(), call("a", "computer_call")]
    assert plan_repair(items).removed == tuple(ids(items[1:]))
    assert plan_repair(items).outputs == ()


CALLS = {
    "function_call": {},
    "custom_tool_call": {},
    "local_shell_call": {},
    "shell_call": {"environment": {"type": "local"}},
    "apply_patch_call": {},
    "tool_search_call": {"execution": "client"},
}


@pytest.mark.parametrize("call_type", CALLS)
def test_the_api_stores_each_output_that_closes_a_call(call_type):
    items = [user(), {**call("a", call_type), **CALLS[call_type]}]
    plan = plan_repair(items)
    assert open_calls(carried_out(items, plan)) == []
    assert plan.removed == ()
    assert [sent_form(item) for item in plan.outputs] == list(plan.outputs)
    prepare_items(list(plan.outputs), new_id=lambda prefix: f"{prefix}_1", accept_unknown_types=False)


def test_an_output_has_the_caller_of_its_call():
    caller = {"type": "program", "caller_id": "call_p"}
    (written,) = plan_repair([user(), {**call("a"), "caller": caller}]).outputs
    assert written["caller"] == caller


def test_two_calls_of_a_local_shell_with_one_call_id_get_one_output():
    """The API wants an id with it, which must not be there twice."""
    items = [user(), call("a", "local_shell_call"), call("a", "local_shell_call")]
    plan = plan_repair(items)
    assert (len(plan.outputs), len(plan.removed)) == (1, 1)
    assert plan_repair(carried_out(items, plan)).findings == ()


def test_a_call_without_a_call_id_is_removed():
    items = [user(), {"id": "fc_1", "type": "function_call", "name": "n", "arguments": "{}"}]
    assert plan_repair(items).removed == ("fc_1",)


@settings(max_examples=examples(100))
@given(listed)
def test_a_repair_leaves_nothing_to_repair_and_removes_nothing_sound(items):
    plan = plan_repair(items)
    after = carried_out(items, plan)
    assert open_calls(after) == []
    assert plan_repair(after) == plan_repair([])
    _check_calls(after)
    _check_approvals(after)
    if not any(item["type"] in ("hologram_call", "program") for item in items):  # no outputs to the emulator
        _check_reasoning(after)
    assert {each.item_id for each in plan.findings if each.remedy == "remove"} == set(plan.removed)
    assert list(plan.removed) == [item_id for item_id in ids(items) if item_id in plan.removed]
    assert not any(item["id"] in plan.removed for item in items if item["type"] == "message")
    matches = match_calls(items)
    assert not any(
        items[call]["id"] in plan.removed
        for output, call in matches.call_of.items()
        if output not in matches.extras
    )


@given(listed)
def test_closing_the_newest_items_leaves_what_precedes_them(newest):
    plan = plan_closing(newest)
    assert not {each.problem for each in plan.findings} & {"output without call", "second output"}
    assert set(plan.removed) <= set(ids(newest))
    assert open_calls(carried_out(newest, plan)) == []


def test_a_call_and_its_outputs_are_deleted_together():
    items = [user(), call("a"), output("a"), output("a"), assistant()]
    assert missing_partners(items, set(ids(items[1:2]))) == ids(items[2:4])
    assert missing_partners(items, set(ids(items[2:3]))) == []
    assert missing_partners(items, set(ids(items[2:4]))) == ids(items[1:2])
    assert missing_partners(items, set(ids(items[1:4]))) == []
    assert missing_partners(items, {items[0]["id"], items[4]["id"]}) == []


def test_a_search_by_the_api_and_what_it_found_are_deleted_together():
    search = {"id": "tsc_1", "type": "tool_search_call", "call_id": None, "execution": "server"}
    found = {"id": "tso_1", "type": "tool_search_output", "call_id": None, "tools": []}
    assert missing_partners([user(), search, found], {"tsc_1"}) == ["tso_1"]
    assert missing_partners([user(), search, found], {"tso_1"}) == ["tsc_1"]


def test_reasoning_and_what_it_led_to_are_deleted_together():
    items = [user(), reasoning(), call("a"), call("b"), output("a"), output("b"), assistant()]
    assert missing_partners(items, {items[1]["id"]}) == ids(items[2:6])
    assert missing_partners(items, {items[2]["id"]}) == [items[4]["id"]]
    assert missing_partners(items, {items[2]["id"], items[3]["id"]}) == [
        items[1]["id"],
        items[4]["id"],
        items[5]["id"],
    ]


def test_reasoning_that_led_to_nothing_is_deleted_alone():
    items = [user(), reasoning(), user(), assistant()]
    assert missing_partners(items, {items[1]["id"]}) == []


@given(listed, st.sets(st.integers(0, 13)))
def test_what_is_deleted_with_its_partners_adds_no_finding(items, places):
    given_ids = {item["id"] for place, item in enumerate(items) if place in places}
    deleted = given_ids | set(missing_partners(items, given_ids))
    assert missing_partners(items, deleted) == []
    left = [item for item in items if item["id"] not in deleted]
    before = {items[place]["id"] for place in unsound(items)}
    after = {left[place]["id"] for place in unsound(left)}
    assert after <= before


def test_an_output_is_replaced_by_an_output_of_the_same_call():
    items = [user(), call("a"), output("a"), assistant()]
    assert torn_by_replacing(items, 2, output("a")) == []
    assert torn_by_replacing(items, 2, output("b")) == ids(items[1:3])
    assert torn_by_replacing(items, 1, assistant()) == [items[2]["id"]]
    assert torn_by_replacing(items, 0, call("b")) == [items[0]["id"]]
    assert torn_by_replacing(items, 0, user("other")) == []


def test_reasoning_that_has_only_its_id_is_not_separated_from_what_it_led_to():
    items = [user(), reasoning(), assistant(), user()]
    assert torn_by_replacing(items, 0, user()) == [items[1]["id"]]
    assert torn_by_replacing(items, 2, assistant()) == [items[1]["id"]]
    assert torn_by_replacing(items, 3, user()) == []
    encrypted = [user(), reasoning("secret"), assistant(), user()]
    assert torn_by_replacing(encrypted, 0, user()) == []
    assert torn_by_replacing(encrypted, 2, user()) == [encrypted[1]["id"]]


def test_a_report_in_words():
    items = [
        user(),
        {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"},
        {"id": "rs_1", "type": "reasoning", "summary": []},
    ]
    report = RepairReport("conv_1", plan_repair(items).findings)
    assert str(report) == (
        "conv_1:\n"
        "  function_call fc_1 (look_up, call_1) has no output: repair() closes it\n"
        "  reasoning rs_1 led to nothing that is stored: repair() removes it"
    )
    assert not report.is_sound
    done = repaired(report, appended=["fco_1"], deleted=["rs_1"])
    assert done.is_sound
    assert str(done).endswith(
        "has no output: closed\n  reasoning rs_1 led to nothing that is stored: removed"
    )
    assert str(RepairReport(None)) == "an unused session: nothing to repair"
    assert RepairReport("conv_1").is_sound
