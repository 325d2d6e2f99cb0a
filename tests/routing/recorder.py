"""A server on a socket that notes each request and answers all of them alike."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = b'{"id": "from the server"}'


class Recorder:
    """What the server saw: `requests` as lines of method and path, and the address to send them to."""

    def __init__(self, port):
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self.requests = []
        self.bodies = []


@contextmanager
def recorder():
    """Serve on a free port of the loopback interface inside the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            noted.requests.append(f"{self.command} {self.path}")
            noted.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names of the standard library

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        noted = Recorder(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield noted
        finally:
            server.shutdown()
            thread.join()
