"""Messages, conversations and requests of the tests."""

from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart


def asked(text, **fields):
    return ModelRequest(parts=[UserPromptPart(text)], **fields)


def answered(text, **fields):
    return ModelResponse(parts=[TextPart(text)], **fields)


def turn(number):
    return [asked(f"question {number}"), answered(f"answer {number}")]


def conversation(*turns, conversation_id="7f3a"):
    messages = [message for number in turns for message in turn(number)]
    return Conversation(messages=messages, conversation_id=conversation_id)


def said(messages):
    """Return the text of each message."""
    return [message.parts[0].content for message in messages]


async def next_turn(store, number, conversation_id="7f3a", **options):
    """Load a conversation, add a turn, and return it unsaved."""
    loaded = await store.load(conversation_id, **options)
    loaded.messages += turn(number)
    return loaded


def made(emulator):
    """Return the requests that the emulator received, without ids, and forget them."""
    lines = []
    for request in emulator.requests:
        path = "/".join("ID" if "_" in part else part for part in request.path.split("/"))
        lines.append(f"{request.method} {path.removeprefix('/v1')}")
    emulator.forget_requests()
    return lines


def stored_texts(emulator):
    """Return the first text of each stored item, by conversation."""
    return [
        [item["content"][0]["text"] for item in emulator.items(each.id)] for each in emulator.conversations()
    ]
