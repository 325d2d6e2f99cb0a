"""What the cassettes say of themselves, and what they do not say."""

import re
from datetime import datetime, timezone
from urllib.parse import urlsplit

import pytest
from vcr.cassette import Cassette

from tests.docs.markdown import table_after
from tests.examples.stand_in import ROOT
from tests.recorded.files import CASSETTES, answers, contents, secrets_in
from tools.recording.flows import FLOWS
from tools.recording.recorder import FOLDER

named = pytest.mark.parametrize("path", CASSETTES, ids=lambda path: path.stem)
NAMES = [flow.name for flow in FLOWS]
SERVERS = {"smg": "smg", "emulator": "openai_sessions.emulator"}


def test_every_flow_has_a_cassette_and_every_cassette_a_flow():
    assert sorted(f"{name}.yaml" for name in NAMES) == [path.name for path in sorted(FOLDER.glob("*.yaml"))]


def test_readme_lists_every_flow_and_its_server():
    rows = table_after((ROOT / "fixtures" / "README.md").read_text(), "## Cassettes")
    assert [(f"`{flow.name}`", flow.server) for flow in FLOWS] == [(row[0], row[2]) for row in rows]


def test_every_flow_of_the_emulator_says_why():
    assert [flow.name for flow in FLOWS if (flow.server == "emulator") != bool(flow.why)] == []


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_cassette_says_when_and_from_what_it_was_recorded(flow):
    told = contents(FOLDER / f"{flow.name}.yaml")["metadata"]
    assert datetime.fromisoformat(told["recorded_at"].replace("Z", "+00:00")) < datetime.now(timezone.utc)
    assert re.fullmatch(r"[23]\.\d+\.\d+", told["openai"])
    assert SERVERS[flow.server] == told["server"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["server_version"])


@named
def test_vcrpy_itself_reads_the_cassette(path):
    assert len(contents(path)["interactions"]) == len(Cassette.load(path=str(path))) > 0


@named
def test_cassette_has_no_secrets(path):
    assert secrets_in(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "authorization: [Bearer abc]",
        "Cookie: a=b",
        "set-cookie: [a=b]",
        "openai-organization: [x]",
        "OpenAI-Project: [x]",
        "x-api-key: [x]",
        "string: Incorrect API key provided: sk-abc",
        "string: in organization org-abc",
        "string: proj_abc",
    ],
)
def test_secret_would_be_found(line):
    assert secrets_in(f"version: 1\n{line}\n") == [line]


def test_cassettes_are_small():
    sizes = [path.stat().st_size for path in CASSETTES]
    assert sum(sizes) < 600_000


@pytest.mark.parametrize("name", NAMES)
def test_cassette_names_no_port(name):
    """It would be another one in each recording."""
    interactions = contents(FOLDER / f"{name}.yaml")["interactions"]
    assert {urlsplit(each["request"]["uri"]).port for each in interactions} == {None}


@pytest.mark.parametrize(
    ("name", "failures"),
    [
        ("not_found", {("GET", 404): 6, ("DELETE", 404): 1}),
        ("locked", {("POST", 400): 2, ("DELETE", 400): 1}),
        ("rate_limited", {("POST", 429): 2, ("GET", 429): 1}),
        ("lost_reply", {("POST", 500): 1, ("DELETE", 500): 1, ("DELETE", 404): 1}),
    ],
)
def test_cassette_holds_the_failures_that_it_is_for(name, failures):
    counted = answers(FOLDER / f"{name}.yaml")
    assert failures == {each: count for each, count in counted.items() if each[1] != 200}


@pytest.mark.parametrize("name", [flow.name for flow in FLOWS if flow.server == "smg"])
def test_other_cassettes_hold_no_failures(name):
    assert {status for _, status in answers(FOLDER / f"{name}.yaml")} == {200}


def test_no_unfinished_recording_is_in_the_folder():
    """One that was killed leaves its own folder there."""
    assert [path for path in FOLDER.iterdir() if path.name.startswith(".")] == []
