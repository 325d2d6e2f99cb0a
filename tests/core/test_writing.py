"""Appends, request by request, against a server whose answers are scripted: what is left of each."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import openai
import pytest

from openai_sessions import UnsettledWriteError
from openai_sessions._api.client import ConversationsClient
from openai_sessions._api.retries import Retries, RetryPolicy
from openai_sessions._conversation.locked import LockedConversation
from openai_sessions._conversation.shielding import Cancellation, OperationCancelledError
from openai_sessions._conversation.state import Conversation, Receipt, SentItems
from openai_sessions._conversation.writing import append_items, delete_appended
from tests.wire import HTTP_FAMILY, Call, Wire, error, page

POLICY = RetryPolicy(attempts=2, initial_wait=0.25, settle_after=0.125)


FAILURES = {"refused": error(403), "invalid": error(422), "locked": error(400, "conversation_locked")}


def users(*texts: str) -> list[dict]:
    return [{"role": "user", "content": text} for text in texts]


TWENTY = [f"a{number}" for number in range(20)]


class Server:
    """One conversation that begins with `x`, and a held session on it; time does not pass in sleeps.

    The script says what becomes of each request of a kind; requests beyond it go well.

        cut       nothing is stored, and no answer comes
        lost      it is stored, and no answer comes
        twice     it is stored two times, and no answer comes
        refused   403
        invalid   422
        locked    400, another writer holds the conversation
        stall     never an answer

    Attributes:
        texts: What is stored.
        slept: The sleeps.
        interrupts_at: The method of the request, or "sleep", during which the caller is cancelled.
        answer_instead: The response to the next append, whatever became of it.
    """

    def __init__(self, *, policy: RetryPolicy = POLICY, **script: str) -> None:
        self._script = {kind: steps.split() for kind, steps in script.items()}
        self.texts = ["x"]
        self.slept: list[float] = []
        self.stalled = asyncio.Event()
        retries = Retries(policy=policy, sleep=self._sleep, clock=lambda: 0.0, random=lambda: 0.0)
        self.wire = Wire(self._answer)
        self.held = LockedConversation(
            ConversationsClient(self.wire.client, timeout=None, retries=retries), "conv_1", Conversation()
        )
        self.interrupts_at = ""
        self.answer_instead: Any = None

    @property
    def methods(self) -> list[str]:
        """The methods of the requests."""
        return [call.method for call in self.wire.calls]

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.interrupts_at == "sleep":
            self.held.cancellation.set()
            await asyncio.Event().wait()

    async def _answer(self, call: Call) -> Any:
        if call.method == self.interrupts_at:
            self.held.cancellation.set()
        steps = self._script.get(call.method.lower(), [])
        step = steps.pop(0) if steps else "well"
        if step in FAILURES:
            return FAILURES[step]
        if step == "stall":
            self.stalled.set()
            await asyncio.Event().wait()
        answer = self._served(call, 0 if step == "cut" else 2 if step == "twice" else 1)
        if call.method == "POST" and self.answer_instead is not None:
            answer, self.answer_instead = self.answer_instead, None
            return answer
        if step in {"cut", "lost", "twice"}:
            raise HTTP_FAMILY.ReadError("cut")
        return answer

    def _served(self, call: Call, times: int) -> Any:
        if call.method == "GET":
            newest = page(*map(self._id, reversed(range(len(self.texts)))))
            for item, text in zip(newest[1]["data"], reversed(self.texts), strict=True):
                item["content"][0]["text"] = text
            return newest
        if call.method == "DELETE":
            item_id = call.path.rpartition("/")[2]
            self.texts = [text for number, text in enumerate(self.texts) if self._id(number) != item_id]
            return 200, {"object": "conversation.item.deleted"}
        sent = [item["content"] for item in call.body["items"]]
        first = len(self.texts)
        self.texts += sent * times
        return page(*(self._id(number) for number in range(first, first + len(sent))))

    def _id(self, number: int) -> str:
        """Return the id of an item: its place, told apart from an equal one by how often it came before."""
        text = self.texts[number] if number < len(self.texts) else "?"
        return f"{text}.{self.texts[:number].count(text)}"

    async def append(self, *texts: str) -> list[str]:
        return list((await append_items(self.held, users(*texts))).ids)

    @property
    def unsettled(self) -> Receipt:
        (receipt,) = self.held.known.unsettled
        return receipt


async def test_the_pauses_are_those_of_the_policy():
    """Between the looks, and before the next attempt what of its wait the looks have not used up."""
    server = Server(post="cut")
    assert await server.append("a") == ["a.0"]
    assert [0.125, 0.125] == server.slept


async def test_a_request_that_is_found_is_not_sent_again():
    server = Server(post="lost")
    assert await server.append("a") == ["a.0"]
    assert ["x", "a"] == server.texts


async def test_a_request_that_is_not_found_is_sent_again():
    server = Server(post="cut lost")
    assert await server.append("a") == ["a.0"]
    assert ["x", "a"] == server.texts


async def test_a_request_that_is_never_found_leaves_nothing():
    server = Server(post="cut cut")
    with pytest.raises(openai.APIConnectionError):
        await server.append("a")
    assert (["x"], []) == (server.texts, server.held.known.unsettled)


async def test_a_copy_that_appears_after_the_call_is_kept():
    """It may be another writer's, who was told that it is stored."""
    server = Server(post="cut")
    await server.append("a")
    server.texts.append("a")
    await server.append("b")
    assert ["x", "a", "a", "b"] == server.texts


