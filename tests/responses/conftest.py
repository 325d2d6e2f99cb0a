import agents
import openai
import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator._server import serving
from tests.servers import Replaceable
from tests.wire import FAST, arguments

from .stage import Stage


@pytest.fixture(autouse=True, scope="package")
def _tracing_is_off():
    agents.set_tracing_disabled(disabled=True)


@pytest.fixture(scope="package")
def address():
    application = Replaceable()
    with serving(application, host="127.0.0.1", port=0) as application.base_url:
        yield application


@pytest.fixture
async def stage(emulator, address):
    """A session on a conversation of an emulator, over a real socket."""
    address.app = emulator
    transport = openai.DefaultAsyncHttpxClient(verify=False)
    async with openai.AsyncOpenAI(
        base_url=address.base_url, api_key="sk-stage", timeout=0.5, http_client=transport
    ) as client:
        session = OpenAIConversationsSession(openai_client=client, **arguments(retry_policy=FAST))
        yield Stage(emulator, client, session, await session.ensure_conversation())
