"""The client and the turns of a sync session: openai's own `OpenAI`, and `Runner.run_sync`."""

import agents
import openai
import pytest

from openai_sessions.emulator import Emulator, Fault
from openai_sessions.sync import OpenAIConversationsSession
from tests.agents.staging import in_a_loop_of_its_own
from tests.wire import FAST, arguments

from .stage import CALL, MODEL, QUESTION, WHOLE, Stage, text_of


@pytest.fixture
def stage(emulator, address, monkeypatch):
    address.app = emulator
    monkeypatch.setenv("OPENAI_BASE_URL", address.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sync")
    with OpenAIConversationsSession(**arguments(retry_policy=FAST)) as session:
        conversation_id = session.ensure_conversation()
        emulator.forget_requests()
        yield Stage(emulator, None, session, conversation_id)


def ask(stage, client, **options):
    return client.responses.create(model=MODEL, input="Hello", conversation=stage.conversation_id, **options)


@pytest.mark.parametrize("kind", ["cut_after_commit", "truncated_body", "not_json"])
def test_a_reply_that_is_lost(stage, kind):
    stage.emulator.inject(Fault(kind), operation="create_response")
    assert "You said: Hello" == ask(stage, stage.session.client()).output_text
    assert ["user", "assistant"] == stage.stored


def test_a_stream_that_is_cut(stage):
    stage.emulator.inject(Fault("cut_mid_stream_after_commit"), operation="create_response")
    with ask(stage, stage.session.client(), stream=True) as stream:
        events = list(stream)
    assert "You said: Hello" == text_of(events) == events[-1].response.output_text
    assert ["user", "assistant"] == stage.stored


def test_a_stream_that_is_left(stage):
    stream = ask(stage, stage.session.client(), stream=True)
    assert "response.created" == next(iter(stream)).type
    stream.close()


def test_other_requests_are_those_of_openai(stage):
    client = stage.session.client()
    stage.emulator.inject(Fault("throttled", retry_after=0.01), operation="retrieve_conversation")
    assert stage.conversation_id == client.conversations.retrieve(stage.conversation_id).id
    with client.responses.with_streaming_response.create(model=MODEL, input="Hello") as response:
        assert "You said: Hello" == response.parse().output_text
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_none")


def test_the_settings_are_those_of_the_given_client(stage, address):
    given = openai.AsyncOpenAI(base_url=address.base_url, api_key="sk-given", default_headers={"x-team": "a"})
    client = OpenAIConversationsSession(openai_client=given).client()
    assert ("sk-given", given.base_url) == (client.api_key, client.base_url)
    request = client._client.build_request("GET", "/")
    assert "a" == client.default_headers["x-team"]
    assert request.method == "GET"


class Credentials:
    """Tokens that are good for one request, and the credentials of each request that is sent."""

    def __init__(self):
        self.given = 0
        self.sent = []

    async def token(self):
        self.given += 1
        return f"token-{self.given}"

    def next_token(self):
        self.given += 1
        return f"token-{self.given}"

    async def record(self, request):
        headers = {name: request.headers.get(name) for name in ("authorization", "api-key")}
        self.sent.append({name: value for name, value in headers.items() if value is not None})

    def http(self):
        return openai.DefaultAsyncHttpxClient(event_hooks={"request": [self.record]})


def ask_through(given, *, times=1):
    """Ask the model through the client of a sync session, and close the given one."""
    session = OpenAIConversationsSession(openai_client=given)
    client = session.client()
    for _ in range(times):
        assert "You said: Hello" == client.responses.create(model=MODEL, input="Hello").output_text
    session._run(lambda _: given.close())


def test_a_key_that_a_function_returns_is_asked_for_each_request(stage, address):
    credentials = Credentials()
    given = openai.AsyncOpenAI(
        base_url=address.base_url, api_key=credentials.token, http_client=credentials.http()
    )
    ask_through(given, times=2)
    assert [{"authorization": "Bearer token-1"}, {"authorization": "Bearer token-2"}] == credentials.sent


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (lambda _: {"api_key": "azure-key"}, {"api-key": "azure-key"}),
        (lambda _: {"azure_ad_token": "entra"}, {"authorization": "Bearer entra"}),
        (
            lambda credentials: {"azure_ad_token_provider": credentials.token},
            {"authorization": "Bearer token-1"},
        ),
        (
            lambda credentials: {"azure_ad_token_provider": credentials.next_token},
            {"authorization": "Bearer token-1"},
        ),
    ],
    ids=["key", "token", "provider", "sync provider"],
)
def test_a_client_of_azure_has_its_credentials(address, options, expected):
    with Emulator(foundry=True) as address.app:
        credentials = Credentials()
        given = openai.AsyncAzureOpenAI(
            base_url=address.base_url,
            api_version="v1",
            http_client=credentials.http(),
            **options(credentials),
        )
        ask_through(given)
        assert [expected] == credentials.sent
        (request,) = address.app.requests
        assert ("/v1/responses", {"api-version": ["v1"]}) == (request.path, request.query)


@pytest.mark.parametrize("deployment", [None, "mine"])
def test_a_client_of_azure_keeps_its_endpoint(deployment):
    given = openai.AsyncAzureOpenAI(
        azure_endpoint="http://azure.test", azure_deployment=deployment, api_key="a", api_version="v1"
    )
    client = OpenAIConversationsSession(openai_client=given).client()
    assert "http://azure.test/openai/models" == str(client._prepare_url("/models"))
    assert given.base_url == client.base_url


def failing_turn(stage, **options):
    stage.emulator.reply(CALL)
    with stage.session.turn(server_managed=True, **options) as turn:
        turn.client.responses.create(model=MODEL, input="Hi", conversation=turn.conversation_id)
        raise KeyError("a tool")


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_turn_that_fails_is_deleted(stage, exclusive):
    with pytest.raises(KeyError):
        failing_turn(stage, exclusive=exclusive)
    assert [] == stage.stored


def test_a_turn_that_fails_is_repaired(stage):
    with pytest.raises(KeyError):
        failing_turn(stage, on_error="repair")
    assert WHOLE[:3] == stage.stored


# httpx, whichever family, reads every body through asynchronous generators; the loop counts that as late.
@pytest.mark.filterwarnings("ignore:asynchronous generator .* was scheduled after:ResourceWarning")
def test_run_sync(stage):
    stage.script()
    stage.emulator.inject(Fault("cut_after_commit"), operation="create_response", times=2)
    with stage.session.turn(server_managed=True) as turn:
        agent = agents.Agent(name="Adder", model=MODEL, tools=[agents.function_tool(stage.add)])
        result = in_a_loop_of_its_own(
            agent, QUESTION, conversation_id=turn.conversation_id, run_config=turn.run_config
        )
    assert "It is 5." == result.final_output
    assert WHOLE == stage.stored
    assert [(2, 3)] == stage.added
