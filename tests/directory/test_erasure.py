"""Everything of a user is deleted, and the report says what became of it."""

import asyncio
import json
from collections import Counter
from types import SimpleNamespace

import openai
import pytest

from openai_sessions import RequestSettings
from openai_sessions.directory import ErasedObjects, SessionDirectory, _erasure
from openai_sessions.directory._database import deletions, erasures, keys, names, responses
from openai_sessions.emulator import Fault
from tests.wire import FAST, Wire

from .conftest import execute
from .stage import hooked_client, made, rows, user

ALICE = "alice@example.com"


async def written(directory, name, count=2, *, owner=ALICE):
    session = await directory.session(name, user=owner)
    await session.add_items([user(f"{name} {number}") for number in range(count)])
    return session


def stored(emulator, conversation_id):
    """Return the ids of the items that the service keeps, even if the conversation is deleted."""
    return {json.loads(item.json)["id"] for item in emulator.contents.items(conversation_id)}


def paths(conversation_id, item_ids):
    return {f"{conversation_id}/items/{item_id}" for item_id in item_ids}


async def left_in(url):
    """Return the numbers of names, pending deletions, notes, and recorded responses."""
    return tuple([len(await rows(url, table)) for table in (names, deletions, erasures, responses)])


async def test_erasure_deletes_the_items_and_then_the_conversation(directory, emulator):
    session = await written(directory, "trip")
    ids = sorted(stored(emulator, session.session_id))
    emulator.forget_requests()
    report = await directory.erase(ALICE)
    sent = made(emulator)
    assert ["GET /v1/conversations/ID/items"] == sent[:1]
    assert {f"DELETE /v1/conversations/ID/items/{item_id}" for item_id in ids} == set(sent[1:3])
    assert ["GET /v1/conversations/ID/items", "DELETE /v1/conversations/ID"] == sent[3:]
    assert (session.session_id,) == report.conversations.deleted
    assert paths(session.session_id, ids) == set(report.items.deleted)
    assert not report.has_failures


async def test_nothing_of_the_user_is_left_and_others_keep_theirs(directory, emulator, url):
    """The service keeps items of deleted conversations: each is looked for by its id."""
    mine = [await written(directory, f"trip {number}", number) for number in range(1, 4)]
    others = [
        await written(directory, "bob's", owner="bob"),
        await written(directory, "nobody's", owner=None),
    ]
    fork = await directory.fork("trip 2", "retry")
    ids = {each.session_id: stored(emulator, each.session_id) for each in (*mine, fork)}
    kept = {each.session_id: stored(emulator, each.session_id) for each in others}
    assert [1, 2, 3, 2] == [len(each) for each in ids.values()]
    report = await directory.erase(ALICE)
    assert {conversation_id: set() for conversation_id in ids} == {
        each: stored(emulator, each) for each in ids
    }
    assert kept == {each: stored(emulator, each) for each in kept}
    assert set(ids) == set(report.conversations.deleted)
    assert set().union(*(paths(*each) for each in ids.items())) == set(report.items.deleted)
    assert (2, 0, 0, 0) == await left_in(url)
    assert [user("bob's 0"), user("bob's 1")] == await others[0].get_items()


@pytest.mark.exhaustive
async def test_more_names_than_one_transaction_takes(directory, url, monkeypatch):
    monkeypatch.setattr(_erasure, "_NAMES_PER_TRANSACTION", 2)
    ids = {(await written(directory, f"{number}", 1)).session_id for number in range(5)}
    await directory.session("empty", user=ALICE)
    report = await directory.erase(ALICE)
    assert (ids, (0, 0, 0, 0)) == (set(report.conversations.deleted), await left_in(url))


async def test_more_items_than_one_statement_takes(directory, emulator, monkeypatch):
    monkeypatch.setattr(_erasure, "_MAX_ROWS", 2)
    session = await written(directory, "trip", 5)
    assert 5 == len((await directory.erase(ALICE)).items.deleted)
    assert set() == stored(emulator, session.session_id)


async def test_what_was_deleted_is_not_called_gone_by_an_erasure_at_the_same_time(directory):
    rows = _erasure.ErasureRows(directory._database, ALICE)
    await rows.mark("response", ["resp_1", "resp_2"], "deleted")
    await rows.mark("response", ["resp_1"], "already_gone")
    await rows.mark("response", ["resp_2"], "failed", reason="again")
    taken = await rows.take_notes()
    assert [("response", "resp_1", "deleted", None), ("response", "resp_2", "failed", "again")] == taken


