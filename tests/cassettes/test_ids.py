"""Ids that the server makes up: stable in the file, and one for one with those of the code."""

import re

import pytest
import yaml

from openai_sessions import OpenAIConversationsSession
from openai_sessions.testing._cassettes._playback import BoundIds, StableIds, ids_in
from openai_sessions.testing.cassettes import CassetteMissError, use_cassette
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


def hexadecimal(prefix, digit):
    return f"{prefix}_{digit * 48}"


FIRST, SECOND, THIRD = (hexadecimal("conv", digit) for digit in "abc")
FIRST, SECOND, THIRD = (f"{identifier[:-1]}7" for identifier in (FIRST, SECOND, THIRD))


@pytest.mark.parametrize(
    "identifier",
    [
        *("conv_6a3f11765ab88196bb163daa1e6dc3030eea6ca4e48c1c16", "msg_" + "0" * 50, "fc_" + "1a" * 24),
        *("resp_" + "9" * 50, "rs_68a1b2c3d4e5f60718293a4b", "item_67d4472a5bb88190bee168ec5d59d790"),
    ],
)
def test_id_is_found(identifier):
    assert ids_in(
        f'{{"id": "{identifier}", "a\\n{identifier}": "/{identifier}/items?after={identifier}"}}'
    ) == ([identifier] * 4)


@pytest.mark.parametrize(
    "text",
    [
        *("call_" + "1" * 24, "req_" + "1" * 32, "conv_short1", "conv_" + "a" * 48, "x_conv_" + "1" * 48),
        *("message_input_text", "some_snake_case_name_of_a_function1", "conv_" + "1" * 80),
    ],
)
def test_other_words_are_no_ids(text):
    assert ids_in(f'"{text}"') == []


def test_stable_ids_are_numbered_as_they_appear_and_keep_their_length():
    ids = StableIds()
    message = hexadecimal("msg", "7")
    assert ids.of_request("{}") == "{}"
    assert ids.of_response(f'"{FIRST}" "{message}"') == f'"conv_{1:048d}" "msg_{1:048d}"'
    assert ids.of_request(f'"{FIRST}" "{SECOND}"') == f'"conv_{1:048d}" "{SECOND}"'
    assert ids.of_response(f'"{SECOND}" "{THIRD}"') == f'"{SECOND}" "conv_{2:048d}"'


def test_stable_id_that_is_taken_is_passed_over():
    ids = StableIds()
    taken = f"conv_{1:048d}"
    ids.of_request(taken)
    assert ids.of_response(FIRST) == f"conv_{2:048d}"


def test_bound_ids_are_one_for_one():
    bound = BoundIds()
    assert bound.to_match([FIRST], [SECOND]) == {FIRST: SECOND}
    assert bound.to_match([FIRST, FIRST], [SECOND, THIRD]) is None
    assert bound.to_match([FIRST, SECOND], [THIRD, THIRD]) is None
    assert bound.to_match([FIRST], [hexadecimal("msg", "7")]) is None
    assert bound.to_match([FIRST], []) is None
    bound.bind({FIRST: SECOND})
    assert bound.to_match([FIRST], [SECOND]) == {FIRST: SECOND}
    assert bound.to_match([FIRST], [THIRD]) is None
    assert bound.to_match([THIRD], [SECOND]) is None
    assert bound.as_sent(f"{SECOND} {THIRD}") == f"{FIRST} {THIRD}"
    assert bound.to_match([FIRST], [THIRD]) is None


async def test_cassette_survives_being_recorded_again(served, path):
    """Two recordings differ in no id, and a test that names an id goes on to pass."""
    texts, sessions = [], []
    for _ in range(2):
        async with use_cassette(path, map_ids=True, record_mode="all"):
            recorded = await write_read_pop(served.url)
        texts.append(ids_in(path.read_text()))
        async with use_cassette(path, map_ids=True), async_client() as client:
            session = OpenAIConversationsSession(openai_client=client)
            await session.add_items(ITEMS)
            sessions.append(session.session_id)
            assert recorded == (
                await session.get_items(),
                await session.pop_item(),
                await session.get_items(),
            )
    assert texts[0] == texts[1]
    assert sessions == [f"conv_{1:048d}"] * 2
    assert set(texts[0]) == {f"conv_{1:048d}", f"msg_{1:048d}", f"msg_{2:048d}"}


