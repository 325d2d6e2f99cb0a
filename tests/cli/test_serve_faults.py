"""`serve --faults FILE`: the faults of the emulator, from a file."""

import json

import openai
import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.cli._errors import CommandError
from openai_sessions.cli._files import inject_from
from openai_sessions.emulator import FAULT_KINDS, Emulator
from tests.cli.command import serving
from tests.cli.test_serve import HELLO, end, invoke


@pytest.fixture
def file(tmp_path):
    return tmp_path / "faults.json"


def written(file, content):
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def inject_one(file, call, *, method="inject"):
    with Emulator() as emulator:
        return inject_from(written(file, {method: [call]}), emulator)


async def met(emulator, times):
    """Create conversations; return the faults that they met."""
    client = emulator.client().with_options(max_retries=0)
    for _ in range(times):
        try:
            await client.conversations.create()
        except openai.APIError:
            continue
    return [request.fault for request in emulator.requests]


async def test_scripted_faults_are_those_of_inject(emulator, file):
    content = {
        "inject": [
            {"fault": "error_500_before", "operation": "create_conversation", "after": 1, "times": 2},
            {"fault": {"kind": "throttled", "retry_after": 0.5}},
            {"fault": {"kind": "cut_mid_stream", "after_events": 3, "inside_event": True}},
        ]
    }
    assert inject_from(written(file, content), emulator) == (
        "error_500_before, operation create_conversation, after 1, times 2",
        "throttled (retry_after 0.5)",
        "cut_mid_stream (after_events 3, inside_event True)",
    )
    assert await met(emulator, 5) == ["throttled", "error_500_before", "error_500_before", None, None]


async def test_faults_at_random_are_those_of_inject_at_random(emulator, file):
    arguments = {"rate": 0.5, "seed": 7, "operations": ["create_conversation"]}
    kinds = ["quota", {"kind": "throttled"}]
    (line,) = inject_from(written(file, {"inject_at_random": [{**arguments, "faults": kinds}]}), emulator)
    assert line == "at random, rate 0.5, seed 7, operations create_conversation, faults quota throttled"
    by_file = await met(emulator, 20)
    assert {"quota", "throttled", None} == set(by_file)
    with Emulator() as other:
        written(file, {"inject_at_random": [{**arguments, "faults": ["quota", "throttled"]}]})
        inject_from(file, other)
        assert await met(other, 20) == by_file


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_every_kind_of_fault_may_be_in_a_file(file, kind):
    assert inject_one(file, {"fault": kind}) == (kind,)


def test_file_without_faults_injects_none(emulator, file):
    assert inject_from(written(file, {}), emulator) == ()
    assert inject_from(written(file, "\ufeff" + '{"inject": []}'), emulator) == ()


MISTAKES = [
    ('{"inject": [}', "not JSON: Expecting value at line 1, column 13."),
    ("", "not JSON: Expecting value at line 1, column 1."),
    ("[]", 'expected a JSON object, such as {"inject": [{"fault": "cut_before"}]}.'),
    ('{"inject": [], "inject": []}', '"inject" appears twice in one object: keep one.'),
    ('{"inject_at_random": [{"rate": NaN}]}', "NaN is not valid JSON: give a finite number."),
    ("[" * 100_000, "the JSON is nested too deeply or contains a number that is too long."),
    (
        '{"inject": [{"fault": "quota", "after": ' + "9" * 5000 + "}]}",
        "the JSON is nested too deeply or contains a number that is too long.",
    ),
    (
        {"injekt": []},
        (
            'unknown key "injekt" in the file; did you mean "inject"? '
            'Valid keys are "inject" and "inject_at_random".'
        ),
    ),
    (
        {"inject": {"fault": "quota"}},
        'inject is {"fault": "quota"}; it must be an array of objects, one per call.',
    ),
    (
        {"inject": ["quota"]},
        (
            'inject[0] is "quota"; it must be an object with '
            '"fault", "operation", "after", "times" and "conversation_id".'
        ),
    ),
    (
        {"inject": [{"fault": "quota"}, {"time": 2}]},
        (
            'unknown key "time" in inject[1]; did you mean "times"? Valid keys are '
            '"fault", "operation", "after", "times" and "conversation_id".'
        ),
    ),
    ({"inject": [{"fault": "quota", "times": "2"}]}, 'inject[0].times is "2"; it must be an integer.'),
    ({"inject": [{"fault": "quota", "times": True}]}, "inject[0].times is true; it must be an integer."),
    ({"inject": [{"fault": "quota", "times": 1.5}]}, "inject[0].times is 1.5; it must be an integer."),
    (
        {"inject": [{"fault": "quota", "operation": None}]},
        "inject[0].operation is null; it must be a string.",
    ),
    (
        {"inject": [{"fault": "quota", "times": 0}]},
        "inject[0]: after must be at least 0 and times at least 1, not 0 and 0.",
    ),
    (
        {"inject": [{"fault": "stale_page", "operation": "create_items"}]},
        "inject[0]: A 'stale_page' fault does not apply to create_items.",
    ),
    (
        {"inject": [{"fault": {"kind": "throttled", "retry_after": -1}}]},
        "inject[0].fault: retry_after must be at least 0 seconds, not -1.",
    ),
    (
        {"inject": [{"fault": {"kind": "late_commit", "delay": "1"}}]},
        'inject[0].fault.delay is "1"; it must be a number.',
    ),
    (
        '{"inject": [{"fault": {"kind": "late_commit", "delay": 1e999}}]}',
        "1e999 is too large: give a smaller number.",
    ),
    (
        {"inject": [{"fault": {"kind": "cut_mid_stream", "after_events": True}}]},
        "inject[0].fault.after_events is true; it must be an integer.",
    ),
    (
        {"inject": [{"fault": {"kind": "cut_mid_stream", "inside_event": 1}}]},
        "inject[0].fault.inside_event is 1; it must be true or false.",
    ),
    ({"inject": [{"fault": {"delay": 1}}]}, 'inject[0].fault is missing "kind", a string.'),
    ({"inject_at_random": [{"rate": 0.5}]}, 'inject_at_random[0] is missing "seed", an integer.'),
    (
        {"inject_at_random": [{"rate": 2, "seed": 1}]},
        "inject_at_random[0]: rate must be a probability from 0 to 1, not 2.",
    ),
    (
        {"inject_at_random": [{"rate": 1, "seed": 1, "operations": [1]}]},
        "inject_at_random[0].operations is [1]; it must be an array of strings.",
    ),
    (
        {"inject_at_random": [{"rate": 1, "seed": 1, "operations": []}]},
        "inject_at_random[0]: None of the faults applies to any of the operations.",
    ),
    (
        {"inject_at_random": [{"rate": 1, "seed": 1, "faults": "quota"}]},
        'inject_at_random[0].faults is "quota"; it must be an array of faults.',
    ),
]