async def test_without_items_the_service_keeps_them(directory, emulator):
    session = await written(directory, "trip")
    report = await directory.erase(ALICE, items=False)
    assert 2 == len(stored(emulator, session.session_id))
    assert ((session.session_id,), ErasedObjects()) == (report.conversations.deleted, report.items)


async def test_without_conversations_the_names_stay_and_are_empty(directory, emulator, url):
    session = await written(directory, "trip")
    report = await directory.erase(ALICE, conversations=False)
    assert set() == stored(emulator, session.session_id)
    assert (2, ErasedObjects()) == (len(report.items.deleted), report.conversations)
    assert ((1, 0, 0, 0), []) == (await left_in(url), await session.get_items())


@pytest.mark.exhaustive
async def test_pending_deletions_of_the_user_are_made(directory, other, emulator, clock, url):
    """Those of names that were forgotten, cleared or have expired."""
    forgotten, cleared, expired = [await written(directory, each) for each in ("a", "b", "c")]
    ids = [each.session_id for each in (forgotten, cleared, expired)]
    emulator.inject(Fault("error_500_before"), operation="delete_item", times=100)
    with pytest.raises(openai.InternalServerError):
        await directory.forget("a", delete=True)
    with pytest.raises(openai.InternalServerError):
        await cleared.clear_session()
    emulator.clear_faults()
    await other.session("c", expires_in=60)
    clock.advance(minutes=2)
    await directory.session("c")
    assert 3 == len(await rows(url, deletions))
    report = await directory.erase(ALICE)
    assert sorted(ids) == list(report.conversations.deleted)
    assert [set()] * 3 == [stored(emulator, each) for each in ids]
    assert 0 == (await left_in(url))[1]


async def test_user_without_anything_has_an_empty_report(directory, emulator, clock):
    await written(directory, "bob's", owner="bob")
    emulator.forget_requests()
    report = await directory.erase(ALICE)
    assert [] == made(emulator)
    assert not report.has_failures
    nothing = {"deleted": [], "already_gone": [], "failed": {}}
    kinds = ("conversations", "items", "responses", "files", "keys")
    expected = {"user": ALICE, "at": clock.now.isoformat(), "dry_run": False, "lost_creations": []}
    assert {**expected, **dict.fromkeys(kinds, nothing)} == json.loads(json.dumps(report.as_json()))


async def test_dry_run_changes_nothing_and_says_what_an_erasure_deletes(directory, emulator, url):
    for number in range(3):
        session = await written(directory, f"trip {number}")
        await session.store_run_usage(run_of(f"resp_{number}"))
    await directory.forget("trip 2")
    before = await left_in(url)
    emulator.forget_requests()
    plan = await directory.erase(ALICE, dry_run=True)
    assert {"GET"} == {line.split()[0] for line in made(emulator)}
    assert before == await left_in(url)
    report = await directory.erase(ALICE)
    assert (True, False) == (plan.dry_run, report.dry_run)
    assert (2, 4, 3) == tuple(len(each.deleted) for each in (plan.conversations, plan.items, plan.responses))
    for kind in ("conversations", "items"):
        assert getattr(plan, kind) == getattr(report, kind)
    assert plan.responses.deleted == report.responses.already_gone  # nobody has created them


@pytest.mark.parametrize("scope", [{"items": False}, {"conversations": False}, {"responses": False}], ids=str)
async def test_dry_run_has_the_scope_of_the_erasure(directory, scope):
    session = await written(directory, "trip")
    await session.store_run_usage(run_of("resp_1"))
    plan, report = [
        (await directory.erase(ALICE, dry_run=dry_run, **scope)).as_json() for dry_run in (True, False)
    ]
    for kind in ("conversations", "items", "responses"):
        planned = plan[kind]["deleted"]
        assert planned == [*report[kind]["deleted"], *report[kind]["already_gone"]], kind


async def test_responses_may_stay(directory, url):
    session = await written(directory, "trip")
    await session.store_run_usage(run_of("resp_1"))
    report = await directory.erase(ALICE, responses=False)
    assert (ErasedObjects(), False, 1) == (
        report.responses,
        report.has_failures,
        len(await rows(url, responses)),
    )


