"""The guide for those who must choose says what is counted, and names tests that exist."""

import re

from tests.docs.markdown import table_after
from tests.examples.stand_in import ROOT
from tools.bench.turns import kilobytes, load_turns

GUIDE = (ROOT / "docs/which-mode.md").read_text()

TABLE = {row[0]: row[1:] for row in table_after(GUIDE, "## Side by side")}

TURNS = load_turns()

TURN = "`session.turn()`"
INCREMENTAL = '`session.turn()`, `history="incremental"`'
SDK_SESSION = "session of the Agents SDK"
MANAGED = "`session.turn(server_managed=True)`"
SDK_CONVERSATION = "`conversation_id=` of the Agents SDK"
CHAIN = "`previous_response_id=` of the Agents SDK"


LABELS = {"turn": "`turn()`", "plain": "without it", "incremental": "incremental", "sdk": "SDK's session"}


def counted(measure, number, *, is_resumed=False, **modes):
    """Return the cells of a row, each with the measure of the modes that have labels there."""

    def found(mode):
        return measure(TURNS.find(mode, number, is_resumed=is_resumed))

    sessions = ", ".join(f"{LABELS[label]}: {found(mode)}" for label, mode in modes.items())
    return [sessions, f"managed: {found(MANAGED)}, SDK: {found(SDK_CONVERSATION)}", str(found(CHAIN))]


def requests(row):
    return row.requests


def before_model(row):
    return row.before_model


def test_requests_are_as_counted():
    short = counted(requests, 10, turn=TURN, plain="session", sdk=SDK_SESSION)
    long = counted(requests, 990, turn=TURN, incremental=INCREMENTAL, sdk=SDK_SESSION)
    new = counted(requests, 990, is_resumed=True, turn=TURN, sdk=SDK_SESSION)
    assert short == TABLE["requests, after 10 items"]
    assert long == TABLE["requests, after 990 items"]
    assert new == TABLE["the same in a new worker"]


def test_round_trips_are_as_counted():
    resumed = TURNS.find(TURN, 990, is_resumed=True).before_model
    cells = counted(before_model, 990, turn=TURN, sdk=SDK_SESSION)
    cells[0] = cells[0].replace(", ", f", in a new worker: {resumed}, ", 1)
    assert cells == TABLE["those before the model is asked"]
    whole = counted(lambda row: row.round_trips, 990, turn=TURN, sdk=SDK_SESSION)
    assert whole == TABLE["round trips, after 990 items"]


def test_bytes_are_as_counted():
    sent = counted(lambda row: kilobytes(row.sent), 990, turn=TURN, sdk=SDK_SESSION)
    received = counted(
        lambda row: kilobytes(row.received), 990, turn=TURN, incremental=INCREMENTAL, sdk=SDK_SESSION
    )
    assert sent == TABLE["kB sent, after 990 items"]
    assert received == TABLE["kB received, after 990 items"]


def test_every_note_is_a_test_that_exists():
    notes = re.findall(r"^\d+\. `(test_\w+)`$", GUIDE, re.MULTILINE)
    tests = (ROOT / "tests/agents/test_modes.py").read_text()
    assert [name for name in notes if f"def {name}(" not in tests] == []
    used = re.findall(r" ([¹²³⁴⁵⁶⁷⁸⁹⁰]+)", GUIDE)
    numbers = {int(mark.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))) for mark in used}
    assert numbers == set(range(1, len(notes) + 1))


def test_version_is_the_one_that_was_measured():
    assert f"openai-agents {TURNS.versions['openai-agents']}" in GUIDE
