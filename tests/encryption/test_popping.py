"""A pop removes the newest readable item, and loses no unreadable one."""

import asyncio

import pytest

from openai_sessions.encryption import SkippedItems

from .stores import HELLO, HI, OTHER_KEY, ListSession, said, texts


async def test_another_key_pops_nothing_and_deletes_nothing(encrypted, emulator, hosted):
    await encrypted().add_items([HELLO, HI])
    before = emulator.items(hosted.session_id)
    emulator.forget_requests()

    other = encrypted(key=OTHER_KEY)
    assert await other.pop_item() is None

    assert before == emulator.items(hosted.session_id)
    assert {"GET"} == {request.method for request in emulator.requests}
    assert SkippedItems(undecryptable=2) == other.skipped


async def test_unreadable_items_above_keep_their_order(encrypted, hosted):
    session, other = encrypted(), encrypted(key=OTHER_KEY)
    await session.add_items(said("1", "2"))
    await other.add_items(said("3"))
    await hosted.add_items(said("4"))
    await other.add_items(said("5"))

    assert "2" == (await session.pop_item())["content"]

    assert ["1"] == texts(await session.get_items())
    assert ["3", "5"] == texts(await other.get_items())
    assert "4" == (await hosted.get_items())[-2]["content"]
    assert "1" == (await session.pop_item())["content"]
    assert await session.pop_item() is None
    assert 3 == len(await hosted.get_items())


async def test_expired_items_above_are_deleted(encrypted, clock, hosted):
    short, long = encrypted(ttl=10), encrypted(ttl=None)
    await short.add_items(said("old"))
    clock.now += 11
    assert await short.pop_item() is None
    assert ["old"] == texts(await long.get_items())

    clock.now -= 5
    await short.add_items(said("new"))
    clock.now += 8
    assert "new" == (await short.pop_item())["content"]


async def test_expired_items_below_the_newest_are_kept(encrypted, clock):
    session = encrypted(ttl=10)
    await session.add_items(said("1"))
    clock.now += 11
    await session.add_items(said("2"))
    assert "2" == (await session.pop_item())["content"]
    assert ["1"] == texts(await encrypted(ttl=None).get_items())


async def stored_of_two_keys(encrypted):
    """Return a store with two items of our key below two of another, a session on it, and its contents."""
    underlying = ListSession()
    session, other = encrypted(underlying), encrypted(underlying, key=OTHER_KEY)
    await session.add_items(said("1", "2"))
    await other.add_items(said("3", "4"))
    return underlying, session, list(underlying.items)


@pytest.mark.parametrize("failing", [["pop_item"], ["add_items"]])
async def test_failed_pop_removes_nothing(encrypted, failing):
    """The next use of the session restores everything, if the pop did not."""
    underlying, session, before = await stored_of_two_keys(encrypted)
    underlying.failing = list(failing)

    with pytest.raises(ConnectionError):
        await session.pop_item()
    assert ["1", "2"] == texts(await session.get_items())

    assert before == underlying.items
    assert "2" == (await session.pop_item())["content"]


async def test_next_write_restores_a_partial_pop(encrypted):
    underlying, session, before = await stored_of_two_keys(encrypted)
    underlying.failing = ["add_items"]
    with pytest.raises(ConnectionError):
        await session.pop_item()
    assert before != underlying.items

    await session.add_items(said("5"))

    assert before == underlying.items[:-1]


async def test_clear_after_a_partial_pop_deletes_everything(encrypted):
    underlying, session, _ = await stored_of_two_keys(encrypted)
    underlying.failing = ["add_items"]
    with pytest.raises(ConnectionError):
        await session.pop_item()

    await session.clear_session()

    assert [] == await session.get_items() == underlying.items


class GatedSession(ListSession):
    """A store in which calls of one method wait until a test opens the gate."""

    def __init__(self, method):
        super().__init__()
        self._method = method
        self.reached, self.gate = asyncio.Event(), asyncio.Event()

    async def pop_item(self):
        item = await super().pop_item()
        await self._wait("pop_item")
        return item

    async def add_items(self, items):
        await self._wait("add_items")
        await super().add_items(items)

    async def _wait(self, name):
        if name == self._method:
            self.reached.set()
            await self.gate.wait()


@pytest.mark.parametrize("method", ["pop_item", "add_items"])
async def test_cancelled_pop_removes_nothing(encrypted, method):
    stored, _, before = await stored_of_two_keys(encrypted)
    underlying = GatedSession(method)
    underlying.items = stored.items
    popping = asyncio.create_task(encrypted(underlying).pop_item())
    await underlying.reached.wait()
    popping.cancel()
    await asyncio.sleep(0)
    underlying.gate.set()

    with pytest.raises(asyncio.CancelledError):
        await popping

    assert sorted(map(str, before)) == sorted(map(str, underlying.items))
    assert ["1", "2"] == texts(await encrypted(underlying).get_items())


async def test_concurrent_pops_return_distinct_items(encrypted):
    underlying = ListSession()
    session, other = encrypted(underlying), encrypted(underlying, key=OTHER_KEY)
    for number in range(5):
        await session.add_items(said(f"ours {number}"))
        await other.add_items(said(f"theirs {number}"))

    popped = await asyncio.gather(*(session.pop_item() for _ in range(7)))

    assert [f"ours {n}" for n in (4, 3, 2, 1, 0)] == texts(item for item in popped if item)
    assert [f"theirs {n}" for n in range(5)] == texts(await other.get_items())


async def test_closing_restores_the_items_of_a_failed_pop(encrypted):
    underlying, session, before = await stored_of_two_keys(encrypted)
    underlying.failing = ["add_items"]
    async with session:
        with pytest.raises(ConnectionError):
            await session.pop_item()
        assert before != underlying.items
    assert before == underlying.items


async def test_closing_logs_items_that_it_cannot_restore(encrypted, caplog):
    """It still closes; the next use of the same object restores them."""
    underlying, session, before = await stored_of_two_keys(encrypted)
    underlying.failing = ["add_items"]
    with pytest.raises(ConnectionError):
        await session.pop_item()
    underlying.failing = ["add_items"]
    closed = []
    underlying.close = lambda: closed.append(True)

    await session.aclose()

    assert [True] == closed
    assert "'first user': 3 item(s) of a failed pop could not be restored" in caplog.text
    assert ["1", "2"] == texts(await session.get_items())
    assert before == underlying.items
