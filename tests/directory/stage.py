"""Helpers of the directory tests: a clock, requests, rows, a gate."""

import asyncio
from datetime import datetime, timedelta, timezone

import openai
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from openai_sessions import RequestSettings
from openai_sessions.directory._database import branches, creations, deletions, names
from openai_sessions.emulator._server import in_process_client
from tests.wire import FAST

OPTIONS = {"requests": RequestSettings(retry_policy=FAST)}

CREATE = "POST /v1/conversations"


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def __call__(self):
        return self.now

    def advance(self, **time):
        self.now += timedelta(**time)


def user(text):
    return {"role": "user", "content": text}


def made(emulator):
    """Return the requests that the emulator received, without ids."""
    known = {conversation_id for request in emulator.requests if (conversation_id := _id_in(request.path))}
    lines = [f"{request.method} {request.path}" for request in emulator.requests]
    for conversation_id in known:
        lines = [line.replace(conversation_id, "ID") for line in lines]
    return lines


def _id_in(path):
    return next((part for part in path.split("/") if part.startswith("conv_")), None)


def held(emulator):
    """Return the ids of the conversations in the emulator."""
    return {conversation.id for conversation in emulator.conversations()}


async def rows(url, table):
    """Return all rows of a table as dicts."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = [dict(row) for row in (await connection.execute(select(table))).mappings()]
    await engine.dispose()
    return found


async def in_tables(url):
    """Return the numbers of names, registered conversations, pending deletions and creations."""
    registered = [row for row in await rows(url, branches) if row["conversation_id"]]
    others = [len(await rows(url, table)) for table in (deletions, creations)]
    return (len(await rows(url, names)), len(registered), *others)


class Gate:
    """An emulator at which requests wait until a number of them has arrived."""

    def __init__(self, emulator, *, request=CREATE, waits_for=2):
        self._emulator = emulator
        self._request = request
        self._missing = waits_for
        self._open = asyncio.Event()

    async def __call__(self, scope, receive, send):
        if f"{scope['method']} {scope['path']}" == self._request:
            self._missing -= 1
            if self._missing <= 0:
                self._open.set()
            await self._open.wait()
        await self._emulator(scope, receive, send)

    def client(self):
        return in_process_client(self, api_key="sk-gate")


def hooked_client(emulator, on_request):
    """Return a client of the emulator that awaits a function before each request."""
    client = emulator.client()
    transport = client._client._transport
    hooks = {"request": [on_request]}
    return client.with_options(
        http_client=openai.DefaultAsyncHttpxClient(transport=transport, event_hooks=hooks)
    )
