"""The model that reads are judged by takes what a reader of one page after another gives, and not more."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from hypothesis import given

from tests.wire import HTTP_FAMILY

from .changes import ORDERS, moments, sizes, some
from .sequential import could_be_sequential, is_fair
from .shelves import Shelf
from .traffic import Traffic


def labels(*spans: tuple[int, int]) -> tuple[str, ...]:
    return tuple(f"m{number}" for start, stop in spans for number in range(start, stop))


@pytest.mark.parametrize(
    ("read", "states"),
    [
        pytest.param([], [[]], id="nothing"),
        pytest.param([(0, 250)], [[(0, 250)]], id="all"),
        pytest.param([(0, 100)], [[(0, 100)]], id="one full page"),
        pytest.param([(0, 101)], [[(0, 100)], [(0, 101)]], id="the page after an append"),
        pytest.param([(0, 150)], [[(0, 150)], [(0, 160)]], id="the end before an append"),
        pytest.param([(0, 160)], [[(0, 150)], [(0, 160)]], id="the end after an append"),
        pytest.param([(0, 100)], [[(0, 150)], [(0, 100)]], id="a page that says more, and an empty one"),
        pytest.param([(0, 150)], [[(0, 150)], [(1, 150)]], id="before a deletion"),
        pytest.param([(1, 150)], [[(0, 150)], [(1, 150)]], id="after a deletion"),
        pytest.param([(0, 50)], [[(0, 150)], [(0, 50)]], id="begun again"),
    ],
)
def test_what_a_sequential_read_could_give_is_taken(read, states):
    assert could_be_sequential(labels(*read), [labels(*state) for state in states])


@pytest.mark.parametrize(
    ("read", "states"),
    [
        pytest.param([(0, 249)], [[(0, 250)]], id="the newest missing"),
        pytest.param([(0, 100), (101, 250)], [[(0, 250)]], id="one missing in the middle"),
        pytest.param([(0, 100)], [[(0, 150)]], id="an end that is none"),
        pytest.param([(0, 250), (249, 250)], [[(0, 250)]], id="one twice"),
        pytest.param([(0, 50)], [[(0, 49)], [(1, 50)]], id="one page of two moments"),
        pytest.param(
            [(0, 150), (151, 250)],
            [[(0, 250)], [(0, 249)], [(0, 150), (151, 249)]],
            id="the newer of two shown although it was deleted first",
        ),
        pytest.param(
            [(1, 150)], [[(0, 150)], [(0, 151)], [(1, 151)]], id="one missing that was added before"
        ),
        pytest.param([(0, 150)], [[(0, 99), (100, 150)]], id="what was gone before"),
    ],
)
def test_what_no_sequential_read_could_give_is_refused(read, states):
    assert not could_be_sequential(labels(*read), [labels(*state) for state in states])


def test_a_silent_restart_that_shows_nothing_known_is_taken_for_the_next_page():
    states = [labels((0, 150)), labels((150, 160))]
    assert could_be_sequential(labels((0, 100), (150, 160)), states, silent=True)
    assert not could_be_sequential(labels((0, 100), (150, 160)), states)
    assert not could_be_sequential(labels((0, 100), (0, 1)), [states[0], labels((0, 1))], silent=True)


def test_what_is_fair():
    states = [labels((0, 10)), labels((5, 12))]
    assert is_fair(labels((5, 10)), states)
    assert is_fair(labels((0, 12)), states)
    assert not is_fair(labels((6, 10)), states)
    assert not is_fair(labels((5, 10), (9, 10)), states)
    assert not is_fair(labels((6, 10), (5, 6)), states)
    assert not is_fair(labels((5, 13)), states)
    assert not is_fair(labels((5, 9), (0, 1), (9, 10)), states)
    assert is_fair(labels((5, 9), (0, 1), (9, 10)), states, silent=True)
    assert not is_fair(labels((6, 10), (5, 6)), states, silent=True)


async def page_by_page(traffic: Traffic) -> list[dict]:
    """Read as simply as can be, from a server that says 404."""
    path = f"/conversations/{traffic.shelf.conversation_id}/items"
    read: list[dict] = []
    while True:
        query = {"limit": 100, "order": "asc", **({"after": read[-1]["id"]} if read else {})}
        try:
            answer: Any = await traffic.client.get(
                path, options={"params": query}, cast_to=HTTP_FAMILY.Response
            )
        except openai.NotFoundError:  # the cursor is gone: begin again
            read = []
            continue
        page = answer.json()
        read += page["data"]
        if not (page["data"] and page["has_more"]):
            return [{"role": "user", "content": item["id"]} for item in read]


@some(60)
@given(size=sizes(), during=moments(latest=12), order=ORDERS)
async def test_a_reader_of_one_page_after_another_is_never_refused(size, during, order):
    shelf = Shelf()
    await shelf.fill(size)
    traffic = Traffic(shelf)
    reading = await traffic.play(page_by_page(traffic), order, during)
    assert could_be_sequential(reading.labels, reading.states)
    assert is_fair(reading.labels, reading.states)
