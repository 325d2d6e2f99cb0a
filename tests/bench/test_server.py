"""The server's delay and log, called without a socket, and the depth of logged requests."""

import json

import pytest

from tools.bench.server import ADMIN_PATH, Delayed, Exchange, depth, depth_of_each

CONVERSATION = "/v1/conversations/conv_1"


class Caller:
    """Calls an application that says hello in two pieces; notes what it waits for and what goes out."""

    def __init__(self):
        self.waited = []
        self.sent = []
        self.app = Delayed(self.hello, sleep=self.sleep)

    async def sleep(self, seconds):
        self.waited.append(seconds)

    async def hello(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hel", "more_body": True})
        await send({"type": "http.response.body", "body": b"lo"})

    async def call(self, path, body=b""):
        pieces = [{"body": body[:4], "more_body": True}, {"body": body[4:]}]
        self.sent = []

        async def receive():
            return pieces.pop(0)

        async def send(message):
            self.sent.append(message)

        await self.app({"type": "http", "method": "POST", "path": path}, receive, send)
        return b"".join(message.get("body", b"") for message in self.sent)

    async def delay(self, seconds):
        return json.loads(await self.call(ADMIN_PATH, json.dumps({"delay": seconds}).encode()))


async def test_request_passes_unchanged_and_undelayed_at_first():
    caller = Caller()
    assert b"hello" == await caller.call("/v1/conversations")
    assert [] == caller.waited
    assert 3 == len(caller.sent)


async def test_request_waits_for_the_delay_that_was_set():
    caller = Caller()
    await caller.delay(0.02)
    await caller.call("/v1/a")
    await caller.delay(0)
    await caller.call("/v1/b")
    assert [0.02] == caller.waited


async def test_log_has_each_exchange_once_and_not_the_administration():
    caller = Caller()
    await caller.call("/v1/a")
    await caller.call("/v1/b")
    noted = await caller.delay(0)
    assert [("POST", "/v1/a"), ("POST", "/v1/b")] == [
        (each["method"], each["path"]) for each in noted["exchanges"]
    ]
    first, second = noted["exchanges"]
    assert first["started"] <= first["ended"] <= second["started"] <= second["ended"]
    assert [] == (await caller.delay(0))["exchanges"]
    assert noted["cpu"] > 0


def exchanges(*spans, path=f"{CONVERSATION}/items"):
    return [Exchange("GET", path, started, ended) for started, ended in spans]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, 1), (1, 2), (2, 3)], 3),
        ([(0, 1), (0.1, 1.1), (0.2, 1.2)], 1),
        ([(0, 1), (1.1, 2), (1.2, 2.1), (2.2, 3), (2.3, 3.1)], 3),
        ([(0, 10), (1, 2), (3, 4)], 2),
        ([(3, 4), (0, 1), (1, 2)], 3),
    ],
    ids=["none", "one", "chain", "at once", "one, then pairs", "beside a long one", "in any order"],
)
def test_depth_is_of_the_longest_chain(spans, expected):
    assert expected == depth(exchanges(*spans))


def test_depth_of_each_does_not_join_conversations():
    """One conversation's request after another's waited for nothing."""
    others = exchanges((2, 3), (4, 5), path="/v1/conversations/conv_2/items/msg_1")
    assert 2 == depth_of_each([*exchanges((0, 1)), *others])


def test_depth_of_each_is_unknown_where_a_conversation_is_created():
    assert depth_of_each([*exchanges((0, 1), path="/v1/conversations"), *exchanges((1, 2))]) is None
