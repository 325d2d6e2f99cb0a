"""What becomes of the messages of Agent Framework in a conversation."""

import logging

import pytest

pytest.importorskip("agent_framework", reason="agent-framework-openai is not installed")

from agent_framework import Annotation, Content, Message, TextSpanRegion

from openai_sessions import OpenAIConversationsSession
from openai_sessions.adapters.agent_framework import OpenAIConversationsHistoryProvider

PNG = "data:image/png;base64,iVBORw0KGgo="

CITATION = Annotation(
    type="citation",
    title="Bridges",
    url="https://example.com/bridges",
    annotated_regions=[TextSpanRegion(type="text_span", start_index=0, end_index=4)],
)


def approval(request_id):
    call = Content.from_function_call(
        request_id, "search", arguments='{"q":"x"}', hosted=True, server_name="docs"
    )
    return Content.from_function_approval_request(request_id, call)


APPROVAL, OTHER_APPROVAL = approval("mcpr_1"), approval("mcpr_2")

EQUAL = {
    "text": Message("user", ["Hello"]),
    "two texts": Message("user", ["Hello", "again"]),
    "system": Message("system", ["Be brief."]),
    "developer": Message("developer", ["Be brief."]),
    "answer": Message("assistant", ["Hi there!"]),
    "answer in two parts": Message("assistant", ["Hi", "there!"]),
    "citation": Message("assistant", [Content.from_text("Here", annotations=[CITATION])]),
    "refusal": Message(
        "assistant",
        [
            Content.from_text(
                "No.",
                additional_properties={
                    "core": {"model_output_kind": "refusal"},
                    "model_output_kind": "refusal",
                },
            )
        ],
    ),
    "image": Message(
        "user", ["Look:", Content.from_uri("https://example.com/a.png", media_type="image/png")]
    ),
    "image in data": Message("user", [Content.from_uri(PNG)]),
    "image in detail": Message(
        "user", [Content.from_uri(PNG, additional_properties={"openai": {"image_detail": "high"}})]
    ),
    "image elsewhere": Message("user", [Content.from_hosted_file("file_1", media_type="image/*")]),
    "file": Message("user", [Content.from_data(b"%PDF", "application/pdf", name="a.pdf")]),
    "file on the web": Message(
        "user", [Content.from_uri("https://example.com/a.pdf?x=1", media_type="application/pdf")]
    ),
    "file elsewhere": Message("user", [Content.from_hosted_file("file_1")]),
    "call": Message("assistant", [Content.from_function_call("call_1", "add", arguments='{"a": 1}')]),
    "text and calls": Message(
        "assistant",
        [
            "One moment.",
            Content.from_function_call("call_1", "add", arguments='{"a": 1}'),
            Content.from_function_call("call_2", "add", arguments='{"a": 2}'),
        ],
    ),
    "results": Message(
        "tool",
        [
            Content.from_function_result("call_1", result="3"),
            Content.from_function_result("call_2", result=[Content.from_text("4"), Content.from_uri(PNG)]),
            Content.from_function_result("call_3", result=[Content.from_text("5"), Content.from_text("6")]),
            Content.from_function_result("call_4", result={"sum": 7}),
            Content.from_function_result("call_5"),
        ],
    ),
    "approvals": Message("assistant", [APPROVAL, OTHER_APPROVAL]),
    "text again": Message("user", ["Yes."]),
    "approved": Message("user", [APPROVAL.to_function_approval_response(approved=True)]),
    "refused": Message("user", [OTHER_APPROVAL.to_function_approval_response(approved=False)]),
}
"""Messages that come back equal, in an order in which a conversation could have them."""


@pytest.fixture
def provider(emulator):
    return OpenAIConversationsHistoryProvider(openai_client=emulator.client())


async def saved(provider, *messages):
    """Store messages, and return those that are read, as dicts."""
    state = {}
    await provider.save_messages("s", messages, state=state)
    return [message.to_dict() for message in await provider.get_messages("s", state=state)]


async def test_messages_come_back_equal_and_are_fixed_points(provider, caplog):
    given = [message.to_dict() for message in EQUAL.values()]
    assert given == await saved(provider, *EQUAL.values())
    assert given == await saved(provider, *map(Message.from_dict, given))
    assert [] == caplog.records


async def test_reasoning_comes_back_with_the_id_under_which_it_is_stored(provider, emulator):
    state = {}
    contents = [
        Content.from_text_reasoning(id="rs_1", text="First.", protected_data="gAAAA"),
        Content.from_text_reasoning(id="rs_1", text="Second."),
        Content.from_text_reasoning(id="rs_2", text="", protected_data="gAAAB"),
        Content.from_text("Done."),
    ]
    await provider.save_messages("s", [Message("assistant", contents)], state=state)

    first, second, answer = emulator.items(state["conversation_id"])
    assert [
        {"type": "summary_text", "text": "First."},
        {"type": "summary_text", "text": "Second."},
    ] == first["summary"]
    (message,) = await provider.get_messages("s", state=state)
    for content, item in zip(contents, (first, first, second), strict=False):
        content.id = item["id"]
    assert ("message", contents) == (answer["type"], message.contents)


