"""What a run has used, and the record of it in a value of metadata."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from agents import Usage as AgentsUsage
from hypothesis import given
from hypothesis import strategies as st

from openai_sessions import Usage
from openai_sessions._conversation.usage import WINDOW, Count, UsageRecord
from openai_sessions.session import ModelUsage

from .results import ONE, result_of, times

NUMBERS = st.integers(min_value=0)
PARTS = st.builds(ModelUsage, *[NUMBERS] * 7, st.sampled_from(["gpt-5.2", "gpt-5-mini"]), st.booleans())
USAGES = st.lists(st.one_of(PARTS, st.builds(ModelUsage, *[NUMBERS] * 7)), max_size=4).map(Usage.of_models)
SMALL = st.builds(Usage, *[NUMBERS] * 7)
RECORD = UsageRecord(ONE, 2, ("0a0a0a0a", "0b0b0b0b"))


def with_usage(**attributes):
    return SimpleNamespace(context_wrapper=SimpleNamespace(usage=SimpleNamespace(**attributes)))


def test_usage_of_a_run_is_read_from_its_details():
    assert ONE == Usage.of_run(result_of(ONE))


def test_usage_of_a_run_without_a_request_is_zero():
    assert Usage() == Usage.of_run(SimpleNamespace(context_wrapper=SimpleNamespace(usage=AgentsUsage())))


def test_usage_that_is_none():
    assert Usage.of_run(SimpleNamespace(context_wrapper=SimpleNamespace(usage=None))) is None


def test_numbers_and_details_that_are_none_or_missing_count_as_zero():
    result = with_usage(requests=1, input_tokens=None, input_tokens_details=None, output_tokens=4)
    assert Usage(requests=1, output_tokens=4) == Usage.of_run(result)


@pytest.mark.parametrize("result", [None, "text", SimpleNamespace(context_wrapper=None), ONE])
def test_what_is_no_result_is_refused(result):
    with pytest.raises(TypeError, match=r"no context_wrapper.usage: give the result of Runner.run"):
        Usage.of_run(result)


@pytest.mark.parametrize("number", [1.0, "1", True])
def test_number_that_is_no_whole_number_is_named(number):
    with pytest.raises(TypeError, match=f"output_tokens={number!r}"):
        Usage.of_run(with_usage(output_tokens=number))


def test_negative_number_is_named():
    with pytest.raises(ValueError, match="cached_tokens=-1"):
        Usage.of_run(with_usage(input_tokens_details=SimpleNamespace(cached_tokens=-1)))


@given(USAGES, USAGES)
def test_adding_and_what_has_come_since_are_opposites(first, second):
    assert first == (first + second).since(second)


def test_adding_something_else_is_a_type_error():
    with pytest.raises(TypeError):
        ONE + 1


def test_run_that_has_begun_anew_has_all_come_since():
    assert ONE == ONE.since(times(2))


@given(st.builds(UsageRecord, SMALL, NUMBERS, st.lists(st.text(), max_size=WINDOW).map(tuple)))
def test_record_comes_back_from_its_value(record):
    assert record == UsageRecord.from_value(record.as_value())


def test_value_is_compact_json_with_a_row_for_each_model():
    total = ONE + Usage.of_models(
        [ModelUsage(1, input_tokens=300_000, model="gpt-5.6-luna", long_input=True)]
    )
    expected = (
        '{"models":[["gpt-5.6-luna",1,1,300000,0,0,0,0,0],["",0,1,20,5,4,7,3,27]],'
        '"counts":2,"last":["0a0a0a0a","0b0b0b0b"]}'
    )
    record = replace(RECORD, total=total)
    assert expected == record.as_value()
    assert record == UsageRecord.from_value(expected)


def test_models_that_do_not_fit_are_those_with_the_fewest_requests():
    """Nothing is lost but their names."""
    models = [ModelUsage(10 + number, 10**9, model=f"model-{number}" + "x" * 40) for number in range(8)]
    record = UsageRecord(Usage.of_models(models), 8, ("ffffffff",) * WINDOW)
    stored = UsageRecord.from_value(record.as_value())
    assert record.total.numbers() == stored.total.numbers()
    assert tuple(models[-len(stored.total.models) :]) == stored.total.models
    assert 0 < len(stored.total.models) < 8
    assert 400 < len(record.as_value()) <= 512


def test_value_of_huge_totals_has_fewer_characters_than_metadata_holds():
    record = UsageRecord(Usage(*[10**24] * 7), counts=10**12)
    for _ in range(2 * WINDOW):
        record = record.plus("ffffffff", ONE)
    assert len(record.as_value()) < 400


def test_record_names_its_newest_counts():
    record = UsageRecord(Usage())
    for number in range(WINDOW + 2):
        record = record.plus(str(number), ONE)
    assert UsageRecord(times(WINDOW + 2), WINDOW + 2, tuple(map(str, range(2, WINDOW + 2)))) == record
    assert [False, True] == [record.lacks(Count(ONE, number)) for number in (2, 3)]
    assert not record.lacks(Count(ONE, WINDOW + 2, count_id="2"))


def test_replaced_record_lacks_no_count_before():
    record = RECORD.replaced_by(times(3))
    assert UsageRecord(times(3), 2 + 2 * WINDOW) == record
    assert not record.lacks(Count(ONE, RECORD.counts + WINDOW))


def changed(**fields):
    return json.dumps({**json.loads(RECORD.as_value()), **fields})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("12", "not a JSON object with models, "),
        ("[]", "not a JSON object with models, "),
        ("{}", "not a JSON object with models, "),
        (changed(more=1), "not a JSON object with models, "),
        (changed(models={}), "models are not lists of a name, 0 or 1, and 7 numbers"),
        (changed(models=["gpt-5.2"]), "models are not lists"),
        (changed(models=[["gpt-5.2", 0]]), "models are not lists"),
        (changed(models=[[1, 0, *[1] * 7]]), "models are not lists"),
        (changed(models=[["gpt-5.2", 2, *[1] * 7]]), "models are not lists"),
        (changed(models=[["gpt-5.2", [], *[1] * 7]]), "models are not lists"),
        (changed(models=[["gpt-5.2", 0, -1, *[1] * 6]]), "models are not lists"),
        (changed(models=[["gpt-5.2", 0, True, *[1] * 6]]), "models are not lists"),
        (changed(models=[["gpt-5.2", 0, None, *[1] * 6]]), "models are not lists"),
        (changed(counts=1.5), "counts is not a whole number"),
        (changed(last="0a0a0a0a"), "not a list of strings"),
        (changed(last=[1]), "not a list of strings"),
    ],
)
def test_value_that_is_no_record_is_refused_with_the_reason(value, reason):
    with pytest.raises(ValueError, match=reason):
        UsageRecord.from_value(value)


def test_usage_cannot_be_changed():
    with pytest.raises(AttributeError):
        ONE.requests = 2
    assert 2 == replace(ONE, requests=2).requests
