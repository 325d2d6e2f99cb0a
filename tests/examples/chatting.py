"""The chat of examples/chat: its workers, and the requests that its page makes.

`python -m tests.examples.chatting` serves the chat, uses all of it as one user, and prints what that got.
"""

from __future__ import annotations

import http.client
import itertools
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from tests.examples.serving import Served
from tests.examples.stand_in import ROOT, environment
from tests.servers import free_ports, listening

HEADER = "X-Forwarded-User"

QUESTIONS = ("What city is the Golden Gate Bridge in?", "What state is it in?")


class Event(NamedTuple):
    """A server-sent event of an answer."""

    id: str | None
    kind: str
    text: str


class Browser:
    """A user at the page, whose requests go to one worker after the other.

    Args:
        *urls: The URLs of the workers.
        user: The user, as the proxy names it.
    """

    def __init__(self, *urls, user="alice"):
        self._urls = itertools.cycle(urls)
        self._user = user

    def send(self, method, path, body=None, **headers):
        """Send a request; return the connection and the response."""
        connection = http.client.HTTPConnection(urlsplit(next(self._urls)).netloc, timeout=60)
        raw = None if body is None else json.dumps(body)
        kind = {} if body is None else {"content-type": "application/json"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, raw, {HEADER: self._user, **kind, **named})
        return connection, connection.getresponse()

    def call(self, method, path, body=None, **headers):
        """Send a request to the API; return the status and the JSON of the answer."""
        connection, response = self.send(method, f"/api/{path}", body, **headers)
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if text else None

    def create(self):
        return self.call("POST", "conversations")[1]["id"]

    def start(self, name, text):
        """Send a message; return the number of its answer."""
        status, answer = self.call("POST", f"conversations/{name}/messages", {"text": text})
        assert status == 202, answer
        return answer["run"]

    def follow(self, name, run, *, after=None) -> Iterator[Event]:
        """Yield the events of an answer. Closing the iterator cuts the connection."""
        headers = {} if after is None else {"last_event_id": after}
        connection, response = self.send("GET", f"/api/conversations/{name}/runs/{run}/events", **headers)
        assert response.status == 200, response.read()
        try:
            fields = {}
            for line in iter(response.readline, b""):
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif fields.keys() - {""}:
                    yield Event(fields.get("id"), fields["event"], json.loads(fields["data"])["text"])
                    fields = {}
        finally:
            response.close()
            connection.close()

    def ask(self, name, text):
        """Send a message, and return the events of its answer."""
        return list(self.follow(name, self.start(name, text)))

    def list(self, search=""):
        """Return the ids and titles in the sidebar."""
        _, page = self.call("GET", f"conversations?search={quote(search)}")
        return [(each["id"], each["title"]) for each in page["conversations"]]

    def read(self, name):
        """Return the messages of a conversation as pairs of a role and a text."""
        _, conversation = self.call("GET", f"conversations/{name}")
        return [(each["role"], each["text"]) for each in conversation["messages"]]


def variables(base_url, redis_url, database_url, *, lease=3):
    """Return the environment of a worker."""
    own = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "CHAT_USER_HEADER": HEADER}
    return {**environment(base_url), **own, "CHAT_LEASE": str(lease)}


class Workers:
    """Workers in processes of their own.

    Args:
        environment: Their environment variables.
        number: How many.

    Attributes:
        environment: The same.
        urls: The URL of each.
    """

    def __init__(self, environment, number):
        self.environment = environment
        self._ports = free_ports(number)
        self._running = [ExitStack() for _ in self._ports]
        self._processes = [None for _ in self._ports]
        self.urls = [f"http://127.0.0.1:{port}" for port in self._ports]

    def start(self, place):
        """Start a worker, and wait until it listens."""
        port = str(self._ports[place])
        app = ["--app-dir", str(ROOT / "examples"), "chat.app:app", "--port", port]
        command = [sys.executable, "-m", "uvicorn", *app]
        running = listening(command, ready="Uvicorn running on", env=self.environment, seconds=60)
        self._processes[place] = self._running[place].enter_context(running)

    def stop(self, place):
        """Ask a worker to stop, as a new version is deployed, and wait until it has."""
        self._processes[place].terminate()
        self._processes[place].wait(timeout=60)

    def kill(self, place):
        """Kill a worker."""
        self._running[place].close()

    def __enter__(self):
        with ThreadPoolExecutor() as starters:
            list(starters.map(self.start, range(len(self.urls))))
        return self

    def __exit__(self, *_):
        for place in range(len(self.urls)):
            self.kill(place)


def joined(events):
    """Return the text of an answer."""
    return "".join(event.text for event in events if event.kind == "delta")


def walk(browser):
    """Use all of the chat; return what the user saw, step by step."""
    first, second = browser.create(), browser.create()
    answers = [joined(browser.ask(first, text)) for text in QUESTIONS]
    browser.ask(second, "Hello")
    listed = [title for _, title in browser.list()]
    renamed = browser.call("PATCH", f"conversations/{first}", {"title": "  Bridges "})
    found = browser.list("BRIDGE")
    deleted = browser.call("DELETE", f"conversations/{second}")
    gone = browser.call("GET", f"conversations/{second}")
    return {
        "answers": answers,
        "listed": listed,
        "renamed": renamed,
        "found": [title for _, title in found],
        "read": browser.read(first),
        "deleted": deleted,
        "gone": gone,
        "left": [title for _, title in browser.list()],
        "erased": browser.call("DELETE", "me"),
        "nothing": browser.list(),
    }


def main():
    """Serve the chat on a thread, walk through it, and print what the user saw as JSON."""
    sys.path.insert(0, str(ROOT / "examples"))
    server = Served("chat.app:app")
    thread = threading.Thread(target=server.run)
    thread.start()
    server.is_up.wait(timeout=60)
    try:
        print(json.dumps(walk(Browser(f"http://127.0.0.1:{server.port}"))))  # noqa: T201 - it is a program
    finally:
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()