async def test_responses_alone(directory, emulator):
    session = await written(directory, "trip")
    await session.store_run_usage(run_of("resp_1"))
    emulator.forget_requests()
    report = await directory.erase(ALICE, conversations=False, items=False)
    assert ["DELETE /v1/responses/resp_1"] == made(emulator)
    assert (("resp_1",), ErasedObjects()) == (report.responses.already_gone, report.conversations)


@pytest.mark.exhaustive
async def test_failure_of_one_conversation_does_not_stop_the_others(directory, emulator):
    sessions = [await written(directory, f"{number:02}", 1) for number in range(12)]
    emulator.inject(
        Fault("error_500_before"), operation="delete_item", times=100, conversation_id=sessions[0].session_id
    )
    report = await directory.erase(ALICE)
    assert (1, 11) == (len(report.conversations.failed), len(report.conversations.deleted))


def test_files_are_found_in_every_part_that_uploads():
    parts = [{"type": kind, "file_id": kind} for kind in ("input_file", "input_image", "computer_screenshot")]
    items = [
        {"type": "message", "content": parts[:2]},
        {
            "type": "message",
            "content": [{"type": "input_image", "image_url": "https://example.com", "file_id": None}],
        },
        {"type": "computer_call_output", "output": parts[2]},
        {"type": "message", "content": parts[:1]},
        {"type": "file_search_call", "results": [{"file_id": "file-searched"}]},
    ]
    assert [part["type"] for part in parts] == _erasure.files_of(items)


async def test_dry_run_after_a_failure_says_what_is_left(directory, emulator, client, url):
    file = await client.files.create(file=("1.txt", b"text"), purpose="user_data")
    session = await directory.session("trip", user=ALICE)
    await session.add_items([{"role": "user", "content": [{"type": "input_file", "file_id": file.id}]}])
    await session.store_run_usage(run_of("resp_1"))
    for operation in ("delete_response", "delete_file"):
        emulator.inject(Fault("error_500_before"), operation=operation, times=100)
    assert (await directory.erase(ALICE, files=True)).has_failures
    emulator.clear_faults()
    plan = await directory.erase(ALICE, files=True, dry_run=True)
    assert (("resp_1",), (file.id,), ()) == (
        plan.responses.deleted,
        plan.files.deleted,
        plan.conversations.deleted,
    )
    report = await directory.erase(ALICE, files=True)
    assert ((file.id,), (session.session_id,)) == (report.files.deleted, report.conversations.deleted)
    assert (("resp_1",), (0, 0, 0, 0)) == (report.responses.already_gone, await left_in(url))


async def test_failed_deletion_is_reported_and_made_by_the_next_erasure(directory, emulator, url):
    lucky, unlucky = await written(directory, "lucky"), await written(directory, "unlucky")
    ids = stored(emulator, unlucky.session_id)
    fault = Fault("error_500_before")
    emulator.inject(fault, operation="delete_item", times=100, conversation_id=unlucky.session_id)
    report = await directory.erase(ALICE)
    assert ((lucky.session_id,), True) == (report.conversations.deleted, report.has_failures)
    reason = "InternalServerError (500)"
    assert {unlucky.session_id: reason} == report.conversations.failed
    assert dict.fromkeys(paths(unlucky.session_id, ids), reason) == report.items.failed
    assert None is await directory.get("unlucky")
    assert (0, 1) == (await left_in(url))[:2]
    emulator.clear_faults()
    report = await directory.erase(ALICE)
    assert {lucky.session_id, unlucky.session_id} == set(report.conversations.deleted)
    assert paths(unlucky.session_id, ids) < set(report.items.deleted)
    assert (False, (0, 0, 0, 0)) == (report.has_failures, await left_in(url))


async def test_conversation_that_a_sweep_deleted_after_a_failure_is_gone(directory, emulator, url):
    session = await written(directory, "trip")
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=100)
    assert (await directory.erase(ALICE)).has_failures
    emulator.clear_faults()
    assert 1 == (await directory.sweep()).deleted
    report = await directory.erase(ALICE)
    assert ((session.session_id,), False) == (report.conversations.already_gone, report.has_failures)
    assert 2 == len(report.items.deleted)
    assert (0, 0, 0, 0) == await left_in(url)


