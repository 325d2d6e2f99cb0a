"""The pictures show what happens, and need nothing but themselves."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings, RetryPolicy
from openai_sessions.emulator import Emulator, Fault
from tests.examples.stand_in import ROOT
from tools.demo_picture import drawn

ITEMS = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
SVG = "{http://www.w3.org/2000/svg}"
PICTURES = sorted((ROOT / "docs").rglob("*.svg"))


def texts_of(picture, *, where=".", kind=None):
    """Return the texts of an SVG, top down, or of one part of it, or of those with a class."""
    part = ET.fromstring(picture).find(where)  # noqa: S314 - ours
    texts = [each for each in part.iter(f"{SVG}text") if kind in (None, each.get("class"))]
    return ["".join(each.itertext()).replace("\xa0", " ").strip() for each in texts]


def without_ids_and_versions(text):
    return re.sub(r"conv_\.\.\.\w{4}|\d+\.\d+\.\d+", "…", text)


@pytest.mark.xdist_group("demo")
def test_picture_of_the_demo_shows_what_it_prints():
    shown, printed = ((ROOT / "docs/demo.svg").read_text(), drawn())
    lines = [[without_ids_and_versions(text) for text in texts_of(each)] for each in (shown, printed)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    ("fault", "part"),
    [("cut_after_commit", "stored"), ("cut_before", "not-stored")],
    ids=["stored", "not stored"],
)
async def test_diagram_of_a_lost_reply_shows_the_requests_that_go_out(fault, part):
    with Emulator() as emulator:
        settings = RequestSettings(retry_policy=RetryPolicy(settle_after=0.01))
        session = OpenAIConversationsSession(openai_client=emulator.client(), requests=settings)
        conversation_id = await session.ensure_conversation()
        before = len(emulator.requests)
        emulator.inject(Fault(fault), operation="create_items")
        await session.add_items(ITEMS)
        sent = [
            f"{each.method} {each.path.removeprefix('/v1').replace(conversation_id, '{id}')}"
            for each in emulator.requests[before:]
        ]
        stored = len(emulator.items(conversation_id))
    diagram = (ROOT / "docs/lost-reply.svg").read_text()
    assert (sent, 2) == (texts_of(diagram, where=f".//*[@id='{part}']", kind="request"), stored)
    assert texts_of(diagram, where=f".//*[@id='{part}']", kind="end") == ["add_items() returns: stored once"]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_picture_fetches_nothing(path: Path):
    assert not re.findall(r"url\((?!#)|\bhref=\"(?!#)|@import|<script", path.read_text())
