"""Recording anew, as `make record` does, into a folder of the test: all flows, or nothing."""

import asyncio
import re
import socket
from dataclasses import replace

import pytest

from openai_sessions.emulator import Emulator, Fault
from tests.recorded.files import answers, contents, secrets_in
from tests.servers import find_smg
from tools.recording.__main__ import main
from tools.recording.flows import FLOWS
from tools.recording.recorder import FOLDER, record_all
from tools.recording.servers import LOCAL_KEY, RecordingError, emulator, live, offline, smg_program

ON_EMULATOR = [flow for flow in FLOWS if flow.server == "emulator"]
CALM = [flow.name for flow in FLOWS if not flow.faults]
PROVOKED = [flow.name for flow in FLOWS if flow.faults]
KEY = "sk-recognisable-0123456789abcdef"
ORGANIZATION = "org-recognisable0123456789"
PROJECT = "proj_recognisable0123456789"


@pytest.fixture(autouse=True)
def account(monkeypatch):
    """An organization and a project that openai reads from the environment and sends with each request."""
    monkeypatch.setenv("OPENAI_ORG_ID", ORGANIZATION)
    monkeypatch.setenv("OPENAI_PROJECT_ID", PROJECT)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def service(monkeypatch):
    """An emulator on a socket that stands in for OpenAI, and takes one key."""
    with Emulator(api_keys=[KEY]) as emulator, emulator.serve() as base_url:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        yield emulator


def exchanges(cassette):
    """Return the exchanges of a cassette as text, without the times at which conversations were made."""
    return [re.sub(r'("created_at": ?)\d+', r"\1", str(each)) for each in cassette["interactions"]]


def files(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_recording_is_the_one_that_is_kept_but_for_the_times(tmp_path):
    """What is in the folder of the project is made by this code, and two recordings differ in times only."""
    record_all(ON_EMULATOR, offline, tmp_path, say=lambda _: None)
    for flow in ON_EMULATOR:
        kept, recorded = (contents(folder / f"{flow.name}.yaml") for folder in (FOLDER, tmp_path))
        if kept["metadata"]["server"] == recorded["metadata"]["server"]:  # not one recorded live
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
        record_all([pop, wrong], offline, tmp_path, say=lambda _: None)
    assert files(tmp_path) == {"pop.yaml": "kept"}


def test_flow_that_is_disturbed_is_not_recorded(tmp_path):
    """A recording with a rate limit in it that the flow does not speak of would not be the next one."""
    pop = next(flow for flow in FLOWS if flow.name == "pop")
    faults = next(flow for flow in FLOWS if flow.name == "rate_limited").faults
    with pytest.raises(RecordingError, match=r"pop observed retries: .*throttled"):
        record_all([replace(pop, faults=faults)], offline, tmp_path, say=lambda _: None)
    assert files(tmp_path) == {}


def test_request_that_fails_for_good_is_told(tmp_path):
    pop = next(flow for flow in FLOWS if flow.name == "pop")
    fault = replace(
        next(flow for flow in FLOWS if flow.name == "rate_limited").faults[0], fault=Fault("quota")
    )
    with pytest.raises(RecordingError, match="pop failed: RateLimitError 429"):
        record_all([replace(pop, faults=(fault,))], offline, tmp_path, say=lambda _: None)
    assert files(tmp_path) == {}


@pytest.mark.exhaustive
def test_recording_live_records_what_can_be_had_and_cleans_up(service, tmp_path, capsys):
    for name in PROVOKED:
        (tmp_path / f"{name}.yaml").write_text("kept")
    assert main(["--target", "live", "--folder", str(tmp_path)]) == 0
    recorded = files(tmp_path)
    assert sorted(recorded) == sorted(f"{name}.yaml" for name in (*CALM, *PROVOKED))
    assert {recorded[f"{name}.yaml"] for name in PROVOKED} == {"kept"}
    assert f"{', '.join(PROVOKED)}: not recorded" in capsys.readouterr().out
    assert service.conversations() == ()
    told = {contents(tmp_path / f"{name}.yaml")["metadata"]["server"] for name in CALM}
    assert told == {"127.0.0.1"}
    assert [secret for text in recorded.values() for secret in secrets_in(text)] == []
    assert not any(each in text for text in recorded.values() for each in (KEY, ORGANIZATION, PROJECT))
    assert not any(("DELETE", 200) in answers(tmp_path / f"{name}.yaml") for name in ("append", "create"))


@pytest.mark.parametrize("key", ["", " ", None])
def test_recording_live_without_a_key_says_so(key, tmp_path, monkeypatch, capsys):
    if key is not None:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    assert main(["--target", "live", "--folder", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        "Recording from OpenAI needs an API key: set OPENAI_API_KEY. No cassette was replaced.\n"
    )
    assert files(tmp_path) == {}


def test_recording_live_with_a_wrong_key_says_so_without_it(service, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-0123456789abcdef")
    assert main(["--target", "live", "--folder", str(tmp_path)]) == 1
    assert (
        capsys.readouterr().err
        == "127.0.0.1 refused to create a conversation: 401. No cassette was replaced.\n"
    )
    assert service.conversations() == ()


def test_service_that_cannot_be_reached_is_told(monkeypatch):
    with socket.socket() as bound:  # it does not listen
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{bound.getsockname()[1]}/v1")
        with pytest.raises(RecordingError, match=r"127\.0\.0\.1 cannot be reached"):
            asyncio.run(live())


def test_conversations_that_could_not_be_deleted_are_told(service, tmp_path, capsys):
    """The flow succeeds; the deletion after it is refused."""
    service.inject(Fault("quota"), operation="delete_conversation", after=1)
    target = asyncio.run(live())
    record_all([flow for flow in FLOWS if flow.name == "create"], target, tmp_path)
    (left,) = service.conversations()
    assert f"create: these conversations could not be deleted: {left.id}" in capsys.readouterr().out
