"""What the emulator accepts inside items is what the public schema of requests accepts."""

import copy
import itertools

import pytest

from openai_sessions._items.forms import sent_form
from openai_sessions.emulator._errors import ApiError
from openai_sessions.emulator._items import prepare_items
from tests.fixtures.documents import created_validators
from tests.fixtures.samples import SAMPLE_NAMES, sample

from .test_item_samples import BEYOND_DOCUMENT, LISTED_ONLY, create_form

CREATABLE = [name for name in SAMPLE_NAMES if name not in LISTED_ONLY]

FREE = {"arguments", "attributes", "env", "input_schema", "output_schema", "parameters"}
"""Fields with free-form values."""

FILLED_IN = {"annotations", "detail", "logprobs", "parameters", "strict"}
"""Fields that the schema requires in some items, and that the API fills in."""


def refusal(item):
    """Return the path of the field that the emulator refuses, if any."""
    numbers = itertools.count()
    try:
        prepare_items([item], new_id=lambda prefix: f"{prefix}_{next(numbers)}")
    except ApiError as error:
        return error.param
    return None


def objects_inside(value, path=""):
    """Yield the objects inside an item, with their paths."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from objects_inside(each, f"{path}[{index}]")
    if isinstance(value, dict):
        if path:
            yield path, value
        for name, each in value.items():
            if name not in FREE:
                yield from objects_inside(each, f"{path}.{name}")


def changed(name, change):
    """Yield copies of a sample, each with one field inside it changed, and the path of the field.

    Args:
        name: The name of the sample.
        change: Changes a field of an object; called with the object and the field's name.
    """
    item = create_form(sample(name))
    for path, found in objects_inside(item):
        for field in found:
            other = copy.deepcopy(item)
            change(dict(objects_inside(other))[path], field)
            yield f"items[0]{path}.{field}", other


@pytest.mark.parametrize("name", [name for name in CREATABLE if sample(name)["type"] not in BEYOND_DOCUMENT])
@pytest.mark.parametrize(
    "change",
    [lambda found, field: found.update({field: None}), dict.pop],
    ids=["null", "missing"],
)
def test_values_inside_items_are_refused_as_by_the_schema(name, change):
    is_valid = created_validators()[sample(name)["type"]].is_valid
    for path, item in changed(name, change):
        if path.rpartition(".")[2] not in FILLED_IN:
            assert (refusal(item) is None) == is_valid(item), path


@pytest.mark.parametrize("name", CREATABLE)
def test_nulls_inside_items_reach_no_server_that_refuses_them(name):
    """A session drops each null that the emulator refuses, except in required fields."""
    for path, item in changed(name, lambda found, field: found.update({field: None})):
        sent = sent_form(item)
        dropped = copy.deepcopy(item)
        where, _, field = path.removeprefix("items[0]").rpartition(".")
        del dict(objects_inside(dropped))[where][field]
        assert refusal(sent) is None or refusal(dropped) is not None, path


SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed"}


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ({**SEARCH, "action": {"type": "search", "queries": None}}, "action.queries"),
        ({**SEARCH, "action": {"type": "search", "queries": [None]}}, "action.queries[0]"),
        ({**SEARCH, "action": {"type": "dance"}}, "action.type"),
        ({**SEARCH, "action": {"type": "open_page", "url": 3}}, "action.url"),
        (
            {"role": "user", "content": [{"type": "input_file", "file_id": "file_1", "filename": None}]},
            "content[0].filename",
        ),
        (
            {
                "type": "function_call",
                "call_id": "c",
                "name": "f",
                "arguments": "",
                "caller": {"type": "program"},
            },
            "caller.caller_id",
        ),
        (
            {
                "type": "tool_search_output",
                "tools": [{"type": "function", "name": "f", "defer_loading": None}],
            },
            "tools[0].defer_loading",
        ),
    ],
)
def test_a_value_inside_an_item_is_refused_with_its_path(item, path):
    assert refusal(item) == f"items[0].{path}"


def test_a_tool_has_the_fields_of_the_document_and_of_the_package():
    tool = {"type": "function", "name": "f", "parameters": {"default": None}}
    assert refusal({"type": "tool_search_output", "tools": [{**tool, "async": True}]}) is None
    assert refusal({"type": "tool_search_output", "tools": [{**tool, "mood": 1}]}) == "items[0].tools[0].mood"
