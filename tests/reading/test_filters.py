"""The filters of `openai_sessions.reading`, on items in replay form."""

from __future__ import annotations

import asyncio
import copy
import re

import pytest
from hypothesis import given, settings

from openai_sessions._items.forms import to_replay, to_stored
from openai_sessions._items.repairs import unsound
from openai_sessions.emulator import Emulator
from openai_sessions.reading import ImagesAndFiles, ToolOutputs, read_through
from tests.emulator.wire import Wire
from tests.fixtures.documents import created_validators
from tests.fixtures.samples import SAMPLE_NAMES, sample
from tests.selection import examples
from tests.strategies import histories

QUESTION, ANSWER = {"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}
PIXEL = sample("message_user_image_and_file")["content"][1]["image_url"]
FILTERS = [ToolOutputs(keep_turns=0, max_characters=3), ImagesAndFiles(keep_turns=0)]
BOTH = pytest.mark.parametrize("apply", FILTERS, ids=["ToolOutputs", "ImagesAndFiles"])


def call(key, kind="function_call", **fields):
    return {"type": kind, "call_id": key, "name": "look", "arguments": "{}", **fields}


def output(key, said, kind="function_call_output"):
    return {"type": kind, "call_id": key, "output": said}


def turn(number, said="x" * 1000):
    return [QUESTION, call(f"call_{number}"), output(f"call_{number}", said), ANSWER]


def turns(count):
    return [item for number in range(count) for item in turn(number)]


def lengths(items):
    """Return the lengths of the outputs."""
    return [len(item["output"]) for item in items if "output" in item]


SHORT = 500 + len("… [500 characters left out]")


# Which turns are old


@pytest.mark.parametrize(
    ("count", "keep", "every", "cut"),
    [
        (4, 2, 1, 2),
        (2, 2, 1, 0),
        (1, 2, 1, 0),
        (3, 0, 1, 3),
        (5, 2, 2, 2),
        (6, 2, 2, 4),
        (6, 2, 5, 0),
        (7, 2, 5, 5),
        (0, 0, 1, 0),
    ],
)
def test_old_turns_are_those_before_the_newest(count, keep, every, cut):
    """With `every`, the boundary moves in steps."""
    shown = ToolOutputs(keep_turns=keep, every=every)(turns(count))
    assert lengths(shown) == [SHORT] * cut + [1000] * (count - cut)
    assert len(shown) == 4 * count


def test_items_before_the_first_question_are_a_turn():
    head = [call("call_0"), output("call_0", "x" * 1000)]
    assert lengths(ToolOutputs(keep_turns=2)([*head, *turn(1)])) == [1000, 1000]
    assert lengths(ToolOutputs(keep_turns=2)([*head, *turn(1), *turn(2)])) == [SHORT, 1000, 1000]


def test_a_call_that_is_answered_after_another_question_is_not_old():
    """The two questions are one turn."""
    items = [QUESTION, call("a"), QUESTION, output("a", "x" * 1000)]
    assert ToolOutputs(keep_turns=1)(items) == items


# What is cut


def test_a_long_output_ends_in_a_note():
    (shown,) = ToolOutputs(keep_turns=0, max_characters=5)([output("a", "x" * 12350)])
    assert shown == output("a", "xxxxx… [12,345 characters left out]")


def test_an_output_that_would_not_become_shorter_stays():
    said = "x" * (5 + len("… [28 characters left out]"))
    assert ToolOutputs(keep_turns=0, max_characters=5)([output("a", said)]) == [output("a", said)]
    assert lengths(ToolOutputs(keep_turns=0, max_characters=5)([output("a", said + "x")])) == [len(said)]


def test_the_texts_of_an_output_share_its_characters():
    parts = [{"type": "input_text", "text": letter * 100} for letter in "abc"]
    (shown,) = ToolOutputs(keep_turns=0, max_characters=150)([output("a", parts)])
    assert [part["text"] for part in shown["output"]] == [
        "a" * 100,
        "b" * 50 + "… [50 characters left out]",
        "… [100 characters left out]",
    ]


LONG = "x" * 100
CUT = "… [100 characters left out]"

CUT_OUTPUTS = {
    "apply_patch_call_output": ({"output": LONG}, {"output": CUT}),
    "code_interpreter_call": (
        {"code": LONG, "outputs": [{"type": "logs", "logs": LONG}, {"type": "image", "url": LONG}]},
        {"code": LONG, "outputs": [{"type": "logs", "logs": CUT}, {"type": "image", "url": LONG}]},
    ),
    "custom_tool_call_output": ({"output": LONG}, {"output": CUT}),
    "file_search_call": (
        {"queries": [LONG], "results": [{"filename": LONG, "text": LONG}]},
        {"queries": [LONG], "results": [{"filename": LONG, "text": CUT}]},
    ),
    "function_call_output": ({"output": LONG}, {"output": CUT}),
    "local_shell_call_output": ({"output": LONG}, {"output": CUT}),
    "mcp_call": ({"arguments": LONG, "output": LONG}, {"arguments": LONG, "output": CUT}),
    "program_output": ({"result": LONG}, {"result": CUT}),
    "shell_call_output": (
        {"output": [{"stdout": LONG, "stderr": LONG, "outcome": {"type": "exit", "exit_code": 0}}]},
        {"output": [{"stdout": CUT, "stderr": CUT, "outcome": {"type": "exit", "exit_code": 0}}]},
    ),
}


@pytest.mark.parametrize("item_type", CUT_OUTPUTS)
def test_each_tool_has_its_output_cut_and_nothing_else(item_type):
    whole, cut = CUT_OUTPUTS[item_type]
    head = {"type": item_type, "call_id": "call_" + LONG, "id": "id_" + LONG}
    assert ToolOutputs(keep_turns=0, max_characters=0)([{**head, **whole}]) == [{**head, **cut}]


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": LONG},
        call("a", arguments=LONG),
        {"type": "reasoning", "encrypted_content": LONG, "summary": []},
        {"type": "hologram_call_output", "call_id": "a", "output": LONG},
        {"type": "code_interpreter_call", "outputs": None},
        {"type": "apply_patch_call_output", "output": None},
    ],
)
def test_what_is_no_output_of_a_known_tool_stays(item):
    assert ToolOutputs(keep_turns=0, max_characters=0)([item]) == [item]