@pytest.mark.parametrize(("content", "message"), MISTAKES, ids=range(len(MISTAKES)))
def test_mistake_is_told_with_its_place_its_value_and_the_remedy(emulator, file, content, message):
    with pytest.raises(CommandError) as caught:
        inject_from(written(file, content), emulator)
    assert (str(caught.value), caught.value.exit_code) == (f"{file}: {message}", 2)


@pytest.mark.parametrize("call", [{"fault": "cut_befor"}, {"fault": {"kind": "cut_befor"}}])
def test_unknown_kind_is_told_with_those_there_are(file, call):
    with pytest.raises(CommandError) as caught:
        inject_one(file, call)
    kinds = ", ".join(FAULT_KINDS)
    assert (
        str(caught.value)
        == f"{file}: inject[0].fault: Unknown fault kind 'cut_befor'; the kinds are {kinds}."
    )


def test_fault_that_is_none_is_told_with_its_forms(file):
    with pytest.raises(
        CommandError, match=r"inject\[0\].fault is 5; it must be a kind of fault \(cut_before, "
    ):
        inject_one(file, {"fault": 5})
    with pytest.raises(CommandError, match=r'inject\[0\] is missing "fault", a kind of fault \(cut_before, '):
        inject_one(file, {})


def test_unknown_operation_is_told_with_those_there_are(file):
    with pytest.raises(
        CommandError, match=r"inject\[0\]: Unknown operation 'add'; the operations are create_"
    ):
        inject_one(file, {"fault": "quota", "operation": "add"})


def test_long_values_are_told_by_their_beginning(file):
    with pytest.raises(CommandError, match=r'inject\[0\].times is "x{56}\.\.\.; it must be an integer\.'):
        inject_one(file, {"fault": "quota", "times": "x" * 1000})


def test_file_that_is_not_utf_8_is_refused(emulator, file):
    file.write_bytes(b'{"inject": "\xe4"}')
    with pytest.raises(CommandError, match="byte 13 is not UTF-8: save the file as UTF-8"):
        inject_from(file, emulator)


def test_serve_refuses_a_file_that_is_missing_or_wrong(file):
    refused = invoke("--port", "0", "--faults", str(file))
    assert (refused.exit_code, refused.stderr) == (2, f"{file} cannot be read: No such file or directory.\n")
    refused = invoke("--port", "0", "--faults", str(written(file, [])))
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)


@pytest.mark.exhaustive
async def test_served_faults_are_real_on_the_socket(file):
    """The reply to a write is cut by a reset after it was stored."""
    written(file, {"inject": [{"fault": "cut_after_commit", "operation": "create_items"}]})
    with serving("--faults", str(file)) as (process, printed, base_url):
        async with openai.AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
            created = await client.conversations.create()
            with pytest.raises(openai.APIConnectionError):
                await client.conversations.items.create(created.id, items=[HELLO])
            session = OpenAIConversationsSession(conversation_id=created.id, openai_client=client)
            assert await session.get_items() == [HELLO]
        _, rest = end(process)
    assert "Faults  cut_after_commit, operation create_items" in printed
    assert f"--- POST   /v1/conversations/{created.id}/items  cut_after_commit" in rest.splitlines()
