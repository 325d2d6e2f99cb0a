"""Clients, flows, and cassettes made by hand."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import yaml

from openai_sessions import OpenAIConversationsSession
from tests.wire import HTTP_FAMILY

NOWHERE = "http://nowhere.invalid/v1"
"""An address that no request may reach."""

KEY = "sk-recognisable-0123456789abcdef"

ITEMS = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there!"}]


def sync_client(url=NOWHERE, **options):
    transport = openai.DefaultHttpxClient(verify=False)  # plain HTTP: spares the loading of certificates
    return openai.OpenAI(base_url=url, http_client=transport, **{"api_key": KEY, **options})


def async_client(url=NOWHERE, **options):
    options = {"api_key": KEY, **options}
    return openai.AsyncOpenAI(
        base_url=url, http_client=openai.DefaultAsyncHttpxClient(verify=False), **options
    )


def create(url=NOWHERE, **body):
    """Create a conversation, and return its id."""
    with sync_client(url) as client:
        return client.conversations.create(**body).id


async def write_read_pop(url=NOWHERE, make=OpenAIConversationsSession):
    """Return what a session gives back of two items, before and after a pop."""
    async with async_client(url) as client:
        session = make(openai_client=client)
        await session.add_items(ITEMS)
        before = await session.get_items()
        popped = await session.pop_item()
        return before, popped, await session.get_items()


def exchange(method="GET", path="/v1/models", sent=None, answer=None, /, **response):
    """Return one interaction as vcrpy writes it."""
    return {
        "request": {
            "method": method,
            "uri": f"https://api.openai.com{path}",
            "body": sent if sent is None or isinstance(sent, str) else json.dumps(sent),
            "headers": {"content-type": ["application/json"]},
        },
        "response": {
            "status": {"code": 200, "message": "OK"},
            "headers": {"content-type": ["application/json"]},
            "body": {"string": json.dumps({} if answer is None else answer)},
            **response,
        },
    }


def write_cassette(path, *interactions, **fields):
    """Write a cassette as vcrpy does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"interactions": list(interactions), "version": 1, **fields}))


def raw(method, path, content=b"", *, to=NOWHERE, headers=None):
    """Send one request over the HTTP library of openai itself; `path` begins with /v1."""
    with HTTP_FAMILY.Client(verify=False) as client:
        return client.request(method, to.removesuffix("/v1") + path, content=content, headers=headers)


@contextlib.contextmanager
def answering(answer):
    """Serve over a socket what `answer(method, path, headers, body)` returns: status, headers, body.

    Yields the base URL.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self):
            length = int(self.headers.get("content-length") or 0)
            status, headers, body = answer(self.command, self.path, self.headers, self.rfile.read(length))
            self.send_response(status)
            for name, value in [*headers, ("content-length", str(len(body)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = handle_one  # noqa: N815 - the names that http.server calls

        def log_message(self, *args):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()
