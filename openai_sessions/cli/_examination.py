"""The other half of the `doctor` command: a conversation is created, written, read and deleted on a server.

The operations are those of `OpenAIConversationsSession`, as programs use them; a few requests are made beside
it, to tell whether the server can be reached and how it lists items. Every text and id that is sent is always
the same, apart from ids that the server has given, so that a recording of the requests can be replayed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import openai
from openai import APIStatusError, AsyncOpenAI, BadRequestError, NotFoundError, OpenAIError

from openai_sessions._api.client import ConversationsClient, Request
from openai_sessions._api.retries import RequestKind, Retries, RetryPolicy
from openai_sessions._instrumentation import Event, Reconciled, Requested, Retried, RunningOperation
from openai_sessions._items.types import Item
from openai_sessions.cli._failures import Failure, diagnosed
from openai_sessions.cli._output import counted
from openai_sessions.cli._setup import Access, CheckResult
from openai_sessions.errors import SessionError
from openai_sessions.session import HistoryLimits, OpenAIConversationsSession, RequestSettings

METADATA = {"created_by": "openai-sessions doctor"}
"""The metadata of the conversation, by which one that was left behind can be recognised."""

PAIR: tuple[Item, Item] = (
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi there!"},
)

MANY: tuple[Item, ...] = (
    *({"role": "user", "content": f"Message {number}"} for number in range(1, 11)),
    {"type": "function_call", "call_id": "call_doctor", "name": "weather", "arguments": '{"city":"Oslo"}'},
    {"type": "function_call_output", "call_id": "call_doctor", "output": "rain"},
    {"role": "assistant", "content": "It rains in Oslo."},
    *({"role": "user", "content": f"Message {number}"} for number in range(14, 26)),
)
"""25 items, which take two requests."""

HISTORY = (*PAIR[:-1], *MANY)
"""The items after the last write."""

LEFT_BEHIND = "left"
"""The name of the result that says which conversation could not be deleted."""

QUESTION = "What is the weather in Oslo? Answer in one word."
"""What a model is asked."""

_NO_CONVERSATION = f"conv_{'0' * 48}"
"""An id that no server has given."""

_PAGE = 10
"""Items of a page: the history then has three."""

_SETTLING = 3
"""How many times the server is asked whether the conversation is gone."""

_LONGEST = 100
"""Characters of an item in a message."""


class CheckFailedError(Exception):
    """A check found something wrong.

    Attributes:
        failure: What, and what to do about it.
    """

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.failure = Failure(detail, remedy)


_NOT_AS_WRITTEN = "The server does not keep what it acknowledges: report it to those who run it."


class Tally:
    """Counts the requests of a check, and those that failed; an observation of `_instrumentation`.

    Args:
        expected: The status of a response that is no failure; None for none.
    """

    def __init__(self, expected: int | None) -> None:
        self.requests = 0
        self._expected = expected
        self._failures: list[str] = []
        self._has_recovered = False

    def entered(self) -> AbstractContextManager[None]:
        """Return a context manager that does nothing."""
        return nullcontext()

    def tell(self, event: Event) -> None:
        """Count a request, and note whether one is repeated or searched for."""
        if isinstance(event, (Retried, Reconciled)):
            self._has_recovered = True
        if not isinstance(event, Requested):
            return
        self.requests += 1
        if isinstance(event.error, APIStatusError):
            if event.error.status_code != self._expected:
                self._failures.append(f"{event.error.status_code} {event.error.code or ''}".strip())
        elif event.error is not None:
            self._failures.append("no reply")

    def end(self, error: BaseException | None) -> None:
        """Do nothing."""

    def failures(self) -> str:
        """Return how many requests failed, by status and code; an empty string if none did."""
        if self._has_recovered and not self._failures:  # a response arrived that is not one of the API
            return "an unusable reply"
        return ", ".join(f"{count} x {failure}" for failure, count in Counter(self._failures).items())


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found: that all is well, or with `differs`, what differs from OpenAI."""

    detail: str
    differs: bool = False


