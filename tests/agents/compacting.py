"""A service that compacts histories as it is told to, behind the real client of openai."""

import json

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from openai_sessions.emulator._server import in_process_client

USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 1,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 4,
}


class CompactingService:
    """Answer `POST /v1/responses/compact` with the messages of the user and one compaction item.

    Args:
        meanwhile: A coroutine function that is called while the first request is answered.

    Attributes:
        requests: The bodies of the requests, in order.
    """

    def __init__(self, meanwhile=None):
        self.requests = []
        self._meanwhile = meanwhile
        self._app = Starlette(routes=[Route("/v1/responses/compact", self._compact, methods=["POST"])])

    def client(self):
        return in_process_client(self._app, api_key="sk-compacting")

    async def _compact(self, request):
        body = json.loads(await request.body())
        self.requests.append(body)
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            await meanwhile()
        return JSONResponse(
            {
                "id": f"resp_{len(self.requests)}",
                "object": "response.compaction",
                "created_at": 1_760_000_000,
                "output": [*said_by_the_user(body["input"]), compacted(len(self.requests))],
                "usage": USAGE,
            }
        )


def said_by_the_user(items):
    """Return the messages of the user as a response lists them."""
    return [
        {
            "id": f"msg_{number}",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": parts(item["content"]),
        }
        for number, item in enumerate(items)
        if item.get("role") == "user"
    ]


def parts(content):
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content


def compacted(number):
    return {"id": f"cmp_{number}", "type": "compaction", "encrypted_content": f"summary {number}"}
