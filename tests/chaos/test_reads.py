"""Which reads are judged wrong, and which are not."""

import pytest

from tools.chaos.judging import Wrong, judge_reads

from .histories import add, operation

OTHER = frozenset({"conv_1"})


def get(texts, *, started=20, ended=21, **facts):
    return operation("get", started, ended, seen=tuple(texts), **facts)


def wrongs(operations, **options):
    """Judge operations, given in any order."""
    in_order = sorted(operations, key=lambda each: each.ended)
    return [
        (violation.text, violation.flaw)
        for violation in judge_reads(in_order, **options)
        if violation.wrong is Wrong.READ
    ]


@pytest.mark.parametrize(
    "operations",
    [
        pytest.param([get("")], id="nothing"),
        pytest.param([add("ab"), get("ab")], id="all"),
        pytest.param([add("ab"), add("cd", started=3, ended=4), get("bcd", limit=3)], id="the newest"),
        pytest.param([add("ab"), get("ab", limit=3)], id="fewer than asked for"),
        pytest.param([add("ab", ended=30), get("")], id="an add under way, not shown"),
        pytest.param([add("ab", ended=30), get("a")], id="an add under way, shown in part"),
        pytest.param([add("ab", ended=30, error="E"), get("ab")], id="an add under way that will raise"),
        pytest.param([add("ab", error="E"), get("")], id="an add that raised"),
        pytest.param(
            [add("ab", ended=4), add("c", started=2, ended=3), get("cab")], id="adds at the same time"
        ),
        pytest.param(
            [add("ab", ended=4), add("c", started=2, ended=3), get("b", limit=1)],
            id="the newest of adds at the same time",
        ),
        pytest.param([add("ab"), operation("pop", 3, 4, popped="b"), get("a")], id="a pop"),
        pytest.param(
            [add("ab"), operation("pop", 3, 30, popped="b"), get("a")], id="a pop under way, not shown"
        ),
        pytest.param(
            [add("ab"), operation("pop", 3, 30, popped="b"), get("ab")], id="a pop under way, shown"
        ),
        pytest.param(
            [add("ab"), operation("pop", 22, 30, popped="b"), get("ab")], id="a pop that is yet to come"
        ),
        pytest.param(
            [add("ab"), operation("pop", 3, 4, error="E"), get("a")], id="a pop that raised, applied"
        ),
        pytest.param(
            [add("ab"), operation("pop", 3, 4, error="E"), get("ab")], id="a pop that raised in vain"
        ),
        pytest.param(
            [
                add("ab"),
                operation("pop", 3, 4, error="E"),
                get("a"),
                operation("pop", 22, 23, popped="b"),
            ],
            id="a value that was kept for the next pop",
        ),
        pytest.param([add("ab"), operation("clear", 3, 4), get("")], id="a clear"),
        pytest.param([add("ab"), operation("clear", 3, 30), get("a")], id="a clear under way"),
        pytest.param([add("ab"), operation("clear", 3, 4, error="E"), get("a")], id="a clear that raised"),
        pytest.param([add("ab", conversations=OTHER), get("")], id="another conversation"),
        pytest.param([add("ab"), get("", conversations=OTHER)], id="a read of another conversation"),
        pytest.param([add("ab"), get("", conversations=frozenset())], id="a read without a conversation"),
        pytest.param([add("ab"), operation("get", 20, 21, error="E")], id="a read that raised"),
    ],
)
def test_a_read_that_the_operations_explain_is_right(operations):
    assert [] == wrongs(operations)


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([add("ab"), get("aab")], ("a", "is shown twice")),
        ([add("ab"), get("ab", limit=1)], ("a", "is shown beyond the limit")),
        ([add("ab"), get("ba")], ("a", "is out of order")),
        ([add("a"), add("b", started=3, ended=4), get("ba")], ("a", "is out of order")),
        ([add("ab", ended=4), add("c", started=2, ended=3), get("acb")], ("b", "is out of order")),
        (
            [add("ab", error="E"), get("a")],
            ("a", "is shown although the call that added it had raised"),
        ),
        (
            [add("ab"), operation("pop", 3, 4, popped="b"), get("ab")],
            ("b", "is shown although it was popped"),
        ),
        (
            [add("ab"), operation("pop", 3, 4, popped="b"), get("ab", conversations=frozenset())],
            ("b", "is shown although it was popped"),
        ),
        ([add("ab"), operation("clear", 3, 4), get("ab")], ("a", "is shown although it was cleared")),
        ([add("ab"), get("")], ("a", "is not shown")),
        ([add("ab"), get("a")], ("b", "is not shown")),
        ([add("ab"), get("b")], ("a", "is not shown")),
        ([add("ab"), get("b", limit=2)], ("a", "is not shown")),
        ([add("ab"), get("a", limit=1)], ("b", "is not shown")),
        ([add("abc"), get("ac", limit=2)], ("b", "is not shown")),
        ([add("a"), add("b", started=3, ended=4), get("a", limit=1)], ("b", "is not shown")),
        ([add("ab"), operation("pop", 3, 4), get("a")], ("b", "is not shown")),
        ([add("ab"), operation("pop", 3, 4, error="E"), get("")], ("b", "is not shown")),
        ([operation("pop", 1, 2, error="E"), add("a", started=3, ended=4), get("")], ("a", "is not shown")),
        ([operation("clear", 1, 2), add("a", started=3, ended=4), get("")], ("a", "is not shown")),
        ([add("ab"), operation("pop", 22, 23, error="E"), get("a")], ("b", "is not shown")),
        ([add("ab"), operation("pop", 22, 23, popped="b"), get("a")], ("b", "is not shown")),
    ],
)
def test_what_is_wrong_with_a_read_is_named(operations, expected):
    assert [expected] == wrongs(operations)


def test_a_read_that_met_a_page_which_is_wrong_is_not_judged():
    read = get("a")
    assert [] == wrongs([add("ab"), read], misled={read.number})


def test_a_clear_that_met_a_page_which_is_wrong_may_have_left_something():
    clear = operation("clear", 3, 4)
    assert [] == wrongs([add("ab"), clear, get("ab")], misled={clear.number})


def test_a_pop_does_nothing_any_more_once_all_was_quiet():
    operations = [add("ab"), operation("pop", 3, 4, error="E"), get("a")]
    assert [[], [("b", "is not shown")]] == [wrongs(operations, judged=judged) for judged in (0, 2)]


def test_reads_are_judged_once():
    assert [] == wrongs([add("ab"), get("")], judged=2)


def test_a_text_that_nobody_has_added_is_no_violation_but_a_mistake():
    with pytest.raises(ValueError, match="No operation added"):
        wrongs([get("a")])
