"""The schema that `tools/schema.py` makes of OpenAI's public document, and what the emulator does with it."""

import copy
import json
import os
import shutil

import pytest

from openai_sessions._items.types import INCLUDE
from openai_sessions.emulator._rules import CHANGED, NOT_REQUIRED, with_rules
from tests.fixtures.documents import document
from tests.programs import ROOT, run
from tools.schema import OUTPUT, extract, load, rendered

DATA = json.loads(OUTPUT.read_text(encoding="utf-8"))


def test_the_data_are_those_of_the_public_document():
    assert OUTPUT.read_text(encoding="utf-8") == rendered(extract(document())), "run: make schema"


@pytest.mark.parametrize("name", sorted(CHANGED))
def test_each_change_is_needed_and_each_shape_is_known(name):
    """A document that has learned it makes it superfluous; one that renames the shape would undo it."""
    before, after = DATA["shapes"][name], with_rules(copy.deepcopy(DATA))["shapes"][name]
    for field in CHANGED[name]:
        old, new = ({**shape["required"], **shape["optional"]}.get(field) for shape in (before, after))
        assert old != new, f"the document has {name}.{field} now"


def test_what_counts_as_not_required_is_required_in_the_document():
    for name, fields in NOT_REQUIRED.items():
        assert set(fields) <= DATA["shapes"][name]["required"].keys()


def test_sessions_ask_for_known_values_of_include():
    assert set(INCLUDE) < set(DATA["include"])


def ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


def json_body(schema):
    return {"content": {"application/json": {"schema": schema}}}


def posted(schema):
    return {"post": {"requestBody": json_body(schema)}}


def fields(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required)}


def typed(item_type, *required, **properties):
    return fields(["type", *required], type={"type": "string", "enum": [item_type]}, **properties)


STRING = {"type": "string"}

