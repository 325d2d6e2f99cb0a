"""The page of `view` on the socket of the service whose conversations it shows."""

import json
from contextlib import contextmanager
from unittest import mock

from openai_sessions.cli._running import Settings, Workspace
from openai_sessions.cli._view import open_data, view_app
from tests.cli.page import Served

TOKEN = "token_of_the_page"


class _Beside:
    """The page and the service in one application, and so in one event loop."""

    def __init__(self, service, settings, conversations):
        self._service = service
        self._settings = settings
        self._conversations = conversations
        self._page = None

    async def __call__(self, scope, receive, send):
        if scope["path"].startswith("/v1/"):
            await self._service(scope, receive, send)
        elif scope["path"] == "/open":
            self._workspace = Workspace(self._settings)
            data = await open_data(self._workspace, self._conversations)
            self._page = view_app(data, host="127.0.0.1", token=TOKEN)
            await _done(send)
        elif scope["path"] == "/close":
            await self._workspace.__aexit__(None, None, None)
            await _done(send)
        else:
            await self._page(scope, receive, send)


async def _done(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Viewed(Served):
    """A page of conversations, and the service that has them."""

    @property
    def page_url(self):
        return f"{self.url}/{TOKEN}"

    def data(self, path, method="GET", **headers):
        """Return the status and the JSON of an answer to the page."""
        status, _, body = self.send(method, f"/{TOKEN}/page/data/{path}", **headers)
        return status, json.loads(body)

    def items(self, conversation, **query):
        """Return the items of a conversation, which must be read."""
        pairs = "&".join(f"{name}={value}" for name, value in query.items())
        status, answer = self.data(f"conversations/{conversation}/items?{pairs}")
        assert status == 200, answer
        return answer

    def sent(self):
        """Return the requests to the API since the last call: their operation, and how they page."""
        requests = self.emulator.requests
        self.emulator.forget_requests()
        paging = ("limit", "order", "after")
        return [
            (each.operation, *(each.query[name][0] for name in paging if name in each.query))
            for each in requests
        ]


@contextmanager
def viewing(shared_server, service, *conversations):
    """Serve the page over conversations of a service.

    Args:
        shared_server: The server of the service.
        service: The service; its variables are those of the command.
        *conversations: The arguments of the command.
    """
    shared, base_url = shared_server
    settings = Settings(base_url=base_url, directory=service.variables.get("OPENAI_SESSIONS_DIRECTORY"))
    shared.app = _Beside(service.emulator, settings, conversations)
    viewed = Viewed(service.emulator, base_url.removesuffix("/v1"))
    with mock.patch.dict("os.environ", service.variables):
        assert viewed.get("/open")[0] == 200
        service.emulator.forget_requests()
        try:
            yield viewed
        finally:
            viewed.get("/close")