class Examination:
    """The checks of a server, in order, on a new conversation that is deleted at the end.

    Args:
        client: The client of the server; the caller closes it.
        access: Where requests go, for messages.
        policy: How requests are repeated.
        timeout: Seconds for each request.
        report: Called with each result.
        model: The model that is asked in the conversation; None for none.
    """

    def __init__(  # noqa: PLR0913 - each is a separate choice
        self,
        client: AsyncOpenAI,
        access: Access,
        *,
        policy: RetryPolicy,
        timeout: float,
        report: Callable[[CheckResult], None],
        model: str | None = None,
    ) -> None:
        self._client = ConversationsClient(client, timeout=timeout, retries=Retries(policy=policy))
        self._access = access
        self._policy = policy
        self._timeout = timeout
        self._report = report
        self._model = model
        self._created: str | None = None
        self._has_orphan = False
        self._listed: tuple[Item, ...] = ()
        self._session = OpenAIConversationsSession(
            openai_client=client,
            metadata=METADATA,
            history_limits=HistoryLimits(from_compaction=False),
            requests=RequestSettings(timeout=timeout, retry_policy=policy),
            on_conversation_created=self._note_created,
            on_orphan=self._note_orphan,
        )

    async def run(self) -> None:
        """Run the checks up to the first that fails, and delete the conversation.

        It is deleted too if the task is cancelled, or `report` raises. A second cancellation ends that.
        """
        try:
            for name, check in self._checks():
                if not await self._passes(name, check):
                    break
        finally:
            await self._clean_up()

    def _checks(self) -> Iterator[tuple[str, Callable[[], Awaitable[Found]]]]:
        yield "server", self._reach
        yield "create", self._create
        yield "write", self._write
        yield "read", self._read
        yield "pop", self._pop
        yield "batches", self._write_many
        yield "history", self._read_many
        yield "pages", self._list_pages
        yield "include", self._list_left_out
        yield "storage", self._look_at_form
        if self._model:
            yield "response", self._respond

    async def _clean_up(self) -> None:
        if self._has_orphan:
            self._report(_orphan())
        if self._created is None:
            return
        try:
            is_deleted = await self._passes("delete", self._delete)
        except BaseException:
            self._report_left()
            raise
        if is_deleted:
            await self._passes("gone", self._confirm_gone)
        else:
            self._report_left()

    def _report_left(self) -> None:
        remedy = f"Delete it: openai-sessions clear {self._created} --purge"
        detail = f"{self._created} was left behind"
        self._report(CheckResult(check=LEFT_BEHIND, status="failed", detail=detail, remedy=remedy))

    async def _passes(self, name: str, check: Callable[[], Awaitable[Found]]) -> bool:
        """Run a check, and report its result."""
        tally, started = Tally(expected=404 if name in ("server", "gone") else None), time.perf_counter()
        with RunningOperation(self._session, tally).entered():
            found = await self._result_of(name, check)
        ms = round((time.perf_counter() - started) * 1000, 1) if tally.requests else None
        timed: dict[str, Any] = {"check": name, "ms": ms, "requests": tally.requests or None}
        if isinstance(found, Failure):
            self._report(CheckResult(status="failed", detail=found.detail, remedy=found.remedy, **timed))
            return False
        recovered = tally.failures()
        status: Literal["ok", "note"] = "note" if recovered or found.differs else "ok"
        detail = f"{found.detail}; recovered from {recovered}" if recovered else found.detail
        self._report(CheckResult(status=status, detail=detail, **timed))
        return True

    async def _result_of(self, name: str, check: Callable[[], Awaitable[Found]]) -> Found | Failure:
        try:
            return await check()
        except CheckFailedError as error:
            return error.failure
        except (OpenAIError, SessionError) as error:
            return diagnosed(error, name, self._access)

    def _note_created(self, conversation_id: str) -> None:
        self._created = conversation_id

    def _note_orphan(self, _: object) -> None:
        self._has_orphan = True

    # The checks

    async def _reach(self) -> Found:
        """Request a conversation that does not exist, once: it creates nothing, and shows what is wrong."""
        path = f"/conversations/{_NO_CONVERSATION}"
        try:
            await self._client.send_once(
                Request("retrieve conversation", RequestKind.READ, "GET", path, _NO_CONVERSATION)
            )
        except (NotFoundError, BadRequestError, openai.UnprocessableEntityError):
            return Found("answers")
        raise CheckFailedError(
            "has a conversation under an id that was never given",
            "Check the base URL: this is not the Conversations API.",
        )

    async def _create(self) -> Found:
        return Found(await self._session.ensure_conversation())

    async def _write(self) -> Found:
        await self._session.add_items(PAIR)
        return Found(counted(len(PAIR), "item"))

    async def _read(self) -> Found:
        return await self._expect(PAIR, f"{counted(len(PAIR), 'item')}, as written")

    async def _pop(self) -> Found:
        popped = await self._session.pop_item()
        if popped != PAIR[-1]:
            raise CheckFailedError(f"returned {_shown(popped)}, not the newest item", _NOT_AS_WRITTEN)
        return await self._expect(PAIR[:-1], "the newest item, which is then gone")

    async def _write_many(self) -> Found:
        await self._session.add_items(MANY)
        return Found(f"{counted(len(MANY), 'item')} in two requests")

    async def _read_many(self) -> Found:
        return await self._expect(HISTORY, f"{counted(len(HISTORY), 'item')}, as written and in order")

    async def _expect(self, written: Sequence[Item], detail: str) -> Found:
        """Compare what is read with what was written; a moment later, if they differ."""
        if list(written) == list(await self._session.get_items()):
            return Found(detail)
        await asyncio.sleep(self._policy.settle_after)
        _compare(written, await self._session.get_items())
        return Found(f"{detail}, but only when read again a moment later", differs=True)

    async def _list_pages(self) -> Found:
        """Compare the pages from the oldest item on with one page from the newest item back."""
        self._listed = (await self._client.list_items(self._id, limit=100, order="desc")).items
        ids = [item.get("id") for item in self._listed]
        listed: list[object] = []
        pages, after = 0, None
        while pages <= len(ids):
            page = await self._client.list_items(self._id, limit=_PAGE, order="asc", after=after)
            listed += [item.get("id") for item in page.items]
            pages, after = pages + 1, page.last_id
            if not page.has_more or not page.items:
                break
        if listed != ids[::-1]:
            raise CheckFailedError(
                f"{len(listed)} items in pages of {_PAGE}, not the {len(ids)} items of one page in order",
                "The server does not continue a list where its last page ended: histories of more than 100 "
                "items are not read. Report it to those who run it.",
            )
        return Found(f"{counted(len(ids), 'item')} in {pages} pages, in the same order as in one")

    async def _list_left_out(self) -> Found:
        lacking = self._client.lacking_include
        if lacking:
            return Found(f"the server refuses {' '.join(lacking)}; items may lack parts", differs=True)
        return Found("all values that a replay needs are accepted")

    async def _look_at_form(self) -> Found:
        """Return in what form the text of an assistant is stored, which differs from server to server."""
        texts = (item.get("content") for item in self._listed if item.get("role") == "assistant")
        content = next(texts, None)
        form = content[0].get("type") if isinstance(content, list) and content else type(content).__name__
        differs = form != "input_text"
        of_openai = " (OpenAI: input_text)" if differs else ""
        return Found(f"assistant text becomes {form}{of_openai}", differs=differs)

    async def _respond(self) -> Found:
        """Ask the model in the conversation, and look for question and answer at its end."""
        response = await self._session.client().responses.create(
            model=str(self._model), conversation=self._id, input=QUESTION, timeout=self._timeout
        )
        added: list[Any] = (await self._session.get_items())[len(HISTORY) :]
        if not added or added[0] != {"role": "user", "content": QUESTION}:
            raise CheckFailedError(f"the question was not stored, but {_shown(added)}", _NOT_AS_WRITTEN)
        if added[-1].get("role") != "assistant":
            raise CheckFailedError(f"the answer was not stored, but {_shown(added[-1])}", _NOT_AS_WRITTEN)
        was_lost = "openai_sessions.rebuilt" in (response.metadata or {})
        recovered = "; recovered from 1 x no reply" if was_lost else ""
        detail = f"{self._model} answered, and {counted(len(added), 'item')} were stored{recovered}"
        return Found(detail, differs=was_lost)

    async def _delete(self) -> Found:
        await self._session.clear_session(purge_items=True)
        return Found("the items and the conversation")

    async def _confirm_gone(self) -> Found:
        """Request the conversation until it is not found, for servers that delete it a moment later."""
        request = Request("retrieve conversation", RequestKind.READ, "GET", f"/conversations/{self._id}")
        for attempt in range(_SETTLING):
            try:
                await self._client.send(request)
            except NotFoundError:
                late = f" after {attempt + 1} requests" if attempt else ""
                return Found(f"the conversation is not found{late}", differs=bool(late))
            await asyncio.sleep(self._policy.settle_after)
        raise CheckFailedError(
            f"{self._id} is still found after it was deleted",
            "The server does not delete what it says it does.",
        )

    @property
    def _id(self) -> str:
        return str(self._created)


def _orphan() -> CheckResult:
    return CheckResult(
        check="orphan",
        status="note",
        detail="a reply to the creation was lost: an empty conversation may remain",
    )


def _compare(written: Sequence[Item], read: Sequence[Any]) -> None:
    """Raise if items that were read are not those that were written.

    Raises:
        CheckFailedError: They differ.
    """
    if len(written) != len(read):
        detail = f"{counted(len(read), 'item')}, but {len(written)} were written"
        raise CheckFailedError(detail, _NOT_AS_WRITTEN)
    for number, (expected, actual) in enumerate(zip(written, read, strict=True), start=1):
        if expected != actual:
            raise CheckFailedError(
                f"item {number} is {_shown(actual)}, not {_shown(expected)}", _NOT_AS_WRITTEN
            )


def _shown(item: object) -> str:
    text = json.dumps(item, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
