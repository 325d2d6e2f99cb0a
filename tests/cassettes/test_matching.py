"""Bodies are compared as JSON. A request without a recording raises at once, and names the nearest one."""

import asyncio
import json
import time

import openai
import pytest
from agents import OpenAIConversationsSession as SdkSession

from openai_sessions import OpenAIConversationsSession
from openai_sessions.testing.cassettes import (
    CassetteError,
    CassetteMissError,
    UnusedExchangesError,
    use_cassette,
)
from tests.cassettes.exchanges import async_client, create, exchange, raw, sync_client, write_cassette
from tests.wire import HTTP_FAMILY

CREATED = {"id": "conv_1", "object": "conversation", "created_at": 1, "metadata": {}}


async def note(requests, request):
    requests.append(request)


def post(path, body, *, file, **options):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with use_cassette(file, **options):
        return raw("POST", path, content)


@pytest.mark.parametrize(
    "body",
    [b'{"a": 1, "b": [true, null]}', b'{"b":[true,null],"a":1}', b'\n{ "b" : [ true , null ] , "a" : 1 }\n'],
)
def test_body_matches_in_any_key_order_and_white_space(body, path):
    write_cassette(path, exchange("POST", "/v1/x", {"a": 1, "b": [True, None]}))
    assert post("/v1/x", body, file=path).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        *(
            b'{"a": 1.0, "b": [true, null]}',
            b'{"a": true, "b": [true, null]}',
            b'{"a": 1, "b": [null, true]}',
        ),
        *(b'{"a": 1, "b": [1, null]}', b'{"a": 1}', b'{"a": 1, "b": [true, null], "c": null}', b"", b"a=1"),
    ],
)
def test_body_of_another_value_does_not_match(body, path):
    write_cassette(path, exchange("POST", "/v1/x", {"a": 1, "b": [True, None]}))
    with pytest.raises(CassetteMissError):
        post("/v1/x", body, file=path)


def test_non_json_body_matches_byte_for_byte(path):
    write_cassette(path, exchange("POST", "/v1/x", "a=1"))
    assert post("/v1/x", b"a=1", file=path).status_code == 200
    with pytest.raises(CassetteMissError, match=r'body: recorded "a=1", sent "a=1 "'):
        post("/v1/x", b"a=1 ", file=path)


def test_multipart_body_matches_with_any_boundary(path):
    def upload():
        with use_cassette(path), HTTP_FAMILY.Client(verify=False) as client:
            files = {"file": ("a.txt", b"Hello")}
            return client.post("http://nowhere.invalid/v1/files", files=files).status_code

    first = b'--0123456789\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
    body = first + b"Content-Type: text/plain\r\n\r\nHello\r\n--0123456789--\r\n"
    recorded = exchange("POST", "/v1/files", body.decode())
    recorded["request"]["headers"] = {"content-type": ["multipart/form-data; boundary=0123456789"]}
    write_cassette(path, recorded)
    assert upload() == 200
    recorded["request"]["body"] = body.replace(b"Hello", b"Other").decode()
    write_cassette(path, recorded)
    with pytest.raises(CassetteMissError, match="body: recorded"):
        upload()


def test_order_of_the_query_does_not_matter(path):
    write_cassette(path, exchange("GET", "/v1/x?limit=1&order=asc"))
    with use_cassette(path):
        assert raw("GET", "/v1/x?order=asc&limit=1").status_code == 200


def test_host_is_compared_if_match_on_contains_it(path):
    write_cassette(path, exchange())
    differs = r'host: recorded "api.openai.com", sent "nowhere.invalid"'
    context = use_cassette(path, match_on=["method", "path", "host"])
    with pytest.raises(CassetteMissError, match=differs), context:
        raw("GET", "/v1/models")


