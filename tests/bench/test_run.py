"""A short run on a socket: the same program as `make bench`, and as `make profile`."""

import asyncio
import gc
from contextlib import closing

import pytest

from tools.bench.__main__ import main
from tools.bench.bare import BareClient
from tools.bench.document import PICTURE
from tools.bench.measuring import WrongResultError, measure
from tools.bench.profile import main as profile
from tools.bench.results import RESULTS, load
from tools.bench.scenarios import QUICK, Scenario, scenarios
from tools.bench.server import Server
from tools.bench.server import depth as depth_of
from tools.bench.stage import staged


@pytest.fixture(autouse=True)
def little_to_collect():
    """Keep what other tests have left from the collections of garbage between repetitions."""
    gc.freeze()


@pytest.fixture(scope="module")
def server():
    with closing(Server()) as started:
        yield started


@pytest.mark.exhaustive
def test_short_run_measures_every_scenario(tmp_path, capsys):
    assert 0 == main(["--quick", "--output", str(tmp_path)])
    results = load(tmp_path / RESULTS.name)
    assert [scenario.name for scenario in scenarios(QUICK)] == results.scenarios()
    assert (tmp_path / PICTURE.name).read_text().startswith("<?xml")
    assert {("sdk", 6, 6), ("floor", 2, 2)} <= {
        (row.side, row.requests, row.depth) for row in results.rows if row.scenario == "cold read of 120"
    }
    assert all(min(row.wall_ms, row.cpu_ms, row.server_cpu_ms, row.peak_kb) > 0 for row in results.rows)
    assert "10 ms a request" in capsys.readouterr().out


def test_unknown_scenario_is_refused():
    with pytest.raises(SystemExit, match="no scenario is called 'tea'"):
        main(["--only", "tea"])


@pytest.mark.exhaustive
def test_wrong_result_ends_the_run(server):
    """What is fast and wrong is not measured; nor is a bare client that gets too little."""

    async def prepare(stage, side):
        history = await stage.history(10)
        return side.open(history.conversation_id).get_items

    async def run():
        scenario = Scenario(name="a read", prepare=prepare, is_right=lambda items: len(items) == 11)
        async with staged(server) as stage:
            with pytest.raises(WrongResultError, match="ours: a read"):
                await anext(measure(stage, scenario, delays=[0], repeats=1))
            with pytest.raises(RuntimeError, match="expected 20 items, got 10"):
                await BareClient.read_newest(stage.bare, await stage.history(10), 20)

    asyncio.run(run())


@pytest.mark.exhaustive
@pytest.mark.parametrize(("read", "depth"), [("read_from_both_ends", 3), ("read_at_once", 1)])
def test_bare_client_reads_as_fast_as_can_be(server, read, depth):
    """Of four pages, the first goes alone where nothing is known, and then two at a time."""

    async def run():
        async with staged(server) as stage:
            history = await stage.history(350)
            await stage.bare.warm_up(4)
            server.delay(0.05)
            await getattr(stage.bare, read)(history)
            return server.delay(0).exchanges

    exchanges = asyncio.run(run())
    assert (4, depth) == (len(exchanges), depth_of(exchanges))


@pytest.mark.exhaustive
def test_profile_names_the_packages(capsys):
    assert 0 == profile(["--items", "20", "--repeats", "1"])
    shown = capsys.readouterr().out
    assert [] == [
        name for name in ("warm read of 20", "openai_sessions", "HTTP", "asyncio") if name not in shown
    ]
