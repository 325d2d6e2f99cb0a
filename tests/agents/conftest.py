import agents
import pytest

from .staging import RUNNERS, play_alike


@pytest.fixture(autouse=True, scope="package")
def _tracing_is_off():
    agents.set_tracing_disabled(disabled=True)


@pytest.fixture
async def client(emulator):
    async with emulator.client() as client:
        yield client


@pytest.fixture(params=RUNNERS, ids=lambda runner: runner.__name__)
def runner(request):
    return request.param


@pytest.fixture
def alike(runner, client):
    """Play a scenario with SQLiteSession and with ours; they must show the model the same."""

    async def alike(scenario, **options):
        return await play_alike(scenario, runner, client, **options)

    return alike
