"""The conversations that a test creates at OpenAI, deleted at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import openai


class CreatedConversations:
    """Note the conversations that are created through any client of openai, and delete them.

    Programs make clients of their own, so that all HTTP clients of openai's family are looked at. One whose
    reply is lost is not seen, nor is what another process creates.
    """

    def __init__(self) -> None:
        self._requests: dict[str, Any] = {}

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note what is created inside the block."""
        import openai  # noqa: PLC0415 -- loaded by tests that use it

        with pytest.MonkeyPatch.context() as patch:
            self._wrap_async(openai.DefaultAsyncHttpxClient.__mro__[1], patch)
            self._wrap(openai.DefaultHttpxClient.__mro__[1], patch)
            yield

    def _wrap_async(self, client_class: Any, patch: pytest.MonkeyPatch) -> None:
        original = client_class.send

        async def send(client: Any, request: Any, *arguments: Any, **options: Any) -> Any:
            response = await original(client, request, *arguments, **options)
            if _creates_conversation(request) and response.is_success:
                await response.aread()
                self._note(response)
            return response

        patch.setattr(client_class, "send", send)

    def _wrap(self, client_class: Any, patch: pytest.MonkeyPatch) -> None:
        original = client_class.send

        def send(client: Any, request: Any, *arguments: Any, **options: Any) -> Any:
            response = original(client, request, *arguments, **options)
            if _creates_conversation(request) and response.is_success:
                response.read()
                self._note(response)
            return response

        patch.setattr(client_class, "send", send)

    def _note(self, response: Any) -> None:
        self._requests[response.json()["id"]] = response.request

    def delete(self) -> None:
        """Delete all that were noted and are still there; OpenAI keeps their items, out of reach.

        Raises:
            pytest.fail.Exception: Some could not be deleted; the message names their ids.
        """
        import openai  # noqa: PLC0415 -- loaded by tests that use it

        left = []
        for conversation_id, request in self._requests.items():
            try:
                with _client_like(request) as client:
                    client.conversations.delete(conversation_id)
            except openai.NotFoundError:  # the test has deleted it
                continue
            except openai.OpenAIError as error:
                left.append(f"{conversation_id} ({type(error).__name__})")
        if left:
            pytest.fail(
                f"Created by this test and not deleted: {', '.join(left)}. Delete them by hand, with "
                "client.conversations.delete(id).",
                pytrace=False,
            )


def _creates_conversation(request: Any) -> bool:
    return bool(request.method == "POST" and request.url.path.rstrip("/").endswith("/conversations"))


def _client_like(request: Any) -> openai.OpenAI:
    """Return a client with the address and the credentials of a request."""
    import openai  # noqa: PLC0415 -- loaded by tests that use it

    return openai.OpenAI(
        api_key=request.headers["authorization"].removeprefix("Bearer "),
        organization=request.headers.get("openai-organization"),
        project=request.headers.get("openai-project"),
        base_url=str(request.url.copy_with(query=None)).rstrip("/").removesuffix("/conversations"),
    )
