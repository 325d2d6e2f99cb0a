"""`serve --replies FILE`: the replies of the emulator's model, from a file."""

import json
import re
import subprocess
from collections import Counter

import openai
import pytest

from openai_sessions.cli._errors import CommandError
from openai_sessions.cli._files import replies_from
from tests import programs
from tests.cli.command import environment, serving
from tests.cli.test_serve import end, invoke

KEYS = '"reply", "json", "error", "when", "conversation_id", "times", "status" and "delay"'
CONDITIONS = '"user_text", "instructions", "model", "output_of" and "output_text"'
TOO_LARGE = "the JSON is nested too deeply or contains a number that is too long."


@pytest.fixture
def file(tmp_path):
    return tmp_path / "replies.json"


def written(file, content):
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.fixture
def replies(file, emulator):
    """Queue the entries given, all in one file; return their number."""
    return lambda *entries: replies_from(written(file, entries), emulator)


@pytest.fixture
async def ask(emulator):
    """Create a response; return it."""
    async with emulator.client().with_options(max_retries=0) as client:

        async def create(given="Hello", **options):
            return await client.responses.create(**{"model": "any", "input": given, **options})

        yield create


async def texts(ask, *given):
    return [(await ask(text)).output_text for text in given]


async def test_replies_are_given_in_the_order_of_the_file(replies, emulator, ask):
    assert replies("one", {"reply": "two", "times": 2}, {"reply": "the rest", "times": None}) == 3
    assert emulator.unused_replies == 3
    assert await texts(ask, *"abcde") == ["one", "two", "two", "the rest", "the rest"]


async def test_replies_are_those_of_emulator_reply(replies, ask):
    call = {"type": "function_call", "name": "add", "arguments": {"a": 1}}
    replies(
        {"reply": ["Wait.", call, {**call, "call_id": "call_2"}]},
        {"reply": {"content": [{"type": "refusal", "refusal": "No."}]}},
        {"reply": "Hel", "status": "incomplete"},
    )
    several, refusal, incomplete = [await ask() for _ in range(3)]
    assert [item.type for item in several.output] == ["message", "function_call", "function_call"]
    assert (several.output[1].arguments, several.output[2].call_id) == ('{"a":1}', "call_2")
    assert refusal.output[0].content[0].refusal == "No."
    assert (incomplete.status, incomplete.output_text) == ("incomplete", "Hel")


async def test_json_is_the_text_of_a_message(replies, ask):
    values = [{"city": "Zürich", "of": [1, 2.5, None]}, [], "text", None]
    replies(*({"json": value} for value in values))
    demanded = {"format": {"type": "json_schema", "name": "any", "schema": {}}}
    assert [json.loads((await ask(text=demanded)).output_text) for _ in values] == values


async def test_error_is_the_response(replies, ask):
    replies(
        {"error": {"message": "Too long.", "code": "context_length_exceeded"}},
        {"error": {"message": "Slow.", "status": 429, "type": "tokens"}},
    )
    with pytest.raises(openai.BadRequestError, match=r"Too long\.") as caught:
        await ask()
    assert (caught.value.code, caught.value.type) == ("context_length_exceeded", "invalid_request_error")
    with pytest.raises(openai.RateLimitError, match=r"Slow\.") as limited:
        await ask()
    assert (limited.value.code, limited.value.type) == (None, "tokens")


async def test_reply_for_a_conversation_waits_for_it(replies, emulator, ask):
    emulator.seed([{"id": "conv_1", "items": []}])
    replies({"reply": "for it", "conversation_id": "conv_1"})
    assert (await ask()).output_text == "You said: Hello"
    assert (await ask(conversation="conv_1")).output_text == "for it"


def outputs(*named):
    """Return calls of tools and their outputs, as the input of a request."""
    calls = [
        {"type": "function_call", "call_id": f"call_{index}", "name": name, "arguments": "{}"}
        for index, (name, _) in enumerate(named)
    ]
    given = [
        {"type": "function_call_output", "call_id": f"call_{index}", "output": text}
        for index, (_, text) in enumerate(named)
    ]
    return [{"role": "user", "content": "Add them"}, *calls, *given]


