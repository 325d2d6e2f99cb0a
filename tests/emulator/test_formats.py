"""Structured output: `text.format` of a request, the replies to it, and the default."""

import json

import jsonschema
import openai
import pytest
from pydantic import BaseModel

from .responding import MODEL, ask, refused, text_of

CITY = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer", "minimum": 1}},
    "required": ["name", "people"],
    "additionalProperties": False,
}
ROME = '{"name": "Rome", "people": 2}'


def demanding(schema, **options):
    """Return the `text` of a request for JSON of a schema."""
    return {"format": {"type": "json_schema", "name": "city", "schema": schema, **options}}


async def failure(wire, text):
    """Create a response that must fail for its reply, and return the message."""
    status, answer = await wire.post("/responses", {"model": MODEL, "input": "Hello", "text": text})
    assert (400, "scripted_reply_failed") == (status, answer["error"]["code"]), answer
    return answer["error"]["message"].partition("ValueError: ")[2]


async def test_reply_that_fits_is_sent(emulator, wire):
    emulator.reply(ROME)
    assert ROME == text_of(await ask(wire, text=demanding(CITY, strict=True)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Rome", "The text of the reply is not JSON, as text.format demands: Expecting value"),
        (
            '{"name": "Rome", "people": "many"}',
            """the schema 'city' of text.format: $.people is "many", but 'many' is not of type 'integer'.""",
        ),
        ('{"name": "Rome"}', '$ is {"name": "Rome"}, but \'people\' is a required property.'),
        (
            json.dumps({"name": "R" * 500, "people": 0}),
            "$.people is 0, but 0 is less than the minimum of 1.",
        ),
        (json.dumps(["R" * 500]), f'$ is ["{"R" * 98}..., but '),
    ],
)
async def test_reply_that_does_not_fit_fails_with_schema_path_and_value(
    emulator, wire, conversation, text, message
):
    """Nothing is stored, and clients do not repeat the request."""
    emulator.reply(text)
    assert message in await failure(wire, demanding(CITY))
    assert [] == await wire.texts(conversation)


async def test_a_stream_of_a_reply_that_does_not_fit_is_a_json_error(emulator, client):
    emulator.reply("Rome")
    with pytest.raises(openai.BadRequestError, match="is not JSON"):
        await client.responses.create(model=MODEL, input="Hello", stream=True, text=demanding(CITY))
    assert 1 == len(emulator.requests)


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ({"content": [{"type": "refusal", "refusal": "No."}]}, "completed"),
        ([{"content": "I look it up.", "phase": "commentary"}, ROME], "completed"),
        ([{"content": ROME, "phase": "final_answer"}], "completed"),
        ([{"type": "function_call", "name": "find"}], "completed"),
        ('{"name": "Ro', "incomplete"),
        ('{"name": "Ro', "failed"),
    ],
)
async def test_what_need_not_fit(emulator, wire, reply, status):
    """A refusal, commentary, a call, and a response that ends early."""
    emulator.reply(reply, status=status)
    assert status == (await ask(wire, text=demanding(CITY)))["status"]


async def test_reply_of_a_function_is_checked(emulator, wire):
    emulator.reply(lambda request: "[]")
    assert "$ is [], but [] is not of type 'object'" in await failure(wire, demanding(CITY))


@pytest.mark.parametrize(
    ("text", "message"),
    [("Rome", "is not JSON"), ("[1]", "The text of the reply is [1]; text.format demands a JSON object.")],
)
async def test_reply_to_a_request_for_a_json_object(emulator, wire, text, message):
    demanded = {"format": {"type": "json_object"}}
    emulator.reply(text)
    assert message in await failure(wire, demanded)
    emulator.reply("{}")
    assert "{}" == text_of(await ask(wire, text=demanded))


