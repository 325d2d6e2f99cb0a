"""Which requests meet a fault: injected faults, random ones, and invalid arguments."""

import pytest

from openai_sessions.emulator import FAULT_KINDS, Emulator, Fault
from openai_sessions.emulator._faults import OPERATION_NAMES, FaultPlan, RandomFaults

from .wire import Wire, user

ERROR = Fault("error_500_before")
THROTTLED = Fault("throttled")


async def statuses(wire, conversation_id, *, times):
    return [(await wire.list(conversation_id))[0] for _ in range(times)]


async def test_fault_hits_the_next_request_once(emulator, wire, conversation):
    emulator.inject(ERROR)
    assert [500, 200] == await statuses(wire, conversation, times=2)


async def test_fault_hits_times_requests_after_those_that_pass(emulator, wire, conversation):
    emulator.inject(ERROR, after=1, times=2)
    assert [200, 500, 500, 200] == await statuses(wire, conversation, times=4)


async def test_fault_of_one_operation_lets_the_others_pass_and_does_not_count_them(
    emulator, wire, conversation
):
    emulator.inject(ERROR, operation="create_items", after=1)
    await wire.add_one(conversation, user("0"))
    assert [200, 200] == await statuses(wire, conversation, times=2)
    assert 500 == (await wire.add(conversation, user("1")))[0]


async def test_fault_of_one_conversation_lets_the_others_pass_and_does_not_count_them(
    emulator, wire, conversation
):
    other = await wire.new_conversation()
    emulator.inject(ERROR, after=1, conversation_id=conversation)
    assert [200, 200] == await statuses(wire, other, times=2)
    await wire.new_conversation()
    assert [200, 500] == await statuses(wire, conversation, times=2)


async def test_fault_for_any_operation_waits_for_one_that_it_fits(emulator, wire, conversation):
    emulator.inject(Fault("error_500_after_commit"))
    assert [200] == await statuses(wire, conversation, times=1)
    assert 500 == (await wire.add(conversation, user("0")))[0]
    assert ["0"] == await wire.texts(conversation)


async def test_faults_count_requests_independently(emulator, wire, conversation):
    """A request that meets one of them counts for the others as passed."""
    emulator.inject(ERROR, after=2)
    emulator.inject(THROTTLED, after=1)
    emulator.inject(Fault("quota"))
    assert [429, 429, 500, 200] == await statuses(wire, conversation, times=4)
    assert ["quota", "throttled", "error_500_before", None] == [
        request.fault for request in emulator.requests[1:]
    ]


async def test_fault_that_was_injected_second_hits_the_next_request(emulator, wire, conversation):
    emulator.inject(ERROR)
    emulator.inject(THROTTLED)
    assert [500, 429, 200] == await statuses(wire, conversation, times=3)


async def test_cleared_faults_hit_nothing(emulator, wire, conversation):
    emulator.inject(ERROR)
    emulator.inject_at_random(1, seed=0)
    emulator.clear_faults()
    assert [200] == await statuses(wire, conversation, times=1)


async def random_statuses(*, seed, rate=0.5):
    with Emulator() as emulator:
        emulator.inject_at_random(rate, seed=seed, faults=[ERROR, THROTTLED], operations=["list_items"])
        wire = Wire(emulator)
        return await statuses(wire, await wire.new_conversation(), times=40)


async def test_same_seed_makes_the_same_faults():
    first, second, other = [await random_statuses(seed=seed) for seed in (1, 1, 2)]
    assert first == second
    assert first != other
    assert {200, 429, 500} == set(first)


@pytest.mark.parametrize(("rate", "expected"), [(0, {200}), (1, {429, 500})])
async def test_rate_is_a_probability(rate, expected):
    assert expected == set(await random_statuses(seed=0, rate=rate))


def test_rate_is_met():
    plan = FaultPlan()
    plan.add(RandomFaults(0.2, seed=0, faults=None, operations=None))
    drawn = [plan.draw("list_items", "conv_1") for _ in range(10_000)]
    assert 0.19 < sum(fault is not None for fault in drawn) / len(drawn) < 0.21


def test_random_faults_are_all_kinds_that_apply_and_no_others():
    plan = FaultPlan()
    plan.add(RandomFaults(1, seed=0, faults=None, operations=None))
    drawn = {name: {plan.draw(name, "conv_1").kind for _ in range(500)} for name in OPERATION_NAMES}
    assert drawn == {
        name: {kind for kind in FAULT_KINDS if Fault(kind).fits(name)} for name in OPERATION_NAMES
    }
    assert set().union(*drawn.values()) == set(FAULT_KINDS)


