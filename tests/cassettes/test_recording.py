"""Requests recorded over a socket are replayed from the file."""

import asyncio

import pytest
import vcr
import yaml
from agents import OpenAIConversationsSession as SdkSession
from vcr.record_mode import RecordMode

from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator import Emulator
from openai_sessions.testing.cassettes import (
    CassetteMissError,
    CassetteNotSavedError,
    default_record_mode,
    use_cassette,
)
from tests.cassettes.exchanges import (
    ITEMS,
    NOWHERE,
    async_client,
    create,
    exchange,
    raw,
    sync_client,
    write_cassette,
    write_read_pop,
)


@pytest.mark.parametrize("make", [OpenAIConversationsSession, SdkSession])
async def test_session_is_played_without_a_server(make, served, path):
    async with use_cassette(path) as recording:
        recorded = await write_read_pop(served.url, make)
    async with use_cassette(path) as playing:
        played = await write_read_pop(NOWHERE, make)
    assert recorded == played
    assert len(served.requests) == len(recording) == playing.play_count
    assert playing.all_played


async def test_session_that_resumes_is_played_again_by_the_same_process(path):
    """What the process knows of the conversation, as long as a session on it exists, changes no request."""
    sessions = []

    async def append_twice(client, conversation):
        sessions.append(OpenAIConversationsSession(openai_client=client, conversation_id=conversation))
        for _ in range(2):
            await sessions[-1].add_items(ITEMS)
        return await sessions[-1].get_items()

    with Emulator() as emulator:
        client = emulator.client()
        conversation = (await client.conversations.create()).id
        async with use_cassette(path):
            recorded = await append_twice(client, conversation)
        for _ in range(2):
            async with use_cassette(path):
                assert await append_twice(client, conversation) == recorded


def test_sync_client_is_played_without_a_server(served, path):
    with use_cassette(path):
        recorded = create(served.url, metadata={"topic": "bridges"})
    with use_cassette(path):
        assert recorded == create(metadata={"topic": "bridges"})


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json", ".cassette"])
def test_file_is_json_or_yaml_by_its_suffix(suffix, served, path):
    path = path.with_suffix(suffix)
    with use_cassette(path):
        recorded = create(served.url)
    is_json = path.read_text().startswith("{")
    with use_cassette(path):
        assert (recorded, suffix == ".json") == (create(), is_json)


def test_same_request_before_and_after_a_write_is_answered_in_order(served, path):
    def read_write_read(url):
        with sync_client(url) as client:
            identifier = client.conversations.create().id
            before = client.conversations.items.list(identifier).data
            client.conversations.items.create(identifier, items=ITEMS)
            return len(before), len(client.conversations.items.list(identifier).data)

    for url in (served.url, NOWHERE):
        with use_cassette(path):
            assert read_write_read(url) == (0, 2)


async def test_concurrent_requests_are_answered_in_any_order(served, path):
    async with async_client(served.url) as client:
        session = OpenAIConversationsSession(openai_client=client)
        await session.add_items([{"role": "user", "content": str(number)} for number in range(250)])
    identifier = session.session_id

    async def read(url):
        async with async_client(url) as client:
            return await OpenAIConversationsSession(
                openai_client=client, conversation_id=identifier
            ).get_items()

    with use_cassette(path):
        recorded = await read(served.url)
    data = yaml.safe_load(path.read_text())
    data["interactions"].reverse()
    path.write_text(yaml.safe_dump(data))
    with use_cassette(path):
        assert await read(NOWHERE) == recorded
    assert len(recorded) == 250


class TestRecordModes:
    def test_none_sends_nothing(self, served, path):
        with (
            pytest.raises(CassetteMissError, match="does not exist"),
            use_cassette(path, record_mode="none"),
        ):
            create(served.url)
        assert (len(served.requests), path.exists()) == (0, False)

    def test_once_records_only_a_missing_file(self, served, path):
        with use_cassette(path, record_mode="once"):
            create(served.url)
        written = path.read_text()
        with pytest.raises(CassetteMissError), use_cassette(path, record_mode="once"):
            create(served.url, metadata={"another": "request"})
        assert (len(served.requests), path.read_text()) == (1, written)

    def test_new_episodes_adds_new_requests(self, served, path):
        with use_cassette(path):
            first = create(served.url)
        with use_cassette(path, record_mode="new_episodes"):
            assert create(served.url) == first
            second = create(served.url)
            third = create(served.url)  # never answered by what this very run recorded
        with use_cassette(path):
            assert [create() for _ in range(3)] == [first, second, third]
        assert len({first, second, third}) == 3

    def test_all_replaces_the_file(self, served, path):
        with use_cassette(path):
            create(served.url)
            create(served.url, metadata={"will": "go"})
        with use_cassette(path, record_mode="all"):
            last = create(served.url)
        with use_cassette(path, record_mode=RecordMode.NONE) as cassette:
            assert (create(), len(cassette)) == (last, 1)

    def test_all_leaves_the_file_if_nothing_was_recorded(self, path):
        write_cassette(path, exchange())
        written = path.read_text()
        with use_cassette(path, record_mode="all"):
            pass
        assert path.read_text() == written

    @pytest.mark.parametrize("mode", ["once ", 3])
    def test_others_are_named(self, mode, path):
        with pytest.raises(ValueError, match="'all', 'any', 'new_episodes', 'none', 'once'"):
            use_cassette(path, record_mode=mode).__enter__()

    @pytest.mark.parametrize(
        ("variable", "mode"),
        [("true", "none"), ("1", "none"), ("yes", "none"), ("", "once"), ("0", "once"), ("False", "once")],
    )
    def test_default_depends_on_ci(self, variable, mode, monkeypatch):
        monkeypatch.setenv("CI", variable)
        assert default_record_mode() == mode

    def test_default_is_decided_on_entering(self, served, path, monkeypatch):
        context = use_cassette(path)
        monkeypatch.setenv("CI", "true")
        with pytest.raises(CassetteMissError), context:
            create(served.url)
        monkeypatch.setenv("CI", "0")
        with context:
            create(served.url)
        assert len(served.requests) == 1


