"""`doctor --record` writes a file without secrets, and `doctor --replay` needs nothing but that file."""

import re
import sys

import pytest
import yaml
from starlette.responses import JSONResponse

from openai_sessions.cli._doctor import DoctorOptions
from openai_sessions.cli._errors import CommandError
from openai_sessions.cli._recordings import publish
from openai_sessions.emulator import Fault
from tests.cli.command import run_here
from tests.cli.test_doctor import OF_SERVER, Diagnosis, diagnosis
from tests.examples.stand_in import API_KEY, ROOT
from tests.recorded.files import contents, secrets_in

FOLDER = ROOT / "fixtures/cassettes/doctor"
SECRETS = {
    "OPENAI_ORG_ID": "org-recognisable0123456789",
    "OPENAI_PROJECT_ID": "proj_recognisable0123456789",
    "OPENAI_CUSTOM_HEADERS": "X-Gateway: recognisable-0123456789",
}


def replay(path):
    return Diagnosis(run_here("doctor", "--replay", str(path)))


@pytest.mark.block_network
@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_recording_of_a_server_replays(path):
    """Every file in the folder: to add a server, record it and put the file there."""
    found = replay(path)
    assert (found.exit_code, found.stderr, found.failed) == (0, "", {})
    assert OF_SERVER == [name for name in found.checks if name not in ("orphan", "response")]
    assert not re.search(r"\d (ms|s) ", "\n".join(found.lines))  # times of a replay tell nothing


def test_recording_holds_every_request_and_no_secret_and_replays(service, tmp_path):
    file = tmp_path / "run.yaml"
    found = diagnosis(service, "--model", "gpt-of-mine", "--record", str(file), **SECRETS)
    assert (found.exit_code, found.stderr) == (0, f"Recorded to {file}.\n")
    assert [file] == [*tmp_path.iterdir()]
    text = file.read_text()
    assert re.match(
        r"# openai-sessions doctor --record, \d{4}-\d\d-\d\d, openai-sessions \S+, openai \S+\n", text
    )
    assert secrets_in(text) == []
    assert not re.search(f"{API_KEY}|recognisable|127.0.0.1", text)
    assert len(contents(file)["interactions"]) == len(service.emulator.requests)
    assert {
        re.split("/(?:conv|resp)", each["request"]["uri"])[0] for each in contents(file)["interactions"]
    } == {"http://server.invalid/v1"}
    sent, replayed = service.emulator.requests, replay(file)
    assert (replayed.exit_code, {*replayed.checks}) == (0, {*OF_SERVER, "response"})
    assert sent == service.emulator.requests


def test_recording_of_a_server_that_differs_tells_the_same(service, tmp_path):
    service.emulator.inject(Fault("quota"), operation="list_items")
    file = tmp_path / "run.yaml"
    recorded = diagnosis(service, "--record", str(file))
    replayed = replay(file)
    assert (recorded.exit_code, replayed.exit_code) == (1, 1)
    assert recorded.failed == replayed.failed != {}


def test_address_that_a_server_tells_is_not_recorded(service, shared_server, tmp_path):
    application, _ = shared_server
    application.app = JSONResponse({"error": {"message": "127.0.0.1 is closed."}}, 403)
    file = tmp_path / "run.yaml"
    diagnosis(service, "--record", str(file))
    assert "127.0.0.1" not in file.read_text()
    assert replay(file).failed["server"][0] == "403: server.invalid is closed"


def test_recording_with_other_requests_is_refused(tmp_path):
    changed = tmp_path / "run.yaml"
    changed.write_text((FOLDER / "emulator.yaml").read_text().replace("Message 7", "Message 8"))
    found = replay(changed)
    assert found.exit_code == 1
    assert 'recorded "Message 8", sent "Message 7"' in found.stderr


@pytest.mark.exhaustive
def test_recording_with_a_lost_reply_is_not_kept(service, tmp_path):
    """A cassette holds responses only."""
    service.emulator.inject(Fault("cut_after_commit"), operation="create_items")
    found = diagnosis(service, "--record", str(tmp_path / "run.yaml"))
    assert found.exit_code == 1
    assert found.stderr.endswith(
        "nothing was written, because the recording does not replay. A reply that was lost cannot be "
        "recorded: run the command again.\n"
    )
    assert [*tmp_path.iterdir()] == []
    assert service.conversations() == []


def test_server_without_a_response_leaves_no_recording(service, tmp_path):
    file = tmp_path / "run.yaml"
    found = diagnosis(service, "--base-url", "http://127.0.0.1:9/v1", "--record", str(file))
    assert (found.exit_code, found.stderr) == (1, f"{file} was not written: no request got a response.\n")
    assert [*tmp_path.iterdir()] == []


def test_recording_with_the_value_of_a_secret_is_not_kept(tmp_path):
    """As when a server tells a password that nothing marks as one."""
    draft, file = tmp_path / "draft.yaml", tmp_path / "run.yaml"
    draft.write_text("interactions: [the horse is called battery-staple-1]\n")
    with pytest.raises(CommandError) as caught:
        publish(draft, file, {"DB_PASSWORD": "battery-staple-1"})
    assert str(caught.value) == (
        f"--record {file}: nothing was written, because the recording contains the value of DB_PASSWORD. "
        "Report this without the value."
    )
    assert not file.exists()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("run.json", "give a name that ends in .yaml."),
        ("old.yaml", "the file exists. Remove it, or give another name."),
    ],
)
def test_file_that_cannot_be_recorded_to_is_refused_before_any_request(service, tmp_path, name, problem):
    (tmp_path / "old.yaml").write_text("kept")
    path = tmp_path / name
    assert service.failure("doctor", "--record", str(path)) == (2, f"--record {path}: {problem}")
    assert (tmp_path / "old.yaml").read_text() == "kept"
    assert service.emulator.requests == ()


def test_folder_that_does_not_exist_is_refused(service, tmp_path):
    path = tmp_path / "no/run.yaml"
    assert service.failure("doctor", "--record", str(path)) == (1, f"{path.parent}: no such folder.")


def test_recording_that_does_not_exist_is_told(tmp_path):
    found = replay(tmp_path / "no.yaml")
    assert (found.exit_code, found.stderr) == (2, f"--replay {tmp_path / 'no.yaml'}: no such file.\n")


def test_file_that_is_no_recording_is_told(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"anything": 1}))
    found = replay(tmp_path / "run.yaml")
    assert found.exit_code == 1
    assert found.stderr.startswith(f"Cannot read the cassette {tmp_path / 'run.yaml'}: ")


@pytest.mark.parametrize("options", [{"offline": True}, {"record": ROOT}, {"model": "x"}])
def test_replay_excludes_other_options(options):
    with pytest.raises(CommandError, match="--replay sends no requests"):
        DoctorOptions(replay=ROOT, **options)


def test_offline_has_nothing_to_record():
    with pytest.raises(CommandError, match="--offline has nothing to --record"):
        DoctorOptions(offline=True, record=ROOT)


@pytest.mark.parametrize("option", ["--record", "--replay"])
def test_recording_without_its_extra_says_what_to_install(option, service, tmp_path, monkeypatch):
    for name in ("openai_sessions.cli._recordings", "openai_sessions.testing.cassettes"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "vcr", None)
    exit_code, error = service.failure("doctor", option, str(tmp_path / "run.yaml"))
    assert (exit_code, error) == (2, "Cassettes need vcrpy: pip install 'openai-sessions[testing]'.")
    assert service.emulator.requests == ()
