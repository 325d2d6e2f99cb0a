"""`openai-sessions compact`, and how `show` prints a compaction item."""

from __future__ import annotations

import pytest

from tests.cli.service import assistant, turns, user

TOKEN = "openai-sessions:encrypted:v2:gAAAAAB"


def kinds(service):
    return [item.get("role") or item["type"] for item in service.emulator.items("conv_1")]


def requests(service):
    return [request.operation for request in service.emulator.requests]


def compact(service, *options):
    return service.run("compact", "conv_1", "--model", "gpt-5-mini", *options)


COMPACTED = [*["user", "assistant"] * 2, "user", "user", "compaction", *["user", "assistant"] * 2]


def test_it_prints_the_id_of_the_compaction_item(service):
    service.holds("conv_1", turns(4))
    finished = compact(service)
    assert kinds(service) == COMPACTED
    assert finished.stdout == f"{service.emulator.items('conv_1')[6]['id']}\n"
    assert finished.stderr == "Compacted conv_1 with gpt-5-mini: wrote 7 items, deleted 4 items.\n"
    assert service.output("show", "conv_1")[-7] == (
        "compaction stands for the items above it; models read from the newest one on"
    )


def test_options_are_those_of_a_compaction(service):
    service.holds("conv_1", turns(4))
    options = ["--keep-turns", "1", "--instructions", "Keep names.", "--delete-replaced", "--yes"]
    printed = service.json("compact", "conv_1", "--model", "m", "--quiet", "--json", *options)
    assert kinds(service) == ["user"] * 3 + ["compaction", "user", "assistant"]
    ids = [item["id"] for item in service.emulator.items("conv_1")]
    (done,) = printed
    assert (done["compaction_id"], done["item_ids"], len(done["replaced_ids"])) == (ids[3], ids, 8)
    assert done["usage"]["total_tokens"] > 0
    body = next(each.body for each in service.emulator.requests if each.path.endswith("/compact"))
    assert (body["model"], body["instructions"]) == ("m", "Keep names.")


@pytest.mark.parametrize("options", [["--max-turns", "4"], ["--keep-turns", "4"]])
def test_nothing_to_compact_is_said(service, options):
    service.holds("conv_1", turns(4))
    finished = compact(service, *options)
    assert (finished.returncode, finished.stdout) == (0, "")
    assert finished.stderr == "conv_1 has nothing to compact.\n"
    assert requests(service) == ["list_items"] * 2


def test_a_deletion_without_yes_needs_a_terminal(service):
    service.holds("conv_1", turns(4))
    finished = compact(service, "--delete-replaced")
    assert finished.returncode == 2
    assert requests(service) == []


def test_an_encrypted_conversation_is_refused(service):
    service.holds("conv_1", [user(TOKEN), assistant("Hi"), user(TOKEN)])
    finished = compact(service)
    assert finished.returncode == 1
    assert "conv_1 is encrypted: compact it with EncryptedSession.compact()" in finished.stderr
    assert requests(service) == ["list_items"]


def test_an_unknown_conversation_is_named(service):
    finished = compact(service)
    assert finished.returncode == 3
    assert "conv_1" in finished.stderr
