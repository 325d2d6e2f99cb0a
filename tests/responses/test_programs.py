"""Programs of four frameworks whose replies are lost: each turn is stored once, and its tool runs once."""

import pytest

from openai_sessions.emulator import Fault

from .stage import AGENTS, OTHERS, PLAIN, WHOLE, agents_run, events, plain

FAULTS = [
    "cut_before",
    "cut_after_commit",
    "late_commit",
    "error_500_after_commit",
    "truncated_body",
    "not_json",
    "stall_after_commit",
    "locked",
    "cut_mid_stream_after_commit",
]


REST = [*PLAIN[1:4], *PLAIN[5:], *OTHERS]
"""The programs that `make test-all` runs on a server without faults."""


def fault_of(kind):
    return Fault(kind, delay=0) if kind == "late_commit" else Fault(kind)


@pytest.mark.parametrize("program", PLAIN[:1] + AGENTS, ids=lambda program: program.__name__)
async def test_a_program_whose_reply_is_lost(stage, program):
    stage.script()
    stage.emulator.inject(Fault("cut_after_commit"), operation="create_response", times=2)
    stage.emulator.forget_requests()
    assert "It is 5." == await program(stage, stage.session.client())
    assert WHOLE == stage.stored
    assert [(2, 3)] == stage.added
    sent_and_found = ["create_response", "list_items"]
    assert ["list_items", *sent_and_found, *sent_and_found] == stage.operations


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")  # the frameworks'
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("program", [plain, events, *AGENTS, *OTHERS])
async def test_every_program_at_every_fault(stage, program, kind):
    stage.script()
    stage.emulator.inject(fault_of(kind), operation="create_response", times=2)
    assert "It is 5." == await program(stage, stage.session.client())
    assert WHOLE == stage.stored
    assert [(2, 3)] == stage.added


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["cut_after_commit", "truncated_body"])
@pytest.mark.parametrize("program", PLAIN)
async def test_every_way_to_call_openai(stage, program, kind):
    await test_every_program_at_every_fault(stage, program, kind)


@pytest.mark.filterwarnings("ignore")  # the frameworks'
@pytest.mark.parametrize(
    "program",
    [plain, events, *AGENTS, *(pytest.param(program, marks=pytest.mark.exhaustive) for program in REST)],
    ids=lambda program: program.__name__,
)
async def test_no_request_is_added_but_the_look_before_the_turn(stage, program):
    stage.script()
    stage.emulator.forget_requests()
    assert "It is 5." == await program(stage, stage.session.client())
    assert WHOLE == stage.stored
    assert ["list_items", "create_response", "create_response"] == stage.operations


@pytest.mark.parametrize("program", [pytest.param(plain, marks=pytest.mark.exhaustive), agents_run])
async def test_with_the_bare_client_the_turn_is_stored_twice(stage, program):
    stage.emulator.inject(Fault("cut_after_commit"), operation="create_response")
    await program(stage, stage.client)
    assert ["user", "assistant"] * 2 == stage.stored
