"""Exchanges with api.openai.com that others have recorded are played to openai and to sessions."""

import json

import openai
import pytest
from agents import OpenAIConversationsSession as SdkSession
from openai.types.conversations import Conversation
from openai.types.responses import Response

from openai_sessions import OpenAIConversationsSession
from openai_sessions.testing.cassettes import use_cassette
from tests.cassettes.exchanges import async_client, sync_client, write_cassette
from tests.examples.stand_in import ROOT

RECORDINGS = ROOT.parent / "shared" / "recordings"
FILES = sorted(RECORDINGS.glob("*.json"))
pytestmark = pytest.mark.skipif(not FILES, reason="the recordings are not beside this checkout (../shared)")
EACH = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])


def exchanges_of(file):
    return json.loads(file.read_text())["exchanges"]


def interaction(exchange):
    """Return an exchange as vcrpy writes it."""
    request, response = exchange["request"], exchange["response"]
    body = response["body"]
    return {
        "request": {
            "method": request["method"],
            "uri": request["url"],
            "body": None if request["body"] is None else json.dumps(request["body"]),
            "headers": {"content-type": ["application/json"]},
        },
        "response": {
            "status": {"code": response["status"], "message": None},
            "headers": {
                name: [value] for name, value in response["headers"].items() if name != "content-length"
            },
            "body": {"string": body if isinstance(body, str) else json.dumps(body, indent=2)},
        },
    }


@pytest.fixture
def cassette_of(path):
    def make(file):
        write_cassette(path, *map(interaction, exchanges_of(file)))
        return path

    return make


def sent(client, request):
    """Send a request through openai; return the JSON of its answer or error, or the text of a stream."""
    path = request["url"].removeprefix("https://api.openai.com/v1")
    body = {} if request["body"] is None else {"body": request["body"]}
    try:
        return getattr(client, request["method"].lower())(path, cast_to=object, **body)
    except openai.APIStatusError as error:
        return error.response.json()


@EACH
def test_each_exchange_is_played_as_it_was(file, cassette_of):
    with use_cassette(cassette_of(file)) as cassette, sync_client(max_retries=0) as client:
        for exchange in exchanges_of(file):
            assert exchange["response"]["body"] == sent(client, exchange["request"])
    assert cassette.all_played


LISTED = [file for file in FILES if file.stem.startswith("openai-dotnet__ResponseUsing")]


@pytest.mark.parametrize("file", LISTED, ids=[file.stem for file in LISTED])
@pytest.mark.parametrize("make", [OpenAIConversationsSession, SdkSession])
async def test_history_is_read_by_sessions(file, make, path):
    """The page that the API gave of a conversation: its newest items, the last one first."""
    listing = exchanges_of(file)[2]
    write_cassette(path, interaction(listing))
    data = listing["response"]["body"]["data"]
    identifier = listing["request"]["url"].split("/")[5]
    async with use_cassette(path, match_on=["method", "path"]) as cassette, async_client() as client:
        items = await make(openai_client=client, conversation_id=identifier).get_items(limit=len(data))
    assert [text_of(item) for item in reversed(data)] == [text_of(item) for item in items]
    assert (cassette.play_count, len(data) > 1) == (1, True)


def text_of(item):
    """Return the role of a message and its only text, in whichever form it is."""
    content = item["content"]
    return item["role"], content if isinstance(content, str) else content[0]["text"]


def test_typed_calls_of_openai(cassette_of):
    file = RECORDINGS / "openai-dotnet__CanCreateGetUpdateAndDeleteConversation.json"
    create, *_ = exchanges_of(file)
    with use_cassette(cassette_of(file)), sync_client() as client:
        made = client.conversations.create(**create["request"]["body"])
        assert client.conversations.retrieve(made.id) == made
        metadata = {"topic": "updated-test", "purpose": "conversation-test"}
        assert client.conversations.update(made.id, metadata=metadata).metadata == metadata
        assert client.conversations.delete(made.id).deleted
    assert isinstance(made, Conversation)


def test_refusal_is_an_authentication_error(cassette_of):
    file = RECORDINGS / "ruby-openai__conversations_retrieve.json"
    with (
        use_cassette(cassette_of(file)),
        sync_client() as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.conversations.retrieve(exchanges_of(file)[0]["request"]["url"].rpartition("/")[2])
    assert caught.value.code == "invalid_api_key"


def test_streamed_response(cassette_of):
    file = RECORDINGS / "pydantic-ai__conversation_id_streaming_provider_details.json"
    with use_cassette(cassette_of(file), allow_unused=True), sync_client() as client:
        identifier = client.conversations.create().id
        request = dict(exchanges_of(file)[1]["request"]["body"])
        events = list(client.responses.create(**request))
    assert request["conversation"] == identifier
    assert events[0].type == "response.created"
    assert isinstance(events[-1].response, Response)
    assert (
        "".join(event.delta for event in events if event.type == "response.output_text.delta") == "streamed"
    )