async def test_of_two_copies_the_first_stays():
    server = Server(post="cut twice")
    assert await server.append("a") == ["a.0"]
    assert ["x", "a"] == server.texts


async def test_a_write_whose_look_fails_is_looked_for_once_more_before_it_is_undone():
    server = Server(post="cut", get="well refused")
    with pytest.raises(openai.PermissionDeniedError):
        await server.append("a")
    assert not server.held.known.unsettled


async def test_what_that_look_finds_is_deleted():
    server = Server(post="lost", get="well refused")
    with pytest.raises(openai.PermissionDeniedError):
        await server.append("a")
    assert ["x"] == server.texts


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (page("x.0"), "an id that was there before"),
        (page("y", "z"), "more items"),
        (page(), "no item"),
        ((200, {"data": [{"id": "y", "type": "message", "role": "assistant"}]}), "another role"),
        ((200, {"data": [{"id": "y", "type": "reasoning"}]}), "another type"),
        ((200, {"data": [{"type": "message", "role": "user"}]}), "no id"),
        ((200, {"id": "conv_1"}), "no list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_response_that_does_not_answer_the_request_proves_nothing(answer, reason, is_stored):
    """The request is searched for, and sent again if it is not found; nothing else is deleted."""
    server = Server(post="well" if is_stored else "cut")
    server.answer_instead = answer
    assert await server.append("a") == ["a.0"], reason
    assert ["x", "a"] == server.texts
    assert ["GET", "POST", *(["GET"] if is_stored else ["GET", "GET", "POST"])] == server.methods


async def test_a_rollback_deletes_no_item_that_was_there_before():
    """A listing is not a receipt, even if it has the right number of items, of the right roles."""
    server = Server(post="well well refused")
    server.texts += [f"old {number}" for number in range(30)]
    before = list(server.texts)
    server.answer_instead = page(*(server._id(number) for number in range(11, 31)))
    with pytest.raises(openai.PermissionDeniedError):
        await server.append(*TWENTY, "b", *TWENTY)
    assert before == server.texts


def request_of(*texts: str, sends: int, after: tuple[str, ...] = ("x.0",)) -> SentItems:
    return SentItems(tuple(users(*texts)), after, sends=sends)


TWENTY_IDS = tuple(f"{text}.0" for text in TWENTY)


async def fails_unsettled(server: Server, *texts: str) -> UnsettledWriteError:
    with pytest.raises(UnsettledWriteError) as caught:
        await server.append(*texts)
    kept = [server.unsettled.as_json()] if server.held.known.unsettled else []
    acknowledged = {**caught.value.receipt, "found": [], "unknown": []}
    assert ([acknowledged] if acknowledged["stored"] else []) == kept
    return caught.value


async def test_what_cannot_be_deleted_stands_and_nothing_is_unknown(caplog):
    server = Server(post="well invalid", delete=" ".join(["refused"] * 20))
    with caplog.at_level(logging.WARNING, "openai_sessions"):
        failed = await fails_unsettled(server, *TWENTY, "b")
    assert ["conv_1: a write could not be undone: <class 'openai.PermissionDeniedError'>"] == caplog.messages
    assert isinstance(failed.__cause__, openai.UnprocessableEntityError)
    assert (TWENTY_IDS[-8:], []) == (failed.stored_ids[-8:], failed.unknown)
    assert Receipt("conv_1", ("x.0",), TWENTY_IDS) == server.unsettled
    assert users("b") == failed.not_stored


async def test_a_request_that_could_not_be_looked_for_is_unknown():
    server = Server(post="cut well cut cut", get="well well well well well refused refused")
    failed = await fails_unsettled(server, *TWENTY, "b")
    assert (users("b"), []) == (failed.unknown, failed.not_stored)
    receipt = Receipt.from_json(failed.receipt)
    assert (request_of("b", sends=2, after=("x.0", *TWENTY_IDS)),) == receipt.unknown


async def test_the_process_keeps_no_items_of_a_request_that_could_not_be_looked_for():
    server = Server(post="lost", get="well refused refused")
    failed = await fails_unsettled(server, "b")
    assert users("b") == failed.unknown
    assert [] == server.held.known.unsettled


async def test_a_write_that_is_cut_by_others_than_its_caller_is_undone():
    """An event loop that is being closed cancels all its tasks, and waits for them."""
    server = Server(post="well stall")
    task = asyncio.ensure_future(server.append(*TWENTY, "b"))
    await server.stalled.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert (["x"], []) == (server.texts, server.held.known.unsettled)


async def test_undoing_a_write_that_was_cut_by_others_does_not_take_longer_than_the_grace():
    server = Server(post="well stall", delete="stall")
    server.held = replace(server.held, cancellation=Cancellation(grace=0.01))
    task = asyncio.ensure_future(server.append(*TWENTY, "b"))
    await server.stalled.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()
    assert len(server.texts) > 1
    assert [f"{text}.0" for text in server.texts[1:]] == list(server.unsettled.stored)


async def test_undoing_a_write_that_failed_by_itself_may_take_longer_than_the_grace():
    server = Server(post="well refused")
    server.held = replace(server.held, cancellation=Cancellation(grace=0.0))
    with pytest.raises(openai.PermissionDeniedError):
        await server.append(*TWENTY, "b")
    assert ["x"] == server.texts


async def test_a_write_whose_time_is_over_is_left_unknown(caplog):
    server = Server(post="well stall")
    task = asyncio.ensure_future(server.append(*TWENTY, "b"))
    await server.stalled.wait()
    server.held.cancellation.is_over = True
    task.cancel()
    with caplog.at_level(logging.WARNING, "openai_sessions"):
        await asyncio.wait({task})
    assert task.cancelled()
    assert ["conv_1: a write was cut; its outcome is unknown"] == caplog.messages
    assert Receipt("conv_1", ("x.0",), TWENTY_IDS) == server.unsettled


async def test_of_three_requests_only_the_last_is_not_stored():
    server = Server(post="well well refused", delete=" ".join(["refused"] * 40))
    failed = await fails_unsettled(server, *TWENTY, *(text.upper() for text in TWENTY), "b")
    assert users("b") == failed.not_stored


async def test_what_could_be_deleted_does_not_stand():
    server = Server(post="well refused", delete="well well refused")
    failed = await fails_unsettled(server, *TWENTY, "b")
    assert [f"{text}.0" for text in server.texts[1:]] == list(failed.stored_ids)
    assert 1 == len(failed.stored_ids)


async def test_a_request_found_while_undoing_is_undone_with_the_others():
    server = Server(post="well lost", get="well refused")
    with pytest.raises(openai.PermissionDeniedError):
        await server.append(*TWENTY, "b")
    assert ["x"] == server.texts


async def test_a_request_found_while_undoing_stands_when_it_cannot_be_deleted():
    server = Server(post="well lost", get="well refused", delete=" ".join(["refused"] * 21))
    failed = await fails_unsettled(server, *TWENTY, "b", "c")
    assert (*TWENTY_IDS, "b.0", "c.0") == failed.stored_ids
    assert ([], []) == (failed.unknown, failed.not_stored)
    assert ["b.0", "c.0"] == failed.receipt["found"]


async def test_undoing_has_a_deadline_of_its_own():
    server = Server(post="well refused", delete="stall", policy=RetryPolicy(deadline=0.5))
    failed = await asyncio.wait_for(fails_unsettled(server, *TWENTY, "b"), 5)
    assert TWENTY_IDS[-1:] == failed.stored_ids


async def test_a_cancellation_while_undoing_comes_out_and_leaves_a_receipt():
    server = Server(post="well refused", delete="stall")
    task = asyncio.ensure_future(server.append(*TWENTY, "b"))
    await server.stalled.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert TWENTY_IDS[-1:] == server.unsettled.stored[-1:]


ITEMS = "/conversations/conv_1/items"


async def test_a_write_that_is_interrupted_before_its_first_request_makes_none():
    server = Server()
    server.interrupts_at = "GET"
    with pytest.raises(OperationCancelledError):
        await server.append("a")
    assert [f"GET {ITEMS}"] == str(server.wire).split("\n")


async def test_a_write_that_is_interrupted_between_two_requests_deletes_without_a_look():
    server = Server()
    server.interrupts_at = "POST"
    with pytest.raises(OperationCancelledError):
        await server.append(*TWENTY, "b")
    assert ["GET", "POST", *["DELETE"] * 20] == server.methods


async def test_a_write_that_is_interrupted_is_not_tried_again():
    server = Server(post="locked")
    server.interrupts_at = "POST"
    with pytest.raises(openai.BadRequestError):
        await server.append("a")
    assert [] == server.slept


async def test_a_wait_ends_when_the_write_is_interrupted():
    server = Server(post="locked")
    server.interrupts_at = "sleep"
    with pytest.raises(OperationCancelledError):
        await asyncio.wait_for(server.append("a"), 5)
    assert [0.5] == server.slept


async def test_a_refused_request_is_not_looked_for():
    server = Server(post="refused")
    with pytest.raises(openai.PermissionDeniedError):
        await server.append("a")
    assert [f"GET {ITEMS}", f"POST {ITEMS}"] == str(server.wire).split("\n")


async def test_an_append_that_is_undone_leaves_nothing():
    server = Server()
    await delete_appended(server.held, await append_items(server.held, users("a", "b")))
    assert ["x"] == server.texts
    assert not server.held.known.unsettled


async def test_what_of_an_append_cannot_be_undone_is_unsettled():
    server = Server(delete="well refused")
    appended = await append_items(server.held, users("a", "b"))
    with pytest.raises(openai.PermissionDeniedError):
        await delete_appended(server.held, appended)
    assert ["x", "a"] == server.texts
    assert Receipt("conv_1", ("x.0",), ("a.0",)) == server.unsettled
