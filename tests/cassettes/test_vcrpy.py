"""Files are compatible with vcrpy in both directions, and with pytest-recording."""

import json
import textwrap

import pytest
import vcr

from openai_sessions.testing.cassettes import CassetteMissError, configure, use_cassette
from tests.cassettes.exchanges import KEY, answering, create, write_read_pop
from tests.programs import run_pytest

pytest_plugins = ["pytester"]


@pytest.mark.parametrize("serializer", ["yaml", "json"])
async def test_cassette_recorded_by_vcrpy_is_played(serializer, served, path):
    path = path.with_suffix(f".{serializer}")
    with vcr.VCR(serializer=serializer).use_cassette(str(path)):
        recorded = await write_read_pop(served.url)
    async with use_cassette(path) as cassette:
        assert await write_read_pop() == recorded
    assert cassette.all_played


@pytest.mark.parametrize("serializer", ["yaml", "json"])
async def test_cassette_recorded_here_is_played_by_vcrpy(serializer, served, path):
    path = path.with_suffix(f".{serializer}")
    async with use_cassette(path):
        recorded = await write_read_pop(served.url)
    match_on = ["method", "path", "query", "body"]
    with vcr.VCR(serializer=serializer, record_mode="none", match_on=match_on).use_cassette(
        str(path)
    ) as cassette:
        assert await write_read_pop() == recorded
    assert cassette.all_played


def test_key_in_a_cassette_of_another_tool_is_removed_when_it_is_rewritten(served, path):
    with vcr.VCR().use_cassette(str(path)):
        create(served.url)
    assert KEY in path.read_text()
    with use_cassette(path, record_mode="new_episodes"):
        create()
        create(served.url, metadata={"a": "b"})
    assert KEY not in path.read_text()


def test_configured_vcr_does_what_use_cassette_does(served, path):
    own = vcr.VCR(record_mode="once", cassette_library_dir=str(path.parent))
    configure(own)
    with own.use_cassette(path.name):
        create(served.url)
    assert KEY not in path.read_text()
    with pytest.raises(CassetteMissError, match=f"^{path} has no response"), own.use_cassette(path.name):
        create(metadata={"a": "b"})


CONFTEST = """
from openai_sessions.testing import cassettes

def pytest_recording_configure(config, vcr):
    cassettes.configure(vcr)
"""

MARKED = """
import openai
import pytest

def create(**body):
    account = "org-recognisable1234567890"
    with openai.OpenAI(api_key={key!r}, base_url={url!r}, organization=account) as client:
        return client.conversations.create(**body).id

@pytest.mark.vcr
def test_plain():
    assert create() == "conv_recorded"

@pytest.mark.vcr(allow_unused=True)
def test_options():
    create()
"""


class TestPytestRecording:
    def run(self, pytester, url, *arguments, tests=MARKED):
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(test_marked=textwrap.dedent(tests).format(key=KEY, url=url))
        return run_pytest(pytester, "-p", "no:cacheprovider", "-p", "pytest_recording.plugin", *arguments)

    def answer(self, method, path, headers, body):
        created = {"id": "conv_recorded", "object": "conversation", "created_at": 1, "metadata": {}}
        account = [("openai-organization", "recognisable-company"), ("set-cookie", "a=recognisable-cookie")]
        return 200, [*account, ("content-type", "application/json")], json.dumps(created).encode()

    @pytest.mark.exhaustive
    def test_marker_records_without_secrets_and_plays(self, pytester):
        with answering(self.answer) as url:
            self.run(pytester, url, "--record-mode=once").assert_outcomes(passed=2)
        files = sorted(pytester.path.glob("cassettes/test_marked/*.yaml"))
        assert [file.name for file in files] == ["test_options.yaml", "test_plain.yaml"]
        assert [file for file in files if "recognisable" in file.read_text()] == []
        self.run(pytester, url, "--block-network").assert_outcomes(passed=2)

    @pytest.mark.exhaustive
    def test_marker_reports_misses_and_damage(self, pytester):
        with answering(self.answer) as url:
            self.run(pytester, url, "--record-mode=rewrite").assert_outcomes(passed=2)
        changed = MARKED.replace("create() ==", "create(metadata={{'a': 'b'}}) ==")
        missed = self.run(pytester, url, "-k", "plain", tests=changed)
        missed.stdout.fnmatch_lines(["*CassetteMissError*", "*body.metadata: not recorded, sent*"])
        (pytester.path / "cassettes" / "test_marked" / "test_plain.yaml").write_text("interactions: []")
        damaged = self.run(pytester, url, "-k", "plain")
        damaged.assert_outcomes(errors=1)
        damaged.stdout.fnmatch_lines(["*Cannot read the cassette *test_plain.yaml: its version is None*"])

    @pytest.mark.exhaustive
    def test_further_cassettes_of_the_marker_are_played(self, pytester):
        with answering(self.answer) as url:
            self.run(pytester, url, "--record-mode=once", "-k", "plain").assert_outcomes(passed=1)
        tests = MARKED.replace("@pytest.mark.vcr\n", "@pytest.mark.vcr('test_plain.yaml')\n").replace(
            "def test_plain", "def test_other"
        )
        self.run(pytester, url, "-k", "other", tests=tests).assert_outcomes(passed=1)
