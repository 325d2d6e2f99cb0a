"""The page of `serve` on a socket, its data over plain HTTP, and a browser to look at it."""

import http.client
import io
import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright
from rich.console import Console

from openai_sessions.cli._serve import ServeOptions, serve_app
from openai_sessions.emulator import Emulator
from openai_sessions.emulator._server import serving

CHROMIUM = Path("/usr/bin/chromium")
KEY = "sk-page"

expect.set_options(timeout=20_000)


@dataclass(frozen=True)
class Served:
    """A server of conversations, and programs that use it."""

    emulator: Emulator
    url: str

    def get(self, path, **headers):
        """Return the status, the headers and the body of an answer."""
        return self.send("GET", path, **headers)

    def send(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def data(self, path, **headers):
        """Return the status and the JSON of an answer to the page."""
        status, _, body = self.get(f"/page/data/{path}", **headers)
        return status, json.loads(body)

    def call(self, method, path, body=None, *, key=KEY):
        """Do what a program does; return the JSON of the answer."""
        raw = None if body is None else json.dumps(body)
        status, _, answer = self.send(method, f"/v1{path}", raw, authorization=f"Bearer {key}")
        assert status == 200, answer
        return json.loads(answer)

    def create(self, *items, metadata=None, key=KEY):
        """Create a conversation, and return its id."""
        return self.call("POST", "/conversations", {"items": items, "metadata": metadata}, key=key)["id"]

    def add(self, conversation_id, *items, key=KEY):
        """Add items, and return their ids."""
        page = self.call("POST", f"/conversations/{conversation_id}/items", {"items": items}, key=key)
        return [item["id"] for item in page["data"]]

    def delete(self, conversation_id, item_id):
        self.call("DELETE", f"/conversations/{conversation_id}/items/{item_id}")


@contextmanager
def served(*, on=None, host="127.0.0.1", port=0, output=None, **options):
    """Serve the page and the emulator as the command does.

    Args:
        on: The shared server; None for one of its own, which takes a moment to stop.
        host: The host of a server of its own.
        port: The port of a server of its own.
        output: What the server prints is written to it.
        **options: Those of `ServeOptions`.
    """
    given = ServeOptions(host=host, port=port, **options)
    with Emulator(api_keys=options.get("api_keys") or None) as emulator, ExitStack() as stack:
        application = serve_app(given, emulator, Console(file=output or io.StringIO()))
        if on is None:
            base_url = stack.enter_context(serving(application, host=host, port=port))
        else:
            shared, base_url = on
            shared.app = application
        yield Served(emulator, base_url.removesuffix("/v1"))


@contextmanager
def chromium():
    """Run a browser without a window; skip where there is none."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call(call_id, arguments="{}", name="look_up"):
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def output(call_id, text="done"):
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def entries(page, count):
    """Wait for a number of entries of the transcript."""
    expect(page.locator(".entry")).to_have_count(count)


def said(page, count):
    """Wait for a number of entries; return the label and the text of each, seen or not."""
    entries(page, count)
    return page.evaluate(
        """() => [...document.querySelectorAll(".entry")].map((entry) => [
            entry.querySelector(".role").textContent,
            [...entry.querySelectorAll(".text, .code")].map((each) => each.textContent).join("\\n"),
        ])"""
    )
