"""Processes that store messages in one conversation at once, some of whose replies are lost."""

import subprocess
import sys

import pytest

from openai_sessions.emulator import Fault
from openai_sessions.sync import OpenAIConversationsSession
from tests.adapters.worker import PAIRS
from tests.examples.stand_in import API_KEY, ROOT, environment, stand_in

NAMES = ("one", "two")


@pytest.mark.exhaustive
@pytest.mark.parametrize("adapter", ["agent_framework", "langchain"])
def test_messages_of_two_processes_are_stored_once_and_together(adapter):
    pytest.importorskip({"langchain": "langchain_core"}.get(adapter, adapter))
    with stand_in() as (base_url, emulator):
        with OpenAIConversationsSession(openai_client=emulator.client(api_key=API_KEY)) as session:
            conversation_id = session.ensure_conversation()
        for number in range(0, 2 * PAIRS, 3):
            emulator.inject(Fault("cut_after_commit"), operation="create_items", after=number)

        command = [sys.executable, "-m", "tests.adapters.worker", adapter, conversation_id]
        options = {"cwd": ROOT, "env": environment(base_url), "stderr": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen([*command, name], **options) for name in NAMES]
        assert ["", ""] == [process.communicate(timeout=60)[1] for process in processes]
        texts = [item["content"][0]["text"] for item in emulator.items(conversation_id)]
        assert () == emulator.unmet_faults
    assert texts[::2] == texts[1::2]
    assert [f"{name} {number}" for name in NAMES for number in range(PAIRS)] == sorted(texts[::2])