class TestMessage:
    recorded = (
        exchange("POST", "/v1/conversations", {}),
        exchange("POST", "/v1/conversations/conv_b/items", {"items": [{"role": "user", "content": "Hello"}]}),
        exchange("GET", "/v1/conversations/conv_b/items?limit=20&after=msg_1"),
        exchange("DELETE", "/v1/conversations/conv_b"),
    )

    def missed(self, path, method, target, body=None, **options):
        write_cassette(path, *self.recorded)
        with pytest.raises(CassetteMissError) as caught, use_cassette(path, **options):
            raw(method, target, json.dumps(body).encode() if body is not None else b"")
        headline, *rest = str(caught.value).splitlines()
        assert headline.startswith(f"{path} has no response to {method} {target}")
        assert 'record_mode="all"' in rest.pop()
        return headline, rest

    def test_names_the_place_in_the_body(self, path):
        body = {"items": [{"role": "user", "content": "x" * 300}, {"role": "user"}], "include": []}
        headline, differences = self.missed(path, "POST", "/v1/conversations/conv_b/items", body)
        assert "exchange 2 of 4 (POST /v1/conversations/conv_b/items)" in headline
        assert differences == [
            f'  body.items[0].content: recorded "Hello", sent "{"x" * 79}… (302 characters)',
            '  body.items[1]: not recorded, sent {"role": "user"}',
            "  body.include: not recorded, sent []",
        ]

    def test_names_the_parameter_of_the_query(self, path):
        headline, differences = self.missed(path, "GET", "/v1/conversations/conv_b/items?limit=100&order=asc")
        assert "exchange 3 of 4" in headline
        assert sorted(differences) == [
            '  query.after: recorded "msg_1", not sent',
            '  query.limit: recorded "20", sent "100"',
            '  query.order: not recorded, sent "asc"',
        ]

    def test_names_the_path(self, path):
        headline, differences = self.missed(path, "DELETE", "/v1/conversations/conv_c")
        assert "exchange 4 of 4" in headline
        assert differences == ['  path: recorded "/v1/conversations/conv_b", sent "/v1/conversations/conv_c"']

    def test_names_the_method(self, path):
        headline, differences = self.missed(path, "PUT", "/v1/conversations/conv_b")
        assert "exchange 4 of 4" in headline
        assert differences == ['  method: recorded "DELETE", sent "PUT"']

    def test_names_a_matcher_of_vcrpy(self, path):
        _, differences = self.missed(
            path, "DELETE", "/v1/conversations/conv_b", match_on=["path", "method", "uri"]
        )
        assert differences[0].startswith('  uri: recorded "https://api.openai.com/v1/conversations/conv_b')

    def test_is_truncated_if_everything_differs(self, path):
        body = {str(number): number for number in range(30)}
        _, differences = self.missed(path, "POST", "/v1/conversations", body)
        assert (len(differences), differences[-1]) == (9, "  and 22 more")

    def test_says_that_the_request_was_played_already(self, path):
        write_cassette(path, *self.recorded)
        with pytest.raises(CassetteMissError) as caught, use_cassette(path):
            [raw("DELETE", "/v1/conversations/conv_b") for _ in range(2)]
        assert "Exchange 4 of 4 matches, but was already played" in str(caught.value)
        with use_cassette(path, allow_playback_repeats=True, allow_unused=True) as cassette:
            for _ in range(2):
                raw("DELETE", "/v1/conversations/conv_b")
        assert cassette.play_count == 2

    def test_says_that_the_cassette_is_empty(self, path):
        write_cassette(path)
        with pytest.raises(CassetteMissError, match="contains no exchanges"), use_cassette(path):
            raw("GET", "/v1/models")