# Images and files


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ({"type": "input_image", "image_url": PIXEL, "detail": "low"}, "[image left out: image/png]"),
        ({"type": "input_image", "file_id": "file-1", "image_url": None}, "[image left out: file-1]"),
        ({"type": "input_image", "image_url": "https://a.b/c.png"}, "[image left out: https://a.b/c.png]"),
        ({"type": "input_image", "image_url": "https://a.b/" + "c" * 200}, "[image left out]"),
        ({"type": "input_image", "image_url": "data:,x"}, "[image left out]"),
        ({"type": "input_file", "filename": "a.pdf", "file_data": "JVBE"}, "[file left out: a.pdf]"),
        ({"type": "input_file", "file_data": "JVBE"}, "[file left out]"),
        (
            {"type": "input_file", "file_data": "data:application/pdf;base64,JV"},
            "[file left out: application/pdf]",
        ),
        ({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}, "[audio left out]"),
    ],
)
def test_a_text_names_what_was_there(part, text):
    wanted = {"type": "input_text", "text": text}
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "See:"}, part]}
    shown = {**message, "content": [message["content"][0], wanted]}
    assert ImagesAndFiles(keep_turns=0)([message]) == [shown]
    assert ImagesAndFiles(keep_turns=0)([output("a", [part])]) == [output("a", [wanted])]
    assert ToolOutputs(keep_turns=0)([output("a", [part])]) == [output("a", [wanted])]
    assert ToolOutputs(keep_turns=0)([message]) == [message]


