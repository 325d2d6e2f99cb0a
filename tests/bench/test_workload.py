"""The histories that sessions are measured with."""

from tools.bench.workload import batches, items, numbers


def test_items_can_be_told_apart_in_any_form():
    assert list(range(45)) == numbers(items(45))


def test_batches_are_what_one_request_may_add():
    assert [20, 20, 5] == [len(batch) for batch in batches(45)]
    assert items(45) == [item for batch in batches(45) for item in batch]


def test_calls_are_answered():
    called, answered = items(8)[1::4], items(8)[2::4]
    assert [call["call_id"] for call in called] == [output["call_id"] for output in answered]