async def test_what_others_have_deleted_is_called_gone(directory, open_directory, emulator, client):
    session, half = await written(directory, "trip"), await written(directory, "half")
    await client.conversations.delete(session.session_id)
    gone = min(stored(emulator, half.session_id))

    async def delete_first(request):
        if request.method == "DELETE" and gone in str(request.url) and delete_first.times:
            delete_first.times -= 1
            await client.conversations.items.delete(gone, conversation_id=half.session_id)

    delete_first.times = 1
    async with hooked_client(emulator, delete_first) as hooked:
        report = await open_directory(openai_client=hooked).erase(ALICE)
    assert ((session.session_id,), (half.session_id,)) == (
        report.conversations.already_gone,
        report.conversations.deleted,
    )
    assert 2 == len(report.items.deleted)  # whoever deleted them


async def test_items_that_others_add_meanwhile_are_deleted_too(directory, open_directory, emulator, client):
    session = await written(directory, "trip")

    async def add_one(request):
        if request.method == "DELETE" and add_one.times:
            add_one.times -= 1
            late = [{"type": "message", "role": "user", "content": "late"}]
            await client.conversations.items.create(session.session_id, items=late)

    add_one.times = 1
    async with hooked_client(emulator, add_one) as hooked:
        report = await open_directory(openai_client=hooked).erase(ALICE)
    assert (3, set()) == (len(report.items.deleted), stored(emulator, session.session_id))


async def test_lost_reply_of_a_deletion_is_not_called_gone(directory, emulator):
    session = await written(directory, "trip")
    for operation in ("delete_item", "delete_conversation"):
        emulator.inject(Fault("cut_after_commit"), operation=operation)
    report = await directory.erase(ALICE)
    assert ((session.session_id,), 2) == (report.conversations.deleted, len(report.items.deleted))


async def test_refused_key_ends_the_erasure_and_nothing_is_lost(directory, open_directory, url):
    ids = {(await written(directory, f"{number}")).session_id for number in range(12)}
    refusal = {"error": {"message": "Incorrect API key: sk-1", "code": "invalid_api_key"}}
    refusing = Wire(lambda _: (401, refusal))
    report = await open_directory(openai_client=refusing.client).erase(ALICE)
    assert ids == set(report.conversations.failed)
    reason = "AuthenticationError (401, invalid_api_key)"
    assert {reason, f"not tried: {reason}"} == set(report.conversations.failed.values())
    assert 1 <= len(refusing.calls) <= 8
    assert "sk-1" not in json.dumps(report.as_json())
    report = await directory.erase(ALICE)
    assert (ids, (0, 0, 0, 0)) == (set(report.conversations.deleted), await left_in(url))