class TestWriting:
    def test_file_is_unchanged_if_the_block_raises(self, served, path):
        with pytest.raises(ZeroDivisionError), use_cassette(path):
            assert create(served.url) == 1 / 0
        assert list(path.parent.parent.iterdir()) == []

    async def test_file_is_unchanged_if_the_block_is_cancelled(self, served, path):
        recorded = asyncio.Event()

        async def record():
            async with use_cassette(path), async_client(served.url) as client:
                await client.conversations.create()
                recorded.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(record())
        await recorded.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not path.exists()

    def test_record_on_exception_writes_the_recording(self, served, path):
        with pytest.raises(ZeroDivisionError), use_cassette(path, record_on_exception=True):
            assert create(served.url) == 1 / 0
        with use_cassette(path) as cassette:
            create()
        assert cassette.play_count == 1

    def test_no_temporary_file_remains(self, served, path):
        with use_cassette(path):
            create(served.url)
        assert [each.name for each in path.parent.iterdir()] == [path.name]

    def test_object_that_json_cannot_contain_is_reported_and_the_file_unchanged(self, served, path):
        path = path.with_suffix(".json")
        write_cassette(path)
        path.write_text('{"interactions": [], "version": 1}')
        written = path.read_bytes()
        with (
            pytest.raises(CassetteNotSavedError, match="object"),
            use_cassette(
                path, record_mode="all", before_record_response=lambda _: {"headers": {}, "x": object()}
            ),
        ):
            raw("GET", "/v1/models", to=served.url)
        assert (path.read_bytes(), len(list(path.parent.iterdir()))) == (written, 1)

    def test_folder_that_cannot_be_created_is_reported_and_interception_ends(self, served, path):
        context = use_cassette(path)
        context.__enter__()
        create(served.url)
        path.parent.write_text("")  # a file where the folder would be
        with pytest.raises(CassetteNotSavedError, match="File exists"):
            context.__exit__(None, None, None)
        create(served.url)
        assert len(served.requests) == 2

    def test_file_is_replaced_in_one_step(self, served, path):
        """Whoever reads it meanwhile has the old one, whole."""
        with use_cassette(path):
            create(served.url)
        written = path.read_text()
        with path.open() as opened:
            with use_cassette(path, record_mode="all"):
                create(served.url, metadata={"a": "b"})
            assert opened.read() == written
        assert path.read_text() != written

    def test_symbolic_link_is_kept(self, served, path):
        path.parent.mkdir()
        target = path.with_name("target.yaml")
        path.symlink_to(target)
        with use_cassette(path):
            create(served.url)
        assert (path.is_symlink(), target.is_file()) == (True, True)


class TestArguments:
    def test_unknown_option_is_named(self, path):
        with pytest.raises(TypeError, match="unexpected keyword argument 'allow_unsued'"):
            use_cassette(path, allow_unsued=True)

    def test_options_of_vcrpy_are_passed_on(self, served, path):
        with use_cassette(path, ignore_hosts=["127.0.0.1"], before_record_request=[lambda request: request]):
            create(served.url)
        assert not path.exists()

    def test_filter_of_the_caller_runs_first(self, served, path):
        def elsewhere(request):
            request.uri = request.uri.replace(served.url, "https://api.openai.com/v1")
            return request

        with use_cassette(path, before_record_request=elsewhere):
            create(served.url)
        assert "https://api.openai.com/v1/conversations" in path.read_text()
        assert served.url not in path.read_text()


class TestContext:
    def test_nothing_is_intercepted_behind_the_block(self, served, path):
        with use_cassette(path):
            create(served.url)
        with use_cassette(path):
            create(served.url)
        assert len(served.requests) == 1
        create(served.url)
        assert len(served.requests) == 2

    def test_cassette_is_vcrpys(self, path):
        with use_cassette(path) as cassette:
            assert isinstance(cassette, vcr.cassette.Cassette)
            assert (cassette.play_count, len(cassette)) == (0, 0)
