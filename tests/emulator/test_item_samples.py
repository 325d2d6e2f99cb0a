"""Every sample under `fixtures/items`: created, listed, held to openai's models and to the document."""

import typing

import pytest
from openai.types.conversations import Conversation, ConversationDeletedResource, ConversationItem
from openai.types.conversations.conversation_item import McpCall
from pydantic import TypeAdapter

from openai_sessions.emulator import Emulator
from openai_sessions.emulator._items import INCLUDABLE
from openai_sessions.emulator._schema import ITEM_TYPES
from tests.fixtures.documents import listed_validators
from tests.fixtures.samples import SAMPLE_NAMES, sample

from .wire import Wire, user

EVERYTHING = {"include[]": list(INCLUDABLE)}
LISTED_ONLY = ("message_listed_only_parts",)
BEYOND_DOCUMENT = ("configuration_update",)
"""Types that the openai package has and the public document has not."""

CREATABLE = tuple(name for name in SAMPLE_NAMES if name not in LISTED_ONLY)


def create_form(item):
    """Return the item without what only lists carry: `created_by`, at any depth, and a null status."""
    form = {
        key: value for key, value in item.items() if key != "created_by" and (key, value) != ("status", None)
    }
    if item["type"] == "shell_call_output":
        form["output"] = [_without_creator(each) for each in item["output"]]
    return form


def _without_creator(value):
    return {key: each for key, each in value.items() if key != "created_by"}


def modelled_types():
    """Return the values of `type` that the installed openai has a model of a listed item for."""
    union = typing.get_args(ConversationItem)[0]
    annotations = (model.model_fields["type"].annotation for model in typing.get_args(union))
    return {name for annotation in annotations for name in typing.get_args(annotation)}


def beyond_the_model(item):
    takes_a_string = McpCall.model_fields["error"].annotation == typing.Optional[str]  # noqa: UP045 - compared
    return takes_a_string and isinstance(item.get("error"), dict)


@pytest.mark.parametrize("name", CREATABLE)
async def test_sample_is_listed_as_it_was_given(wire, conversation, name):
    form = create_form(sample(name))
    created = await wire.add_one(conversation, form, **EVERYTHING)
    _, page = await wire.list(conversation, **EVERYTHING)
    assert page["data"] == [created]
    assert created == form


@pytest.mark.parametrize("name", CREATABLE)
async def test_sample_without_its_id_gets_one_of_the_same_prefix(wire, conversation, name):
    form = create_form(sample(name))
    prefix = form.pop("id").split("_")[0]
    status, answer = await wire.add(conversation, form)
    if status == 400:
        assert answer["error"]["code"] == "missing_required_parameter"
        assert answer["error"]["param"] == "items[0].id"
    else:
        assert answer["data"][0]["id"].split("_")[0] == prefix


@pytest.mark.parametrize("name", LISTED_ONLY)
async def test_sample_that_only_lists_have_is_refused(wire, conversation, name):
    assert await wire.refusal(conversation, sample(name)) == ("invalid_value", "items[0].role")


async def test_a_newer_type_needs_a_newer_service(wire, conversation):
    item = {"type": "hologram", "id": "holo_" + "0" * 48, "beam": None}
    with Emulator(accept_unknown_types=True) as newer:
        newer_wire = Wire(newer)
        assert await newer_wire.add_one(await newer_wire.new_conversation(), item) == item
    assert await wire.refusal(conversation, item) == ("invalid_value", "items[0].type")


@pytest.mark.parametrize("asked", [{}, EVERYTHING], ids=["bare", "everything"])
@pytest.mark.parametrize("name", [name for name in CREATABLE if name not in BEYOND_DOCUMENT])
async def test_listed_sample_matches_the_document(wire, conversation, name, asked):
    validator = listed_validators()[sample(name)["type"]]
    created = await wire.add_one(conversation, create_form(sample(name)), **asked)
    assert [error.message for error in validator.iter_errors(created)] == []


@pytest.mark.parametrize("asked", [{}, EVERYTHING], ids=["bare", "everything"])
@pytest.mark.parametrize("name", CREATABLE)
async def test_listed_sample_is_an_item_of_the_installed_openai(wire, conversation, name, asked):
    if sample(name)["type"] not in modelled_types():
        pytest.skip("the installed openai has no model of this type")
    if beyond_the_model(sample(name)):
        pytest.skip("the installed openai takes the error of an MCP call for a string")
    created = await wire.add_one(conversation, create_form(sample(name)), **asked)
    item = TypeAdapter(ConversationItem).validate_python(created)
    assert item.type == created["type"]


async def test_every_type_of_the_document_can_be_created():
    assert {*listed_validators(), *BEYOND_DOCUMENT} == {"message", *ITEM_TYPES}


async def test_what_newer_packages_list_of_an_image_or_a_call_can_be_created(wire, conversation):
    image = {**sample("image_generation_call"), "revised_prompt": "a cat", "quality": "high", "error": None}
    call = {**create_form(sample("function_call")), "async": True}
    for item in (image, call):
        assert await wire.add_one(conversation, item) == item


async def test_conversations_are_those_of_the_installed_openai(wire):
    _, created = await wire.post("/conversations", {"metadata": {"topic": "test"}})
    _, deleted = await wire.delete(f"/conversations/{created['id']}")
    assert created == Conversation.model_validate(created, strict=True).model_dump()
    assert deleted == ConversationDeletedResource.model_validate(deleted, strict=True).model_dump()


async def test_page_matches_the_document(wire, conversation):
    """The document wants strings for the ids of a page; an empty page, of which it says nothing, has null."""
    _, page = await wire.add(conversation, user("Hello"))
    types = {"object": str, "data": list, "first_id": str, "has_more": bool, "last_id": str}
    assert {key: type(value) for key, value in page.items()} == types
