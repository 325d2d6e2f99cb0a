"""The routes of the chat."""

from __future__ import annotations

import logging
import os
import pathlib
import textwrap
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict
from uuid import uuid4

from agents import Agent, ModelSettings, set_default_openai_client
from fastapi import Depends, FastAPI, Header, HTTPException, Path, Request
from fastapi.responses import JSONResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from openai import AsyncOpenAI, OpenAIError
from pydantic import BaseModel, StringConstraints

from openai_sessions.directory import SessionDirectory, SessionEntry
from openai_sessions.errors import NameNotFoundError, UserMismatchError
from openai_sessions.tokens import item_text

from .runs import BRANCH, BusyError, Runs, redis_client
from .users import current_user

logger = logging.getLogger("chat")

AGENT = Agent(
    name="Guide",
    instructions="Answer in a few short sentences.",
    # OpenAI stores no responses, which an erasure would have to find. Only reasoning models take the include.
    model_settings=ModelSettings(store=False, response_include=["reasoning.encrypted_content"]),
)

SHOWN_TURNS = 100
"""How many turns of a conversation the page shows: the newest."""


def title_of(items: Sequence[Any]) -> str:
    """Return the title of a conversation from the items of its first turn. You may ask a model here."""
    question = " ".join(item_text(item) for item in items if item.get("role") == "user")
    return textwrap.shorten(question, 60, placeholder="…") or question[:60]


class State(TypedDict):
    """What the requests of a worker share."""

    directory: SessionDirectory
    runs: Runs


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    """Open the connections of a worker. Each worker creates the tables if they are missing."""
    redis_url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
    database_url = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///chat.db")
    lease = float(os.environ.get("CHAT_LEASE", "10"))
    async with (
        AsyncOpenAI() as client,  # needs OPENAI_API_KEY
        redis_client(redis_url) as redis,
        SessionDirectory(database_url, openai_client=client, title_with=title_of) as directory,
        Runs(directory, redis, AGENT, lease=lease) as runs,
    ):
        set_default_openai_client(client)
        await directory.create_tables()
        yield {"directory": directory, "runs": runs}


app = FastAPI(title="Chat", lifespan=lifespan)


def directory_of(request: Request) -> SessionDirectory:
    directory: SessionDirectory = request.state.directory
    return directory


def runs_of(request: Request) -> Runs:
    runs: Runs = request.state.runs
    return runs


Name = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
User = Annotated[str, Depends(current_user)]
Directory = Annotated[SessionDirectory, Depends(directory_of)]
AllRuns = Annotated[Runs, Depends(runs_of)]


async def own_entry(name: Name, user: User, directory: Directory) -> SessionEntry:
    """Return the entry of a conversation of the user."""
    entry = await directory.get(name, user=user)
    if entry is None:
        raise NameNotFoundError(name)
    return entry


OwnEntry = Annotated[SessionEntry, Depends(own_entry)]


@app.exception_handler(NameNotFoundError)
@app.exception_handler(UserMismatchError)
async def not_found(_: Request, __: Exception) -> JSONResponse:
    """Answer for a conversation of another user as for one that does not exist."""
    return JSONResponse({"detail": "There is no such conversation."}, 404)


@app.exception_handler(BusyError)
async def busy(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse(
        {"detail": "An answer is being written, or something is being deleted. Try again in a moment."}, 409
    )


@app.exception_handler(OpenAIError)
async def unavailable(_: Request, error: Exception) -> JSONResponse:
    logger.warning("a conversation could not be read: %s", type(error).__name__)
    return JSONResponse({"detail": "The conversation cannot be read now. Try again later."}, 502)


class Title(BaseModel):
    title: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00]*$")
    ]


class Message(BaseModel):
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]


def as_json(entry: SessionEntry) -> dict[str, Any]:
    return {"id": entry.name, "title": entry.title, "used_at": entry.used_at.isoformat()}


