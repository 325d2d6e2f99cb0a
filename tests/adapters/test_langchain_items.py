"""What becomes of the messages of LangChain in a conversation."""

import logging

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)

from openai_sessions import OpenAIConversationsSession
from openai_sessions.adapters._langchain_items import to_messages
from openai_sessions.adapters.langchain import OpenAIConversationsChatMessageHistory

URL = "https://example.com/a.png"

OPENAI = {"model_provider": "openai"}

REASONING = {
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Well."}],
    "encrypted_content": "gAAAA",
}

MORE_REASONING = {**REASONING, "encrypted_content": "gAAAB"}

SEARCH = {
    "type": "web_search_call",
    "id": "ws_1",
    "action": {"type": "search", "query": "bridges", "sources": []},
    "status": "completed",
}

CITED = {
    "type": "text",
    "text": "Here",
    "annotations": [
        {"type": "url_citation", "url": URL, "title": "A", "start_index": 0, "end_index": 4},
        {"type": "file_citation", "file_id": "file_1", "filename": "a.pdf", "file_index": 4},
    ],
}

CALL = {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": '{"a":1}'}

TOOL_CALL = {"name": "add", "args": {"a": 1}, "id": "call_1", "type": "tool_call"}

CUSTOM_CALL = {"type": "custom_tool_call", "call_id": "call_2", "name": "grep", "input": "x"}

CUSTOM_OUTPUT = {"type": "custom_tool_call_output", "call_id": "call_2", "output": "y"}

APPROVAL = {
    "type": "mcp_approval_request",
    "id": "mcpr_1",
    "server_label": "docs",
    "name": "search",
    "arguments": "{}",
}

APPROVED = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}

