"""How servers of others are started for tests."""

import sys
import tempfile

import openai
import pytest

from tests.servers import answers, find_smg, free_ports, listening, running, smg_server, wait_until_alive


def start(program, seconds=20):
    url = f"http://127.0.0.1:{free_ports(1)[0]}/liveness"
    with tempfile.TemporaryFile() as log, running([sys.executable, "-c", program], log) as process:
        wait_until_alive(url, process, log, seconds)


def test_wait_until_alive_of_a_server_that_ends_raises_with_its_log():
    with pytest.raises(RuntimeError, match=r"ended with 3; its log:\nno such flag"):
        start("import sys; print('no such flag'); sys.exit(3)")


def test_wait_until_alive_of_a_server_that_never_answers_raises():
    with pytest.raises(RuntimeError, match="is not ready"):
        start("import threading; threading.Event().wait()", seconds=0.1)


def test_listening_to_a_server_that_ends_raises_with_its_log():
    command = [sys.executable, "-c", "print('no such port')"]
    with (
        pytest.raises(RuntimeError, match=r"ended with 0; its log:\nno such port"),
        listening(command, ready="ready"),
    ):
        pytest.fail("the block was entered")


def test_smg_server_is_gone_after_the_block():
    with smg_server() as base_url:
        liveness = base_url.replace("/v1", "/liveness")
        assert answers(liveness)

    assert not answers(liveness)


def test_smg_server_takes_more_arguments():
    with (
        smg_server("--api-key", "sk-given") as base_url,
        openai.OpenAI(base_url=base_url, api_key="x") as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.conversations.create()


def test_find_smg_where_it_is_not_installed_skips(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SMG", raising=False)

    with pytest.raises(pytest.skip.Exception, match="smg is not installed"):
        find_smg(tmp_path)


def test_find_smg_takes_the_path_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SMG", "/opt/smg")

    assert find_smg(tmp_path) == "/opt/smg"
