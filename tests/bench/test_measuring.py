"""Medians."""

import pytest

from tools.bench.measuring import Sample, summary
from tools.bench.scenarios import Scenario, pop


async def prepare(stage, side):
    raise NotImplementedError


def samples(*walls, depths=(6, 6, 7)):
    return [
        Sample(wall=wall, cpu=wall / 10, server_cpu=wall / 100, requests=11, depth=depth)
        for wall, depth in zip(walls, depths, strict=False)
    ]


def test_summary_is_the_median():
    """One repetition that something else has held up does not count."""
    row = summary(pop(), "ours", delay=0.1, samples=samples(0.5, 0.4, 9.0), peak=1_234_567)
    assert ("pop", "ours", 100.0, 3) == (row.scenario, row.side, row.delay_ms, row.repeats)
    assert (500.0, 50.0, 5.0) == (row.wall_ms, row.cpu_ms, row.server_cpu_ms)
    assert (11, 6, 1235, None) == (row.requests, row.depth, row.peak_kb, row.turns_per_second)


def test_summary_has_no_depth_where_none_was_told():
    row = summary(pop(), "ours", delay=0, samples=samples(0.5, 0.4, depths=(None, None)), peak=0)
    assert row.depth is None


def test_summary_counts_turns_by_the_second():
    scenario = Scenario(name="turns", prepare=prepare, sessions=500)
    assert 250.0 == summary(scenario, "ours", delay=0, samples=samples(2.0), peak=0).turns_per_second


@pytest.mark.parametrize(("sessions", "expected"), [(1, 16), (5, 5), (500, 100)])
def test_connections_are_open_for_what_is_sent_at_once(sessions, expected):
    """A client keeps no more than a hundred."""
    assert expected == Scenario(name="turns", prepare=prepare, sessions=sessions).connections
