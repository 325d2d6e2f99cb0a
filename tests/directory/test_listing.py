"""Listing, renaming and forgetting names, and checks of arguments."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_sessions.directory import SessionDirectory, SessionEntry
from openai_sessions.errors import NameChangedError, NameNotFoundError, NameTakenError
from tests.selection import examples

from .stage import held, in_tables, user


async def names_in(directory, prefix="", **options):
    page = await directory.conversations(prefix=prefix, **{"order": "name", **options})
    return [entry.name for entry in page.entries]


async def open_all(directory, names):
    for name in names:
        await directory.session(name)


async def test_entry_has_all_fields(directory, clock):
    created = clock.now
    session = await directory.session(
        "user_1", user="alice", title="Tests", expires_in=timedelta(hours=1), metadata={"plan": "pro"}
    )
    clock.advance(minutes=10)
    await session.add_items([user("Hello")])
    expected = SessionEntry(
        name="user_1",
        user="alice",
        title="Tests",
        turn_count=0,
        conversation_id=session.session_id,
        metadata={"plan": "pro"},
        created_at=created,
        used_at=clock.now,
        expires_at=clock.now + timedelta(hours=1),
        branch="main",
    )
    assert expected == await directory.get("user_1")
    assert clock.now.utcoffset() == expected.used_at.utcoffset()
    assert hash(expected)


async def test_get_returns_none_for_an_unknown_name(directory):
    assert await directory.get("nobody") is None


async def test_pages_are_ordered_and_complete(directory):
    await open_all(directory, ["c", "a", "e", "b", "d"])
    first = await directory.conversations(order="name", limit=2)
    second = await directory.conversations(order="name", limit=2, after=first.next_after)
    third = await directory.conversations(order="name", limit=2, after=second.next_after)
    assert [["a", "b"], ["c", "d"], ["e"]] == [
        [entry.name for entry in page.entries] for page in (first, second, third)
    ]
    assert ("b", "d", None) == (first.next_after, second.next_after, third.next_after)
    assert (await directory.conversations(order="name", limit=5)).next_after is None


async def test_removing_names_between_pages_skips_no_other(directory):
    await open_all(directory, ["a", "b", "c", "d"])
    first = await directory.conversations(order="name", limit=2)
    await directory.forget("a")
    await directory.forget("b")
    assert ["c", "d"] == await names_in(directory, limit=2, after=first.next_after)


async def test_no_character_of_a_prefix_is_special(directory):
    await open_all(directory, ["a_1", "ab1", "a%1", "A_1", "a\\1", "b_1"])
    assert ["a_1"] == await names_in(directory, "a_")
    assert ["a%1"] == await names_in(directory, "a%")
    assert ["a\\1"] == await names_in(directory, "a\\")


async def test_names_are_case_sensitive(directory):
    await open_all(directory, ["user", "User", "USER"])
    assert ["USER", "User", "user"] == await names_in(directory)
    assert ["User"] == await names_in(directory, "Us")
    assert "User" == (await directory.get("User")).name


@settings(
    max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
async def test_prefix_selects_exactly_the_names_that_start_with_it(directory, data):
    """Ordered by code points, on both databases."""
    texts = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0")
        | st.sampled_from("ab_%\ud7ff\ue000\U0010ffff"),
        min_size=1,
        max_size=3,
    )
    await open_all(directory, data.draw(st.lists(texts, min_size=1, max_size=6)))
    prefix = data.draw(texts | st.just(""))
    everything = await names_in(directory, limit=10_000)
    assert sorted(everything) == everything
    assert [name for name in everything if name.startswith(prefix)] == await names_in(
        directory, prefix, limit=10_000
    )


async def test_tenants_are_isolated(open_directory, emulator, clock):
    ours, theirs = open_directory(tenant="ours"), open_directory(tenant="theirs")
    session = await ours.session("user_1", metadata={"whose": "ours"}, expires_in=60)
    await session.add_items([user("ours")])
    assert await theirs.get("user_1") is None
    assert () == (await theirs.conversations()).entries
    with pytest.raises(NameNotFoundError):
        await theirs.rename("user_1", "user_2")
    with pytest.raises(NameNotFoundError):
        await theirs.set_metadata("user_1", {})
    with pytest.raises(NameNotFoundError):
        await theirs.switch("user_1", "main")
    with pytest.raises(NameNotFoundError):
        await theirs.branches("user_1")
    assert await theirs.forget("user_1", delete=True) is False
    other = await theirs.session("user_1")
    await other.add_items([user("theirs")])
    assert [user("ours")] == await session.get_items()
    clock.advance(hours=1)
    report = await theirs.sweep()
    assert (0, 0) == (report.expired, report.deleted)
    assert {session.session_id, other.session_id} == held(emulator)
    assert {"whose": "ours"} == (await ours.get("user_1")).metadata


async def test_lost_creations_and_pending_deletions_belong_to_their_tenant(open_directory, emulator):
    from openai_sessions.emulator import Fault  # noqa: PLC0415 - this test alone

    ours, theirs = open_directory(tenant="ours"), open_directory(tenant="theirs")
    emulator.inject(Fault("cut_after_commit"), operation="create_conversation")
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=6)
    session = await ours.session("user_1")
    await session.add_items([user("Hello")])
    with pytest.raises(Exception, match="500"):
        await session.clear_session()
    (lost,) = await ours.lost_creations()
    assert () == await theirs.lost_creations(older_than=0)
    assert await theirs.forget_lost_creation(lost.creation_id) is False
    assert 0 == (await theirs.sweep()).deleted
    assert 1 == (await ours.sweep()).deleted


async def test_rename_keeps_conversation_metadata_and_open_sessions(directory, other):
    session = await directory.session("user_1", metadata={"plan": "pro"})
    await session.add_items([user("Hello")])
    await other.rename("user_1", "user_2")
    assert await directory.get("user_1") is None
    assert [user("Hello")] == await (await directory.session("user_2")).get_items()
    await session.add_items([user("again")])
    assert "user_2" == session.name
    assert {"plan": "pro"} == (await directory.get("user_2")).metadata


async def test_unused_session_of_a_renamed_name_registers_under_the_new_one(directory, other, url):
    session = await directory.session("user_1")
    await other.rename("user_1", "user_2")
    await session.add_items([user("Hello")])
    assert session.session_id == (await directory.get("user_2")).conversation_id
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_rename_to_an_existing_name_is_refused(directory):
    await open_all(directory, ["a", "b"])
    with pytest.raises(NameTakenError, match="'b'") as caught:
        await directory.rename("a", "b")
    assert ("b", None) == (caught.value.name, caught.value.branch)
    assert ["a", "b"] == await names_in(directory)
    await directory.rename("a", "a")


async def test_rename_of_an_unknown_name_is_refused(directory):
    with pytest.raises(NameNotFoundError, match="'a'"):
        await directory.rename("a", "b")


async def test_forgetting_a_name_keeps_the_conversation(directory, emulator, url):
    """An open session continues with it, and a new session starts a new one."""
    session = await directory.session("user_1")
    await session.add_items([user("Hello")])
    assert await directory.forget("user_1") is True
    assert await directory.forget("user_1") is False
    await session.add_items([user("again")])
    assert (0, 0, 0, 0) == await in_tables(url)
    assert [user("Hello"), user("again")] == await session.get_items()
    assert [] == await (await directory.session("user_1")).get_items()
    assert {session.session_id} == held(emulator)


async def test_forgetting_a_name_deletes_on_request(directory, other, emulator, url):
    session = await directory.session("user_1")
    await session.add_items([user("Hello")])
    assert await other.forget("user_1", delete=True) is True
    assert set() == held(emulator)
    assert (0, 0, 0, 0) == await in_tables(url)
    await session.add_items([user("new")])
    assert [user("new")] == await (await other.session("user_1")).get_items()


async def test_metadata_is_kept_until_it_is_replaced(directory, emulator):
    await directory.session("user_1", metadata={"plan": "pro", "\0 \ud800": "\0"})
    await directory.session("user_1")
    assert {"plan": "pro", "\0 \ud800": "\0"} == (await directory.get("user_1")).metadata
    await directory.session("user_1", metadata={"plan": "free"})
    assert {"plan": "free"} == (await directory.get("user_1")).metadata
    await directory.set_metadata("user_1", {})
    assert {} == (await directory.get("user_1")).metadata
    with pytest.raises(NameNotFoundError):
        await directory.set_metadata("user_2", {})
    assert () == emulator.requests


async def test_metadata_is_replaced_only_if_it_is_the_expected(directory, other):
    await directory.session("user_1", metadata={"n": "1"})
    await directory.set_metadata("user_1", {"n": "2"}, expected={"n": "1"})
    with pytest.raises(NameChangedError, match="'user_1' was changed since it was read") as caught:
        await other.set_metadata("user_1", {"n": "3"}, expected={"n": "1"})
    assert "user_1" == caught.value.name
    assert {"n": "2"} == (await directory.get("user_1")).metadata
    with pytest.raises(NameNotFoundError):
        await directory.set_metadata("user_2", {}, expected={})


async def test_name_is_forgotten_only_if_its_metadata_is_the_expected(directory, emulator):
    session = await directory.session("user_1", metadata={"n": "1"})
    await session.add_items([user("Hello")])
    with pytest.raises(NameChangedError):
        await directory.forget("user_1", delete=True, expected={})
    assert session.session_id == (await directory.get("user_1")).conversation_id
    assert {session.session_id} == held(emulator)
    assert await directory.forget("user_1", delete=True, expected={"n": "1"}) is True
    assert await directory.forget("user_1", expected={"n": "1"}) is False
    assert set() == held(emulator)


async def test_of_many_that_have_read_the_same_metadata_one_replaces_it(directory, other):
    await directory.session("user_1", metadata={"n": "0"})
    writers = [directory, other] * 5
    written = await asyncio.gather(
        *(
            writer.set_metadata("user_1", {"n": str(number)}, expected={"n": "0"})
            for number, writer in enumerate(writers, start=1)
        ),
        return_exceptions=True,
    )
    winner = written.index(None) + 1
    assert [NameChangedError] * 9 == [type(each) for each in written if each is not None]
    assert {"n": str(winner)} == (await directory.get("user_1")).metadata


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.session(""), "the name is empty"),
        (lambda d: d.session("a" * 256), "has 256 characters"),
        (lambda d: d.session("a\0"), "NUL"),
        (lambda d: d.session("\ud800"), "surrogate"),
        (lambda d: d.session(7), "the name must be a string, not int"),
        (lambda d: d.session("a", expires_in=0), "expires_in must be positive"),
        (lambda d: d.session("a", expires_in=float("nan")), "expires_in must be positive"),
        (lambda d: d.session("a", expires_in="1 h"), "timedelta or a number of seconds, not '1 h'"),
        (lambda d: d.session("a", expires_in=True), "timedelta or a number of seconds, not True"),
        (lambda d: d.session("a", metadata={"a": 1}), "'a'"),
        (lambda d: d.session("a", metadata="a"), "mapping"),
        (lambda d: d.session("a", conversation_id="conv_1"), "'conversation_id' is not a session option"),
        (
            lambda d: d.session("a", conversation_metadata={f"{n}": "" for n in range(14)}),
            "14 pairs, and 13 fit",
        ),
        (lambda d: d.session("a", conversation_metadata={"openai_sessions.x": ""}), "reserved"),
        (lambda d: d.session("a", user=""), "the user is empty"),
        (lambda d: d.session("a", user=7), "the user must be a string, not int"),
        (lambda d: d.session("a", title="a" * 256), "has 256 characters"),
        (lambda d: d.session("a", title="\0"), "NUL"),
        (lambda d: d.register("a", "conv_1", user=""), "the user is empty"),
        (lambda d: d.set_title("a", ""), "the title is empty"),
        (lambda d: d.set_user("a", "\ud800"), "surrogate"),
        (lambda d: d.get("a", user=""), "the user is empty"),
        (lambda d: d.forget("a", user="x" * 256), "has 256 characters"),
        (lambda d: d.conversations(user=""), "the user is empty"),
        (lambda d: d.conversations(limit=0), "limit must be at least 1, not 0"),
        (lambda d: d.conversations(limit="1"), "limit must be a whole number, not '1'"),
        (lambda d: d.conversations(prefix=None), "the prefix must be a string"),
        (lambda d: d.conversations(order="title"), "order must be '-used_at' or .*, not 'title'"),
        (lambda d: d.conversations(search="\0"), "NUL"),
        (lambda d: d.conversations(metadata={"a": 1}), "'a'"),
        (lambda d: d.conversations(after="nonsense"), "after='nonsense' is not the next_after of a page"),
        (lambda d: d.conversations(after="bnVsbA=="), "is not the next_after of a page"),
        (lambda d: d.rename("a", ""), "the name is empty"),
        (lambda d: d.sweep(limit=-1), "limit"),
        (lambda d: d.lost_creations(older_than=-1), "older_than must be between 0"),
        (lambda d: d.lost_creations(older_than="x"), "older_than must be a timedelta"),
    ],
)
async def test_invalid_argument_is_refused(sqlite_url, call, message):
    async with SessionDirectory(sqlite_url) as directory:
        with pytest.raises((TypeError, ValueError), match=message):
            await call(directory)
        assert () == (await directory.conversations()).entries


def test_invalid_option_of_the_directory_is_refused(sqlite_url):
    with pytest.raises(
        TypeError, match=r"'limit' is not a session option of a directory: use one of .*history,"
    ):
        SessionDirectory(sqlite_url, session_options={"limit": 3})
    with pytest.raises(ValueError, match="the tenant 'x"):
        SessionDirectory(sqlite_url, tenant="x" * 256)
