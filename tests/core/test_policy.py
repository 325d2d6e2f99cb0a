"""The table: what follows a failure, and how long to wait."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_sessions import RetryPolicy
from openai_sessions._api.retries import Decision, Failure, Outcome, RequestKind, decide, may_send_again

RETRY, LOOK, RAISE = Decision.RETRY, Decision.LOOK, Decision.RAISE

LOOKED_FOR = (RequestKind.APPEND, RequestKind.RESPOND)

EXPECTED = {
    Outcome.REFUSED: dict.fromkeys(RequestKind, RAISE),
    Outcome.NOT_FOUND: dict.fromkeys(RequestKind, RAISE),
    Outcome.THROTTLED: dict.fromkeys(RequestKind, RETRY),
    Outcome.LOCKED: dict.fromkeys(RequestKind, RETRY),
    Outcome.UNREACHABLE: dict.fromkeys(RequestKind, RETRY),
    Outcome.UNKNOWN: dict.fromkeys(RequestKind, RETRY) | dict.fromkeys(LOOKED_FOR, LOOK),
}
"""What follows each outcome when the server gives no hint and nothing is in doubt."""

HINTED = {True: RETRY, False: RAISE}

every_pair = pytest.mark.parametrize(
    ("operation", "outcome"), [(operation, outcome) for outcome in Outcome for operation in RequestKind]
)


def test_the_table_here_names_every_outcome():
    assert set(Outcome) == set(EXPECTED)


@every_pair
def test_decide_without_a_hint(operation, outcome):
    assert EXPECTED[outcome][operation] is decide(operation, Failure(outcome))


@every_pair
def test_decide_in_doubt_looks_after_every_failure_of_a_request_that_adds_items(operation, outcome):
    expected = LOOK if operation in LOOKED_FOR else EXPECTED[outcome][operation]
    assert expected is decide(operation, Failure(outcome), in_doubt=True)


@pytest.mark.parametrize("in_doubt", [False, True])
@pytest.mark.parametrize("hint", [True, False])
@every_pair
def test_decide_obeys_the_server_but_never_skips_a_look(operation, outcome, hint, in_doubt):
    looks = operation in LOOKED_FOR and (in_doubt or outcome is Outcome.UNKNOWN)
    expected = LOOK if looks else HINTED[hint]
    assert expected is decide(operation, Failure(outcome, should_retry=hint), in_doubt=in_doubt)


@every_pair
def test_a_request_may_be_sent_again_unless_it_is_raised(operation, outcome):
    assert (EXPECTED[outcome][operation] is not RAISE) is may_send_again(operation, Failure(outcome))


@pytest.mark.parametrize("hint", [True, False])
@every_pair
def test_a_request_may_be_sent_again_as_the_server_says(operation, outcome, hint):
    assert hint is may_send_again(operation, Failure(outcome, should_retry=hint))


def waits(outcome: Outcome, *, random: float, policy: RetryPolicy | None = None) -> list[float]:
    policy = policy or RetryPolicy()
    return [policy.wait(Failure(outcome), attempt, random=random) for attempt in range(1, 8)]


def test_waits_double_from_half_a_second_to_eight():
    assert [0.5, 1, 2, 4, 8, 8, 8] == waits(Outcome.UNKNOWN, random=0)


def test_waits_have_up_to_half_of_them_added():
    assert [0.75, 1.5, 3, 6, 8, 8, 8] == waits(Outcome.THROTTLED, random=1)
    assert [0.625, 1.25, 2.5, 5, 8, 8, 8] == waits(Outcome.UNREACHABLE, random=0.5)


@pytest.mark.parametrize("random", [0, 0.5, 1])
def test_waits_for_a_locked_conversation_are_whole_seconds(random):
    assert [1, 2, 4, 8, 8, 8, 8] == waits(Outcome.LOCKED, random=random)


def test_waits_follow_the_numbers_of_the_policy():
    policy = RetryPolicy(initial_wait=0.1, max_wait=0.3)
    assert [0.1, 0.2, 0.3, 0.3] == waits(Outcome.UNKNOWN, random=0, policy=policy)[:4]
    assert [0.2, 0.3, 0.3, 0.3] == waits(Outcome.LOCKED, random=0, policy=policy)[:4]


@given(st.sampled_from(Outcome), st.integers(min_value=1, max_value=10_000), st.floats(0, 1))
def test_a_wait_is_never_zero_nor_longer_than_the_longest(outcome, attempt, random):
    assert 0.5 <= RetryPolicy().wait(Failure(outcome), attempt, random=random) <= 8


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("seconds", [0.0, 0.001, 60.0, 3600.0])
def test_a_wait_that_the_server_asks_for_is_obeyed(outcome, seconds):
    assert seconds == RetryPolicy().wait(Failure(outcome, retry_after=seconds), 3, random=1)


def test_policy_defaults():
    expected = {
        "attempts": 6,
        "deadline": 120,
        "initial_wait": 0.5,
        "max_wait": 8,
        "settle_after": 1,
    }
    assert expected == {name: getattr(RetryPolicy(), name) for name in expected}


@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, True, "6", None, math.nan])
def test_attempts_that_are_no_whole_number_are_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^attempts must be a whole number of at least 1, not ") as caught:
        RetryPolicy(attempts=value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("name", ["deadline", "initial_wait", "max_wait", "settle_after"])
@pytest.mark.parametrize("value", [0, -0.5, math.inf, math.nan, True, "1", None])
def test_seconds_that_are_not_positive_are_refused_by_name(name, value):
    with pytest.raises(
        ValueError, match=rf"^{name} must be a positive, finite number of seconds, not "
    ) as caught:
        RetryPolicy(**{name: value})
    assert repr(value) in str(caught.value)


def test_the_least_policy_is_accepted():
    policy = RetryPolicy(attempts=1, deadline=1, initial_wait=1e-9, max_wait=1, settle_after=1e-9)
    assert (1, 1) == (policy.attempts, policy.deadline)


def test_policies_and_failures_are_values():
    assert RetryPolicy() == RetryPolicy(attempts=6)
    with pytest.raises(TypeError):
        RetryPolicy(6)
    with pytest.raises(FrozenInstanceError):
        RetryPolicy().attempts = 7
    with pytest.raises(FrozenInstanceError):
        Failure(Outcome.UNKNOWN).retry_after = 1.0