class TestMiss:
    """It comes out at once, whatever the code under test does with errors."""

    def test_is_what_openai_raises(self, path):
        write_cassette(path)
        with pytest.raises(CassetteMissError) as caught, use_cassette(path):
            create()
        error = caught.value
        assert isinstance(error, openai.OpenAIError)
        assert isinstance(error, CassetteError)
        assert error.request.path == "/v1/conversations"

    @pytest.mark.parametrize("retries", [0, 5])
    async def test_is_not_repeated_by_openai(self, retries, path):
        write_cassette(path)
        sent = []
        context = use_cassette(path)
        async with async_client(max_retries=retries) as client:
            client._client.event_hooks["request"].append(lambda request: note(sent, request))
            with pytest.raises(CassetteMissError), context:
                await client.conversations.create()
        assert len(sent) == 1

    @pytest.mark.parametrize("make", [OpenAIConversationsSession, SdkSession])
    @pytest.mark.parametrize("call", ["add_items", "get_items", "pop_item", "clear_session"])
    async def test_is_not_repeated_by_sessions(self, make, call, path):
        write_cassette(path, exchange("POST", "/v1/conversations", {}, CREATED))
        began = time.monotonic()
        arguments = [[{"role": "user", "content": "x"}]] if call == "add_items" else []

        async def play():
            async with use_cassette(path, allow_unused=True), async_client() as client:
                await getattr(make(openai_client=client, conversation_id="conv_1"), call)(*arguments)

        with pytest.raises(CassetteMissError) as caught:
            await play()
        assert time.monotonic() - began < 5  # a session that repeats it takes its time: two minutes
        assert "/v1/conversations/conv_1" in str(caught.value)

    @pytest.mark.parametrize(
        "otherwise", [None, AssertionError("it failed"), openai.OpenAIError("it failed")]
    )
    def test_is_raised_again_when_it_was_caught(self, otherwise, path):
        write_cassette(path)

        def code():
            try:
                create()
            except Exception:  # noqa: BLE001 - as applications do
                if otherwise:
                    raise otherwise  # noqa: B904

        with pytest.raises(CassetteMissError, match="POST /v1/conversations"), use_cassette(path):
            code()

    def test_does_not_hide_that_the_test_was_stopped(self, path):
        write_cassette(path)

        def code():
            with pytest.raises(CassetteMissError):
                create()
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), use_cassette(path):
            code()

    async def test_in_one_of_several_tasks(self, path):
        write_cassette(path, exchange("POST", "/v1/conversations", {}, CREATED))

        async def play():
            async with use_cassette(path), async_client() as client:
                await asyncio.gather(
                    *(client.conversations.create() for _ in range(3)), return_exceptions=True
                )

        with pytest.raises(CassetteMissError, match="Exchange 1 of 1 matches"):
            await play()

    def test_traceback_leads_to_the_request(self, path):
        write_cassette(path)
        with pytest.raises(CassetteMissError) as caught, use_cassette(path):
            create()
        assert "create" in [entry.name for entry in caught.traceback]


class TestUnused:
    def test_exchange_that_was_not_used_is_named(self, path):
        write_cassette(path, exchange(), exchange("DELETE", "/v1/x"), exchange("GET", "/v1/y?limit=1"))
        with pytest.raises(UnusedExchangesError) as caught, use_cassette(path):
            raw("GET", "/v1/models")
        error = caught.value
        assert (error.path, error.unused) == (str(path), ("2: DELETE /v1/x", "3: GET /v1/y?limit=1"))
        assert str(error).startswith(
            f"2 of 3 exchanges of {path} were not used:\n  2: DELETE /v1/x\n  3: GET"
        )
        assert isinstance(error, AssertionError)

    @pytest.mark.parametrize("mode", ["none", "once", "new_episodes"])
    def test_in_each_mode_that_plays(self, mode, path):
        write_cassette(path, exchange())
        with pytest.raises(UnusedExchangesError), use_cassette(path, record_mode=mode):
            pass

    def test_is_not_raised_if_allowed(self, path):
        write_cassette(path, exchange())
        with use_cassette(path, allow_unused=True) as cassette:
            pass
        assert not cassette.all_played

    def test_is_not_raised_by_a_run_that_recorded(self, served, path):
        write_cassette(path, exchange())
        with use_cassette(path, record_mode="new_episodes") as cassette:
            create(served.url)
        assert (cassette.play_count, len(cassette)) == (0, 2)

    def test_does_not_hide_the_error_of_the_block(self, path):
        write_cassette(path, exchange())
        with pytest.raises(ZeroDivisionError), use_cassette(path):
            assert 1 / 0

    def test_exchange_replayed_in_an_earlier_block_counts_as_unused(self, path):
        write_cassette(path, exchange())
        context = use_cassette(path)
        with context:
            raw("GET", "/v1/models")
        with pytest.raises(UnusedExchangesError), context:
            pass


def test_sync_client_raises_it_too(path):
    write_cassette(path)
    with pytest.raises(CassetteMissError), use_cassette(path), sync_client() as client:
        client.models.list()
