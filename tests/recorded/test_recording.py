"""Recording anew, as `make record` does, into a folder of the test: all flows, or nothing."""

import re
from dataclasses import replace

import pytest

from openai_sessions.emulator import Fault
from tests.recorded.files import contents, secrets_in
from tests.servers import find_smg
from tools.recording.__main__ import main
from tools.recording.flows import FLOWS
from tools.recording.recorder import FOLDER, record_all
from tools.recording.servers import LOCAL_KEY, RecordingError, emulator, server_of, smg_program

ON_EMULATOR = [flow for flow in FLOWS if flow.server == "emulator"]
ORGANIZATION = "org-recognisable0123456789"
PROJECT = "proj_recognisable0123456789"


@pytest.fixture(autouse=True)
def account(monkeypatch):
    """An organization and a project that openai reads from the environment and sends with each request."""
    monkeypatch.setenv("OPENAI_ORG_ID", ORGANIZATION)
    monkeypatch.setenv("OPENAI_PROJECT_ID", PROJECT)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def exchanges(cassette):
    """Return the exchanges of a cassette as text, without the times at which conversations were made."""
    return [re.sub(r'("created_at": ?)\d+', r"\1", str(each)) for each in cassette["interactions"]]


def files(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.exhaustive
def test_recording_is_the_one_that_is_kept_but_for_the_times(tmp_path):
    """What is in the folder of the project is made by this code, and two recordings differ in times only."""
    record_all(ON_EMULATOR, server_of, tmp_path, say=lambda _: None)
    for flow in ON_EMULATOR:
        kept, recorded = (contents(folder / f"{flow.name}.yaml") for folder in (FOLDER, tmp_path))
        assert exchanges(kept) == exchanges(recorded)


@pytest.mark.exhaustive
def test_requests_that_are_made_at_once_are_recorded_in_one_order(tmp_path):
    """A read from both ends, and one of three pages at once."""
    flow = next(flow for flow in FLOWS if flow.name == "read_250_items")
    for name in ("first", "second"):
        record_all([flow], emulator, tmp_path / name, say=lambda _: None)
    first, second = (contents(tmp_path / name / "read_250_items.yaml") for name in ("first", "second"))
    assert exchanges(first) == exchanges(second)


@pytest.mark.exhaustive
def test_recording_offline_records_every_flow_without_secrets(tmp_path, capsys):
    """Those of smg too, where it is installed."""
    find_smg()
    assert main(["--folder", str(tmp_path)]) == 0
    recorded = files(tmp_path)
    assert sorted(recorded) == sorted(f"{flow.name}.yaml" for flow in FLOWS)
    assert [line for line in capsys.readouterr().out.splitlines() if ": smg " in line] == [
        f"{flow.name}: smg {contents(tmp_path / f'{flow.name}.yaml')['metadata']['server_version']}"
        for flow in FLOWS
        if flow.server == "smg"
    ]
    assert [secret for text in recorded.values() for secret in secrets_in(text)] == []
    assert not any(each in text for text in recorded.values() for each in (LOCAL_KEY, ORGANIZATION, PROJECT))


def test_recording_offline_without_smg_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SMG", raising=False)
    with pytest.raises(RecordingError, match="smg is not installed"):
        smg_program(lambda: find_smg(folder=tmp_path))


def test_flow_that_observes_something_else_leaves_every_file_as_it_was(tmp_path):
    """The first flow succeeds, and is not kept either."""
    (tmp_path / "pop.yaml").write_text("kept")
    pop = next(flow for flow in FLOWS if flow.name == "pop")
    wrong = replace(pop, name="wrong", observes={**pop.observes, "left": ["nothing like it"]})
    with pytest.raises(RecordingError, match=r"wrong observed left: \[\] instead of \['nothing like it'\]"):
        record_all([pop, wrong], server_of, tmp_path, say=lambda _: None)
    assert files(tmp_path) == {"pop.yaml": "kept"}


def test_flow_that_is_disturbed_is_not_recorded(tmp_path):
    """A recording with a rate limit in it that the flow does not speak of would not be the next one."""
    pop = next(flow for flow in FLOWS if flow.name == "pop")
    faults = next(flow for flow in FLOWS if flow.name == "rate_limited").faults
    with pytest.raises(RecordingError, match=r"pop observed retries: .*throttled"):
        record_all([replace(pop, faults=faults)], server_of, tmp_path, say=lambda _: None)
    assert files(tmp_path) == {}


def test_request_that_fails_for_good_is_told(tmp_path):
    pop = next(flow for flow in FLOWS if flow.name == "pop")
    fault = replace(
        next(flow for flow in FLOWS if flow.name == "rate_limited").faults[0], fault=Fault("quota")
    )
    with pytest.raises(RecordingError, match="pop failed: RateLimitError 429"):
        record_all([replace(pop, faults=(fault,))], server_of, tmp_path, say=lambda _: None)
    assert files(tmp_path) == {}
