"""`openai-sessions fork`: a new conversation from the beginning of another."""

import pytest

from openai_sessions.emulator import Fault
from tests.cli.service import turns

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (lambda ids: [], 6),
        (lambda ids: ["--before-turn", "3"], 4),
        (lambda ids: ["--after-item", ids[0]], 1),
    ],
    ids=["all", "before a turn", "after an item"],
)
def test_fork_prints_the_id_of_the_copy(service, point, expected):
    service.holds("conv_1", turns(3))
    ids = [item["id"] for item in service.emulator.items("conv_1")]
    (forked,) = service.output("fork", "conv_1", *point(ids))
    assert service.texts(forked) == service.texts("conv_1")[:expected]
    assert len(service.texts("conv_1")) == 6


def test_fork_in_a_process_of_its_own(service):
    service.holds("conv_1", turns(1))
    (forked,) = service.output("fork", "conv_1", own_process=True)
    assert service.texts(forked) == service.texts("conv_1")


@pytest.mark.parametrize("point", [["--before-turn", "9"], ["--after-item", "msg_none"]])
def test_place_that_is_not_there_makes_no_fork(service, point):
    service.holds("conv_1", turns(3))
    exit_code, error = service.failure("fork", "conv_1", *point)
    assert exit_code == 3
    assert error.startswith("conv_1 cannot be forked there: ")
    assert service.conversations() == ["conv_1"]


def test_two_places_are_refused(service):
    service.holds("conv_1", turns(3))
    exit_code, _ = service.failure("fork", "conv_1", "--before-turn", "1", "--after-item", "msg_1")
    assert exit_code == 2


def test_failed_fork_that_stands_is_named_with_what_deletes_it(service):
    service.holds("conv_1", turns(15))
    service.emulator.inject(Fault("quota"), operation="create_items", after=1, times=9)
    service.emulator.inject(Fault("quota"), operation="delete_conversation", times=9)
    service.emulator.inject(Fault("quota"), operation="delete_item", times=99)
    exit_code, error = service.failure("fork", "conv_1")
    (left,) = {*service.conversations()} - {"conv_1"}
    assert exit_code == 4
    assert error.startswith(
        f"The fork failed (RateLimitError) and left {left}: `openai-sessions clear {left} --purge` deletes it"
    )
