"""What a client sees of each fault, what is stored, and what is logged, in process and on a socket."""

import asyncio
import contextlib
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from openai_sessions.emulator import FAULT_KINDS, Emulator, Fault
from openai_sessions.emulator._faults import OPERATION_NAMES
from openai_sessions.emulator._server import serving

from .wire import HTTP_FAMILY, Wire, user

BEFORE = (1, ["0"], {}, 1, 1)
"""The state before: the number of conversations, texts and metadata of one, numbers of responses, files.

A background response is stored when it ends.
"""

AFTER = {
    "create_conversation": (2, ["0"], {}, 1, 1),
    "retrieve_conversation": BEFORE,
    "update_conversation": (1, ["0"], {"topic": "test"}, 1, 1),
    "delete_conversation": (0, ["0"], {}, 1, 1),
    "create_items": (1, ["0", "1"], {}, 1, 1),
    "list_items": BEFORE,
    "retrieve_item": BEFORE,
    "delete_item": (1, [], {}, 1, 1),
    "create_response": (1, ["0", "1", "You said: 1"], {}, 2, 1),
    "retrieve_response": BEFORE,
    "delete_response": (1, ["0"], {}, 0, 1),
    "cancel_response": (1, ["0"], {}, 2, 1),
    "list_input_items": BEFORE,
    "count_input_tokens": BEFORE,
    "compact_response": BEFORE,
    "list_conversations": BEFORE,
    "create_file": (1, ["0"], {}, 1, 2),
    "list_files": BEFORE,
    "retrieve_file": BEFORE,
    "retrieve_file_content": BEFORE,
    "delete_file": (1, ["0"], {}, 1, 0),
}
"""The state after each operation."""

UNANSWERED = {
    "cut_before": (openai.APIConnectionError, "ReadError", None),
    "cut_after_commit": (openai.APIConnectionError, "ReadError", None),
    "late_commit": (openai.APIConnectionError, "ReadError", None),
    "stall": (openai.APITimeoutError, "ReadTimeout", None),
    "stall_after_commit": (openai.APITimeoutError, "ReadTimeout", None),
    "truncated_body": (openai.APIConnectionError, "RemoteProtocolError", 200),
}
"""The client's error, its cause in the HTTP library, and the status in the log."""

REFUSED = {
    "error_500_before": (openai.InternalServerError, 500, None, "server_error"),
    "error_500_after_commit": (openai.InternalServerError, 500, None, "server_error"),
    "throttled": (openai.RateLimitError, 429, "rate_limit_exceeded", "requests"),
    "quota": (openai.RateLimitError, 429, "insufficient_quota", "insufficient_quota"),
    "locked": (openai.BadRequestError, 400, "conversation_locked", "invalid_request_error"),
}
"""The client's error, its status, its code and its type."""

COMMITTED = {
    "cut_after_commit",
    "stall_after_commit",
    "error_500_after_commit",
    "truncated_body",
    "not_json",
}


