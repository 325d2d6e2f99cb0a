"""Nulls inside items: dropped where the API refuses them, and nowhere else."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given

from openai_sessions._items.forms import replay_form, same_item, sent_form
from openai_sessions._items.nulls import without_refused_nulls
from tests.fixtures.documents import schemas
from tests.fixtures.samples import SAMPLE_NAMES, sample
from tests.strategies import unknown_items, written_items

SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
URL = {"type": "url_citation", "url": "https://example.com", "title": "t", "start_index": 0, "end_index": 1}
TOOL = {"type": "function", "name": "f", "description": None, "strict": None}


def said(role: str, *parts: dict) -> dict:
    return {"type": "message", "role": role, "content": list(parts)}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        pytest.param(
            {**SEARCH, "action": {"type": "search", "query": "q", "queries": None, "sources": None}},
            {**SEARCH, "action": {"type": "search", "query": "q"}},
            id="an action as Azure lists it",
        ),
        pytest.param(
            {**SEARCH, "action": {"type": "open_page", "url": None, "query": None, "pattern": None}},
            {**SEARCH, "action": {"type": "open_page", "url": None}},
            id="fields of other actions",
        ),
        pytest.param(
            said("user", {"type": "input_file", "file_id": None, "file_url": "u", "filename": None}),
            said("user", {"type": "input_file", "file_id": None, "file_url": "u"}),
            id="a part",
        ),
        pytest.param(
            said("assistant", {"type": "output_text", "text": "a", "annotations": [{**URL, "index": None}]}),
            said("assistant", {"type": "output_text", "text": "a", "annotations": [URL]}),
            id="an annotation",
        ),
        pytest.param(
            {
                "type": "function_call_output",
                "output": [{"type": "input_text", "text": "a", "prompt_cache_breakpoint": None}],
            },
            {"type": "function_call_output", "output": [{"type": "input_text", "text": "a"}]},
            id="a part of an output",
        ),
        pytest.param(
            {
                "type": "shell_call_output",
                "output": [{"stdout": "", "stderr": "", "outcome": {"type": "timeout", "exit_code": None}}],
            },
            {
                "type": "shell_call_output",
                "output": [{"stdout": "", "stderr": "", "outcome": {"type": "timeout"}}],
            },
            id="an outcome",
        ),
        pytest.param(
            {
                "type": "tool_search_output",
                "tools": [{"type": "namespace", "tools": [{**TOOL, "defer_loading": None}]}],
            },
            {"type": "tool_search_output", "tools": [{"type": "namespace", "tools": [TOOL]}]},
            id="a tool in a namespace",
        ),
        pytest.param(
            {
                "type": "additional_tools",
                "tools": [{"type": "mcp", "server_label": "s", "require_approval": {"always": None}}],
            },
            {
                "type": "additional_tools",
                "tools": [{"type": "mcp", "server_label": "s", "require_approval": {}}],
            },
            id="an approval",
        ),
    ],
)
def test_nulls_that_the_api_refuses_are_dropped(item, expected):
    before = copy.deepcopy(item)
    assert without_refused_nulls(item) == expected
    assert item == before
    assert replay_form(item) == replay_form(expected)
    assert same_item(expected, item)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "additional_tools", "tools": [{**TOOL, "parameters": {"default": None, "name": None}}]},
        {"type": "mcp_list_tools", "tools": [{"name": "f", "input_schema": {"description": None}}]},
        {"type": "function_call_output", "output": '{"text": null}'},
        {"type": "file_search_call", "results": [{"attributes": {"text": None}}]},
        {**SEARCH, "action": {"type": "dance", "query": None}},
        {**SEARCH, "action": "search"},
        said("user", {"type": "input_text", "text": "a", "mood": None}),
        said("user", {"type": "hologram", "detail": None}),
        said("user", {"type": "input_text", "text": None}),
        {"type": "hologram", "action": {"type": "search", "query": None}, "content": [{"text": None}]},
        {"type": "message", "role": "user", "content": None},
    ],
)
def test_other_nulls_stay(item):
    assert without_refused_nulls(item) == item


@given(unknown_items())
def test_nulls_in_unknown_types_stay(item):
    assert without_refused_nulls(item) == item


@given(written_items())
def test_nulls_that_stay_stay_the_next_time(item):
    assert sent_form(sent_form(item)) == sent_form(item)


@pytest.mark.parametrize("name", SAMPLE_NAMES)
def test_samples_have_no_nulls_that_the_api_refuses(name):
    """They are as the API lists them."""
    assert without_refused_nulls(sample(name)) == sample(name)


WITH_DEFAULTS = {"detail", "filename", "file_data", "file_url", "logprobs", "prompt_cache_breakpoint"}
"""Fields of parts that mean the same absent and null: in some items they are required, or may be null."""


def test_the_public_schema_refuses_the_nulls_that_are_dropped():
    schema = Schema(schemas())
    wrong, count = [], 0
    for kind in schema.alternatives({"$ref": "#/components/schemas/InputItem"})[1]:
        for item, expected, name in schema.nulls_inside(kind):
            count += 1
            if name not in WITH_DEFAULTS and without_refused_nulls(item) != expected:
                wrong.append(item)
    assert wrong == []
    assert count > 400


class Schema:
    """The public schema of the items in a request."""

    def __init__(self, schemas):
        self._schemas = schemas

    def alternatives(self, schema):
        """Return whether null is valid, and the schemas of which another value must have one."""
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        parts = [self.alternatives(part) for key in ("anyOf", "oneOf") for part in schema.get(key, ())]
        is_nullable = schema.get("type") == "null" or any(nullable for nullable, _ in parts)
        if parts and "properties" not in schema:
            return is_nullable, [each for _, alternatives in parts for each in alternatives]
        return is_nullable, [] if schema.get("type") == "null" else [self._merged(schema)]

    def _merged(self, schema):
        merged = {**schema, "properties": dict(schema.get("properties", {}))}
        for part in schema.get("allOf", ()):
            for each in self.alternatives(part)[1]:
                merged = {**each, **merged, "properties": {**each["properties"], **merged["properties"]}}
                merged["required"] = [*each.get("required", ()), *schema.get("required", ())]
        return merged

    def nulls_inside(self, schema, *, within=None, depth=0):
        """Yield items with one null each at some depth, what is to be left of them, and the null's field."""
        fixed = self._type(schema)
        role = {"role": "assistant" if "Output" in schema.get("title", "") else "user"}
        around = within or (lambda inner: {**fixed, **role, **inner})
        for name, value in schema["properties"].items():
            is_nullable, alternatives = self.alternatives(value)
            if depth and name != "type":
                stays = is_nullable or name in schema.get("required", ())
                item = around({**fixed, name: None})
                yield item, item if stays else around(fixed), name
            for inner, wrapped in self._objects(alternatives):
                if depth < 6:
                    yield from self.nulls_inside(
                        inner,
                        within=lambda each, name=name, wrapped=wrapped: around(
                            {**fixed, name: wrapped(each)}
                        ),
                        depth=depth + 1,
                    )

    def _objects(self, alternatives):
        for each in alternatives:
            if each.get("type") == "array":
                for inner, wrapped in self._objects(self.alternatives(each["items"])[1]):
                    yield inner, lambda value, wrapped=wrapped: [wrapped(value)]
            elif each["properties"]:
                yield each, lambda value: value

    def _type(self, schema):
        for each in self.alternatives(schema["properties"].get("type", {}))[1]:
            if "enum" in each:
                return {"type": each["enum"][0]}
        return {}
