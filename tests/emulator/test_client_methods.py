"""Every method of openai's client for responses and conversations is answered."""

import inspect

import openai
import pytest
from pydantic import BaseModel

from .responding import MODEL
from .wire import user


class City(BaseModel):
    name: str


def methods_of(resource, path):
    """Return the names of the methods of a resource and of those inside it that send requests."""
    names = []
    for name in dir(resource):
        if name.startswith(("_", "with_")):
            continue
        value = getattr(resource, name)
        if inspect.ismethod(value):
            names.append(f"{path}.{name}")
        elif isinstance(value, openai._resource.AsyncAPIResource):
            names += methods_of(value, f"{path}.{name}")
    return names


CLIENT = openai.AsyncOpenAI(api_key="sk-none", base_url="http://127.0.0.1:9/v1")
METHODS = (
    *methods_of(CLIENT.conversations, "conversations"),
    *methods_of(CLIENT.responses, "responses"),
)
"""The methods of the installed client."""


class Subject:
    """A conversation with an item, and a response, on an emulator."""

    def __init__(self, client, emulator):
        self.client, self.emulator = client, emulator
        self.asked = {"model": MODEL, "input": "Hello"}

    async def prepare(self):
        self.conversation = (await self.client.conversations.create(items=[user("Hello")])).id
        (self.item,) = (await self.client.conversations.items.list(self.conversation)).data
        self.response = await self.client.responses.create(**self.asked)

    async def call(self, method):
        at, responses, conversations = (
            {"conversation_id": self.conversation},
            self.client.responses,
            self.client.conversations,
        )
        calls = {
            "conversations.create": conversations.create,
            "conversations.delete": lambda: conversations.delete(**at),
            "conversations.items.create": lambda: conversations.items.create(**at, items=[user("x")]),
            "conversations.items.delete": lambda: conversations.items.delete(self.item.id, **at),
            "conversations.items.list": lambda: conversations.items.list(**at),
            "conversations.items.retrieve": lambda: conversations.items.retrieve(self.item.id, **at),
            "conversations.retrieve": lambda: conversations.retrieve(**at),
            "conversations.update": lambda: conversations.update(**at, metadata={"topic": "test"}),
            "responses.cancel": self._cancel,
            "responses.compact": lambda: responses.compact(**self.asked),
            "responses.connect": self._connect,
            "responses.create": lambda: responses.create(**self.asked),
            "responses.delete": lambda: responses.delete(self.response.id),
            "responses.input_items.list": lambda: responses.input_items.list(self.response.id),
            "responses.input_tokens.count": lambda: responses.input_tokens.count(**self.asked),
            "responses.parse": self._parse,
            "responses.retrieve": lambda: responses.retrieve(self.response.id),
            "responses.stream": self._stream,
        }
        await calls[method]()

    async def _cancel(self):
        with self.emulator.hold_background():
            running = await self.client.responses.create(**self.asked, background=True)
            await self.client.responses.cancel(running.id)

    async def _connect(self):
        """Send the request that opens a WebSocket connection, whose library may not be installed."""
        with pytest.raises(openai.APIStatusError, match="responses over a WebSocket") as caught:
            await self.client.get("/responses", cast_to=object)
        assert (501, "not_emulated") == (caught.value.status_code, caught.value.code)

    async def _parse(self):
        self.emulator.reply('{"name": "Rome"}')
        parsed = await self.client.responses.parse(**self.asked, text_format=City)
        assert City(name="Rome") == parsed.output_parsed

    async def _stream(self):
        async with self.client.responses.stream(**self.asked) as stream:
            await stream.until_done()


@pytest.mark.parametrize("method", METHODS)
async def test_method_of_the_client_is_answered(served, emulator, method):
    """Or refused with a 501 that names what is missing; a method that is new fails."""
    subject = Subject(served, emulator)
    await subject.prepare()
    emulator.forget_requests()
    await subject.call(method)
    expected = 501 if method == "responses.connect" else 200
    assert {expected} == {request.status for request in emulator.requests}


async def test_missing_feature_is_not_retried(base_url, emulator):
    async with openai.AsyncOpenAI(api_key="sk-none", base_url=base_url, max_retries=2) as client:
        with pytest.raises(openai.APIStatusError):
            await client.get("/responses", cast_to=object)
    assert [501] == [request.status for request in emulator.requests]
