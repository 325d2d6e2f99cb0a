"""A stand-in for OpenAI on loopback: the emulator, and a POST /v1/responses that answers from its input.

Answers have the fields that recordings of the service show for a response without tools or streaming.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from openai_sessions.emulator import Emulator
from openai_sessions.emulator._server import serving

ROOT = Path(__file__).parents[2]

FACTS = (
    ("What city", "Golden Gate Bridge", "San Francisco."),
    ("What city", "Space Needle", "Seattle."),
    ("What state", "San Francisco", "California."),
    ("What state", "Seattle", "Washington."),
    ("How many people", "California", "About 39 million."),
)
"""How a question begins, what must have been said for it to be answered, and the answer."""

_FIXED = {
    "background": False,
    "billing": {"payer": "developer"},
    "error": None,
    "frequency_penalty": 0.0,
    "incomplete_details": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "moderation": None,
    "object": "response",
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": "in_memory",
    "reasoning": {"context": None, "effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "status": "completed",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def reply(said):
    """Answer the last of the texts from what was said in any of them."""
    for beginning, needed, answer in FACTS:
        if said[-1].startswith(beginning) and any(needed in text for text in said):
            return answer
    return "I cannot tell."


def texts(given):
    """Return all texts in the `input` of a request, in order."""
    items = [{"content": given}] if isinstance(given, str) else given
    contents = [item.get("content", "") for item in items]
    return [
        part["text"]
        for content in contents
        for part in ([{"text": content}] if isinstance(content, str) else content)
        if "text" in part
    ]


def response_body(request):
    """Return the answer to the body of a POST /v1/responses."""
    now = int(time.time())
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": reply(texts(request["input"]))}
    message = {
        "id": f"msg_{secrets.token_hex(25)}",
        "type": "message",
        "status": "completed",
        "content": [part],
        "role": "assistant",
    }
    zero = {"input_tokens": 0, "input_tokens_details": {"cached_tokens": 0}, "total_tokens": 0}
    return {
        **_FIXED,
        "id": f"resp_{secrets.token_hex(25)}",
        "created_at": now,
        "completed_at": now,
        "instructions": request.get("instructions"),
        "model": request["model"],
        "output": [message],
        "store": request.get("store", True),
        "usage": {**zero, "output_tokens": 0, "output_tokens_details": {"reasoning_tokens": 0}},
    }


async def create_response(request):
    """Answer as the service does, or with its error for another key."""
    if request.headers.get("authorization") != "Bearer sk-stand-in":
        message = f"Incorrect API key provided: {request.headers.get('authorization')}."
        error = {
            "message": message,
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
        }
        return JSONResponse({"error": error}, status_code=401)
    return JSONResponse(response_body(json.loads(await request.body())))


@contextmanager
def stand_in():
    """Serve the stand-in; give its base URL and the emulator behind it."""
    with Emulator() as emulator:
        app = Starlette(
            routes=[
                Route("/v1/responses", create_response, methods=["POST"]),
                Mount("/", app=emulator),
            ]
        )
        with serving(app, host="127.0.0.1", port=0) as base_url:
            yield base_url, emulator


def environment(base_url, *, api_key="sk-stand-in"):
    """Return the variables of a process that takes the stand-in for OpenAI."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return {
        **kept,
        "NO_PROXY": "127.0.0.1",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "OPENAI_API_KEY": api_key,
        "OPENAI_BASE_URL": base_url,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "always::ResourceWarning",
    }


def run_python(*arguments, base_url, api_key="sk-stand-in"):
    """Run Python with the stand-in as its OpenAI, and return the finished process."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(base_url, api_key=api_key),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
