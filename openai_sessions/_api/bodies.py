"""Bodies of responses: read up to a limit, and decoded.

openai reads bodies whole, those of errors too, before it returns. So the limit is enforced by a hook of the
HTTP client, which leaves every other request of the client as it is.
"""

from __future__ import annotations

import importlib
import json
import math
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import jiter

from openai_sessions._items.types import Item
from openai_sessions.errors import InvalidResponseError

MAX_BODY = 128 * 1024 * 1024
"""The maximum number of bytes of a decoded body.

A page has at most 100 items: they may have 1.3 MB each, as screenshots have. Decoding takes several times as
much memory.
"""

HEADERS = {"Accept-Encoding": "gzip"}
"""The only encoding that is decoded: zlib takes a limit, so that no part of a body can grow beyond it."""

_MAX_DEPTH = 200
"""How deeply values may be nested, as in jiter: what reads items calls itself for each level."""

_operation: ContextVar[str | None] = ContextVar("_operation", default=None)
"""The name of the current request of ours."""


@contextmanager
def limited(http_client: Any, operation: str) -> Iterator[None]:
    """Limit the bodies of the responses that an HTTP client reads inside, for a request of this name.

    Reading raises `InvalidResponseError`, which openai may wrap.
    """
    hooks = getattr(http_client, "event_hooks", {"response": []})["response"]
    if _limit not in hooks:
        hooks.append(_limit)
    token = _operation.set(operation)
    try:
        yield
    finally:
        _operation.reset(token)


def json_object(operation: str, response: Any, *, may_be_empty: bool = False) -> Item:
    """Return the JSON object that a response has for its body.

    Args:
        operation: The name of the request, for errors.
        response: A response whose body is read.
        may_be_empty: Whether it may have no body, and so an empty object.

    Raises:
        InvalidResponseError: It has none, or it is too large or nested too deeply.
    """
    request_id, content = response.headers.get("x-request-id"), response.content
    if may_be_empty and not content:
        return {}
    if len(content) > MAX_BODY:
        raise _too_large(operation, request_id)
    try:
        answer = _decoded(content)
    except ValueError:
        raise InvalidResponseError(operation, "is not JSON", request_id) from None
    except RecursionError:
        raise InvalidResponseError(operation, "is nested too deeply", request_id, is_lasting=True) from None
    if not isinstance(answer, dict):
        raise InvalidResponseError(operation, "is not a JSON object", request_id)
    return answer


def _decoded(content: bytes) -> object:
    """Return a JSON value.

    Raises:
        ValueError: It is not JSON, or has a number that is not finite.
        RecursionError: It is nested too deeply.
    """
    try:
        answer = jiter.from_json(content, allow_inf_nan=False)
    except ValueError:
        answer = json.loads(content, parse_constant=_refuse)  # accepts lone surrogates, which items may have
    level: list[object] = [answer]
    for _ in range(_MAX_DEPTH):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError("a number is too large for a float")
        if not below:
            return answer
        level = below
    raise RecursionError


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


async def _limit(response: Any) -> None:
    """Limit the body of a response to a request of ours. A hook of the HTTP client."""
    operation = _operation.get()
    is_ours = response.request.headers.get("accept-encoding") == HEADERS["Accept-Encoding"]
    if operation is None or response.is_closed or not is_ours:  # not ours: the user's hooks may send more
        return
    encoding = response.headers.pop("content-encoding", "identity").strip().lower()
    is_needed = response.request.method != "DELETE" or response.is_error
    if is_needed and encoding not in ("identity", "gzip"):
        reason = f"is encoded as {encoding[:20]!r}, which was not requested"
        raise InvalidResponseError(operation, reason, response.headers.get("x-request-id"), is_lasting=True)
    library = type(response).__module__.partition(".")[0]
    response.stream = _stream_class(library)(operation, response, is_needed, encoding == "gzip")


@cache
def _stream_class(library: str) -> Any:
    """Return the class of limited streams of an HTTP library, httpx or httpx2."""

    class LimitedStream(importlib.import_module(library).AsyncByteStream):  # type: ignore[misc]
        """Decodes the body of a response up to the limit. The rest of a deletion's is of no interest."""

        def __init__(self, operation: str, response: Any, is_needed: bool, is_gzip: bool) -> None:  # noqa: FBT001
            self._operation = operation
            self._stream = response.stream
            self._request_id = response.headers.get("x-request-id")
            self._is_needed = is_needed
            self._decode = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress if is_gzip else _unchanged

        async def __aiter__(self) -> AsyncIterator[bytes]:
            remaining = MAX_BODY
            async for part in self._stream:
                decoded = self._decoded(part, remaining + 1)
                remaining -= len(decoded)
                if remaining < 0 and self._is_needed:
                    raise _too_large(self._operation, self._request_id)
                if remaining < 0:
                    return
                yield decoded

        def _decoded(self, part: bytes, most: int) -> bytes:
            try:
                return self._decode(part, most) if self._is_needed else part
            except zlib.error:
                raise InvalidResponseError(self._operation, "is not gzip", self._request_id) from None

        async def aclose(self) -> None:
            await self._stream.aclose()

    return LimitedStream


def _unchanged(part: bytes, _: int) -> bytes:
    return part


def _too_large(operation: str, request_id: str | None) -> InvalidResponseError:
    reason = f"has more than {MAX_BODY >> 20} MB"
    return InvalidResponseError(operation, reason, request_id, is_lasting=True)
