"""A server of Chat Completions beside the emulator, and the Agents SDK's model classes that call them."""

import json
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import agents
import openai
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from openai_sessions.emulator import Emulator

NAME = "gpt-4.1"


@dataclass
class ModelServer:
    """An ASGI application that answers `/v1/chat/completions`, and leaves the rest to an emulator.

    Attributes:
        emulator: Answers all other requests.
        replies: The messages that the next chat completions are.
        inputs: What each request to a model, of either API, showed it.
    """

    emulator: Emulator
    replies: list[dict[str, Any]] = field(default_factory=list)
    inputs: list[list[dict[str, Any]]] = field(default_factory=list)

    async def __call__(self, scope, receive, send):
        if scope["path"] not in ("/v1/chat/completions", "/v1/responses"):
            await self.emulator(scope, receive, send)
            return
        request = Request(scope, receive)
        raw = await request.body()
        body = json.loads(raw)
        if "messages" in body:
            response = self.completion(body["messages"])
            self.inputs.append(body["messages"])
            await response(scope, receive, send)
            return
        self.inputs.append(body["input"])

        async def read_again():
            return {"type": "http.request", "body": raw}

        await self.emulator(scope, read_again, send)

    def completion(self, messages):
        """Return the next completion, or the 400 for calls without their outputs right after them."""
        for index, message in enumerate(messages):
            called = {call["id"] for call in message.get("tool_calls", ())}
            following = messages[index + 1 : index + 1 + len(called)]
            if called != {answer.get("tool_call_id") for answer in following}:
                error = {"message": "tool_calls must be followed by tool messages", "code": None}
                return JSONResponse({"error": error}, 400)
        message = {"role": "assistant", "content": None, **self.replies.pop(0)}
        reason = "tool_calls" if "tool_calls" in message else "stop"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return JSONResponse(
            {
                "id": "chatcmpl_1",
                "object": "chat.completion",
                "created": 0,
                "model": NAME,
                "choices": [choice],
                "usage": usage,
            }
        )


@asynccontextmanager
async def openai_chat(base_url):
    async with openai.AsyncOpenAI(api_key="sk-chat", base_url=base_url, max_retries=0) as client:
        yield agents.OpenAIChatCompletionsModel(NAME, client)


@asynccontextmanager
async def openai_responses(base_url):
    async with openai.AsyncOpenAI(api_key="sk-chat", base_url=base_url, max_retries=0) as client:
        yield agents.OpenAIResponsesModel(NAME, client)


@asynccontextmanager
async def litellm(base_url):
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or a thread asks GitHub, and logs into other tests
    module = imported("agents.extensions.models.litellm_model")
    yield module.LitellmModel(f"openai/{NAME}", base_url=base_url, api_key="sk-chat")
    await module.litellm.close_litellm_async_clients()


@asynccontextmanager
async def any_llm(base_url, *, api):
    module = imported("agents.extensions.models.any_llm_model")
    model = module.AnyLLMModel(f"openai/{NAME}", base_url=base_url, api_key="sk-chat", api=api)
    yield model
    await model.close()


def imported(module):
    return pytest.importorskip(module, reason="its library is not installed", exc_type=ImportError)


any_llm_chat = partial(any_llm, api="chat_completions")

any_llm_responses = partial(any_llm, api="responses")
