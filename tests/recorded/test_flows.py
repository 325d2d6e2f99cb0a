"""The flows on a server that runs, so that they cannot rot: the same code as in the recordings."""

import pytest

from tests.selection import one_in
from tests.wire import FAST
from tools.recording.flows import FLOWS, Stage, observe
from tools.recording.servers import emulator

FAULTY = [flow for flow in FLOWS if flow.faults]


@pytest.mark.parametrize("flow", one_in(3, FLOWS), ids=lambda flow: flow.name)
async def test_flow_observes_what_it_must_on_the_emulator(flow):
    with emulator(flow) as server:
        async with server.client() as client:
            assert flow.expected == await observe(flow, Stage(client, FAST))


@pytest.mark.parametrize("flow", FAULTY, ids=lambda flow: flow.name)
async def test_flow_meets_all_of_its_faults(flow, emulator):
    for planned in flow.faults:
        emulator.inject(planned.fault, operation=planned.operation, times=planned.times)
    async with emulator.client() as client:
        await observe(flow, Stage(client, FAST))
    planned = sorted(planned.fault.kind for planned in flow.faults for _ in range(planned.times))
    assert planned == sorted(request.fault for request in emulator.requests if request.fault)


@pytest.mark.parametrize("flow", [flow for flow in FAULTY if flow.retries], ids=lambda flow: flow.name)
async def test_flow_without_its_faults_is_told_from_one_with_them(flow, emulator):
    async with emulator.client() as client:
        assert flow.expected != await observe(flow, Stage(client, FAST))
