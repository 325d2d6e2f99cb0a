"""What a run of several processes sees in the histories that they leave."""

import pytest

from tools.chaos.report import workers_table
from tools.chaos.workers import User, WorkersResult, try_workers

TEXTS = ["0.0/0", "0.0/1", "0.0/2"]


@pytest.mark.parametrize(
    ("stored", "late", "found"),
    [
        (TEXTS, {}, {}),
        (TEXTS[:2], {}, {"deleted": 1}),
        ([], {}, {"deleted": 3}),
        ([*TEXTS, TEXTS[1]], {}, {"duplicated": 1}),
        ([*TEXTS, *TEXTS], dict.fromkeys(TEXTS, 1), {"late": 3}),
        ([*TEXTS, *TEXTS, *TEXTS], dict.fromkeys(TEXTS, 1), {"late": 3, "duplicated": 3}),
        ([TEXTS[1], TEXTS[0], TEXTS[2]], {}, {"out_of_order": 1}),
        (["1.0/0", TEXTS[0], "1.0/1", *TEXTS[1:]], {}, {}),
    ],
)
def test_history_is_judged(stored, late, found):
    result = WorkersResult()
    user = User(0, 0, [], None, result)
    user._written, user._calls = TEXTS, [TEXTS]
    user.judge(stored, late)
    expected = {"deleted": 0, "duplicated": 0, "late": 0, "out_of_order": 0, **found}
    assert expected == {name: getattr(result, name) for name in expected}
    assert result.is_right == (set(found) <= {"late"})


@pytest.mark.exhaustive
def test_no_item_of_another_process_is_deleted(capfd):
    for kind in ("ours", "aiohttp"):
        result = try_workers(kind, writes=3, seed=5, rate=0.3)
        assert result.is_right, (result, capfd.readouterr())
        assert result.writes == 24


@pytest.mark.exhaustive
def test_the_run_can_see_what_goes_wrong():
    result = try_workers("sdk", writes=3, seed=5, rate=0.3)
    assert not result.is_right
    assert "| items duplicated |" in "\n".join(workers_table({"sdk": result}))
