"""Decorated functions: sync, async, recursive, and tests with fixtures and parameters."""

import inspect

import pytest

from openai_sessions.testing.cassettes import CassetteMissError, UnusedExchangesError, use_cassette
from tests.cassettes.exchanges import async_client, create, exchange, raw, write_cassette
from tests.programs import run_pytest

pytest_plugins = ["pytester"]

ANSWER = {"id": "conv_1", "object": "conversation", "created_at": 1, "metadata": {}}
CREATION = exchange("POST", "/v1/conversations", {}, ANSWER)


@pytest.fixture
def created(path):
    write_cassette(path, CREATION)
    return path


def test_each_call_replays_the_whole_cassette(created):
    @use_cassette(created)
    def make(*, times=1):
        """Make conversations."""
        return [create() for _ in range(times)]

    assert [make(), make()] == [["conv_1"], ["conv_1"]]
    with pytest.raises(CassetteMissError):
        make(times=2)
    assert (make.__name__, make.__doc__) == ("make", "Make conversations.")
    assert list(inspect.signature(make).parameters) == ["times"]


async def test_coroutine_function(created):
    @use_cassette(created)
    async def make():
        async with async_client() as client:
            return (await client.conversations.create()).id

    assert inspect.iscoroutinefunction(make)
    assert [await make(), await make()] == ["conv_1", "conv_1"]


def test_recursive_function(created):
    """Each call has a cassette of its own: the inner one answers while it is open."""

    @use_cassette(created)
    def make(depth):
        return [create(), *(make(depth - 1) if depth else [])]

    assert make(2) == ["conv_1"] * 3


def test_method(created):
    class Application:
        @use_cassette(created)
        def make(self):
            return type(self).__name__, create()

    assert Application().make() == ("Application", "conv_1")


def generator():
    yield


async def async_generator():
    yield


@pytest.mark.parametrize("thing", [3, type("Application", (), {}), generator, async_generator])
def test_anything_else_is_told(thing, path):
    """A generator, such as a fixture, would run after the cassette was closed."""

    with pytest.raises(TypeError, match="cannot decorate"):
        use_cassette(path)(thing)


def test_unused_exchange_fails_the_function(created):
    @use_cassette(created)
    def idle():
        return None

    with pytest.raises(UnusedExchangesError):
        idle()


TESTS = """
import openai
import pytest
from openai_sessions.testing.cassettes import use_cassette

@pytest.fixture
def url():
    return "http://nowhere.invalid/v1"

@use_cassette({path!r})
@pytest.mark.parametrize("name", ["first", "second"])
def test_sync(url, name):
    assert openai.OpenAI(api_key="x", base_url=url).conversations.create().id == "conv_1"

@use_cassette({path!r})
async def test_async(url, tmp_path):
    async with openai.AsyncOpenAI(api_key="x", base_url=url) as client:
        assert (await client.conversations.create()).id == "conv_1"

@use_cassette({path!r})
def test_that_misses(url):
    openai.OpenAI(api_key="x", base_url=url).conversations.create(metadata={{"a": "b"}})

@use_cassette({path!r})
def test_that_leaves_something(url):
    pass
"""


@pytest.mark.exhaustive
def test_tests_of_pytest_may_be_decorated(pytester, created):
    pytester.makepyfile(TESTS.format(path=str(created)))
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    result = run_pytest(pytester, "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines_random(
        ["*CassetteMissError: *has no response to POST /v1/conversations*", "*1: POST /v1/conversations*"]
    )


def test_nothing_but_the_cassette_is_asked(created):
    with use_cassette(created):
        assert create() == "conv_1"
        with pytest.raises(CassetteMissError), use_cassette(created):
            raw("GET", "/v1/elsewhere")