@app.get("/api/conversations")
async def list_conversations(
    user: User, directory: Directory, search: str | None = None, after: str | None = None
) -> dict[str, Any]:
    """Return a page of the user's conversations, newest first, and the `after` of the next page."""
    try:
        page = await directory.conversations(user, search=search or None, limit=30, after=after)
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
    return {"conversations": [as_json(entry) for entry in page.entries], "next_after": page.next_after}


@app.post("/api/conversations", status_code=201)
async def create_conversation(user: User, directory: Directory) -> dict[str, Any]:
    """Create a conversation under a random name. OpenAI hears of it with the first message."""
    session = await directory.session(uuid4().hex, user=user)
    return {"id": session.name}


@app.get("/api/conversations/{name}")
async def read_conversation(
    name: Name, entry: OwnEntry, user: User, directory: Directory, runs: AllRuns
) -> dict[str, Any]:
    """Return the stored messages, and the number of the answer that is being written, if there is one."""
    run = await runs.active(name)  # before the messages: an answer that ends meanwhile is among them
    session = await directory.session(name, BRANCH, user=user)
    items: list[Any] = await session.get_items(turns=SHOWN_TURNS)
    said = [item for item in items if item.get("role") in ("user", "assistant")]
    messages = [{"role": item["role"], "text": item_text(item)} for item in said]
    return {**as_json(entry), "messages": messages, "run": run}


@app.patch("/api/conversations/{name}")
async def rename_conversation(name: Name, new: Title, user: User, directory: Directory) -> Title:
    await directory.set_title(name, new.title, user=user)
    return new


@app.delete("/api/conversations/{name}")
async def delete_conversation(
    name: Name, _: OwnEntry, user: User, directory: Directory, runs: AllRuns
) -> Response:
    """Stop the answer, and delete the conversation with its items: 204; 202 if a sweep must finish it."""
    async with runs.closed(name), runs.stopped(name):
        try:
            await directory.forget(name, delete=True, user=user)
        except OpenAIError as error:
            logger.warning("%s is left for a sweep: %s", name, type(error).__name__)
            return Response(status_code=202)
    return Response(status_code=204)


@app.post("/api/conversations/{name}/messages", status_code=202)
async def send_message(
    name: Name, _: OwnEntry, message: Message, user: User, runs: AllRuns
) -> dict[str, int]:
    """Start an answer; return its number. 409 while another one is written, which this one would not see."""
    return {"run": await runs.start(name, user, message.text)}


async def newest_run(run: int, entry: OwnEntry, runs: AllRuns) -> int:
    """Return the number of an answer whose events can be read."""
    if not await runs.is_newest(entry.name, run):
        raise HTTPException(404, "The events of this answer are gone: read the conversation.")
    return run


@app.get("/api/conversations/{name}/runs/{run}/events", response_class=EventSourceResponse)
async def follow_answer(
    name: Name,
    run: Annotated[int, Depends(newest_run)],
    runs: AllRuns,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d+-\d+$")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Send the events of an answer from its start, or after the last one that the browser has."""
    after = int((last_event_id or "0-0").partition("-")[2])
    async for event in runs.follow(name, run, after=after):
        yield ServerSentEvent(id=event.id, event=event.kind, data={"text": event.text})


@app.delete("/api/me")
async def erase_me(user: User, directory: Directory, runs: AllRuns) -> dict[str, Any]:
    """Delete all that is kept of the user, and return the report. Repeat it if it has failures."""
    async with runs.closed(f"user:{user}"):
        async for name in names_of(user, directory):
            async with runs.stopped(name):
                pass  # its answer has stopped, and another one is refused
        report = await directory.erase(user)
    return report.as_json()


async def names_of(user: str, directory: SessionDirectory) -> AsyncIterator[str]:
    after = None
    while True:
        page = await directory.conversations(user, order="name", after=after)
        for entry in page.entries:
            yield entry.name
        after = page.next_after
        if after is None:
            return


app.mount("/", StaticFiles(directory=pathlib.Path(__file__).parent / "page", html=True))
