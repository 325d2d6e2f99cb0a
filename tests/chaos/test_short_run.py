"""A short run on a socket, with every fault: the same program as `make chaos`."""

import pytest

from tools.chaos.__main__ import main, try_kind
from tools.chaos.running import Plan

PLAN = Plan(operations=120, rooms=20, tasks=2, burst=3)


@pytest.mark.exhaustive
def test_nothing_is_lost_doubled_or_left_behind(capfd):
    arguments = ["--operations", "100", "--only", "ours", "--seed", "5", "--conversations", "12"]
    assert 0 == main([*arguments, "--turns", "0"]), capfd.readouterr().out


@pytest.mark.exhaustive
def test_the_run_can_see_what_goes_wrong():
    """The Agents SDK's class is not made for such a server, and its run shows it."""
    assert try_kind("sdk", PLAN, 0.2).violations