BOTH = outputs(("add", "5"), ("look", "rain"))


@pytest.mark.parametrize(
    ("when", "options", "matches"),
    [
        ({"user_text": "ell"}, {}, True),
        ({"user_text": "hell"}, {}, False),
        ({"user_text": "Add"}, {"input": BOTH}, True),
        ({"instructions": "brief"}, {"instructions": "Be brief."}, True),
        ({"instructions": "brief"}, {}, False),
        ({"model": "any"}, {}, True),
        ({"model": "an"}, {}, False),
        ({"output_of": "add"}, {}, False),
        ({"output_of": "add"}, {"input": BOTH}, True),
        ({"output_of": "look"}, {"input": BOTH}, True),
        ({"output_of": "lo"}, {"input": BOTH}, False),
        ({"output_of": "add"}, {"input": [*BOTH, {"role": "user", "content": "and?"}]}, False),
        ({"output_text": "ai"}, {"input": BOTH}, True),
        ({"output_text": "snow"}, {"input": BOTH}, False),
        ({"output_text": ""}, {}, False),
        ({"output_of": "look", "output_text": "rain"}, {"input": BOTH}, True),
        ({"output_of": "add", "output_text": "rain"}, {"input": BOTH}, False),
        ({"model": "any"}, {"model": openai.omit, "prompt": {"id": "pmpt_1"}}, False),
        ({"user_text": "Hello", "model": "other"}, {}, False),
        ({"user_text": "other", "model": "any"}, {}, False),
    ],
    ids=range(20),
)
async def test_condition_selects_requests(replies, ask, when, options, matches):
    replies({"reply": "selected", "when": when})
    assert ((await ask(**options)).output_text == "selected") == matches


async def test_used_up_replies_leave_the_default_to_other_requests(replies, ask):
    replies({"reply": "Hello", "when": {"user_text": "a"}})
    await ask("a")
    with pytest.raises(openai.BadRequestError, match=r"add one to the file of serve --replies") as caught:
        await ask("a")
    assert caught.value.code == "no_scripted_reply"
    assert (await ask("b")).output_text == "You said: b"


MISTAKES = [
    ('["a" "b"]', "not JSON: Expecting ',' delimiter at line 1, column 6."),
    ('[{"times": 1, "times": 2}]', '"times" appears twice in one object: keep one.'),
    ('[{"reply": "a", "delay": NaN}]', "NaN is not valid JSON: give a finite number."),
    ('[{"json": 1e999}]', "1e999 is too large: give a smaller number."),
    ("[" * 100_000, TOO_LARGE),
    ({}, 'expected a JSON array, such as [{"reply": "Hello", "times": 2}].'),
    ([["a"]], f'replies[0] is ["a"]; it must be an object with {KEYS}.'),
    (
        [{"reply": "a"}, {"replies": "b"}],
        f'unknown key "replies" in replies[1]; did you mean "reply"? Valid keys are {KEYS}.',
    ),
    ([{"times": 2}], 'replies[0] has no reply; give one of "reply", "json" and "error".'),
    (
        [{"json": 1, "reply": "a"}],
        'replies[0] has "reply" and "json"; give one of "reply", "json" and "error".',
    ),
    *(
        (
            [{"reply": "a", "times": times}],
            f"replies[0].times is {json.dumps(times)}; it must be an integer of at least 1, or null.",
        )
        for times in (0, "2", 1.5, True)
    ),
    ([{"reply": "a", "delay": "1"}], 'replies[0].delay is "1"; it must be a number.'),
    ([{"reply": "a", "delay": -1}], "replies[0]: delay must be at least 0 seconds, not -1."),
    ([{"reply": "a", "conversation_id": None}], "replies[0].conversation_id is null; it must be a string."),
    (
        [{"reply": "a", "status": "lost"}],
        "replies[0]: Unknown status 'lost'; the statuses are completed, incomplete, failed.",
    ),
    ([{"reply": 1}], "replies[0]: A reply must be a text, an item or a list of items, not int."),
    (
        [{"reply": {"type": "function_call"}}],
        (
            "replies[0]: The reply is not valid output of a model: "
            "Missing required parameter: 'items[0].name'."
        ),
    ),
    (
        [{"reply": "a", "when": "b"}],
        f'replies[0].when is "b"; it must be an object with {CONDITIONS}.',
    ),
    (
        [{"reply": "a", "when": {}}],
        "replies[0].when is empty: give a condition, or leave it out for any request.",
    ),
    (
        [{"reply": "a", "when": {"user_txt": "b"}}],
        (
            'unknown key "user_txt" in replies[0].when; did you mean "user_text"? '
            f"Valid keys are {CONDITIONS}."
        ),
    ),
    ([{"reply": "a", "when": {"model": 1}}], "replies[0].when.model is 1; it must be a string."),
    (
        [{"error": "a"}],
        'replies[0].error is "a"; it must be an object with "message", "status", "code" and "type".',
    ),
    ([{"error": {"status": 400}}], 'replies[0].error is missing "message", a string.'),
    (
        [{"error": {"message": "a", "status": 200}}],
        "replies[0].error: status must be from 400 to 599, not 200.",
    ),
    (
        [{"error": {"message": "a"}, "delay": 1}],
        "replies[0]: status and delay are those of output, and an error has none: leave them out.",
    ),
]