async def test_reasoning_text_comes_back(provider, emulator):
    marked = {"reasoning_text": True}
    content = Content.from_text_reasoning(
        id="rs_1", text="Well.", protected_data="gAAAA", additional_properties=marked
    )
    (message,) = await saved(provider, Message("assistant", [content, "Done."]))
    read = message["contents"][0]
    assert ("Well.", marked, "gAAAA") == (read["text"], read["additional_properties"], read["protected_data"])


async def test_what_the_framework_keeps_for_itself_does_not_come_back(provider):
    """The page of the documentation lists it."""
    call = Content.from_function_call("call_1", "add", arguments={"a": 1}, status="completed", id="af-call-1")
    result = Content.from_function_result(
        "call_1", result="Error.", exception="ValueError", status="completed"
    )
    regions = CITATION["annotated_regions"]
    of_a_file = Annotation(type="citation", url="a.pdf", file_id="file_1", annotated_regions=regions)
    nowhere = Annotation(type="citation", url="a", annotated_regions=[TextSpanRegion(type="text_span")])
    given = [
        Message("user", ["Hello"], author_name="ann", message_id="1", additional_properties={"a": 1}),
        Message("assistant", [call], author_name="Adder"),
        Message("tool", [result, Content("function_result", call_id="call_2")]),
        Message("assistant", [Content.from_text("Here", annotations=[of_a_file, nowhere])]),
        Message("user", [Content.from_uri("https://example.com/a", media_type="image/png")]),
    ]
    read = [
        Message("user", ["Hello"]),
        Message("assistant", [Content.from_function_call("call_1", "add", arguments='{"a": 1}')]),
        Message(
            "tool",
            [
                Content.from_function_result("call_1", result="Error."),
                Content.from_function_result("call_2", result=""),
            ],
        ),
        Message("assistant", ["Here"]),
        Message("user", [Content.from_uri("https://example.com/a", media_type="image/*")]),
    ]
    assert [message.to_dict() for message in read] == await saved(provider, *given)


async def test_messages_of_one_role_are_joined_where_items_do_not_tell(provider):
    given = [
        Message("assistant", [Content.from_function_call("call_1", "add", arguments="{}")]),
        Message("assistant", [Content.from_function_call("call_2", "add", arguments="{}")]),
        Message("tool", [Content.from_function_result("call_1", result="1")]),
        Message("tool", [Content.from_function_result("call_2", result="2")]),
        Message("assistant", ["Done."]),
        Message("assistant", ["Really."]),
    ]
    assert [2, 2, 1, 1] == [len(message["contents"]) for message in await saved(provider, *given)]


async def test_contents_without_an_item_are_left_out_and_logged(provider, caplog):
    lost = [
        Content.from_usage({"input_token_count": 1}),
        Content.from_error(message="It failed."),
        Content.from_text_reasoning(text="Of another provider.", protected_data="signature"),
        Content.from_uri(PNG),
        Content.from_function_call("ctc_1", "grep", arguments="x", hosted=True),
    ]
    stored_elsewhere = Content.from_function_result(
        "call_2", result=[Content.from_hosted_vector_store("vs_1")]
    )
    sound = Content.from_function_result("call_1", result=[Content.from_data(b"RIFF", "audio/wav")])
    nothing = [Content.from_function_result(call_id, result="") for call_id in ("call_1", "call_2")]
    assert [Message("assistant", ["Hi"]).to_dict(), Message("tool", nothing).to_dict()] == await saved(
        provider, Message("assistant", [*lost, "Hi"]), Message("tool", [sound, stored_elsewhere])
    )
    (record,) = caplog.records
    assert (logging.WARNING, "openai_sessions") == (record.levelno, record.name)
    assert (
        "contents that no item can hold were left out: data, error, function_call, hosted_vector_store, "
        "text_reasoning"
    ) == record.getMessage()


async def test_items_of_others_are_read_as_far_as_the_framework_knows_them(emulator, caplog):
    session = OpenAIConversationsSession(openai_client=emulator.client())
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    }
    await session.add_items(
        [{"role": "user", "content": "Hello"}, search, {"role": "assistant", "content": "Hi"}]
    )
    provider = OpenAIConversationsHistoryProvider(openai_client=emulator.client())
    with caplog.at_level(logging.INFO, "openai_sessions"):
        read = await provider.get_messages("s", state={"conversation_id": session.session_id})
    assert [("user", "Hello"), ("assistant", "Hi")] == [(message.role, message.text) for message in read]
    assert (
        "an item of type web_search_call was left out: Agent Framework has no content for it" in caplog.text
    )
