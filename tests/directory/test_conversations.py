"""Pages of names: by owner, order, title and metadata."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.selection import examples, one_in

from .stage import user

ORDERS = ("-used_at", "used_at", "name", "-name")


async def listed(directory, *arguments, **options):
    """Return the names on all pages, which are requested one after the other."""
    found, after = [], None
    while True:
        page = await directory.conversations(*arguments, after=after, **options)
        found += [entry.name for entry in page.entries]
        after = page.next_after
        if after is None:
            return found


async def open_all(directory, clock, names, **options):
    for name in names:
        clock.advance(seconds=1)
        await directory.session(name, **options)


async def test_order_by_use_is_that_of_writes(directory, clock):
    await open_all(directory, clock, ["a", "b", "c"], user="alice")
    clock.advance(seconds=1)
    session = await directory.session("a")
    assert ["c", "b", "a"] == await listed(directory)
    await session.add_items([user("Hello")])
    assert ["a", "c", "b"] == await listed(directory)
    await session.get_items()
    clock.advance(seconds=1)
    await directory.set_title("b", "b")
    await directory.session("b", metadata={"a": "b"})
    assert ["a", "c", "b"] == await listed(directory, "alice")
    await directory.fork("a", "copy")
    assert ["b", "c", "a"] == await listed(directory, order="used_at")


async def test_pages_have_each_name_once_in_each_order(directory, clock):
    """Names of one moment are ordered by the ids of their entries."""
    for number in range(11):
        clock.advance(seconds=number // 8)  # so that the first eight are of one moment
        await directory.session(f"{number:02}", user="alice" if number % 3 else "bob")
    for order in ORDERS:
        everything = await listed(directory, order=order, limit=1000)
        for size in (1, 4, 11, 10):
            assert everything == await listed(directory, order=order, limit=size)
        alices = await listed(directory, "alice", order=order, limit=2)
        assert alices == [name for name in everything if int(name) % 3]
        is_reverse = order.startswith("-")
        if order.endswith("name"):
            assert everything == sorted(everything, reverse=is_reverse)
        else:
            assert ["08", "09", "10"] == (everything[-3:], everything[2::-1])[is_reverse]


async def test_cursor_of_another_order_is_refused(directory):
    await directory.session("a")
    await directory.session("b")
    for order in ORDERS:
        after = (await directory.conversations(order=order, limit=1)).next_after
        for other in {"-used_at", "used_at"} - {order}:
            with pytest.raises(ValueError, match=f"after='{after}' is not the next_after of .* '{other}'"):
                await directory.conversations(order=other, after=after)


MALFORMED = [
    "W10=",  # []
    "WyItdXNlZF9hdCIsICJub3ciLCAieCJd",  # ["-used_at", "now", "x"]
    "WyItdXNlZF9hdCIsIDEsICJ4Il0=",  # ["-used_at", 1, "x"]
    "WyItdXNlZF9hdCIsICIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjAwIiwgIngiXQ==",  # a time before year 1
    "WyItdXNlZF9hdCIsICIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgMV0=",  # an id that is none
    "bnVsbA==",  # null
    "[" * 200,
    "é",
    "",
]


async def test_malformed_cursor_is_refused(directory):
    for after in MALFORMED:
        with pytest.raises(
            ValueError, match=r"after='.* is not the next_after of a page in the order '-used_at'"
        ):
            await directory.conversations(after=after)


async def test_search_finds_what_a_title_contains(directory):
    titles = ["Straße nach Paris", "CAFÉ", "Cafe\u0301 %_\\", "ﬁne", "", None]
    for number, title in enumerate(titles):
        await directory.session(str(number), title=title or None)

    async def found(text):
        return await listed(directory, order="name", search=text)

    assert ["0"] == await found("STRASSE")
    assert ["1", "2"] == await found("Café")
    assert ["1", "2"] == await found("cafe\u0301")
    assert ["3"] == await found("FIN")
    assert ["2"] == await found("%")
    assert ["2"] == await found("_\\")
    assert [] == await found("é_")
    assert 6 == len(await found(""))
    await directory.set_title("1", None)
    assert ["2"] == await found("café")
    await directory.session("4", title="café")
    assert ["2", "4"] == await found("café")


async def test_entries_with_all_pairs_of_metadata_are_selected(directory):
    pairs = [
        {"plan": "pro", "team": "a"},
        {"plan": "Pro", "team": "a"},
        {"team": "a", "plan": "pro"},
        {'x"plan': "pro"},
        {"plan": 'pro"'},
        {"\0 é": '\ud800"\\'},
        {"plan": "", "": "pro"},
    ]
    for number, metadata in enumerate(pairs):
        await directory.session(str(number), metadata=metadata)

    async def found(metadata):
        return await listed(directory, order="name", metadata=metadata, limit=2)

    assert ["0", "2"] == await found({"plan": "pro"})
    assert ["0", "2"] == await found({"plan": "pro", "team": "a"})
    assert ["1"] == await found({"plan": "Pro"})
    assert ["5"] == await found({"\0 é": '\ud800"\\'})
    assert ["6"] == await found({"": "pro"})
    assert [] == await found({"plan": "p"})
    assert 7 == len(await found({}))


TEXTS = st.text(st.sampled_from('a"\\:, {}é\0'), max_size=3)


@settings(
    max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.dictionaries(TEXTS, TEXTS, max_size=3), min_size=1, max_size=4), st.data())
async def test_metadata_selects_exactly_the_entries_that_have_it(directory, stored, data):
    for number, metadata in enumerate(stored):
        await directory.session(str(number), metadata=metadata)
    for number in range(len(stored), 4):
        await directory.forget(str(number))
    wanted = data.draw(st.dictionaries(TEXTS, TEXTS, max_size=1) | st.sampled_from(stored))
    expected = [str(n) for n, metadata in enumerate(stored) if wanted.items() <= metadata.items()]
    assert expected == await listed(directory, order="name", metadata=wanted)


@pytest.mark.parametrize("order", one_in(2, ["-used_at", "used_at"]))
async def test_pages_are_stable_while_others_write(directory, other, clock, order):
    """Names that nobody writes to meanwhile are listed once; the others at most once for each use."""
    names = [f"{number:02}" for number in range(24)]
    await open_all(directory, clock, names, user="alice")
    choice, written, found, after = random.Random(1), [], [], None  # noqa: S311 - repeatable
    while True:
        page = await directory.conversations("alice", order=order, limit=3, after=after)
        found += [entry.name for entry in page.entries]
        after = page.next_after
        if after is None:
            break
        clock.advance(seconds=1)
        if len(written) < 12:
            used = choice.sample(names, 2)
            written += [*used, f"new {len(written)}"]
            await asyncio.gather(*((write_to(other, name)) for name in used), other.session(written[-1]))
            await other.session(choice.choice(names), user="alice")
    quiet = set(names) - set(written)
    assert len(quiet) > 12
    assert [name for name in names if name in quiet] == sorted(name for name in found if name in quiet)
    assert all(found.count(name) <= 1 + written.count(name) for name in found)


async def write_to(directory, name):
    """Record a write as a session does."""
    session = await directory.session(name)
    await session._registration.renew(None)


@asynccontextmanager
async def statements():
    """Collect the statements that are executed inside."""
    found = []

    def note(_connection, _cursor, statement, *_):
        if not statement.startswith("BEGIN"):
            found.append(" ".join(statement.split()))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_opening_a_name_of_which_nothing_is_changed_reads_once(directory, clock):
    options = {"user": "alice", "title": "Mine", "metadata": {"a": "b"}, "expires_in": 1000}
    first = await directory.session("a", **options)
    await first.add_items([user("Hello")])
    clock.advance(seconds=99)
    for arguments in ({}, options, {"branch": "main"}):
        async with statements() as executed:
            session = await directory.session("a", **arguments)
        assert ["SELECT"] == [statement.split()[0] for statement in executed]
        async with statements() as executed:
            assert [user("Hello")] == await session.get_items()
        assert [] == executed
    for changed in ({"title": "Yours"}, {"metadata": {}}, {"expires_in": 2000}):
        async with statements() as executed:
            await directory.session("a", **changed)
        assert 1 == sum(statement.startswith("UPDATE") for statement in executed)


async def test_opening_renews_a_lifetime_of_which_a_tenth_has_passed(directory, clock):
    await directory.session("a", expires_in=1000)
    created = clock.now
    clock.advance(seconds=99)
    await directory.session("a")
    assert 901 == ((await directory.get("a")).expires_at - clock.now).total_seconds()
    clock.advance(seconds=1)
    await directory.session("a")
    entry = await directory.get("a")
    assert (1000, created) == ((entry.expires_at - clock.now).total_seconds(), entry.used_at)


async def test_page_is_one_statement(directory):
    await directory.session("a")
    async with statements() as executed:
        await directory.conversations("alice", search="a", metadata={"a": "b"}, prefix="a")
    assert 1 == len(executed)
