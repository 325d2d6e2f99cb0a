"""`examples/foundry_conversations.py`: a source of conversations, over HTTP against the emulator's list."""

import importlib.util
import sys
import time

import openai
import pytest

from openai_sessions.directory import SessionDirectory
from openai_sessions.emulator import Emulator, Fault
from tests.examples.stand_in import API_KEY, ROOT, run_python

PATH = ROOT / "examples" / "foundry_conversations.py"
USER = "x-ms-user-identity"
HELLO = {"role": "user", "content": "Hello"}


def loaded():
    spec = importlib.util.spec_from_file_location("foundry_conversations", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where pydantic looks for names of types
    spec.loader.exec_module(module)
    return module


example = loaded()


@pytest.fixture(scope="module")
def foundry():
    with Emulator(foundry=True) as emulator, emulator.serve() as base_url:
        yield emulator, base_url


@pytest.fixture
def emulator(foundry):
    foundry[0].forget_requests()
    return foundry[0]


class Sent(list):
    """The query and the user of each request that lists."""

    async def record(self, request):
        if request.method == "GET" and request.url.path == "/v1/conversations":
            self.append((dict(request.url.params), request.headers[USER]))


@pytest.fixture
def sent():
    return Sent()


@pytest.fixture
def user(request):
    """A user of this test alone."""
    return request.node.name[:200]


@pytest.fixture
async def client(foundry, user, sent):
    http = openai.DefaultAsyncHttpxClient(event_hooks={"request": [sent.record]})
    headers = {USER: user}
    async with openai.AsyncOpenAI(
        base_url=foundry[1], api_key=API_KEY, default_headers=headers, http_client=http, max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def directory(client, tmp_path):
    async with SessionDirectory(
        f"sqlite+aiosqlite:///{tmp_path}/names.db", openai_client=client
    ) as directory:
        await directory.create_tables()
        yield directory


async def created(emulator, user, number, **fields):
    """Create conversations in process, and return their ids, oldest first."""
    async with emulator.client(api_key=API_KEY) as client:
        return [
            (await client.conversations.create(extra_headers={USER: user}, **fields)).id
            for _ in range(number)
        ]


@pytest.fixture
def limit(monkeypatch):
    """Pages of three."""
    monkeypatch.setattr(example, "LIMIT", 3)


@pytest.mark.usefixtures("limit")
async def test_all_pages_are_listed_oldest_first(emulator, client, user, sent):
    ids = await created(emulator, user, 7)
    await created(emulator, "another", 2)
    assert ids == [conversation.id async for conversation in example.conversations_of(client)]
    (probe, stranger), *pages = sent
    assert {"order": "asc", "limit": "1"} == probe
    assert stranger not in (user, "another")
    first = {"order": "asc", "limit": "3"}
    assert [
        (first, user),
        ({**first, "after": ids[2]}, user),
        ({**first, "after": ids[5]}, user),
    ] == pages


async def test_user_without_conversations(client, sent):
    assert [] == [each async for each in example.conversations_of(client)]
    assert ["1", "100"] == [query["limit"] for query, _ in sent]


@pytest.mark.usefixtures("limit")
async def test_conversations_that_are_deleted_while_listing_are_left_behind(emulator, client, user, sent):
    """Also those at which a page ends: none of the others is missed or comes twice."""
    ids = await created(emulator, user, 8)
    seen = []
    async for conversation in example.conversations_of(client):
        seen.append(conversation.id)
        if conversation.id == ids[0]:
            for each in ids[1:4]:
                await client.conversations.delete(each)
    assert [*ids[:3], *ids[4:]] == seen
    assert [None, None, ids[2], None, ids[5]] == [query.get("after") for query, _ in sent]


@pytest.mark.usefixtures("limit")
async def test_list_that_is_deleted_while_listing_ends(emulator, client, user, sent):
    ids = await created(emulator, user, 4)
    async for conversation in example.conversations_of(client):
        if conversation.id == ids[0]:
            for each in ids:
                await client.conversations.delete(each)
    assert conversation.id == ids[2]
    assert 4 == len(sent)


async def test_service_that_ignores_the_user_is_refused(client, directory, sent):
    with Emulator(foundry=True) as emulator, emulator.serve() as base_url:
        emulator.seed([{"items": []}])  # which every user sees
        ignoring = client.with_options(base_url=base_url)
        with pytest.raises(RuntimeError, match="lists the conversations of all users"):
            await example.register_all(directory, ignoring, "alice")
    assert 1 == len(sent)
    assert () == (await directory.conversations()).entries


async def test_unknown_conversations_are_registered_once(emulator, client, directory, user):
    (known,) = await created(emulator, user, 1)
    await directory.register("known", known, user=user)
    (titled,) = await created(emulator, user, 1, metadata={"title": "Bridges"}, items=[HELLO])
    (plain,) = await created(emulator, user, 1)
    names = [f"foundry {each}" for each in (titled, plain)]
    assert names == await example.register_all(directory, client, user)
    await directory.set_title(names[0], "Golden Gate")
    assert [] == await example.register_all(directory, client, user)
    entries = (await directory.conversations(user, order="name")).entries
    assert {
        ("known", None, known),
        (names[0], "Golden Gate", titled),
        (names[1], None, plain),
    } == {(entry.name, entry.title, entry.conversation_id) for entry in entries}
    assert () == (await directory.conversations("another")).entries
    assert [HELLO] == await (await directory.session(names[0], user=user)).get_items()


async def test_user_whose_conversations_are_registered_is_erased(emulator, client, directory, user):
    (conversation_id,) = await created(emulator, user, 1, items=[HELLO])
    (item,) = emulator.items(conversation_id)
    await example.register_all(directory, client, user)
    report = await directory.erase(user)
    expected = (conversation_id,), (f"{conversation_id}/items/{item['id']}",)
    assert expected == (report.conversations.deleted, report.items.deleted)
    assert emulator.item(conversation_id, item["id"]) is None
    assert [] == [each async for each in example.conversations_of(client)]


async def test_creation_that_another_process_may_yet_register_is_left_alone(
    emulator, client, directory, user, monkeypatch
):
    metadata = {example.CREATION: "some creation"}
    (conversation_id,) = await created(emulator, user, 1, metadata=metadata)
    assert [] == await example.register_all(directory, client, user)
    later = time.time() + example.STILL_CREATED + 5
    monkeypatch.setattr(example.time, "time", lambda: later)
    assert [f"foundry {conversation_id}"] == await example.register_all(directory, client, user)


async def test_conversation_that_waits_for_its_deletion_is_left_alone(emulator, client, directory, user):
    (conversation_id,) = await created(emulator, user, 1)
    await directory.register("unlucky", conversation_id, user=user)
    emulator.inject(Fault("quota"), operation="delete_conversation")
    with pytest.raises(openai.RateLimitError):
        await directory.forget("unlucky", delete=True)
    assert [] == await example.register_all(directory, client, user)


@pytest.mark.exhaustive
async def test_program_prints_what_it_registers(emulator, foundry, tmp_path):
    (conversation_id,) = await created(emulator, "alice", 1, metadata={"title": "Bridges"}, items=[HELLO])
    finished = run_python(str(PATH), "alice", f"sqlite+aiosqlite:///{tmp_path}/names.db", base_url=foundry[1])
    assert (0, "") == (finished.returncode, finished.stderr)
    assert finished.stdout == f"1 registered\nfoundry {conversation_id} Bridges {[HELLO]}\n"
