"""Each sample in `fixtures/items`: created, listed, valid for the openai package and the API's document."""

import functools
import itertools
import typing

import pytest
from openai.types.conversations import Conversation, ConversationDeletedResource, ConversationItem
from openai.types.conversations.conversation_item import McpCall
from pydantic import TypeAdapter

from openai_sessions.emulator import Emulator
from openai_sessions.emulator._schema import INCLUDE, ITEM_TYPES
from tests.fixtures.documents import listed_validators
from tests.fixtures.samples import SAMPLE_NAMES, sample

from .wire import Wire, user

EVERYTHING = {"include[]": list(INCLUDE)}
LISTED_ONLY = ("message_listed_only_parts",)
BEYOND_DOCUMENT = ("configuration_update",)
"""Types of the openai package that the public document lacks."""

CREATABLE = tuple(name for name in SAMPLE_NAMES if name not in LISTED_ONLY)


def create_form(item):
    """Return the item without fields that only lists contain: `created_by` at any depth, a null status."""
    form = {
        key: value for key, value in item.items() if key != "created_by" and (key, value) != ("status", None)
    }
    if item["type"] == "shell_call_output":
        form["output"] = [_without_creator(each) for each in item["output"]]
    return form


def _without_creator(value):
    return {key: each for key, each in value.items() if key != "created_by"}


@functools.cache
def item_adapter():
    return TypeAdapter(ConversationItem)


def has_model(item):
    """Return whether the installed openai has a model of the item; in older ones, MCP errors are strings."""
    union = typing.get_args(ConversationItem)[0]
    annotations = (model.model_fields["type"].annotation for model in typing.get_args(union))
    types = {name for annotation in annotations for name in typing.get_args(annotation)}
    takes_a_string = McpCall.model_fields["error"].annotation == typing.Optional[str]  # noqa: UP045 - compared
    return item["type"] in types and not (takes_a_string and isinstance(item.get("error"), dict))


@pytest.mark.parametrize("name", CREATABLE)
async def test_sample_is_listed_as_given(wire, name):
    """It is an item of the openai package, and without its id it gets one with the same prefix."""
    form = create_form(sample(name))
    full, bare, other = [await wire.new_conversation() for _ in range(3)]
    created = await wire.add_one(full, form, **EVERYTHING)
    _, page = await wire.list(full, **EVERYTHING)
    _, read = await wire.get(f"/conversations/{full}/items/{form['id']}", **EVERYTHING)
    assert (form, [form], form) == (created, page["data"], read)
    for each in (created, await wire.add_one(bare, form)) if has_model(form) else ():
        assert item_adapter().validate_python(each).type == form["type"]
    prefix = form.pop("id").split("_")[0]
    status, answer = await wire.add(other, form)
    if status == 400:
        assert ("missing_required_parameter", "items[0].id") == (
            answer["error"]["code"],
            answer["error"]["param"],
        )
    else:
        assert answer["data"][0]["id"].split("_")[0] == prefix


async def test_listed_samples_match_the_document(wire):
    """With every `include` and with none."""
    validators = listed_validators()
    names = [name for name in CREATABLE if sample(name)["type"] not in BEYOND_DOCUMENT]
    for name, include in itertools.product(names, ({}, EVERYTHING)):
        created = await wire.add_one(await wire.new_conversation(), create_form(sample(name)), **include)
        errors = [error.message for error in validators[created["type"]].iter_errors(created)]
        assert (name, []) == (name, errors)


@pytest.mark.parametrize("name", LISTED_ONLY)
async def test_list_only_sample_is_refused(wire, conversation, name):
    assert await wire.refusal(conversation, sample(name)) == ("invalid_value", "items[0].role")


async def test_unknown_type_needs_a_newer_service(wire, conversation):
    item = {"type": "hologram", "id": "holo_" + "0" * 48, "beam": None}
    with Emulator(accept_unknown_types=True) as newer:
        newer_wire = Wire(newer)
        assert await newer_wire.add_one(await newer_wire.new_conversation(), item) == item
    assert await wire.refusal(conversation, item) == ("invalid_value", "items[0].type")


def test_every_type_has_a_sample():
    assert {sample(name)["type"] for name in CREATABLE} == {"message", *ITEM_TYPES}


async def test_every_type_of_the_document_can_be_created():
    assert {*listed_validators(), *BEYOND_DOCUMENT} == {"message", *ITEM_TYPES}


async def test_fields_of_newer_packages_can_be_created(wire, conversation):
    image = {**sample("image_generation_call"), "revised_prompt": "a cat", "quality": "high", "error": None}
    call = {**create_form(sample("function_call")), "async": True}
    for item in (image, call):
        assert await wire.add_one(conversation, item) == item


async def test_conversations_are_valid_for_the_openai_package(wire):
    _, created = await wire.post("/conversations", {"metadata": {"topic": "test"}})
    _, deleted = await wire.delete(f"/conversations/{created['id']}")
    assert created == Conversation.model_validate(created, strict=True).model_dump()
    assert deleted == ConversationDeletedResource.model_validate(deleted, strict=True).model_dump()


async def test_page_matches_the_document(wire, conversation):
    """The document requires strings as the ids of a page, and does not mention empty pages."""
    _, page = await wire.add(conversation, user("Hello"))
    types = {"object": str, "data": list, "first_id": str, "has_more": bool, "last_id": str}
    assert {key: type(value) for key, value in page.items()} == types
