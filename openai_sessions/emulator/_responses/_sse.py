"""Server-sent events: a response as a stream, and the first half of one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from openai_sessions.emulator._errors import JsonObject
from openai_sessions.emulator._fault_transport import TruncatedResponse
from openai_sessions.emulator._responses._events import events_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from openai_sessions.emulator._responses._operations import ResponseStream

_EVENT_STREAM = "text/event-stream"


class EventStream(StreamingResponse):
    """The events of a response. When the other side leaves before the last one, it is not completed."""

    media_type = _EVENT_STREAM

    def __init__(self, content: ResponseStream, *, headers: Mapping[str, str]) -> None:
        super().__init__(_paced(content), headers=headers)
        self._stream = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, as long as somebody listens."""
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            pass  # there is nobody left to answer
        finally:
            self._stream.close()


class TruncatedEventStream(TruncatedResponse):
    """Half of a stream, and then the end of the connection. In process it is a `RemoteProtocolError`."""

    media_type = _EVENT_STREAM

    def render(self, content: JsonObject) -> bytes:
        """Return the events of a response object."""
        return b"".join(map(_encoded, events_of(content)))


STREAMED_FORMS: Mapping[type[Response], type[Response]] = MappingProxyType(
    {TruncatedResponse: TruncatedEventStream}
)
"""What answers of success become for a request that asks for a stream."""


def _encoded(event: JsonObject) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


async def _paced(stream: ResponseStream) -> AsyncIterator[bytes]:
    for event in stream.events():
        yield _encoded(event)
        await anyio.sleep(stream.delay)
