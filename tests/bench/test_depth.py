"""How deep the requests of an operation are."""

import pytest

from tools.bench.delayed import Exchange
from tools.bench.depth import depth, depth_of_each

CONVERSATION = "/v1/conversations/conv_1"


def exchanges(*spans, path=f"{CONVERSATION}/items"):
    return [Exchange("GET", path, started, ended) for started, ended in spans]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, 1), (1, 2), (2, 3)], 3),
        ([(0, 1), (0.1, 1.1), (0.2, 1.2)], 1),
        ([(0, 1), (1.1, 2), (1.2, 2.1), (2.2, 3), (2.3, 3.1)], 3),
        ([(0, 10), (1, 2), (3, 4)], 2),
        ([(3, 4), (0, 1), (1, 2)], 3),
    ],
    ids=["none", "one", "chain", "at once", "one, then pairs", "beside a long one", "in any order"],
)
def test_depth_is_of_the_longest_chain(spans, expected):
    assert expected == depth(exchanges(*spans))


def test_depth_of_each_does_not_join_conversations():
    """One conversation's request after another's waited for nothing."""
    others = exchanges((2, 3), (4, 5), path="/v1/conversations/conv_2/items/msg_1")
    assert 2 == depth_of_each([*exchanges((0, 1)), *others])


def test_depth_of_each_is_unknown_where_a_conversation_is_created():
    assert depth_of_each([*exchanges((0, 1), path="/v1/conversations"), *exchanges((1, 2))]) is None