@dataclass(frozen=True)
class Subject:
    """A conversation with one item, a response, one that runs and a file; its client does not retry."""

    emulator: Any
    client: openai.AsyncOpenAI
    conversation_id: str
    item_id: str
    response_id: str
    running_id: str
    file_id: str

    async def perform(self, operation, *, timeout=30):
        """Call the operation, and return the raw response."""
        client = self.client.with_options(timeout=openai.Timeout(30, read=timeout))
        conversations = client.conversations.with_raw_response
        items = client.conversations.items.with_raw_response
        responses = client.responses.with_raw_response
        input_items = client.responses.input_items.with_raw_response
        files = client.files.with_raw_response
        raw = {"headers": {"X-Stainless-Raw-Response": "true"}}
        here = {"conversation_id": self.conversation_id}
        asked = {"model": "emulated", "conversation": self.conversation_id, "input": "1"}
        actions = {
            "create_conversation": conversations.create,
            "retrieve_conversation": lambda: conversations.retrieve(**here),
            "update_conversation": lambda: conversations.update(**here, metadata={"topic": "test"}),
            "delete_conversation": lambda: conversations.delete(**here),
            "create_items": lambda: items.create(**here, items=[user("1")]),
            "list_items": lambda: items.list(**here),
            "retrieve_item": lambda: items.retrieve(self.item_id, **here),
            "delete_item": lambda: items.delete(self.item_id, **here),
            "create_response": lambda: responses.create(**asked),
            "retrieve_response": lambda: responses.retrieve(self.response_id),
            "delete_response": lambda: responses.delete(self.response_id),
            "cancel_response": lambda: responses.cancel(self.running_id),
            "list_input_items": lambda: input_items.list(self.response_id),
            "count_input_tokens": lambda: responses.input_tokens.count(**asked),
            "compact_response": lambda: responses.compact(model="any", input="Hello"),
            "list_conversations": lambda: client.get("/conversations", cast_to=object, options=raw),
            "create_file": lambda: files.create(file=("notes.txt", b"Hello"), purpose="user_data"),
            "list_files": files.list,
            "retrieve_file": lambda: files.retrieve(self.file_id),
            "retrieve_file_content": lambda: files.content(self.file_id),
            "delete_file": lambda: files.delete(self.file_id),
        }
        return await actions[operation]()

    async def texts(self, **options):
        """Return the texts as the client lists them, newest first."""
        page = await self.client.conversations.items.list(self.conversation_id, **options)
        return [item.content[0].text for item in page.data]

    def stored(self):
        """Return what the database contains for this client's key, in the form of `BEFORE`."""
        connection = self.emulator._store._connection
        owner = (hashlib.sha256(self.client.api_key.encode()).hexdigest(),)
        (count,) = connection.execute(
            "SELECT count(*) FROM conversations WHERE owner = ? AND NOT deleted", owner
        ).fetchone()
        (responses,) = connection.execute("SELECT count(*) FROM responses WHERE owner = ?", owner).fetchone()
        (files,) = connection.execute("SELECT count(*) FROM files WHERE owner = ?", owner).fetchone()
        (metadata,) = connection.execute(
            "SELECT metadata FROM conversations WHERE id = ?", (self.conversation_id,)
        ).fetchone()
        rows = connection.execute(
            "SELECT body FROM items WHERE conversation_id = ? ORDER BY position", (self.conversation_id,)
        )
        texts = [json.loads(body)["content"][0]["text"] for (body,) in rows]
        return count, texts, json.loads(metadata), responses, files

    def logged(self):
        (request,) = self.emulator.requests
        return request.operation, request.fault, request.status


async def new_subject(emulator, client):
    """Return a new subject, whose creation is not in the log."""
    wire = Wire(emulator, key=client.api_key)
    conversation_id = await wire.new_conversation(user("0"))
    _, page = await wire.list(conversation_id)
    _, response = await wire.post("/responses", {"model": "emulated", "input": "Hello"})
    emulator.reply("never given", delay=1000)
    _, running = await wire.post("/responses", {"model": "emulated", "input": "Hello", "background": True})
    _, file = await wire.send(
        "POST", "/files", files={"file": ("old.txt", b"old")}, data={"purpose": "user_data"}
    )
    emulator.clear_replies()
    emulator.forget_requests()
    ids = (conversation_id, page["last_id"], response["id"], running["id"], file["id"])
    return Subject(emulator, client, *ids)


def operations_of(kind):
    return [name for name in OPERATION_NAMES if Fault(kind).fits(name)]


def in_process(emulator):
    """Return a subject in process, with a key of its own."""
    client = emulator.client(api_key=f"sk-{secrets.token_hex(8)}").with_options(max_retries=0)
    return new_subject(emulator, client)


def on_a_socket(kinds):
    """Return each kind with each operation; all but one operation of a kind are exhaustive."""
    cases = []
    for kind in kinds:
        first, *others = operations_of(kind)
        others = [pytest.param(kind, operation, marks=pytest.mark.exhaustive) for operation in others]
        cases += [(kind, first), *others]
    return cases


@pytest.fixture
def emulator():
    """One with every operation."""
    with Emulator(foundry=True) as emulator:
        yield emulator


