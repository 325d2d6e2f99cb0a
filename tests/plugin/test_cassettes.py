"""A cassette of its own for each test, and the defaults of ours for those of pytest-recording."""

import pytest

from openai_sessions.testing._fixtures import cassette_path
from tests.plugin.conftest import CONFIGURATION

KEY = "sk-recognisable"

TESTS = """
import pytest
from openai import AsyncOpenAI
from openai_sessions import OpenAIConversationsSession

HELLO = [{"role": "user", "content": "Hello"}]


async def test_session(conversation_cassette, conversation_session):
    await conversation_session.add_items(HELLO)
    assert await conversation_session.get_items() == HELLO
    assert len(conversation_cassette) >= 2


class TestOwnClients:
    @pytest.mark.parametrize("name", ["first", "2nd/<b>"])
    async def test_it(self, name, openai_environment, conversation_cassette):
        async with AsyncOpenAI() as client, OpenAIConversationsSession() as session:
            created = await client.conversations.create(metadata={"name": name})
            assert created.metadata == {"name": name}
            await session.add_items(HELLO)
"""

CHANGED = """
import pytest

pytestmark = pytest.mark.usefixtures("conversation_cassette")


async def test_session(openai_client):
    await openai_client.conversations.create(metadata={"another": "one"})


class TestOwnClients:
    @pytest.mark.parametrize("name", ["first", "2nd/<b>"])
    async def test_it(self, name, openai_client):
        await openai_client.conversations.create(metadata={"name": name})
        assert name == "first"


def test_that_was_not_recorded():
    pass


def test_that_needs_both(conversations):
    pass
"""


def cassettes_of(project):
    folder = project.path / "recorded"
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.yaml")}


@pytest.mark.exhaustive
def test_cassettes_are_recorded_and_replayed(project, emulator, monkeypatch):
    project.write("pytest.ini", f"{CONFIGURATION}conversations_cassette_dir = recorded\n")
    with emulator.serve() as base_url, monkeypatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", base_url)
        patch.setenv("OPENAI_API_KEY", KEY)
        patch.setenv("CI", "true")  # what the command line says counts for more
        project.run_tests(TESTS, "--conversations-record-mode=once").assert_outcomes(passed=3)

    files, seen = cassettes_of(project), emulator.requests
    assert [
        "test_it/TestOwnClients.test_it[2nd-b-]-777a8a43.yaml",
        "test_it/TestOwnClients.test_it[first].yaml",
        "test_it/test_session.yaml",
    ] == sorted(files)
    assert not any(KEY in text for text in files.values())

    project.run().assert_outcomes(passed=3)  # no server, no key
    result = project.run_tests(CHANGED)

    result.assert_outcomes(failed=2, passed=1, errors=3)
    result.stdout.fnmatch_lines_random(
        [
            '*body.metadata: not recorded, sent {"another": "one"}',
            "E *UnusedExchangesError: *TestOwnClients.test_it?first?.yaml*",
            "E *assert '2nd/<b>' == 'first'",
            "*/recorded/test_it/test_that_was_not_recorded.yaml does not exist. Record it *-mode=once.",
            "A test uses the emulator or a cassette, not both: remove conversation_cassette, or *",
        ]
    )
    assert cassettes_of(project) == files
    assert emulator.requests == seen


class Item:
    """A test of which the name matters."""

    def __init__(self, nodeid, rootpath):
        self.nodeid = nodeid
        self.config = self
        self.rootpath = rootpath

    def getini(self, name):
        return "recorded"


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/test_a.py::test_b", "tests/test_a/test_b.yaml"),
        ("test_a.py::TestB::test_c[x-1.5]", "test_a/TestB.test_c[x-1.5].yaml"),
        ("../other/test_a.py::test_b", "other/test_a/test_b.yaml"),
        ("test_a.py::test_b[a/../b]", "test_a/test_b[a-..-b]-5ff1371b.yaml"),
        ("test_a.py::test_b[" + "x" * 300 + "]", "test_a/test_b[" + "x" * 93 + "-579d9680.yaml"),
    ],
)
def test_path_of_a_cassette(tmp_path, nodeid, expected):
    assert str(cassette_path(Item(nodeid, tmp_path)).relative_to(tmp_path / "recorded")) == expected


def test_names_that_differ_have_files_that_differ(tmp_path):
    names = ["a/b", "a:b", "a-b", "a b", "x" * 200, "x" * 201]
    paths = {cassette_path(Item(f"test_a.py::test_b[{name}]", tmp_path)) for name in names}
    assert len(paths) == len(names)


MARKED = """
import os
import pytest
from openai import OpenAI

@pytest.mark.vcr
def test_it():
    key = os.environ.get("OPENAI_API_KEY", "sk-none")
    with OpenAI(api_key=key, organization="org-recognisable") as client:
        client.conversations.create(metadata={"name": "first"})
"""


@pytest.mark.exhaustive
def test_marker_of_pytest_recording(project, emulator, monkeypatch):
    """Its cassettes hold no credentials; whether they are matched as ours is for the project to say."""
    with emulator.serve() as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        project.run_tests(MARKED, "--record-mode=once", plugins=["asyncio", "recording"]).assert_outcomes(
            passed=1
        )
    (cassette,) = (project.path / "cassettes").rglob("*.yaml")
    assert "/v1/conversations" in cassette.read_text()
    assert KEY not in cassette.read_text()
    assert "org-recognisable" not in cassette.read_text()

    project.write("test_it.py", MARKED.replace("first", "second"))
    project.run("--block-network", plugins=["asyncio", "recording"]).assert_outcomes(passed=1)
    setting = "conversations_vcr_defaults=true"
    result = project.run("--block-network", "-o", setting, plugins=["asyncio", "recording"])
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(['*body.metadata.name: recorded "first", sent "second"'])
