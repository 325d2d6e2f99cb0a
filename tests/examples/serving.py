"""Serve an application of examples/ with uvicorn, post JSON to it, and print the answers.

`python -m tests.examples.serving fastapi_session:app /chat '{"text": "Hello"}' ...`
"""

from __future__ import annotations

import json
import sys
import threading
import urllib.request

import uvicorn

from tests.examples.stand_in import ROOT


class Served(uvicorn.Server):
    """A server that says when it has started."""

    def __init__(self, app):
        super().__init__(uvicorn.Config(app, port=0, log_level="warning"))
        self.is_up = threading.Event()

    async def startup(self, sockets=None):
        """Start, and say so."""
        await super().startup(sockets)
        self.is_up.set()

    @property
    def port(self):
        """The port that the system chose."""
        return self.servers[0].sockets[0].getsockname()[1]


def main(app, path, *bodies):
    """Print the answer to each of the bodies, one after the other."""
    sys.path.insert(0, str(ROOT / "examples"))
    server = Served(app)
    thread = threading.Thread(target=server.run)
    thread.start()
    server.is_up.wait(timeout=60)
    for body in bodies:
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}{path}", body.encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:  # noqa: S310 - the URL is above
            print(json.dumps(json.load(response)))  # noqa: T201 - it is a program
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