@pytest.fixture
async def remote(emulator, served):
    """A subject on a socket."""
    return await new_subject(emulator, served)


@pytest.fixture(params=["in process", "on a socket"])
async def subject(request, emulator, served):
    return await (in_process(emulator) if request.param == "in process" else new_subject(emulator, served))


async def check_unanswered(subject, kind, operation, *, held_back=None, delay=0.3):
    """Check that the client raises the HTTP library's error, and that the log is complete at that moment.

    A late commit comes after the block of `held_back`, or after `delay` seconds.
    """
    error, cause, status = UNANSWERED[kind]
    stored = AFTER[operation] if kind in COMMITTED else BEFORE
    subject.emulator.inject(Fault(kind, delay=delay), operation=operation)
    with held_back or contextlib.nullcontext():
        with pytest.raises(openai.APIConnectionError) as caught:
            await subject.perform(operation, timeout=0.3 if "stall" in kind else 30)
        assert (operation, kind, status) == subject.logged()
        assert (error, getattr(HTTP_FAMILY, cause)) == (type(caught.value), type(caught.value.__cause__))
        assert caught.value.request.url == caught.value.__cause__.request.url
        assert (operation, stored) == (operation, subject.stored())
    await subject.emulator.late_commits()
    assert (AFTER[operation] if kind == "late_commit" else stored) == subject.stored()


@pytest.mark.parametrize("kind", UNANSWERED)
async def test_fault_without_a_response_in_process(emulator, kind):
    for operation in operations_of(kind):
        # Writes from other threads wait for the block, writes from this one do not.
        held_back = emulator._store.exclusive()
        await check_unanswered(await in_process(emulator), kind, operation, held_back=held_back, delay=0)


@pytest.mark.parametrize(("kind", "operation"), on_a_socket(UNANSWERED))
async def test_fault_without_a_response_on_a_socket(remote, kind, operation):
    await check_unanswered(remote, kind, operation)


async def check_refused(subject, kind, operation):
    error, status, code, error_type = REFUSED[kind]
    subject.emulator.inject(Fault(kind), operation=operation)
    with pytest.raises(openai.APIStatusError) as caught:
        await subject.perform(operation)
    assert (operation, kind, status) == subject.logged()
    assert (error, status) == (type(caught.value), caught.value.status_code)
    assert (code, error_type) == (caught.value.code, caught.value.type)
    assert (AFTER[operation] if kind in COMMITTED else BEFORE) == subject.stored()


@pytest.mark.parametrize("kind", REFUSED)
async def test_fault_with_an_error_response_in_process(emulator, kind):
    for operation in operations_of(kind):
        await check_refused(await in_process(emulator), kind, operation)


@pytest.mark.parametrize(("kind", "operation"), on_a_socket(REFUSED))
async def test_fault_with_an_error_response_on_a_socket(remote, kind, operation):
    await check_refused(remote, kind, operation)


async def check_html(subject, operation):
    subject.emulator.inject(Fault("not_json"), operation=operation)
    answer = await subject.perform(operation)
    assert (operation, "not_json", 200) == subject.logged()
    assert "text/html; charset=utf-8" == answer.headers["content-type"]
    assert answer.text.startswith("<!DOCTYPE html>")
    assert AFTER[operation] == subject.stored()


async def test_html_response_in_process(emulator):
    for operation in OPERATION_NAMES:
        await check_html(await in_process(emulator), operation)


@pytest.mark.parametrize(("kind", "operation"), on_a_socket(["not_json"]))
async def test_html_response_on_a_socket(remote, kind, operation):
    await check_html(remote, operation)


async def test_empty_page_says_that_more_follow(subject):
    subject.emulator.inject(Fault("empty_page"))
    answer = await subject.perform("list_items")
    assert ("list_items", "empty_page", 200) == subject.logged()
    page = {"object": "list", "data": [], "first_id": None, "has_more": True, "last_id": None}
    assert page == answer.http_response.json()


