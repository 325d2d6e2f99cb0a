"""The `view` command: the page of `serve` over conversations of the API, which it only reads."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import time
from collections.abc import Coroutine, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, TypeVar

import uvicorn
from rich.console import Console
from rich.text import Text
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from openai_sessions._api.client import ConversationsClient
from openai_sessions._api.clients import RequestSettings, clients_for
from openai_sessions._arguments import MAX_PAGE_SIZE, checked_conversation_id
from openai_sessions._conversation.metadata import own_pairs
from openai_sessions._conversation.reading import CursorGoneError, ItemList, PageWalk
from openai_sessions._conversation.usage import COUNTS, USAGE_KEY, Usage, UsageRecord
from openai_sessions._items.repairs import plan_closing, plan_repair
from openai_sessions._items.turns import compaction_start, newest_compaction, turn_spans
from openai_sessions._items.types import Item
from openai_sessions._secrets import without_tokens
from openai_sessions.cli._conversations import dollars
from openai_sessions.cli._errors import CommandError, ExitCode, explained
from openai_sessions.cli._hosts import OwnNamesOnly, is_loopback
from openai_sessions.cli._output import counted, escaped_line
from openai_sessions.cli._page import (
    MAX_CHARACTERS,
    MAX_CONVERSATIONS,
    MAX_ITEMS,
    build_page,
    json_response,
    number_in,
    with_headers,
)
from openai_sessions.cli._running import POLICY, Settings, Workspace, shown_base_url
from openai_sessions.cli._serve import listen, resolve
from openai_sessions.directory import SessionEntry
from openai_sessions.emulator._server import server_of
from openai_sessions.encryption._envelope import is_envelope
from openai_sessions.errors import ConversationNotCreatedError, NameNotFoundError, UnknownCostError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewOptions:
    """The options of `view`.

    Attributes:
        host: The address or name to listen on.
        port: The port; 0 for a free one.
        conversations: Conversation ids and names; empty for all names of the directory.
    """

    host: str
    port: int
    conversations: Sequence[str] = ()


async def view(workspace: Workspace, options: ViewOptions) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        workspace: The workspace.
        options: The options.

    Raises:
        CommandError: The port is taken, or the host has no address.
        Exception: An error of `open_data`.
    """
    data = await open_data(workspace, options.conversations)
    address, token = resolve(options.host), secrets.token_urlsafe(_TOKEN_BYTES)
    with listen(address, options.port) as listener:
        server = _Server(server_of(view_app(data, host=options.host, token=token)).config)

        def stop() -> None:
            server.should_exit = True
            data.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # on Windows Ctrl-C cancels this task
                asyncio.get_running_loop().add_signal_handler(number, stop)
        url = f"{address.url(listener.getsockname()[1])}/{token}/"
        print_banner(workspace.settings, data.listed, url, is_public=not is_loopback(address.host))
        await server.serve(sockets=[listener])


async def open_data(workspace: Workspace, conversations: Sequence[str]) -> ReadData:
    """Return the conversations for the page; sends no request to the API.

    Args:
        workspace: The workspace; it must stay open.
        conversations: Conversation ids and names; empty for all names of the directory.

    Raises:
        CommandError: Neither conversations nor a directory were given, or there is no key.
        InvalidConversationIdError: An id is malformed.
        NameNotFoundError: The directory does not have one of the names.
    """
    listed = await Listed.checked(workspace, conversations)
    client = await clients_for(workspace.client, RequestSettings(retry_policy=POLICY)).client()
    return ReadData(listed, client, shown_base_url(workspace.settings))


_TOKEN_BYTES = 32


class _Server(uvicorn.Server):
    """A server that leaves signals to its caller."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Do nothing."""
        yield


def print_banner(settings: Settings, shown: object, url: str, *, is_public: bool) -> None:
    """Print the address of the page and what it shows; with `--quiet` the address alone.

    Args:
        settings: The shared options.
        shown: What the page shows.
        url: The address of the page.
        is_public: Whether other machines can reach it.
    """
    console = Console(highlight=False)
    if settings.quiet:
        console.print(Text(url), soft_wrap=True)
        return
    facts = [("API", shown_base_url(settings)), ("Shows", str(shown)), ("Page", url)]
    if is_public:
        facts.append(("Reach", "other machines too, without encryption: give the address to nobody"))
    console.print(Text.assemble(("openai-sessions", "bold"), ("  conversations, read-only\n", "dim")))
    for label, line in facts:
        console.print(Text.assemble((f"  {label:<8}", "dim"), escaped_line(line)), soft_wrap=True)
    console.print(Text("\nWhoever has the address can read them; Ctrl-C stops it."))