NEXT = {
    "openapi": "3.1.0",
    "info": {"version": "9.9.9"},
    "paths": {
        "/conversations/{conversation_id}/items": {
            **posted(fields(["items"], items={"type": "array", "items": ref("InputItem")})),
            "get": {
                "parameters": [
                    {"name": "include", "in": "query", "schema": {"type": "array", "items": ref("Include")}}
                ],
                "responses": {"200": json_body(ref("ItemList"))},
            },
        },
        "/responses": {
            "post": {
                "requestBody": json_body(ref("CreateResponse")),
                "responses": {"200": json_body(ref("Response"))},
            }
        },
        "/responses/input_tokens": posted(fields(model=STRING)),
        "/responses/compact": posted(fields(["model"], model=STRING)),
    },
    "components": {
        "schemas": {
            "Include": {"type": "string", "enum": ["hologram_call.beam"]},
            "InputItem": {
                "oneOf": [ref(name) for name in ("EasyInputMessage", "OutputMessage", "HologramCall", "Crew")]
            },
            "EasyInputMessage": fields(
                ["role", "content"],
                type={"type": "string", "enum": ["message"]},
                role={"type": "string", "enum": ["user", "assistant"]},
                content={"oneOf": [STRING, {"type": "array", "items": ref("Part")}]},
            ),
            "OutputMessage": fields(
                ["role", "content"],
                type={"type": "string", "enum": ["message"]},
                role={"type": "string", "enum": ["assistant"]},
                content={"type": "array", "items": typed("output_text", "text", text=STRING)},
                status={"type": "string", "enum": ["completed"]},
            ),
            "Part": {"oneOf": [typed("input_text", "text", text=STRING)]},
            "HologramCall": typed(
                "hologram_call",
                "beam",
                id=STRING,
                beam={"type": "string", "enum": ["wide", "narrow"], "maxLength": 6},
                crew={"anyOf": [{"type": "array", "items": ref("Crew")}, {"type": "null"}]},
                note={"anyOf": [STRING, {"type": "null"}]},
                status={"type": "string", "enum": ["completed", "dreaming"]},
            ),
            "Crew": typed(
                "crew", "id", id=STRING, inner={"anyOf": [{"$recursiveRef": "#"}, {"type": "null"}]}
            ),
            "ItemList": fields(data={"type": "array", "items": ref("ConversationItem")}),
            "ConversationItem": {"oneOf": [ref("HologramCallResource")]},
            "HologramCallResource": {
                "allOf": [
                    ref("HologramCall"),
                    fields(["id", "status"], crew={"type": "array", "items": ref("Crew")}),
                ]
            },
            "Response": fields(
                output={"type": "array", "items": {"oneOf": [ref("OutputMessage"), ref("HologramCall")]}}
            ),
            "CreateResponse": {
                "allOf": [
                    fields(
                        model=STRING, input={"oneOf": [STRING, {"type": "array", "items": ref("InputItem")}]}
                    ),
                    fields(
                        include={"type": "array", "items": ref("Include")},
                        warp={"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, {"type": "null"}]},
                    ),
                ]
            },
        }
    },
}
"""A version that OpenAI has not published, with its own items, enums, request fields and `include`."""

PROGRAM = """
import asyncio, json, sys
from openai_sessions._items.forms import sent_form
from openai_sessions.emulator import Emulator
from tests.emulator.wire import Wire

async def main():
    emulator = Emulator()
    emulator.reply([{"type": "hologram_call", "beam": "narrow"}, "Look!"])
    emulator.reply("Hello")
    wire = Wire(emulator)
    conversation = await wire.new_conversation()
    answers = []
    requests, listed = json.load(sys.stdin)
    for path, body, include in requests:
        path = path.replace("CONVERSATION", conversation)
        params = {"include[]": include} if include else {}
        status, answer = await wire.send("POST" if body else "GET", path, json=body, params=params)
        error = answer.get("error") or {}
        shown = answer.get("data") or answer.get("output")
        answers.append([status, error.get("code"), error.get("param"), shown])
    print(json.dumps([answers, sent_form(listed)]))

asyncio.run(main())
"""

HOLOGRAM = {"type": "hologram_call", "id": "holo_1", "beam": "wide"}

ITEMS = "/conversations/CONVERSATION/items"


def test_the_next_version_of_the_document_is_one_command(tmp_path):
    """The emulator accepts what is new, stores it as it is listed, and refuses all else; sessions send it."""
    shutil.copytree(ROOT / "openai_sessions", tmp_path / "openai_sessions")
    (tmp_path / "next.json").write_text(json.dumps(NEXT))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    made = run(
        *("-m", "tools.schema", str(tmp_path / "next.json")),
        *("--output", str(tmp_path / "openai_sessions" / "schema.json")),
        env=env,
        cwd=tmp_path,
    )
    assert (0, "version 9.9.9") == (made.returncode, made.stdout.split(": ")[1].split(",")[0]), made.stderr

    def items(**change):
        return [ITEMS, {"items": [{**HOLOGRAM, **change}]}, None]

    def response(**change):
        return ["/responses", {"model": "m", "input": "Hello", **change}, None]

    cases = [
        (items(), 200, None, None),
        (items(id="holo_2", status="dreaming", note=None, crew=None), 200, None, None),
        (
            items(id="holo_3", crew=[{"type": "crew", "id": "c", "inner": {"type": "crew", "id": "d"}}]),
            200,
            None,
            None,
        ),
        ([ITEMS, {"items": [{"role": "user", "content": "Hello"}]}, None], 200, None, None),
        ([ITEMS, None, "hologram_call.beam"], 200, None, None),
        (response(include=["hologram_call.beam"], warp=9), 200, None, None),
        (response(warp=None), 200, None, None),
        (items(status="in_progress"), 400, "invalid_value", "items[0].status"),
        (items(beam="narrowest"), 400, "invalid_value", "items[0].beam"),
        (items(beam=None), 400, "unknown_parameter", "items[0].beam"),
        (items(depth=1), 400, "unknown_parameter", "items[0].depth"),
        (
            items(crew=[{"type": "crew", "id": "c", "inner": {"type": "crew"}}]),
            *(400, "missing_required_parameter", "items[0].crew[0].inner.id"),
        ),
        (
            [ITEMS, {"items": [{"type": "crew", "inner": None}]}, None],
            400,
            "missing_required_parameter",
            "items[0].id",
        ),
        ([ITEMS, {"items": [{"type": "function_call"}]}, None], 400, "invalid_value", "items[0].type"),
        ([ITEMS, None, "file_search_call.results"], 400, "invalid_value", "include[0]"),
        (response(include=["file_search_call.results"]), 400, "invalid_value", "include[0]"),
        (response(warp=10), 400, "integer_above_max_value", "warp"),
        (response(store=True), 400, "unknown_parameter", "store"),
    ]
    listed = {**HOLOGRAM, "status": "completed", "note": None, "crew": [{"type": "crew", "id": "c"}]}
    answered = run(
        "-c", PROGRAM, env=env, cwd=tmp_path, stdin=json.dumps([[request for request, *_ in cases], listed])
    )
    assert 0 == answered.returncode, answered.stderr
    answers, sent = json.loads(answered.stdout)
    assert [[*expected] for _, *expected in cases] == [answer[:3] for answer in answers]
    stored = [answer[3] for answer in answers[:3]]
    assert [{**HOLOGRAM, "status": "completed"}] == stored[0]
    assert [{**HOLOGRAM, "id": "holo_2", "status": "dreaming", "note": None}] == stored[1]
    call, message = answers[5][3]
    assert ("narrow", "Look!") == (call["beam"], message["content"][0]["text"])
    assert call["id"].startswith("item_")
    assert {"type": "hologram_call", "beam": "wide", "crew": [{"type": "crew", "id": "c"}]} == sent


def test_a_document_without_an_operation_is_refused():
    with pytest.raises(SystemExit, match=r"has no POST /conversations/\{conversation_id\}/items"):
        extract({**NEXT, "paths": {}})


def test_a_document_in_yaml_gives_the_same(tmp_path):
    yaml = pytest.importorskip("yaml")
    (tmp_path / "next.yaml").write_text(yaml.safe_dump(NEXT))
    assert extract(NEXT) == extract(load(tmp_path / "next.yaml"))