async def test_stale_page_lacks_the_last_write(subject):
    await subject.perform("create_items")
    subject.emulator.inject(Fault("stale_page"))
    subject.emulator.forget_requests()
    assert ["0"] == await subject.texts()
    assert ("list_items", "stale_page", 200) == subject.logged()
    assert ["1", "0"] == await subject.texts()


async def test_client_is_served_after_each_fault(subject):
    kinds = [kind for kind in FAULT_KINDS if Fault(kind).fits("list_items") and kind != "stall"]
    for kind in kinds:
        subject.emulator.inject(Fault(kind))
        with contextlib.suppress(openai.OpenAIError):
            await subject.perform("list_items")
        assert (kind, ["0"]) == (kind, await subject.texts())
    assert kinds == [request.fault for request in subject.emulator.requests[::2]]


@pytest.mark.parametrize(("seconds", "header"), [(None, None), (2, "2"), (0.05, "0.05"), (0, "0")])
async def test_throttled_response_has_the_given_retry_after(emulator, seconds, header):
    emulator.inject(Fault("throttled", retry_after=seconds))
    with pytest.raises(openai.RateLimitError) as caught:
        await emulator.client().with_options(max_retries=0).conversations.retrieve("conv_1")
    assert header == caught.value.response.headers.get("retry-after")


async def test_refused_request_can_meet_a_fault(emulator, wire):
    """A reset hides the refusal, and nothing is stored; `empty_page` leaves an error as it is."""
    emulator.inject(Fault("cut_after_commit"))
    emulator.inject(Fault("empty_page"))
    emulator.inject(Fault("error_500_before"), operation="update_conversation")
    with pytest.raises(HTTP_FAMILY.ReadError):
        await wire.add("conv_unknown", {"role": "user", "content": "Hello"})
    assert 404 == (await wire.list("conv_unknown"))[0]
    assert 500 == (await wire.send("POST", "/conversations/conv_unknown", content=b"{"))[0]
    assert [None, 404, 500] == [request.status for request in emulator.requests]


async def test_fault_needs_a_route_but_no_key(emulator):
    emulator.inject(Fault("error_500_before"))
    keyless = Wire(emulator, key=None)
    assert 404 == (await keyless.get("/unknown"))[0]
    assert 500 == (await keyless.get("/conversations/conv_1"))[0]
    assert [(None, None), ("retrieve_conversation", "error_500_before")] == [
        (request.operation, request.fault) for request in emulator.requests
    ]


def client_of(base_url, **options):
    return openai.AsyncOpenAI(api_key="sk-faults", base_url=base_url, max_retries=0, **options)


async def add_late(emulator):
    with pytest.raises(HTTP_FAMILY.ReadError):
        await Wire(emulator).add(await Wire(emulator).new_conversation(), user("late"))


def test_late_commit_outlives_its_event_loop(tmp_path):
    """Closing the emulator waits for it."""
    file = tmp_path / "conversations.db"
    with Emulator(file) as emulator:
        emulator.inject(Fault("late_commit", delay=0), operation="create_items")
        with emulator._store.exclusive():  # the commit waits for the end of the block
            asyncio.run(add_late(emulator))
        path = emulator.requests[-1].path.removeprefix("/v1")
    with Emulator(file) as reopened:
        _, page = asyncio.run(Wire(reopened).get(path))
    assert ["late"] == [item["content"][0]["text"] for item in page["data"]]


async def test_late_commit_of_a_conversation_locked_by_then_stores_nothing(emulator, wire, conversation):
    emulator.inject(Fault("late_commit", delay=0))
    with emulator.locked(conversation):
        with pytest.raises(HTTP_FAMILY.ReadError):
            await wire.add(conversation, user("late"))
        await emulator.late_commits()
    assert [] == await wire.texts(conversation)


async def test_late_commit_comes_after_earlier_writes(emulator, wire, conversation):
    emulator.inject(Fault("late_commit", delay=0))
    with emulator._store.exclusive():  # the commit waits for the end of the block
        with pytest.raises(HTTP_FAMILY.ReadError):
            await wire.add(conversation, user("late"))
        await wire.add_one(conversation, user("meanwhile"))
    await emulator.late_commits()
    assert ["late", "meanwhile"] == await wire.texts(conversation)