def view_app(data: ReadData, *, host: str, token: str) -> ASGIApp:
    """Return the ASGI application: the page, for those who know the token.

    Args:
        data: The conversations.
        host: A name of the server beside `localhost` and loopback addresses.
        token: The first part of the path of every request.
    """
    page = build_page(data, Route("/page/data/refresh", data.refresh, methods=["POST"]))
    remedy = "to use another name, give it as --host"
    return OwnNamesOnly(with_headers(TokenInPath(page, token)), host=host, remedy=remedy)


class TokenInPath:
    """Pass requests whose path starts with a token on to an application, and answer others with 403.

    Args:
        app: The application; it sees the path without the token.
        token: The token.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        given, slash, rest = scope["path"].removeprefix("/").partition("/")
        if slash and secrets.compare_digest(given.encode(), self._token):
            await self._app({**scope, "path": f"/{rest}"}, receive, send)
            return
        refusal = {"error": "Open the address that `openai-sessions view` has printed."}
        await json_response(refusal, status=403)(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Listed:
    """The conversations that the page lists: those given, or all names of the directory.

    Attributes:
        workspace: The workspace.
        given: Conversation ids and names, each once; empty for all names.
    """

    workspace: Workspace
    given: tuple[str, ...] = ()

    @classmethod
    async def checked(cls, workspace: Workspace, given: Sequence[str]) -> Listed:
        """Return the list of these conversations; see `open_data`."""
        if not given and not workspace.settings.directory:
            raise CommandError(
                "Nothing to show: give conversations, or set --directory or OPENAI_SESSIONS_DIRECTORY.",
                exit_code=ExitCode.USAGE,
            )
        workspace.client  # noqa: B018 - reports a missing key
        if not given:
            await workspace.directory.conversations(limit=1)  # reports a database that cannot be read
        for conversation in given:
            if workspace.is_id(conversation):
                checked_conversation_id(conversation)
            elif await workspace.directory.get(conversation) is None:
                raise NameNotFoundError(conversation)
        return cls(workspace, tuple(dict.fromkeys(given)))

    def __str__(self) -> str:
        return counted(len(self.given), "conversation") if self.given else "the names in the directory"

    async def page(self, limit: int) -> tuple[list[dict[str, Any]], bool]:
        """Return the first `limit` conversations as the page lists them, and whether more follow."""
        if self.given:
            listed = [await self._described(conversation) for conversation in self.given[:limit]]
            return listed, len(self.given) > limit
        page = await self.workspace.directory.conversations(order="name", limit=max(1, limit))
        return [_described(entry.name, entry) for entry in page.entries], page.next_after is not None

    async def _described(self, conversation: str) -> dict[str, Any]:
        if self.workspace.is_id(conversation):
            return _described(conversation)
        return _described(conversation, await self.workspace.directory.get(conversation))

    async def find(self, conversation: str) -> tuple[str, dict[int, Usage]]:
        """Return the id of a listed conversation, and if it is a name, the usage of its turns.

        Raises:
            NameNotFoundError: It is not listed.
            ConversationNotCreatedError: The name has no conversation yet.
        """
        if self.given and conversation not in self.given:
            raise NameNotFoundError(conversation)
        if self.given and self.workspace.is_id(conversation):
            return conversation, {}
        directory = self.workspace.directory
        entry = await directory.get(conversation)
        if entry is None:
            raise NameNotFoundError(conversation)
        if entry.conversation_id is None:
            raise ConversationNotCreatedError
        return entry.conversation_id, await directory.get_turn_usage(conversation)


def _described(conversation: str, entry: SessionEntry | None = None) -> dict[str, Any]:
    return {
        "id": conversation,
        "title": conversation,
        "conversation_id": entry.conversation_id if entry else conversation,
        "created_at": None,
        "used_at": entry.used_at.timestamp() if entry else None,
        "metadata": entry.metadata if entry else {},
        "item_count": None,
    }


_ROOM = 10**9
"""Positions of one history: more than any conversation has items."""


@dataclass(slots=True, eq=False)
class History:
    """A conversation from its newest item back to where it was read.

    Attributes:
        walk: The walk from its newest item.
        top: The position of its newest item; that of an older item is lower.
        metadata: Its metadata.
        usage: Its usage, as JSON, or None.
        turn_usage: The usage of its turns, as JSON, by number.
        read_at: When its newest page was read, in Unix seconds.
    """

    walk: PageWalk
    top: int
    metadata: Mapping[str, str]
    usage: Mapping[str, Any] | None
    turn_usage: Mapping[int, Mapping[str, Any]]
    read_at: float
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def first(self) -> int:
        """The position of the oldest item that was read."""
        return self.top - len(self.walk.items) + 1

    def items(self) -> list[Item]:
        """Return the items, oldest first."""
        return list(self.walk.items.values())[::-1]

    def after(self, position: int) -> list[tuple[int, Item]]:
        """Return the items after a position, oldest first."""
        return [(place, item) for place, item in enumerate(self.items(), self.first) if place > position]

    async def before(self, position: int) -> list[tuple[int, Item]]:
        """Return the page of items before the position of an item, oldest first, in one request or none.

        Raises:
            CommandError: The item at the cursor was deleted meanwhile.
        """
        async with self._lock:
            if position == self.first and not self.walk.is_at_end:
                try:
                    await self.walk.step()
                except CursorGoneError:
                    raise CommandError(_CHANGED, exit_code=ExitCode.FAILED) from None
        numbered = enumerate(self.items(), self.first)
        return [(place, item) for place, item in numbered if position - MAX_PAGE_SIZE <= place < position]

    def notes(self) -> dict[str, Any]:
        """Return what the page shows beside the items, as JSON."""
        items = self.items()
        start = self._start_for_model(items)
        return {
            "turns": self._turns(items),
            "problems": self._problems(items),
            "reads_from": None if start is None else self.first + start,
            "metadata": own_pairs(self.metadata),
            "usage": self.usage,
            "read_at": self.read_at,
        }

    def _start_for_model(self, items: Sequence[Item]) -> int | None:
        compaction = newest_compaction(items)
        if compaction is None:
            return None
        return compaction_start(items, compaction, is_all=self.walk.is_at_end)

    def _turns(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Return the turns of a history that was read to its start, which their numbers need."""
        if not self.walk.is_at_end or any(map(is_envelope, items)):
            return []
        return [
            {"position": self.first + start, "number": number, "usage": self.turn_usage.get(number)}
            for number, (start, _) in turn_spans(items).items()
        ]

    def _problems(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        plan = plan_repair(items) if self.walk.is_at_end else plan_closing(items)
        places = {item.get("id"): place for place, item in enumerate(items, self.first)}
        return [
            {"position": places[finding.item_id], "problem": finding.problem, "remedy": finding.remedy}
            for finding in plan.findings
        ]


_CHANGED = "An item was deleted meanwhile: read the conversation again."


def _total(metadata: Mapping[str, str], by_turn: Mapping[int, Usage]) -> Usage | None:
    """Return the usage of a conversation: the sum of its turns, or else what its metadata has."""
    if by_turn:
        return sum(by_turn.values(), Usage())
    try:
        return UsageRecord.from_value(metadata[USAGE_KEY]).total
    except (KeyError, ValueError):
        return None


def _as_json(usage: Usage) -> dict[str, Any]:
    """Return the numbers of a usage, and its cost for people; None for that if a price is missing."""
    try:
        cost = dollars(usage.cost())
    except (UnknownCostError, ImportError):
        cost = None
    return {**dict(zip(COUNTS, usage.numbers(), strict=True)), "cost": cost}


class ReadData:
    """Conversations of the API for the page: read when the page shows them, and kept until `refresh`.

    A failed read is kept too, so that a page that stays open sends no requests to the API.

    Args:
        listed: Goes into the attribute.
        client: Sends the requests.
        base_url: The URL of the API for messages.

    Attributes:
        listed: The conversations that may be read.
    """

    def __init__(self, listed: Listed, client: ConversationsClient, base_url: str) -> None:
        self.listed = listed
        self._client = client
        self._base_url = base_url
        self._server = secrets.token_hex(8)
        self._version = 1
        self._tops = count(_ROOM, _ROOM)
        self._histories: dict[str, asyncio.Task[History]] = {}
        self._running: set[asyncio.Task[Any]] = set()

    def stop(self) -> None:
        """Cancel the reads that are running: their requests are answered with 503."""
        for task in self._running:
            task.cancel()

    async def state(self, request: Request) -> Response:  # noqa: ARG002 - as every endpoint
        """Return the versions of the server and of what was read."""
        return json_response(
            {"server": self._server, "contents": self._version, "requests": None, "is_read_only": True}
        )

    async def refresh(self, request: Request) -> Response:  # noqa: ARG002 - as every endpoint
        """Forget what was read: the page asks for it again."""
        self._histories.clear()
        self._version += 1
        return json_response({})

    async def conversations(self, request: Request) -> Response:
        """Return the first conversations, at most `limit`."""
        limit = number_in(request, "limit", largest=MAX_CONVERSATIONS)
        listed, more = await self._result(self._start(self.listed.page(limit)))
        return json_response({"conversations": listed, "more": more})

    async def items(self, request: Request) -> Response:
        """Return the items after the position `after`, as `EmulatorData.items`, or those before `before`.

        The response also has what the page shows beside the items, and whether older items exist.
        """
        history = await self._result(self._history_of(request.path_params["conversation_id"]))
        before, after = number_in(request, "before"), number_in(request, "after")
        if before:
            new = await self._result(self._start(history.before(before)))
        else:
            new = list(_first_of(history.after(after)))
        kept = [position for position, _ in history.after(0) if position <= after]
        return json_response(
            {
                "items": [
                    {"position": position, "json": json.dumps(item, ensure_ascii=False)}
                    for position, item in new
                ],
                "kept": None if before or len(kept) == number_in(request, "have") else kept,
                "older": not history.walk.is_at_end,
                "notes": history.notes(),
            }
        )

    def _history_of(self, conversation: str) -> asyncio.Task[History]:
        """Return the task that reads a conversation, started when it was first wanted."""
        if conversation not in self._histories:
            self._histories[conversation] = self._start(self._read(conversation))
            for oldest in list(islice(self._histories, max(0, len(self._histories) - _MAX_HISTORIES))):
                del self._histories[oldest]
        return self._histories[conversation]

    async def _read(self, conversation: str) -> History:
        """Read the newest page and the metadata of a conversation, in two requests."""
        conversation_id, by_turn = await self.listed.find(conversation)
        walk = PageWalk(ItemList(self._client, conversation_id, "desc"))
        async with self._client.confirming_not_found(conversation_id):
            await walk.step()
        metadata = await self._client.metadata_of(conversation_id)
        total = _total(metadata, by_turn)
        return History(
            walk,
            next(self._tops),
            metadata,
            usage=None if total is None else _as_json(total),
            turn_usage={number: _as_json(usage) for number, usage in by_turn.items()},
            read_at=time.time(),
        )

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _result(self, task: asyncio.Task[T]) -> T:
        """Return the result of a task, which goes on if the request for it is cancelled.

        Raises:
            HTTPException: It failed: 404 if something was not found, 502 otherwise, with a message without
                keys; or it was cancelled: 503.
        """
        await asyncio.wait([task])
        if task.cancelled():
            raise HTTPException(503, "The server is stopping.")
        error = task.exception()
        if isinstance(error, Exception):
            failure = explained(error, base_url=self._base_url)
            status = 404 if failure.exit_code == ExitCode.NOT_FOUND else 502
            raise HTTPException(status, without_tokens(str(failure)))
        return task.result()


_MAX_HISTORIES = 50
"""How many conversations are kept; the one that was read first is forgotten."""


def _first_of(numbered: Iterable[tuple[int, Item]]) -> Iterable[tuple[int, Item]]:
    """Yield the first items, within the limits of one response; at least one."""
    size = 0
    for position, item in islice(numbered, MAX_ITEMS):
        yield position, item
        size += len(json.dumps(item))
        if size > MAX_CHARACTERS:
            return