@pytest.mark.parametrize("answer", [{"deleted": False}, {"id": "conv_other", "deleted": True}], ids=str)
async def test_answer_about_another_object_is_a_failure(directory, open_directory, answer):
    session = await written(directory, "trip")

    def reply(call):
        if call.method == "GET":
            return 200, {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
        return 200, {"object": "conversation.deleted", **answer}

    report = await open_directory(openai_client=Wire(reply).client).erase(ALICE)
    assert {session.session_id: "InvalidResponseError"} == report.conversations.failed


def run_of(*response_ids):
    """Return the result of a run whose usage is not known."""
    return SimpleNamespace(
        context_wrapper=SimpleNamespace(usage=None),
        raw_responses=[SimpleNamespace(response_id=each, usage=None) for each in response_ids],
    )


async def test_responses_of_the_users_runs_are_deleted(directory, emulator, client, url):
    emulator.reply("Hello", times=None)
    made_here = [await client.responses.create(model="gpt-5", input="Hi", store=True) for _ in range(3)]
    mine, others = await written(directory, "mine"), await written(directory, "bob's", owner="bob")
    await mine.store_run_usage(run_of(made_here[0].id, made_here[1].id))
    await mine.store_run_usage(run_of(made_here[1].id, "resp_gone", None))
    await mine.store_run_usage(made_here[1])
    await others.store_run_usage(run_of(made_here[2].id))
    await directory.forget("mine")  # the responses are still the user's
    report = await directory.erase(ALICE)
    assert {made_here[0].id, made_here[1].id} == set(report.responses.deleted)
    assert ("resp_gone",) == report.responses.already_gone
    for response in made_here[:2]:
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(response.id)
    assert made_here[2].id == (await client.responses.retrieve(made_here[2].id)).id
    assert 1 == (await left_in(url))[3]


async def test_responses_of_a_name_without_a_user_are_not_recorded(directory, url):
    session = await written(directory, "nobody's", owner=None)
    await session.store_run_usage(run_of("resp_1"))
    assert [] == await rows(url, responses)


async def test_key_of_the_user_is_deleted(directory, url):
    for each in (ALICE, "bob"):
        values = f"'', '{each}', 'noise', '2026-01-01 00:00:00+00:00'"
        await execute(url, f"INSERT INTO openai_sessions_keys VALUES ({values})")  # noqa: S608
    assert () == (await directory.erase(ALICE, dry_run=True, conversations=False)).keys.deleted
    assert () == (await directory.erase(ALICE, conversations=False)).keys.deleted
    assert ((ALICE,), ()) == (
        (await directory.erase(ALICE, dry_run=True)).keys.deleted,
        (await directory.erase("carol")).keys.deleted,
    )
    assert ((ALICE,), ()) == tuple([(await directory.erase(ALICE)).keys.deleted for _ in range(2)])
    assert ["bob"] == [row["user_id"] for row in await rows(url, keys)]


class Keys:
    """A key store elsewhere."""

    def __init__(self, error=None):
        self.destroyed = []
        self._error = error

    async def get_keys(self, user, *, create):
        return []

    async def destroy_keys(self, user):
        if self._error:
            raise self._error
        self.destroyed.append(user)
        return True


async def test_keys_of_another_store_are_destroyed(directory):
    store = Keys()
    report = await directory.erase(ALICE, dry_run=True, key_store=store)
    assert ([], ()) == (store.destroyed, report.keys.deleted)
    report = await directory.erase(ALICE, key_store=store)
    assert ([ALICE], (ALICE,)) == (store.destroyed, report.keys.deleted)


async def test_failure_of_another_store_is_reported_and_the_rest_is_erased(directory, emulator):
    session = await written(directory, "trip")
    report = await directory.erase(ALICE, key_store=Keys(RuntimeError("key sk-1")))
    assert {ALICE: "RuntimeError"} == report.keys.failed
    assert set() == stored(emulator, session.session_id)
    assert ((ALICE,), {}) == (
        (again := await directory.erase(ALICE, key_store=Keys())).keys.deleted,
        again.keys.failed,
    )
    with pytest.raises(TypeError, match="KeyStore, not dict"):
        await directory.erase(ALICE, key_store={})


async def test_files_that_items_name_are_deleted_if_wanted(directory, emulator, client):
    """Those in messages and outputs; a file that is only cited stays."""
    files = [
        (await client.files.create(file=(f"{number}.txt", b"text"), purpose="user_data")).id
        for number in range(5)
    ]
    session = await directory.session("trip", user=ALICE)
    image = {"type": "input_image", "file_id": files[1], "detail": "auto"}
    cited = {"type": "file_citation", "file_id": files[3], "filename": "3.txt", "index": 0}
    await session.add_items(
        [
            {"role": "user", "content": [{"type": "input_file", "file_id": files[0]}, image]},
            {"type": "function_call", "call_id": "call_1", "name": "read", "arguments": "{}"},
            {
                "type": "function_call_output",
                "call_id": "call_1",
                "output": [
                    {"type": "input_file", "file_id": files[2]},
                    {"type": "input_file", "file_id": "file-gone"},
                ],
            },
            {
                "role": "assistant",
                "content": [{"type": "output_text", "text": "3.txt", "annotations": [cited]}],
            },
        ]
    )
    plan = await directory.erase(ALICE, files=True, dry_run=True)
    assert {*files[:3], "file-gone"} == set(plan.files.deleted)
    report = await directory.erase(ALICE, files=True)
    assert ({*files[:3]}, ("file-gone",)) == (set(report.files.deleted), report.files.already_gone)
    assert {files[3], files[4]} == {file.id async for file in client.files.list()}


async def test_files_stay_by_default_and_may_go_without_the_items(directory, emulator, client):
    file = await client.files.create(file=("1.txt", b"text"), purpose="user_data")
    session = await directory.session("trip", user=ALICE)
    await session.add_items([{"role": "user", "content": [{"type": "input_file", "file_id": file.id}]}])
    report = await directory.erase(ALICE, items=False, conversations=False, files=True)
    assert ((file.id,), (), ()) == (report.files.deleted, report.items.deleted, report.conversations.deleted)
    assert 1 == len(emulator.items(session.session_id))
    assert ErasedObjects() == (await directory.erase(ALICE)).files


async def test_lost_creations_of_the_user_are_in_the_report(directory, emulator):
    emulator.inject(Fault("cut_after_commit"), operation="create_conversation", times=100)
    for name, owner in (("trip", ALICE), ("bob's", "bob")):
        with pytest.raises(openai.APIConnectionError):
            await written(directory, name, owner=owner)
    report = await directory.erase(ALICE)
    assert {("trip", ALICE)} == {(lost.name, lost.user) for lost in report.lost_creations}
    assert "trip" == json.loads(json.dumps(report.as_json()))["lost_creations"][0]["name"]


@pytest.mark.exhaustive
async def test_two_erasures_at_once(directory, other, emulator, url):
    sessions = [await written(directory, f"{number}") for number in range(10)]
    reports = await asyncio.gather(directory.erase(ALICE), other.erase(ALICE), directory.sweep())
    assert [set()] * 10 == [stored(emulator, each.session_id) for each in sessions]
    seen = Counter(each for report in reports[:2] for each in report.conversations.deleted)
    assert {each.session_id for each in sessions} >= set(seen)
    assert not any(report.has_failures for report in reports[:2])
    await directory.erase(ALICE)
    assert (0, 0, 0, 0) == await left_in(url)


async def test_tenants_are_separate(directory, open_directory, emulator):
    session = await written(open_directory(tenant="other"), "trip")
    report = await directory.erase(ALICE)
    assert ((), 2) == (report.conversations.deleted, len(stored(emulator, session.session_id)))


async def test_cancelled_erasure_is_continued_by_the_next(directory, open_directory, emulator, url):
    sessions = [await written(directory, f"{number}") for number in range(3)]
    deleting = asyncio.Event()

    async def cancel(request):
        if request.method == "DELETE" and not deleting.is_set():
            deleting.set()
            task.cancel()
            await asyncio.sleep(0)

    async with hooked_client(emulator, cancel) as hooked:
        task = asyncio.ensure_future(open_directory(openai_client=hooked).erase(ALICE))
        with pytest.raises(asyncio.CancelledError):
            await task
    report = await directory.erase(ALICE)
    assert {each.session_id for each in sessions} == {
        *report.conversations.deleted,
        *report.conversations.already_gone,
    }
    assert [set()] * 3 == [stored(emulator, each.session_id) for each in sessions]
    assert (0, 0, 0, 0) == await left_in(url)


async def test_open_session_creates_the_name_again_for_its_user(directory, emulator):
    session = await written(directory, "trip")
    await directory.erase(ALICE)
    await session.add_items([user("back")])
    assert ALICE == (await directory.get("trip")).user
    assert [user("back")] == await session.get_items()
    await directory.erase(ALICE)
    assert set() == stored(emulator, session.session_id)


async def test_name_that_is_created_again_meanwhile_keeps_its_conversation(
    directory, other, emulator, monkeypatch
):
    session = await written(directory, "trip")
    old = session.session_id
    take_key = _erasure.ErasureRows.take_key

    async def write_first(rows):
        await (await other.session("trip", user=ALICE)).add_items([user("new")])
        await take_key(rows)

    monkeypatch.setattr(_erasure.ErasureRows, "take_key", write_first)
    report = await directory.erase(ALICE)
    assert ((old,), set()) == (report.conversations.deleted, stored(emulator, old))
    assert [user("new")] == await (await directory.session("trip")).get_items()


async def test_name_that_another_user_gets_after_a_failure_keeps_its_conversation(directory, emulator, url):
    session = await written(directory, "trip")
    emulator.inject(Fault("error_500_before"), operation="delete_item", times=100)
    assert (await directory.erase(ALICE, conversations=False)).has_failures
    emulator.clear_faults()
    await directory.set_user("trip", "bob")
    report = await directory.erase(ALICE)
    assert (False, ErasedObjects()) == (report.has_failures, report.conversations)
    assert 2 == len(stored(emulator, session.session_id)) == len(await session.get_items())
    assert [] == await rows(url, erasures)


async def test_user_is_checked(directory, emulator):
    for value, error in (("", ValueError), ("x" * 256, ValueError), (None, TypeError)):
        with pytest.raises(error):
            await directory.erase(value)
    assert [] == made(emulator)


async def test_missing_key_changes_nothing(url, monkeypatch, directory):
    await written(directory, "trip")
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    async with SessionDirectory(
        url, session_options={"requests": RequestSettings(retry_policy=FAST)}
    ) as keyless:
        with pytest.raises(openai.OpenAIError):
            await keyless.erase(ALICE)
    assert (1, 0, 0, 0) == await left_in(url)
