"""The table of what is to be reached."""

import pytest

from tests.bench.samples import results
from tools.bench.targets import targets

MISSED = {
    "cold read of 990": (800, 5300, 620),
    "cold read of 5,000": (3200, 26500, 2700),
    "warm read of 990": (200, 5300, 120),
    "append of 200": (1100, 1030, 1000),
    "a turn of each of 500": (3000, 4000, None),
    "first turn of each of 500": (3000, 4000, None),
}


def test_every_target_is_in_the_table():
    assert [
        ("cold read of 990", "SDK", "8.2"),
        ("cold read of 990", "depth", "6"),
        ("cold read of 990", "floor, 6 round trips", "1.05"),
        ("cold read of 5,000", "SDK", "9.1"),
        ("warm read of 990", "SDK", "35.3"),
        ("warm read of 990", "depth", "1"),
        ("warm read of 990", "floor, 1 round trip", "1.25"),
        ("CPU of a cold read of 990", "SDK", "7.0"),
        ("CPU of a cold read of 990", "floor", "1.43"),
        ("CPU of a warm read of 990", "SDK", "7.0"),
        ("CPU of a warm read of 990", "floor", "1.43"),
        ("a turn of each of 500", "SDK", "2.0"),
        ("first turn of each of 500", "SDK", "2.0"),
        ("append of 200", "SDK", "0.99 × its time"),  # noqa: RUF001 - the sign of multiplication is meant
        ("append of 200", "depth", "10"),
    ] == [(target.what, target.against, target.measured) for target in targets(results())]


def test_targets_are_reached():
    assert [] == [target for target in targets(results()) if not target.is_reached]


@pytest.mark.parametrize("scenario", MISSED)
def test_target_that_is_missed_says_so(scenario):
    missed = [target for target in targets(results({scenario: MISSED[scenario]})) if not target.is_reached]
    assert {scenario} == {target.what for target in missed}


def test_targets_of_what_was_not_measured_are_left_out():
    assert [] == targets(results(rows=()))
