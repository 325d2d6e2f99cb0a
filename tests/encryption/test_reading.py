"""Reads leave out expired, undecryptable and unencrypted items, and count them without an error."""

import logging

import pytest
from agents import SessionSettings

from openai_sessions.encryption import SkippedItems

from .stores import HELLO, HI, KEY, OTHER_KEY, ListSession, said, texts


async def test_items_are_read_until_they_expire(encrypted, clock):
    session = encrypted(ttl=600)
    await session.add_items([HELLO])
    clock.now += 300
    await session.add_items([HI])

    clock.now += 300
    assert [HELLO, HI] == await session.get_items()
    assert SkippedItems() == session.skipped

    clock.now += 1
    assert [HI] == await session.get_items()
    assert SkippedItems(expired=1) == session.skipped

    clock.now += 300
    assert [] == await session.get_items()
    assert SkippedItems(expired=2) == session.skipped
    assert SkippedItems(expired=3) == session.skipped_in_total


async def test_items_of_one_call_expire_together(encrypted, clock):
    underlying = ListSession()
    session = encrypted(underlying, ttl=10)
    clock.now += 0.9
    await session.add_items(said("one", "two", "three"))
    readable = set()
    for _ in range(40):
        clock.now += 0.3
        readable.add(len(await session.get_items()))
    assert {0, 3} == readable


async def test_items_without_ttl_never_expire(encrypted, clock):
    session = encrypted(ttl=None)
    await session.add_items([HELLO])
    clock.now += 100 * 365 * 86400
    assert [HELLO] == await session.get_items()
    assert session.ttl is None


async def test_default_ttl_is_that_of_the_agents_sdk(encrypted):
    assert 600 == encrypted().ttl


async def test_item_from_a_clock_ahead_is_read(encrypted, clock):
    session = encrypted()
    await session.add_items([HELLO])
    clock.now -= 3600
    assert [HELLO] == await session.get_items()


async def test_another_key_reads_nothing(encrypted):
    await encrypted().add_items([HELLO, HI])
    other = encrypted(key=OTHER_KEY)
    assert [] == await other.get_items()
    assert SkippedItems(undecryptable=2) == other.skipped


async def test_token_of_another_session_is_not_read(encrypted):
    first, second = ListSession(), ListSession()
    await encrypted(first, session_id="first user").add_items([HELLO])
    second.items = first.items
    session = encrypted(second, session_id="second user")
    assert [] == await session.get_items()
    assert SkippedItems(undecryptable=1) == session.skipped


@pytest.mark.parametrize(
    "tamper",
    [
        lambda text: text[:-1],
        lambda text: text[:-9] + ("A" if text[-9] != "A" else "B") + text[-8:],
        lambda text: text.replace(":v2:", ":v3:"),
        lambda text: text.partition(":v2:")[0] + ":v2:" + "é" * 140,
        lambda text: text + "\ud800",
        lambda text: text.partition(":v2:")[0] + ":v2:",
        lambda text: text.partition("v2:")[0],
    ],
    ids=["cut", "changed", "later version", "not base64", "no character", "no token", "no version"],
)
async def test_tampered_token_is_not_read(encrypted, tamper):
    underlying = ListSession()
    session = encrypted(underlying)
    await session.add_items([HELLO, HI])
    underlying.items[0]["content"] = tamper(underlying.items[0]["content"])
    assert [HI] == await session.get_items()
    assert (SkippedItems(undecryptable=1), 1) == (session.skipped, session.skipped.unreadable)


@pytest.mark.parametrize(
    "plain",
    [
        HELLO,
        {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"},
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
        },
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/a.png"}]},
        {"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": "gAAAA"},
        "text",
    ],
)
async def test_unencrypted_item_is_not_read(encrypted, plain):
    underlying = ListSession()
    session = encrypted(underlying)
    await session.add_items([HELLO])
    underlying.items.append(plain if isinstance(plain, str) else dict(plain))
    underlying.get_items = lambda limit=None: _as_it_is(underlying.items)
    assert [HELLO] == await session.get_items()
    assert SkippedItems(unencrypted=1) == session.skipped


async def _as_it_is(items):
    return items


async def test_limit_counts_readable_items(encrypted, hosted, clock):
    session = encrypted(ttl=600)
    await session.add_items(said("1", "2", "3"))
    await hosted.add_items(said(*["plain"] * 30))
    await session.add_items(said("4"))
    await encrypted(key=OTHER_KEY).add_items(said("5"))

    assert ["2", "3", "4"] == texts(await session.get_items(limit=3))
    assert SkippedItems(undecryptable=1, unencrypted=30) == session.skipped
    assert ["1", "2", "3", "4"] == texts(await session.get_items(limit=9))


@pytest.mark.parametrize("count", [1, 5, 45])
async def test_limit_needs_one_read_if_all_items_are_readable(encrypted, emulator, count):
    session = encrypted()
    await session.add_items(said(*map(str, range(count))))
    emulator.forget_requests()
    await session.get_items(limit=20)
    assert ["GET"] == [request.method for request in emulator.requests]


async def test_limit_of_settings_counts_readable_items(encrypted, hosted):
    session = encrypted()
    session.session_settings = SessionSettings(limit=2)
    await session.add_items(said("1", "2", "3"))
    await hosted.add_items(said("plain"))
    assert ["2", "3"] == texts(await session.get_items())
    assert 2 == hosted.session_settings.limit == session.session_settings.limit


@pytest.mark.parametrize("limit", [0, -1])
async def test_limit_of_zero_or_less_reads_nothing(encrypted, limit):
    underlying = ListSession()
    assert [] == await encrypted(underlying).get_items(limit)
    assert [] == underlying.calls


async def test_rotated_keys_read_everything(encrypted):
    await encrypted(key=OTHER_KEY).add_items([HELLO])
    rotated = encrypted(key=[KEY, OTHER_KEY])
    await rotated.add_items([HI])

    assert [HELLO, HI] == await rotated.get_items()
    assert [HI] == await encrypted(key=KEY).get_items()
    assert [HELLO] == await encrypted(key=OTHER_KEY).get_items()


async def test_skipped_items_are_logged_once(encrypted, hosted, clock, caplog):
    caplog.set_level(logging.INFO, logger="openai_sessions")
    session = encrypted(ttl=600)
    await session.add_items([HELLO])
    clock.now += 601
    await hosted.add_items([HI])
    caplog.clear()
    for _ in range(3):
        await session.get_items()
    assert [("WARNING", "'first user': 1 expired, 1 unencrypted item(s)")] == [
        (record.levelname, record.message) for record in caplog.records
    ]


async def test_expired_items_alone_are_logged_as_info(encrypted, clock, caplog):
    caplog.set_level(logging.INFO, logger="openai_sessions")
    session = encrypted()
    await session.add_items([HELLO])
    clock.now += 601
    caplog.clear()
    await session.get_items()
    assert ["INFO"] == [record.levelname for record in caplog.records]
