"""Operations on a directory; the tests run each function in a separate process."""

import asyncio
import os
import random
import signal
import time
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta, timezone

import alembic.script  # noqa: F401 - so that a forked process need not
import openai
from sqlalchemy import event
from sqlalchemy.engine import Engine

from openai_sessions import RequestSettings, RetryPolicy
from openai_sessions.directory import SessionDirectory
from openai_sessions.errors import NameNotFoundError, NameTakenError, UserMismatchError

POLICY = RetryPolicy(attempts=8, initial_wait=0.001, max_wait=0.02, settle_after=0.002)
LONG_AGO = timedelta(days=1)


def batch(size):
    """Return items that contain the name of their write, their index and their number."""
    name = os.urandom(6).hex()
    items = [{"role": "user", "content": f"{name} {number} {size}"} for number in range(size)]
    items[-1]["role"] = "assistant"  # so that a turn ends
    return items


@asynccontextmanager
async def opened(url, base_url, *, now=None, hooks=None, title_with=None):
    """Open a directory with a client of its own, as a separate process does."""
    transport = openai.DefaultAsyncHttpxClient(verify=False, event_hooks=hooks or {})
    async with openai.AsyncOpenAI(base_url=base_url, api_key="sk-emulator", http_client=transport) as client:
        clock = {} if now is None else {"clock": lambda: datetime.fromtimestamp(now, timezone.utc)}
        options = {"requests": RequestSettings(retry_policy=POLICY)}
        async with SessionDirectory(
            url, openai_client=client, session_options=options, title_with=title_with, **clock
        ) as directory:
            yield directory


def title_of(items):
    """Return the title of a turn: the name of its write."""
    return items[-1]["content"].split()[0]


class Death:
    """Ends this process with SIGKILL at its n-th step, such as a commit, a request or a response."""

    def __init__(self, after):
        self._left = after

    def step(self, *_):
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    async def step_of_http(self, _):
        self.step()

    def hooks(self, **more):
        event.listen(Engine, "commit", self.step)
        return {
            "request": [self.step_of_http],
            "response": [self.step_of_http, *more.get("response", ())],
        }


async def begin(url, base_url, name, after):
    """Write to a new name."""
    async with opened(url, base_url, hooks=Death(after).hooks(), title_with=title_of) as directory:
        await (await directory.session(name)).add_items(batch(3))


async def lose(url, base_url, name, after):
    """Write to a new name while another session of it writes first."""
    death, others = Death(after), []

    async def let_another_be_first(response):
        if others and response.request.url.path.endswith("/conversations"):
            await others.pop().add_items(batch(2))

    hooks = death.hooks(response=[let_another_be_first])
    async with opened(url, base_url, hooks=hooks) as directory, opened(url, base_url) as other:
        session = await directory.session(name)
        others.append(await other.session(name))
        await session.add_items(batch(3))


async def clear(url, base_url, name, after):
    async with opened(url, base_url, hooks=Death(after).hooks()) as directory:
        await (await directory.session(name)).clear_session()


async def forget(url, base_url, name, after):
    async with opened(url, base_url, hooks=Death(after).hooks()) as directory:
        await directory.forget(name, delete=True)


async def erase(url, base_url, name, after):
    """Erase the user of this name."""
    async with opened(url, base_url, hooks=Death(after).hooks()) as directory:
        await directory.erase(name)


async def sweep(url, base_url, name, after):
    """Sweep after the name has expired."""
    later = (datetime.now(timezone.utc) + LONG_AGO).timestamp()
    async with opened(url, base_url, now=later, hooks=Death(after).hooks()) as directory:
        await directory.sweep()


async def upgrade(url, after):
    """Upgrade the tables; a step is a statement."""
    event.listen(Engine, "before_cursor_execute", Death(after).step)
    async with SessionDirectory(url) as directory:
        await directory.create_tables()


async def use_at_random(url, base_url, *, names, seed, until, errors):
    """Use names in every way until a time; write unexpected errors to a file."""
    choice = random.Random(seed)  # noqa: S311 - so that a run can be repeated
    async with opened(url, base_url, title_with=title_of) as directory:
        user = _User(directory, names, choice)
        while time.time() < until:
            try:
                await user.do_something()
            except Exception as error:  # noqa: BLE001 - told
                await asyncio.to_thread(_append, errors, f"{user.doing}: {error!r} {error.__cause__!r}\n")


def _append(path, line):
    with open(path, "a") as file:  # noqa: PTH123 - appended in one write
        file.write(line)


class _User:
    """A process that uses a directory at random, and keeps some sessions open."""

    def __init__(self, directory, names, choice):
        self._directory = directory
        self._names = names
        self._choice = choice
        self._kept = []
        self.doing = ""

    async def do_something(self):
        ways = {
            self.write: 40,
            self.read: 15,
            self.clear: 15,
            self.rename: 10,
            self.forget: 8,
            self.sweep: 6,
            self.erase: 3,
            self.list: 8,
            self.retitle: 4,
        }
        way = self._choice.choices([*ways], [*ways.values()])[0]
        self.doing = way.__name__
        with suppress(NameNotFoundError, NameTakenError, UserMismatchError):
            await way()

    async def session(self):
        if self._kept and self._choice.random() < 0.5:
            return self._choice.choice(self._kept)
        expires_in = self._choice.choice([None, None, 0.3, 2])
        name = self.name()
        session = await self._directory.session(name, user=user_of(name), expires_in=expires_in)
        self._kept = [*self._kept[-5:], session]
        return session

    def name(self):
        return self._choice.choice(self._names)

    async def write(self):
        await (await self.session()).add_items(batch(self._choice.randint(1, 6)))

    async def read(self):
        session = await self.session()
        items = await session.get_items()
        try:
            assert_whole([item["content"] for item in items])
        except (AssertionError, IndexError):  # another process may be deleting the items
            page = await self._directory.conversations(limit=100)
            assert session.conversation_id not in {entry.conversation_id for entry in page.entries}

    async def clear(self):
        await (await self.session()).clear_session()

    async def rename(self):
        old = self.name()
        new = self._choice.choice([name for name in self._names if user_of(name) == user_of(old)])
        await self._directory.rename(old, new)

    async def forget(self):
        name = self.name()
        await self._directory.forget(name, delete=True, user=self._choice.choice([None, user_of(name)]))

    async def sweep(self):
        await self._directory.sweep(limit=20)

    async def erase(self):
        await self._directory.erase(user_of(self.name()))

    async def list(self):
        user = self._choice.choice([None, *map(user_of, self._names)])
        order = self._choice.choice(["-used_at", "used_at", "name", "-name"])
        after = None
        for _ in range(20):
            page = await self._directory.conversations(user, order=order, limit=2, after=after)
            assert {entry.name for entry in page.entries} <= set(self._names)
            assert all(entry.user == user_of(entry.name) for entry in page.entries)
            assert all(user in {None, entry.user} for entry in page.entries)
            after = page.next_after
            if after is None:
                return

    async def retitle(self):
        name, title = self.name(), os.urandom(6).hex()
        await self._directory.set_title(name, title, user=user_of(name))
        page = await self._directory.conversations(search=title.upper())
        assert {entry.title for entry in page.entries} <= {title}


def user_of(name):
    """Return the user who creates a name that ends with a digit: one of two."""
    return f"user {int(name[-1]) % 2}"


def assert_whole(texts):
    """Assert that every write is complete, and its items are in order."""
    while texts:
        name, _, size = texts[0].split()
        expected = [f"{name} {number} {size}" for number in range(int(size))]
        assert expected == texts[: int(size)]
        texts = texts[int(size) :]