TREE = {
    "type": "object",
    "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["next"],
    "additionalProperties": False,
}
NAMED = {"$defs": {"a/b": {"type": "boolean"}}, "$ref": "#/$defs/a~1b"}
BOTH = {
    "allOf": [
        {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
        {"type": "object", "properties": {"b": {"const": 7}}, "required": ["b"]},
    ]
}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (CITY, '{"name":"","people":1}'),
        (TREE, '{"next":null}'),
        (NAMED, "false"),
        (BOTH, '{"a":0,"b":7}'),
        ({}, "null"),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, "{}"),
        ({"properties": {"a": {}}, "required": ["a"]}, '{"a":null}'),
        ({"type": ["string", "null"]}, "null"),
        ({"anyOf": [{"type": "string", "pattern": "^x"}, {"type": "integer"}]}, "0"),
        ({"oneOf": [{"enum": ["a", "b"]}, {"type": "null"}]}, "null"),
        ({"enum": ["a", "b"]}, '"a"'),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2}, "[0,0]"),
        ({"type": "string", "minLength": 3}, '"xxx"'),
        ({"type": "string", "format": "date"}, '"2000-01-01"'),
        ({"type": "number", "exclusiveMinimum": 2}, "3"),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, "10"),
        ({"type": "number", "maximum": -1.5}, "-1.5"),
        ({"type": "number", "exclusiveMaximum": 0}, "-1"),
    ],
)
async def test_default_is_the_least_that_fits(wire, schema, text):
    least = text_of(await ask(wire, text=demanding(schema)))
    jsonschema.validate(json.loads(least), schema)
    assert text == least


async def test_default_for_a_json_object(wire):
    assert "{}" == text_of(await ask(wire, text={"format": {"type": "json_object"}}))


ENDLESS = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (ENDLESS, "the schema demands endless nesting"),
        ({"type": "string", "pattern": "^x+$"}, "no string was found that fits the schema"),
        ({"type": "object", "minProperties": 1}, "no value was found that fits the schema"),
        ({"anyOf": [{"type": "string", "pattern": "^x+$"}]}, "no string was found"),
    ],
)
async def test_default_names_what_only_a_test_can_choose(wire, schema, reason):
    body = {"model": MODEL, "input": "Hello", "text": demanding(schema)}
    status, answer = await wire.post("/responses", body)
    assert (400, "no_scripted_reply") == (status, answer["error"]["code"])
    assert f"its text.format demands JSON that only a test can choose: {reason}" in answer["error"]["message"]


OPEN = {"type": "object"}
ALL_REQUIRED = "is required to be supplied and to be an array including every key in properties"


@pytest.mark.parametrize(
    ("schema", "strict", "message"),
    [
        ({"type": "city"}, False, "In context=('type',), 'city' is not valid under any of the given schemas"),
        (
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}},
            False,
            "In context=('properties', 'a'), reference to component '#/$defs/A' which was not found",
        ),
        (
            {"type": "array", "items": {"$ref": "https://example.com/a.json"}},
            False,
            "In context=('items',), reference to component 'https://example.com/a.json' which was not found",
        ),
        (
            {"type": "object", "properties": {}},
            True,
            "In context=(), 'additionalProperties' is required to be supplied and to be false.",
        ),
        (
            {**CITY, "required": ["name"]},
            True,
            f"In context=(), 'required' {ALL_REQUIRED}. Missing 'people'.",
        ),
        (
            {
                **CITY,
                "properties": {"list": {"type": "array", "items": {"type": "object"}}},
                "required": ["list"],
            },
            True,
            "In context=('properties', 'list', 'items'), 'additionalProperties' is required",
        ),
        (
            {"anyOf": [CITY, {"type": "object"}]},
            True,
            "In context=('anyOf', '1'), 'additionalProperties' is required",
        ),
    ],
)
async def test_schema_that_the_api_refuses(wire, schema, strict, message):
    text = demanding(schema, strict=strict)
    assert (400, "invalid_json_schema", "text.format.schema") == await refused(wire, text=text)
    _, answer = await wire.post("/responses/input_tokens", {"model": MODEL, "input": "Hello", "text": text})
    assert f"Invalid schema for response_format 'city': {message}" in answer["error"]["message"]


async def test_schema_that_is_not_strict_may_leave_properties_open(emulator, wire):
    emulator.reply('{"name": "Rome"}')
    text = demanding({"type": "object", "properties": {"name": {}, "people": {}}}, strict=False)
    assert '{"name": "Rome"}' == text_of(await ask(wire, text=text))


class Mayor(BaseModel):
    name: str
    since: int | None


class City(BaseModel):
    name: str
    mayor: Mayor
    districts: list[str]


async def test_openai_parses_the_default_and_a_reply(emulator, client):
    parsed = await client.responses.parse(model=MODEL, input="Hello", text_format=City)
    assert City(name="", mayor=Mayor(name="", since=None), districts=[]) == parsed.output_parsed
    rome = City(name="Rome", mayor=Mayor(name="Anna", since=2021), districts=["Monti"])
    emulator.reply(rome.model_dump_json())
    assert rome == (await client.responses.parse(model=MODEL, input="x", text_format=City)).output_parsed
