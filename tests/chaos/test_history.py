"""What is judged wrong, and what is not."""

import pytest

from tools.chaos.judging import Wrong, judge

from .histories import add, operation


def wrongs(operations, stored):
    conversations = stored if isinstance(stored, dict) else {"conv_0": stored}
    return [(violation.wrong, violation.text) for violation in judge(operations, conversations)]


@pytest.mark.parametrize(
    ("operations", "stored"),
    [
        ([add("ab")], "ab"),
        ([add("ab", error="TimeoutError")], ""),
        ([add("ab"), operation("pop", 3, 4, popped="b")], "a"),
        ([add("ab"), operation("pop", 3, 4, error="TimeoutError")], "ab"),
        ([add("ab", ended=4), add("c", started=2, ended=3)], "cab"),
        ([add("ab"), operation("clear", 3, 4)], {"conv_0": None}),
        ([add("ab"), operation("clear", 3, 4)], ""),
        ([add("ab"), operation("clear", 3, 4, conversations=frozenset())], {"conv_0": None}),
        (
            [add("a"), add("b", started=3, ended=4, conversations=frozenset({"conv_1"}))],
            {"conv_0": "a", "conv_1": "b"},
        ),
    ],
)
def test_a_sound_history_has_nothing_wrong(operations, stored):
    assert [] == wrongs(operations, stored)


@pytest.mark.parametrize(
    ("operations", "stored", "expected"),
    [
        ([add("ab")], "a", [(Wrong.LOST, "b")]),
        ([add("ab")], {"conv_0": None}, [(Wrong.LOST, "b"), (Wrong.LOST, "a")]),
        ([operation("clear", 1, 2), add("a", started=3, ended=4)], "", [(Wrong.LOST, "a")]),
        ([operation("pop", 1, 2), add("a", started=3, ended=4)], "", [(Wrong.LOST, "a")]),
        ([add("ab")], "abab", [(Wrong.DUPLICATED, "a"), (Wrong.DUPLICATED, "b")]),
        ([add("ab"), operation("pop", 3, 4, popped="b")], "ab", [(Wrong.DUPLICATED, "b")]),
        ([add("ab")], "ba", [(Wrong.OUT_OF_ORDER, "a")]),
        ([add("a"), add("b", started=3, ended=4)], "ba", [(Wrong.OUT_OF_ORDER, "a")]),
        ([add("ab", ended=4), add("c", started=2, ended=3)], "acb", [(Wrong.OUT_OF_ORDER, "b")]),
        ([add("ab", error="TimeoutError")], "a", [(Wrong.STORED_AFTER_ERROR, "a")]),
        (
            [add("ab", error="TimeoutError"), operation("pop", 3, 4, popped="b")],
            "",
            [(Wrong.STORED_AFTER_ERROR, "b")],
        ),
        ([add("ab"), operation("pop", 3, 4, error="TimeoutError")], "a", [(Wrong.LOST_ON_POP, "b")]),
        ([add("ab"), operation("pop", 3, 4, error="E")], "", [(Wrong.LOST_ON_POP, "b"), (Wrong.LOST, "a")]),
        ([add("ab"), operation("pop", 3, 4)], "a", [(Wrong.LOST_ON_POP, "b")]),
    ],
)
def test_what_is_wrong_is_named(operations, stored, expected):
    assert expected == wrongs(operations, stored)


def test_a_text_that_nobody_has_added_is_no_violation_but_a_mistake():
    with pytest.raises(ValueError, match="No operation added"):
        judge([add("a")], {"conv_0": "ab"})