def test_a_mark_for_the_prompt_cache_stays():
    part = {"type": "input_image", "image_url": PIXEL, "prompt_cache_breakpoint": {"mode": "explicit"}}
    (shown,) = ImagesAndFiles(keep_turns=0)([{"role": "user", "content": [part]}])
    assert shown["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}


def test_a_generated_image_loses_its_data():
    image = sample("image_generation_call")
    assert ImagesAndFiles(keep_turns=0)([image]) == [{**image, "result": None}]
    assert ImagesAndFiles(keep_turns=0)([]) == []


SCREEN = {"type": "computer_screenshot", "image_url": PIXEL}
CLICK = {"type": "computer_call", "id": "cu_1", "call_id": "c", "actions": [], "pending_safety_checks": []}
SHOT = output("c", SCREEN, "computer_call_output")
THOUGHT = {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}


def test_an_old_call_of_a_computer_is_left_out_with_its_screenshot():
    """With the reasoning that led only to it."""
    old = [QUESTION, THOUGHT, CLICK, SHOT, ANSWER]
    assert ImagesAndFiles(keep_turns=1)([*old, *old]) == [QUESTION, ANSWER, *old]


def test_reasoning_that_led_to_another_call_too_stays():
    old = [QUESTION, THOUGHT, CLICK, call("a"), SHOT, output("a", "x"), ANSWER]
    assert ImagesAndFiles(keep_turns=0)(old) == [QUESTION, THOUGHT, call("a"), output("a", "x"), ANSWER]


def test_a_screenshot_without_its_call_stays():
    """As a read with a limit of items has it."""
    assert ImagesAndFiles(keep_turns=0)([SHOT, THOUGHT, QUESTION]) == [SHOT, THOUGHT, QUESTION]


# Each type of item


@BOTH
@pytest.mark.parametrize("name", [name for name in SAMPLE_NAMES if name != "message_listed_only_parts"])
def test_each_sample_can_still_be_sent(apply, name):
    """As the API's document has it, and as its own type."""
    items = to_replay(
        [{**sample(name), "encrypted_content": "gAA"}] if "reasoning" in name else [sample(name)]
    )
    (shown,) = apply(copy.deepcopy(items))
    assert shown.get("type") == items[0].get("type")
    assert shown.keys() == items[0].keys()
    validator = created_validators().get(shown.get("type", "message"))
    if validator is not None and "nulls" not in name:
        before = [error.message for error in validator.iter_errors(items[0])]
        assert before or [error.message for error in validator.iter_errors(shown)] == []


@settings(max_examples=examples(100), deadline=None)
@given(histories())
def test_a_history_stays_whole(listed):
    """No pair is torn, only calls of computers are left out, and a second pass changes nothing."""
    items = to_replay(listed)
    for apply in FILTERS:
        shown = apply(copy.deepcopy(items))
        assert apply(copy.deepcopy(shown)) == shown
        assert problems(shown) == problems(items)
        kept, names = iter(map(name, items)), list(map(name, shown))
        assert all(each in kept for each in names)  # in their order
        left_out = {item["type"] for item in items if name(item) not in names}
        assert left_out <= {"computer_call", "computer_call_output", "reasoning"}
        assert len(to_stored(shown)) == len(shown)


def name(item):
    """Return what tells an item from others, and no filter changes."""
    return [item.get(key) for key in ("type", "id", "call_id", "role", "encrypted_content")]


def problems(items):
    return sorted((problem, str(name(items[index]))) for index, problem in unsound(items).items())


def test_the_note_is_recognised():
    for most in (0, 7, 1234567):
        (shown,) = ToolOutputs(keep_turns=0, max_characters=3)([output("a", "x" * (most + 3))])
        assert re.fullmatch(r"xxx(… \[[\d,]+ characters left out\])?|x+", shown["output"])
        assert ToolOutputs(keep_turns=0, max_characters=3)([shown]) == [shown]


# Arguments


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (ToolOutputs, {"keep_turns": -1}, ValueError, "keep_turns must be at least 0, not -1"),
        (ToolOutputs, {"max_characters": -1}, ValueError, "max_characters must be at least 0, not -1"),
        (ToolOutputs, {"every": 0}, ValueError, "every must be at least 1, not 0"),
        (
            ToolOutputs,
            {"keep_turns": None},
            TypeError,
            "keep_turns must be a whole number of turns, not None",
        ),
        (ImagesAndFiles, {"keep_turns": True}, TypeError, "keep_turns must be a whole number of turns"),
        (ImagesAndFiles, {"every": 1.0}, TypeError, "every must be a whole number of turns, not 1.0"),
    ],
)
def test_a_wrong_number_is_refused(make, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make(**arguments)


async def test_filters_follow_each_other():
    part = {"type": "input_file", "filename": "a.csv", "file_data": "x" * 100}
    items = [output("a", [part, {"type": "input_text", "text": LONG}])]
    both = [ImagesAndFiles(keep_turns=0), ToolOutputs(keep_turns=0, max_characters=0)]
    assert await read_through(copy.deepcopy(items), both) == await read_through(items, both[::-1])


@pytest.mark.exhaustive
@settings(max_examples=60, deadline=None)
@given(histories(max_blocks=2))
def test_the_emulator_takes_what_it_took_before(listed):
    items = to_replay(listed)
    before, *after = asyncio.run(statuses([items, *(apply(copy.deepcopy(items)) for apply in FILTERS)]))
    assert before == 400 or after == [200, 200]  # fields that the emulator does not know


async def statuses(inputs):
    """Return the status of a response to each input."""
    with Emulator() as emulator:
        return [
            (await Wire(emulator).post("/responses", {"model": "any", "input": [*each, QUESTION]}))[0]
            for each in inputs
        ]