def test_id_from_elsewhere_stays_in_the_file_and_another_one_plays_too(served, path):
    """Another server, or another database, gives the code another id to begin with."""
    with sync_client(served.url) as client:
        known = client.conversations.create(items=ITEMS).id

    def read(identifier, url=NOWHERE):
        with sync_client(url) as client:
            conversation = client.conversations.retrieve(identifier)
            items = client.conversations.items.list(identifier).data
            client.conversations.items.delete(items[0].id, conversation_id=conversation.id)
            return conversation.id, len(items)

    with use_cassette(path, map_ids=True):
        assert read(known, served.url) == (known, 2)
    assert known in path.read_text()
    for identifier in (known, FIRST):
        with use_cassette(path, map_ids=True):
            assert read(identifier) == (identifier, 2)
    with pytest.raises(CassetteMissError), use_cassette(path):
        read(FIRST)


def test_id_stands_for_one_only(path):
    """Code that mixes up two conversations does not match."""
    write_cassette(path, exchange("GET", f"/v1/{FIRST}"), exchange("GET", f"/v1/{FIRST}"))
    with pytest.raises(CassetteMissError, match=f"sent .*{THIRD}"), use_cassette(path, map_ids=True):
        [raw("GET", f"/v1/{identifier}") for identifier in (SECOND, THIRD)]


def test_id_that_was_handed_out_is_the_only_one_for_itself(path):
    write_cassette(
        path,
        exchange("POST", "/v1/conversations", {}, {"id": FIRST}),
        exchange("DELETE", f"/v1/conversations/{FIRST}"),
    )
    with pytest.raises(CassetteMissError, match=f"sent .*{SECOND}"), use_cassette(path, map_ids=True):
        raw("DELETE", f"/v1/conversations/{create().replace(FIRST, SECOND)}")


def test_exchange_with_the_very_ids_is_preferred(path):
    """Two conversations that are read in another order than recorded keep their histories."""
    histories = {FIRST: "the first", SECOND: "the second"}
    write_cassette(path, *(exchange("GET", f"/v1/{one}", None, histories[one]) for one in histories))
    with use_cassette(path, map_ids=True):
        assert [raw("GET", f"/v1/{one}").json() for one in (SECOND, FIRST)] == ["the second", "the first"]


def test_ids_in_bodies_match_in_whatever_order_the_keys_come(path):
    recorded = exchange("POST", "/v1/x", {"a": FIRST, "b": SECOND}, {"b": SECOND})
    write_cassette(path, recorded)
    with use_cassette(path, map_ids=True):
        answer = raw("POST", "/v1/x", f'{{"b": "{THIRD}", "a": "{SECOND}"}}'.encode())
    assert answer.json() == {"b": THIRD}


def test_new_episodes_number_on(served, path):
    with use_cassette(path, map_ids=True):
        create(served.url)
    with use_cassette(path, map_ids=True, record_mode="new_episodes"):
        first = create(served.url)
        create(served.url, metadata={"a": "b"})
    uris = [each["response"]["body"]["string"] for each in yaml.safe_load(path.read_text())["interactions"]]
    assert [re.search(r"conv_0*(\d+)", one)[1] for one in uris] == ["1", "2"]
    assert first == f"conv_{1:048d}"


def test_new_episodes_leave_what_is_in_the_file(served, path):
    write_cassette(path, exchange("GET", "/v1/models", None, {"id": FIRST}))
    with use_cassette(path, map_ids=True, record_mode="new_episodes"):
        create(served.url)
    assert [FIRST, f"conv_{1:048d}"] == ids_in(path.read_text())


def test_without_mapping_ids_are_as_the_server_made_them(served, path):
    with use_cassette(path):
        identifier = create(served.url)
    assert identifier in path.read_text()
