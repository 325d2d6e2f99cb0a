"""The suite itself: a session that does all passes all, and each broken one is caught."""

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest

from openai_sessions.testing import (
    CHECKS,
    CheckResult,
    ConformanceError,
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

    assert (result.outcome, result.detail) == ("skipped", "the session has its id from the start")


async def test_check_session_goes_on_after_a_check_that_hangs():
    class HangsAtLimits(MemorySession):
        async def get_items(self, limit=None):
            return await (asyncio.Event().wait() if limit == 3 else super().get_items(limit))

    make, reopen = HangsAtLimits.maker()

    report = await check_session(make, reopen=reopen, timeout=SHORT)

    expected = f"get_items(limit=3) did not end within {SHORT:g} seconds after the start of the check"
    assert ["limit_gives_the_newest_in_order", "explicit_limit_beats_settings"] == names(report.failed)
    assert {expected} == {result.detail for result in report.failed}
    assert report.skipped == ()


async def test_check_session_of_a_session_that_always_hangs_makes_three_checks_of_it():
    make, reopen = Hangs.maker()

    report = await check_session(make, reopen=reopen, timeout=SHORT)

    assert list(CHECKS)[3:6] == names(report.failed)
    assert list(CHECKS)[6:] == names(report.skipped)
    assert {"not run: the 3 checks before it timed out"} == {result.detail for result in report.skipped}
    with pytest.raises(ConformanceError) as raised:
        report.raise_if_failed()
    assert isinstance(raised.value.__cause__, TimeoutError)


@pytest.mark.exhaustive
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

    assert result.outcome == "failed"
    assert result.detail.startswith(f"get_items() did not end within {SHORT:g} seconds")


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


async def test_run_check_does_not_wait_for_a_session_that_is_never_cleared():
    class Stuck(MemorySession):
        async def clear_session(self):
            await asyncio.Event().wait()

    result = await asyncio.wait_for(
        run_check("items_keep_their_order", Stuck.maker()[0], timeout=SHORT), timeout=10
    )

    assert result.outcome == "passed"


async def test_run_check_enters_and_leaves_an_async_context_manager_in_one_task():
    """anyio's task groups and cancel scopes demand it."""
    make, _ = MemorySession.maker()
    left = []

    @asynccontextmanager
    async def make_within():
        async with anyio.create_task_group() as group:
            yield make()
            group.cancel_scope.cancel()
        left.append("left")

    result = await run_check("items_keep_their_order", make_within)

    assert (result.outcome, result.detail) == ("passed", "")
    assert left == ["left"]


async def test_run_check_clears_a_session_before_it_leaves_it():
    steps = []

    class Entered(MemorySession):
        async def __aenter__(self):
            steps.append("enter")
            return self

        async def __aexit__(self, *_):
            steps.append("exit")

        async def clear_session(self):
            steps.append("clear")

        async def aclose(self):
            raise AssertionError("closed twice")

    make, reopen = Entered.maker()
    await run_check("reopened_session_reads_the_history", make, reopen=reopen)

    assert ["enter", "enter", "clear", "exit", "clear", "exit"] == steps


async def test_run_check_takes_a_plain_context_manager_from_an_async_maker():
    make, _ = MemorySession.maker()
    steps = []

    @contextmanager
    def within():
        steps.append("enter")
        yield make()
        steps.append("exit")

    async def make_later():
        return within()

    result = await run_check("items_keep_their_order", make_later)

    assert (result.outcome, steps) == ("passed", ["enter", "exit"])


async def test_run_check_puts_sessions_away_after_a_check_that_hangs():
    put_away = []

    class Closing(Hangs):
        async def clear_session(self):
            put_away.append("clear")

        async def aclose(self):
            put_away.append("close")

    await run_check("items_keep_their_order", Closing.maker()[0], timeout=SHORT)

    assert ["clear", "close"] == put_away


@pytest.mark.exhaustive
async def test_run_check_closes_a_session_that_hangs_in_everything_else():
    closed = asyncio.Event()

    class Stuck(Hangs):
        async def clear_session(self):
            await asyncio.Event().wait()

        async def aclose(self):
            closed.set()

    await run_check("items_keep_their_order", Stuck.maker()[0], timeout=SHORT)

    await asyncio.wait_for(closed.wait(), timeout=1)


async def test_run_check_lets_a_skip_of_pytest_through():
    def make():
        pytest.skip("no database here")

    with pytest.raises(pytest.skip.Exception, match="no database here"):
        await run_check("items_keep_their_order", make)


async def test_run_check_of_a_maker_that_gives_one_history_twice_fails():
    histories = {}

    result = await run_check("sessions_do_not_share_items", lambda: MemorySession(histories, "the only one"))

    assert (
        result.detail
        == """\
make() called again: each session must have its own history
expected: a session_id other than 'the only one'
actual:   'the only one'"""
    )


async def test_run_check_of_a_maker_that_raises_fails():
    def make():
        raise OSError("no database")

    result = await run_check("items_keep_their_order", make)

    assert (result.outcome, result.detail) == ("failed", "make() raised OSError: no database")


async def test_run_check_of_a_session_whose_methods_are_not_async_fails():
    class Plain(MemorySession):
        def get_items(self, limit=None):
            return []

    result = await run_check("empty_history_reads_as_empty_list", Plain.maker()[0])

    assert result.detail == "get_items()\nexpected: an async method\nactual:   one that returned []"


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
            requirement="Items added in one call are read in their order.",
        )
        == result
    )


async def test_run_check_of_an_unknown_name_raises():
    with pytest.raises(KeyError, match="no_such_check"):
        await run_check("no_such_check", MemorySession.maker()[0])


def test_suite_loads_no_test_runner_no_agents_and_no_server():
    program = (
        "import sys; from openai_sessions.testing import CHECKS, check_session, run_check;"
        "print(sorted({'pytest', 'agents', 'starlette', 'vcr'} & set(sys.modules)))"
    )

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout == "[]\n"