async def test_random_faults_keep_to_their_operations(emulator, wire, conversation):
    emulator.inject_at_random(1, seed=0, faults=[ERROR], operations=["create_items"])
    assert [200] == await statuses(wire, conversation, times=1)
    assert 500 == (await wire.add(conversation, user("0")))[0]


async def test_random_faults_skip_operations_that_none_applies_to(emulator, wire, conversation):
    emulator.inject_at_random(1, seed=0, faults=[Fault("empty_page")])
    await wire.add_one(conversation, user("0"))
    assert [] == await wire.texts(conversation)


async def test_injected_and_random_faults_apply_in_order(emulator, wire, conversation):
    emulator.inject(Fault("quota"))
    emulator.inject_at_random(1, seed=0, faults=[ERROR])
    emulator.inject(THROTTLED)
    assert [429, 500, 500] == await statuses(wire, conversation, times=3)
    assert "quota" == emulator.requests[1].fault


def test_commit_faults_apply_to_writes_and_page_faults_to_lists():
    writes = [name for name in OPERATION_NAMES if Fault("late_commit").fits(name)]
    assert {"create_conversation", "update_conversation", "delete_conversation"} < set(writes)
    assert {"create_items", "delete_item"} < set(writes)
    assert {"create_response", "delete_response", "cancel_response"} < set(writes)
    assert {"create_file", "delete_file"} < set(writes)
    assert 10 == len(writes)
    assert ["list_items"] == [name for name in OPERATION_NAMES if Fault("stale_page").fits(name)]
    assert not Fault("locked").fits("create_conversation")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("cut",), {}, "Unknown fault kind 'cut'; the kinds are cut_before, "),
        (("quota",), {"retry_after": 1}, "retry_after applies to 'throttled' faults only, not to 'quota'"),
        (("throttled",), {"retry_after": -1}, "retry_after must be at least 0 seconds, not -1"),
        (("late_commit",), {"delay": -0.1}, "delay must be at least 0 seconds, not -0.1"),
        (("cut_mid_stream",), {"after_events": -1}, "after_events must be at least 0, not -1"),
        (("cut_before",), {"after_events": 0}, "after_events applies to cut_mid_stream, .* not to 'cut_b"),
        (("stall",), {"inside_event": True}, "inside_event applies to cut_mid_stream, .* not to 'stall'"),
    ],
)
def test_invalid_fault_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        Fault(*arguments, **options)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("stale_page", {"operation": "create_items"}, "'stale_page' fault does not apply to create_items"),
        ("late_commit", {"operation": "list_items"}, "'late_commit' fault does not apply to list_items"),
        (
            "stall",
            {"operation": "list"},
            "Unknown operation 'list'; the operations are create_conversation, ",
        ),
        ("stall", {"after": -1}, "not -1 and 1"),
        ("stall", {"times": 0}, "not 0 and 0"),
        (
            "stall",
            {"operation": "create_conversation", "conversation_id": "conv_1"},
            "create_conversation has no conversation_id to match",
        ),
    ],
)
def test_invalid_injection_is_refused(emulator, kind, options, message):
    with pytest.raises(ValueError, match=message):
        emulator.inject(Fault(kind), **options)


@pytest.mark.parametrize(
    ("rate", "options", "message"),
    [
        (1.5, {}, "from 0 to 1, not 1.5"),
        (-0.1, {}, "from 0 to 1, not -0.1"),
        (0.5, {"operations": ["list"]}, "Unknown operation 'list'"),
        (0.5, {"faults": []}, "None of the faults applies"),
        (0.5, {"faults": [Fault("stale_page")], "operations": ["create_items"]}, "None of the faults"),
    ],
)
def test_invalid_random_injection_is_refused(emulator, rate, options, message):
    with pytest.raises(ValueError, match=message):
        emulator.inject_at_random(rate, seed=0, **options)


async def test_unmet_faults_are_those_that_no_request_has_met(emulator, wire):
    for kind, operation in (("quota", "create_conversation"), ("locked", "create_items")):
        emulator.inject(Fault(kind), operation=operation, times=2)
    emulator.inject_at_random(0.0, seed=1)
    assert ["quota", "locked"] == [fault.kind for fault in emulator.unmet_faults]
    await wire.post("/conversations", {})
    assert ["locked"] == [fault.kind for fault in emulator.unmet_faults]
    emulator.clear_faults()
    assert () == emulator.unmet_faults