@pytest.mark.parametrize(("content", "message"), MISTAKES, ids=range(len(MISTAKES)))
def test_mistake_is_told_with_its_place_its_value_and_the_remedy(emulator, file, content, message):
    with pytest.raises(CommandError) as caught:
        replies_from(written(file, content), emulator)
    assert (str(caught.value), caught.value.exit_code) == (f"{file}: {message}", 2)


def test_serve_refuses_a_file_that_is_missing_or_wrong(file):
    refused = invoke("--port", "0", "--replies", str(file))
    assert (refused.exit_code, refused.stderr) == (2, f"{file} cannot be read: No such file or directory.\n")
    refused = invoke("--port", "0", "--replies", str(written(file, {})))
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)


@pytest.mark.exhaustive
def test_programs_in_other_processes_get_the_replies():
    """Of the Agents SDK, with two conversations at once, one of them streamed; and curl."""
    with serving("--replies", "examples/replies.json") as (process, printed, base_url):
        variables = environment(
            OPENAI_BASE_URL=base_url, OPENAI_API_KEY="any", OPENAI_AGENTS_DISABLE_TRACING="1"
        )
        finished = programs.run("-m", "tests.cli.umbrella", env=variables)
        curled = [curl(base_url, text) for text in ("Is it warm?", "Say everything")]
        _, rest = end(process)
    assert "Replies 5 from examples/replies.json" in printed
    assert (finished.returncode, finished.stderr) == (0, "")
    line = "Take an umbrella. user reasoning function_call function_call_output assistant"
    assert finished.stdout.splitlines() == [line, line]
    assert json.loads(curled[0]["output"][0]["content"][0]["text"]) == {"city": "Oslo", "temperature": 7}
    assert curled[1]["error"]["code"] == "context_length_exceeded"
    requests = Counter(re.sub(r"conv_\w+", "ID", line) for line in rest.splitlines())
    assert requests == {
        "200 POST   /v1/conversations": 2,
        "200 POST   /v1/conversations/ID/items": 6,
        "200 GET    /v1/conversations/ID/items": 2,
        "200 POST   /v1/responses": 5,
        "400 POST   /v1/responses": 1,
    }


def curl(base_url, text):
    """Create a response with curl; return the JSON of the answer."""
    body = json.dumps({"model": "gpt-4.1-mini", "input": text})
    arguments = ["-H", "authorization: Bearer any", "-H", "content-type: application/json", "-d", body]
    command = ["curl", "--silent", "--noproxy", "*", *arguments, f"{base_url}/responses"]
    return json.loads(subprocess.check_output(command, timeout=30))
