"""The emulator's schema beside the types of the openai package: each difference is here, with its reason."""

import types
import typing
from importlib.metadata import version

import pytest
import typing_extensions
from openai.types.conversations import ConversationItem
from openai.types.responses import (
    ResponseIncludable,
    ResponseInputItemParam,
    input_token_count_params,
    response_compact_params,
    response_create_params,
)

from openai_sessions.emulator._schema import INCLUDE, ITEM_TYPES, MESSAGES, NOTHING_ADDED, REQUESTS

NEWEST = (3, 57)

pytestmark = pytest.mark.skipif(
    tuple(map(int, version("openai").split(".")[:2])) < NEWEST,
    reason="the public schema is newer than the installed package",
)

SVG = {"gif", "svg"} | {"jpeg", "png", "webp"}

DIFFERENCES = {
    # Output of a model: what comes back is not checked for its values.
    ("image_generation_call.action", "choices"): ({"auto", "edit", "generate"}, set()),
    ("image_generation_call.background", "choices"): ({"auto", "opaque", "transparent"}, set()),
    ("image_generation_call.output_format", "choices"): (SVG, set()),
    ("image_generation_call.quality", "choices"): (
        {"auto", "high", "low", "max", "medium", "xhigh"},
        set(),
    ),
    # The document requires them of a listed item, and describes them nowhere.
    ("local_shell_call_output", "fields"): (set(), {"call_id"}),
    ("mcp_approval_response", "fields"): (set(), {"request_id"}),
    # The package has any object there, because it cannot refer to itself.
    ("tool_search_output.tools[].file_search.filters.and.filters[]", "types"): (set(), {"and", "or"}),
    ("response.tools[].file_search.filters.and.filters[]", "types"): (set(), {"and", "or"}),
    # Recorded.
    ("file_search_call.results[]", "fields"): (set(), {"vector_store_id"}),
    ("web_search_call.action.search.sources[]", "types"): (set(), {"api"}),
    ("response", "fields"): (set(), {"frequency_penalty", "presence_penalty"}),
    # The package has a class for each.
    ("response.stream", "choices"): ({True, False}, set()),
    # Sent by older versions of the package, and by the Agents SDK.
    ("response.prompt_cache_retention", "choices"): (set(), {"in-memory"}),
    ("response.tool_choice", "types"): (set(), {"web_search", "web_search_2025_08_26"}),
    # The package has them in one of two types of the same name.
    ("compaction.prompt_cache_options", "fields"): (set(), {"comparison_response_id", "prewarm"}),
    ("compaction.prompt_cache_options.ttl", "choices"): (set(), {"12h"}),
}
"""What only the package has, and what only the emulator has."""


def leaves(annotation):
    """Return the types that an annotation is made of, without Required, Annotated and unions."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin in {typing_extensions.Required, typing_extensions.NotRequired, typing.Annotated}:
        return leaves(arguments[0])
    if origin in {typing.Union, types.UnionType}:
        return [leaf for each in arguments for leaf in leaves(each)]
    return [annotation]


def choices(annotations):
    """Return the literals of annotations, or nothing if any string will do."""
    found = [leaf for each in annotations for leaf in leaves(each)]
    literals = {value for leaf in found for value in typing.get_args(leaf) if is_literal(leaf)}
    return set() if str in found else literals


def is_literal(leaf):
    return typing.get_origin(leaf) is typing.Literal


def fields(typed_dict):
    return typing_extensions.get_type_hints(typed_dict, include_extras=True)


def by_type(typed_dicts):
    groups = {}
    for each in typed_dicts:
        for name in choices([fields(each)["type"]]) if "type" in fields(each) else ():
            groups.setdefault(name, []).append(each)
    return groups


class Comparison:
    """The differences of shapes and TypedDicts, by path and kind."""

    def __init__(self):
        self.found = {}
        self._done = set()

    def sets(self, path, kind, theirs, ours):
        if theirs != ours:
            self.found[path, kind] = (theirs - ours, ours - theirs)

    def shapes(self, path, typed_dicts, shape, *, without=("type",)):
        if (*map(id, typed_dicts), id(shape)) in self._done:
            return
        self._done.add((*map(id, typed_dicts), id(shape)))
        theirs = {}
        for each in typed_dicts:
            for name, annotation in fields(each).items():
                theirs.setdefault(name, []).append(annotation)
        ours = {**shape.required, **shape.optional}
        self.sets(path, "fields", theirs.keys() - set(without), ours.keys() - set(without))
        for name in sorted(theirs.keys() & ours.keys() - set(without)):
            self.values(f"{path}.{name}", theirs[name], ours[name])

    def values(self, path, annotations, value):
        found = [leaf for each in annotations for leaf in leaves(each)]
        self.sets(path, "choices", choices(annotations), set(value.choices))
        typed_dicts = [leaf for leaf in found if typing_extensions.is_typeddict(leaf)]
        if value.variants:
            groups = by_type(typed_dicts)
            self.sets(path, "types", set(groups), set(value.variants))
            for name in sorted(groups.keys() & value.variants.keys()):
                self.shapes(f"{path}.{name}", groups[name], value.variants[name])
        elif value.shape and typed_dicts:
            self.shapes(path, typed_dicts, value.shape)
        elements = [typing.get_args(leaf)[0] for leaf in found if is_list(leaf)]
        if elements and value.elements:
            self.values(f"{path}[]", elements, value.elements)


def is_list(leaf):
    return getattr(typing.get_origin(leaf), "__name__", "") in {"list", "Iterable", "Sequence"}


ITEMS = by_type(leaves(ResponseInputItemParam))


def test_types_of_items_are_those_of_the_package():
    assert {"message", *ITEM_TYPES, *NOTHING_ADDED} == ITEMS.keys()


def test_types_of_listed_items_are_those_of_the_package():
    models = typing.get_args(typing.get_args(ConversationItem)[0])
    listed = {name for each in models for name in typing.get_args(each.model_fields["type"].annotation)}
    assert {"message", *ITEM_TYPES} == listed


def test_values_of_include_are_those_of_the_package():
    assert set(INCLUDE) == set(typing.get_args(ResponseIncludable))


def test_fields_and_enums_are_those_of_the_package():
    comparison = Comparison()
    for name, item_type in ITEM_TYPES.items():
        comparison.shapes(name, ITEMS[name], item_type.shape, without=("id", "type"))
    for role, item_type in MESSAGES.items():
        messages = [each for each in ITEMS["message"] if role in choices([fields(each)["role"]])]
        comparison.shapes(f"message.{role}", messages, item_type.shape, without=("id", "type"))
    for name, requests in {
        "response": [
            response_create_params.ResponseCreateParamsNonStreaming,
            response_create_params.ResponseCreateParamsStreaming,
        ],
        "count": [input_token_count_params.InputTokenCountParams],
        "compaction": [response_compact_params.ResponseCompactParams],
    }.items():
        comparison.shapes(name, requests, REQUESTS[name], without=("input",))
    assert DIFFERENCES == comparison.found