EQUAL = [
    SystemMessage("Be brief."),
    SystemMessage("Be polite.", additional_kwargs={"__openai_role__": "developer"}),
    HumanMessage("Hello"),
    AIMessage("Hi there!"),
    AIMessage("Again!"),
    HumanMessage([{"type": "text", "text": "Look:"}, {"type": "image", "url": URL}]),
    HumanMessage([{"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}]),
    HumanMessage([{"type": "image", "url": URL, "extras": {"detail": "high"}}]),
    HumanMessage([{"type": "image", "file_id": "file_1"}]),
    HumanMessage(
        [
            {
                "type": "file",
                "base64": "JVBERg==",
                "mime_type": "application/pdf",
                "extras": {"filename": "a.pdf"},
            }
        ]
    ),
    HumanMessage(
        [{"type": "file", "url": "https://example.com/a.pdf"}, {"type": "file", "file_id": "file_1"}]
    ),
    AIMessage("", tool_calls=[TOOL_CALL, {**TOOL_CALL, "id": "call_3", "args": {"a": "\u00e9"}}]),
    ToolMessage("2", tool_call_id="call_1"),
    ToolMessage([{"type": "text", "text": "3"}, {"type": "image", "url": URL}], tool_call_id="call_3"),
    AIMessage(
        "One moment.",
        invalid_tool_calls=[
            {
                "name": "add",
                "args": "{",
                "id": "call_4",
                "error": "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
                "type": "invalid_tool_call",
            }
        ],
    ),
    ToolMessage("Wrong arguments.", tool_call_id="call_4"),
    AIMessage([REASONING, MORE_REASONING, SEARCH, REASONING, CITED], response_metadata=OPENAI),
    HumanMessage("Add one."),
    AIMessage("", tool_calls=[TOOL_CALL]),
    AIMessage("Never mind."),
    AIMessage(
        [REASONING, {"type": "text", "text": "Wait.", "phase": "commentary"}, CALL],
        tool_calls=[TOOL_CALL],
        response_metadata=OPENAI,
    ),
    ToolMessage("2", tool_call_id="call_1"),
    AIMessage(
        [CUSTOM_CALL],
        tool_calls=[{"name": "grep", "args": {"__arg1": "x"}, "id": "call_2", "type": "tool_call"}],
        response_metadata=OPENAI,
    ),
    ToolMessage([{"type": "non_standard", "value": CUSTOM_OUTPUT}], tool_call_id="call_2"),
    AIMessage([APPROVAL], response_metadata=OPENAI),
    HumanMessage([APPROVED]),
    AIMessage([{"type": "refusal", "refusal": "No."}], response_metadata=OPENAI),
    AIMessage([{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}], response_metadata=OPENAI),
]
"""Messages that come back equal, in an order in which a conversation could have them."""


@pytest.fixture
async def session(emulator):
    async with OpenAIConversationsSession(openai_client=emulator.client()) as session:
        yield session


@pytest.fixture
def history(session):
    return OpenAIConversationsChatMessageHistory(session)


async def saved(history, *messages):
    await history.aadd_messages(messages)
    return await history.aget_messages()


async def test_messages_come_back_equal_and_are_fixed_points(history, caplog):
    assert EQUAL == await saved(history, *EQUAL)
    read = await history.aget_messages()
    await history.aclear()
    assert EQUAL == await saved(history, *read)
    assert [] == caplog.records


async def test_other_forms_come_back_in_the_standard_one(history, session, emulator):
    given = [
        HumanMessage([{"type": "text", "text": "Hello"}]),
        HumanMessage([{"type": "image_url", "image_url": {"url": URL, "detail": "low"}}]),
        HumanMessage(["Look:", {"type": "input_image", "image_url": URL}]),
        HumanMessage([{"type": "text-plain", "text": "Notes", "mime_type": "text/plain"}, "and more"]),
        ChatMessage("Be brief.", role="developer"),
        ChatMessage("Hi", role="assistant"),
        AIMessageChunk([{"type": "text", "text": "Hi", "index": 0}, {**REASONING, "index": 1}]),
        AIMessage("", additional_kwargs={"refusal": "No."}),
        AIMessage(
            [{"type": "text", "text": "One", "id": "msg_1"}, {"type": "text", "text": "Two", "id": "msg_2"}]
        ),
    ]
    read = [
        HumanMessage("Hello"),
        HumanMessage([{"type": "image", "url": URL, "extras": {"detail": "low"}}]),
        HumanMessage([{"type": "text", "text": "Look:"}, {"type": "image", "url": URL}]),
        HumanMessage([{"type": "text", "text": "Notes"}, {"type": "text", "text": "and more"}]),
        SystemMessage("Be brief.", additional_kwargs={"__openai_role__": "developer"}),
        AIMessage("Hi"),
        AIMessage("Hi"),
        AIMessage([REASONING, {"type": "refusal", "refusal": "No."}], response_metadata=OPENAI),
        AIMessage("One"),
        AIMessage("Two"),
    ]
    assert read == await saved(history, *given)
    said = [item for item in emulator.items(session.session_id) if item.get("role") == "assistant"]
    assert {"output_text", "refusal"} == {part["type"] for item in said for part in item["content"]}


async def test_standard_blocks_of_a_model_become_items(history, session):
    """What `ChatOpenAI(output_version="v1")` returns."""
    message = AIMessage(
        [
            {"type": "reasoning", "id": "rs_1", "reasoning": "First.", "encrypted_content": "gAAAA"},
            {"type": "reasoning", "id": "rs_1", "reasoning": "Second."},
            {"type": "reasoning", "id": "rs_2", "extras": {"encrypted_content": "gAAAB"}},
            {
                "type": "text",
                "text": "Here",
                "id": "msg_1",
                "annotations": [
                    {"type": "citation", "url": URL, "title": "A", "start_index": 0, "end_index": 4},
                    {
                        "type": "non_standard_annotation",
                        "value": {"type": "file_path", "file_id": "file_1", "index": 0},
                    },
                ],
            },
            {"type": "text", "text": " and there", "id": "msg_1"},
            {"type": "tool_call", "id": "call_1", "name": "add", "args": {"a": 1}},
            {"type": "non_standard", "value": {**CUSTOM_CALL, "index": 5}},
        ],
        tool_calls=[TOOL_CALL],
        response_metadata={"output_version": "v1", **OPENAI},
    )
    await history.aadd_messages([message])
    first, second, text, custom, call = await session.get_items()
    assert ["First.", "Second."] == [part["text"] for part in first["summary"]]
    assert ("gAAAA", "gAAAB") == (first["encrypted_content"], second["encrypted_content"])
    assert ["Here", " and there"] == [part["text"] for part in text["content"]]
    assert ["url_citation", "file_path"] == [each["type"] for each in text["content"][0]["annotations"]]
    assert (CUSTOM_CALL, CALL) == (custom, call)


async def test_what_only_langchain_knows_does_not_come_back(history):
    """The page of the documentation lists it."""
    given = [
        HumanMessage("Hello", id="1", name="ann", additional_kwargs={"a": 1}),
        AIMessage(
            "Hi",
            id="2",
            name="bot",
            usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            response_metadata={"model_name": "gpt-5"},
        ),
        ToolMessage("3", tool_call_id="call_1", name="add", artifact=[3], status="error"),
        HumanMessage(""),
    ]
    assert [HumanMessage("Hello"), AIMessage("Hi"), ToolMessage("3", tool_call_id="call_1")] == await saved(
        history, *given
    )


async def test_blocks_without_an_item_are_left_out_and_logged(history, caplog):
    given = [
        HumanMessage(["Hear:", {"type": "audio", "base64": "UklGRg==", "mime_type": "audio/wav"}]),
        AIMessage(
            [
                {"type": "thinking", "thinking": "Of another provider.", "signature": "x"},
                {"type": "reasoning", "reasoning": "Of another provider."},
                {"type": "text", "text": "Hi", "annotations": [{"type": "citation", "title": "A book"}]},
                {"type": "tool_use", "id": "call_1", "name": "add", "input": {"a": 1}},
            ],
            tool_calls=[TOOL_CALL],
        ),
        ToolMessage([{"type": "video", "url": URL}, "2"], tool_call_id="call_1"),
    ]
    assert [
        HumanMessage("Hear:"),
        AIMessage("Hi", tool_calls=[TOOL_CALL]),
        ToolMessage([{"type": "text", "text": "2"}], tool_call_id="call_1"),
    ] == await saved(history, *given)
    (record,) = caplog.records
    assert (logging.WARNING, "openai_sessions") == (record.levelno, record.name)
    assert (
        "blocks that no item can hold were left out: annotations, audio, reasoning, thinking, video"
    ) == record.getMessage()


async def test_history_of_others_is_read(history, session):
    """Such as what an agent of the Agents SDK stored."""
    await session.add_items(
        [
            {"role": "assistant", "content": "before the compaction item"},
            {"type": "compaction", "encrypted_content": "gAAAC"},
            {"role": "user", "content": "Hello"},
            REASONING,
            CALL,
            {"type": "function_call_output", "call_id": "call_1", "output": "2"},
            {"role": "assistant", "content": "Two."},
            {"type": "function_call", "call_id": "call_5", "name": "list", "arguments": "[]"},
        ]
    )
    summary, human, called, output, answer = await history.aget_messages()
    assert ["compaction"] == [block["type"] for block in summary.content]
    assert (HumanMessage("Hello"), ToolMessage("2", tool_call_id="call_1")) == (human, output)
    assert ([REASONING, CALL], [TOOL_CALL]) == (called.content, called.tool_calls)
    assert answer.content == "Two."
    assert ["not a JSON object"] == [call["error"] for call in answer.invalid_tool_calls]


def test_part_of_an_unknown_type_is_passed_on():
    part = {"type": "input_hologram", "text": "Hello"}
    assert [HumanMessage([part])] == to_messages([{"type": "message", "role": "user", "content": [part]}])


async def test_messages_of_chat_completions_become_items(history):
    given = convert_to_messages(
        [("human", "Hello"), ("ai", "Hi"), {"role": "developer", "content": "Be brief."}]
    )
    assert given == await saved(history, *given)
