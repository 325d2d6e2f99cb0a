"""The suite itself: a session that does all passes all, and each broken one is caught."""

import asyncio
import subprocess
import sys

import pytest

from openai_sessions.testing import (
    CHECKS,
    CheckResult,
    check_session,
    run_check,
)
from tests.conformance.broken import BROKEN
from tests.conformance.broken.history import Hangs
from tests.conformance.memory import MemorySession

SHORT = 0.05  # seconds; for sessions that never answer


def names(results):
    return [result.name for result in results]


async def test_check_session_of_a_correct_session_passes_every_check():
    make, reopen = MemorySession.maker()

    report = await check_session(make, reopen=reopen)

    assert str(report.failed) == "()"
    assert list(CHECKS) == names(report.passed)
    assert report.ok
    report.raise_if_failed()


@pytest.mark.parametrize(
    ("broken", "name"),
    [(broken, name) for broken, caught_by in BROKEN.items() for name in caught_by],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_run_check_of_a_broken_session_fails(broken, name):
    make, reopen = broken.maker()

    result = await run_check(name, make, reopen=reopen, timeout=SHORT if broken is Hangs else 30)

    assert result.outcome == "failed"
    assert result.detail


def test_every_check_is_failed_by_a_broken_session():
    assert set(CHECKS) == {name for caught_by in BROKEN.values() for name in caught_by}


def test_every_check_states_in_one_sentence_what_a_session_must_do():
    requirements = {name: check.__doc__ or "" for name, check in CHECKS.items()}

    assert [name for name, text in requirements.items() if not text.endswith(".") or "\n" in text] == []
    assert len(CHECKS) == len(set(requirements.values()))


async def test_check_session_of_a_session_that_stores_more_than_it_was_given_passes():
    """Items read may gain an id, the status completed, the type message and empty logprobs."""

    class Adorning(MemorySession):
        async def get_items(self, limit=None):
            return [adorned(item) for item in await super().get_items(limit)]

    make, reopen = Adorning.maker()

    report = await check_session(make, reopen=reopen)

    assert str(report.failed) == "()"


def adorned(item):
    more = {"id": "msg_1", "status": "completed", **({"type": "message"} if "role" in item else {})}
    if isinstance(item.get("content"), list):
        more["content"] = [{**part, "logprobs": []} for part in item["content"]]
    return {**item, **more}


@pytest.mark.parametrize(
    "more",
    [{"status": "incomplete"}, {"type": "input_text"}, {"phase": "commentary"}, {"role": "assistant"}],
    ids=str,
)
async def test_user_text_comes_back_of_a_session_that_changes_other_fields_fails(more):
    class Changing(MemorySession):
        def out(self, item):
            return {**item, **more}

    result = await run_check("user_text_comes_back", Changing.maker()[0])

    assert result.outcome == "failed"


async def test_check_session_takes_an_async_maker_and_reopener():
    make, reopen = MemorySession.maker()

    async def make_later():
        return make()

    async def reopen_later(session):
        return reopen(session)

    report = await check_session(make_later, reopen=reopen_later)

    assert list(CHECKS) == names(report.passed)


async def test_check_session_without_reopen_skips_the_checks_that_need_it():
    make, _ = MemorySession.maker()

    report = await check_session(make)

    assert [name for name in CHECKS if "reopened" in name] == names(report.skipped)
    assert {"needs reopen=, which opens another session on the same history"} == {
        result.detail for result in report.skipped
    }
    assert report.ok


async def test_check_session_of_a_session_without_settings_skips_their_checks():
    class Unsettled(MemorySession):
        session_settings = None

        def __init__(self, histories, history_id=None):
            self.histories = histories
            self.history_id = history_id

        async def get_items(self, limit=None):
            return [self.out(item) for item in self.newest(self.history, limit)]

    make, reopen = Unsettled.maker()

    report = await check_session(make, reopen=reopen)

    assert names(report.skipped) == ["settings_limit_holds_without_another", "explicit_limit_beats_settings"]
    assert report.ok


async def test_unused_session_creates_nothing_when_the_id_is_given_is_skipped():
    result = await run_check("unused_session_creates_nothing", lambda: MemorySession({}, "given"))

    assert (result.outcome, result.detail) == ("skipped", "the session has its id from the beginning")


async def test_check_session_goes_on_after_a_check_that_hangs():
    make, reopen = Hangs.maker()

    report = await check_session(make, reopen=reopen, timeout=SHORT)

    assert "empty_history_reads_as_empty_list" in names(report.passed)
    assert {f"no answer within {SHORT:g} seconds"} == {result.detail for result in report.failed}


@pytest.mark.slow
async def test_run_check_of_a_session_that_swallows_its_cancellation_ends():
    released = asyncio.Event()

    class Stubborn(MemorySession):
        async def get_items(self, limit=None):
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue
            return []

    result = await run_check("empty_history_reads_as_empty_list", Stubborn.maker()[0], timeout=SHORT)
    released.set()

    assert ("failed", f"no answer within {SHORT:g} seconds") == (result.outcome, result.detail)


async def test_run_check_cancelled_from_outside_is_cancelled():
    make, _ = Hangs.maker()
    started = asyncio.Event()

    def make_and_tell():
        started.set()
        return make()

    run = asyncio.create_task(run_check("items_keep_their_order", make_and_tell))
    await started.wait()
    run.cancel()

    with pytest.raises(asyncio.CancelledError):
        await run


async def test_run_check_clears_and_closes_every_session():
    put_away = []

    class Closing(MemorySession):
        async def clear_session(self):
            put_away.append(f"clear {self.session_id}")
            await super().clear_session()

        async def aclose(self):
            put_away.append(f"close {self.session_id}")

    make, reopen = Closing.maker()
    await run_check("reopened_session_reads_the_history", make, reopen=reopen)

    history_id = put_away[0].removeprefix("clear ")
    assert [f"clear {history_id}", f"close {history_id}"] * 2 == put_away


async def test_run_check_calls_a_plain_close():
    closed = []

    class Closing(MemorySession):
        def close(self):
            closed.append(self)

    await run_check("items_keep_their_order", Closing.maker()[0])

    assert len(closed) == 1


async def test_run_check_does_not_mind_errors_in_putting_away():
    class Untidy(MemorySession):
        async def clear_session(self):
            raise OSError("cannot clear")

        async def aclose(self):
            raise OSError("cannot close")

    result = await run_check("items_keep_their_order", Untidy.maker()[0])

    assert (
        CheckResult(
            name="items_keep_their_order",
            outcome="passed",
            requirement="Items of one call come back in their order.",
        )
        == result
    )


async def test_run_check_of_an_unknown_name_raises():
    with pytest.raises(KeyError, match="no_such_check"):
        await run_check("no_such_check", MemorySession.maker()[0])


def test_suite_loads_no_test_runner_no_agents_and_no_server():
    program = (
        "import sys, openai_sessions.testing;"
        "print(sorted({'pytest', 'agents', 'starlette', 'vcr'} & set(sys.modules)))"
    )

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout == "[]\n"