async def test_late_commit_waits_for_its_delay(emulator, wire, conversation):
    emulator.inject(Fault("late_commit", delay=0.1))
    started = time.monotonic()
    with pytest.raises(HTTP_FAMILY.ReadError):
        await wire.add(conversation, user("late"))
    await emulator.late_commits()
    assert 0.09 < time.monotonic() - started
    assert ["late"] == await wire.texts(conversation)


async def test_late_commit_outlives_the_server(emulator):
    with emulator.serve() as base_url:
        async with client_of(base_url) as client:
            subject = await new_subject(emulator, client)
            emulator.inject(Fault("late_commit"))
            with pytest.raises(openai.APIConnectionError):
                await subject.perform("create_items")
    await emulator.late_commits()
    assert AFTER["create_items"] == subject.stored()


async def test_late_commits_leave_no_thread(emulator, wire, conversation):
    threads = threading.active_count()
    emulator.inject(Fault("late_commit", delay=0), times=3)
    for number in range(3):
        with pytest.raises(HTTP_FAMILY.ReadError):
            await wire.add(conversation, user(str(number)))
    emulator.close()
    assert threads == threading.active_count()


async def test_stalled_request_does_not_keep_the_server_from_stopping(emulator, caplog):
    """It is cut immediately: nothing is left to cancel when the time for requests in flight is over."""
    emulator.inject(Fault("stall"), times=2)
    with emulator.serve() as base_url:
        client = client_of(base_url)
        stalled = [asyncio.create_task(client.conversations.create()) for _ in range(2)]
        while len(emulator.requests) < 2:  # noqa: ASYNC110 - the emulator has no event to wait for
            await asyncio.sleep(0)
        assert not any(task.done() for task in stalled)
    errors = await asyncio.gather(*stalled, return_exceptions=True)
    assert [openai.APIConnectionError] * 2 == [type(error) for error in errors]
    assert [] == caplog.records
    await client.close()


async def test_stalled_request_ends_with_its_client(emulator):
    ended = threading.Event()

    async def app(scope, receive, send):
        await emulator(scope, receive, send)
        ended.set()

    emulator.inject(Fault("stall"))
    with serving(app, host="127.0.0.1", port=0) as base_url:
        async with client_of(base_url, timeout=0.2) as client:
            with pytest.raises(openai.APITimeoutError):
                await client.conversations.create()
        assert ended.wait(10)


async def test_faults_are_quiet_in_the_server(emulator, caplog):
    """The server neither logs them nor adds a response of its own."""
    with emulator.serve() as base_url:
        for kind in ("cut_before", "cut_after_commit", "stall", "truncated_body"):
            emulator.inject(Fault(kind), operation="create_conversation")
            async with client_of(base_url, timeout=0.2 if kind == "stall" else 30) as client:
                with pytest.raises(openai.APIConnectionError):
                    await client.conversations.create()
    assert [] == caplog.records


async def test_fault_breaks_the_connection_below_a_mount(emulator):
    emulator.inject(Fault("cut_before"))
    app = Starlette(routes=[Mount("/", app=emulator)])
    with serving(app, host="127.0.0.1", port=0) as base_url:
        async with client_of(base_url) as client:
            with pytest.raises(openai.APIConnectionError) as caught:
                await client.conversations.create()
    assert HTTP_FAMILY.ReadError is type(caught.value.__cause__)


async def test_fault_without_a_response_is_a_500_on_another_server(emulator):
    """Only the emulator's own server gives access to its connections."""

    async def app(scope, receive, send):
        await emulator({**scope, "state": {}}, receive, send)

    with serving(app, host="127.0.0.1", port=0) as base_url:
        for kind in ("cut_before", "stall", "truncated_body"):
            emulator.inject(Fault(kind))
            async with client_of(base_url) as client:  # the server closes the connection after a 500
                with pytest.raises(openai.InternalServerError):
                    await client.conversations.create()
