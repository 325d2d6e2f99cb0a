"""Take the screenshot `docs/chat.png`: `python -m tools.chat_picture`, or `make pictures`.

The program serves examples/chat with a Redis server of its own, on the emulator, talks to it as a user, and
takes a screenshot of the page in a headless browser. It needs Chromium, Playwright and Redis.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from openai_sessions.emulator import Emulator
from tests.examples.chatting import HEADER, Browser, Workers, variables
from tests.examples.stand_in import API_KEY, ROOT
from tests.processes.redis_server import redis_server

PICTURE = ROOT / "docs" / "chat.png"

CONVERSATIONS = {
    "Which bridges cross the Tiber in Rome?": "Some thirty. The oldest one, Ponte Fabricio, is of 62 BC.",
    "Plan a day in Seattle with two children": "First the Space Needle, then the aquarium.",
    "Why is the Golden Gate Bridge orange?": "It suits the hills, and ships see it in fog.",
}
ANSWERS = {
    "What city is the Golden Gate Bridge in?": "San Francisco. It leads to Marin County in the north.",
    "When did it open?": "On 27 May 1937. On its first day it was open to pedestrians: 200,000 came.",
}
QUESTION = "How long is it?"
SHOWN = "2,737 metres in all, 1,280 of them between the towers. It was the longest span"
REST = " of all suspension bridges until 1964, when the Verrazzano-Narrows Bridge opened in New York."


def main(arguments: list[str] | None = None) -> int:
    """Take the screenshot, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.chat_picture", description=__doc__)
    parser.add_argument("--output", type=Path, default=PICTURE)
    parser.add_argument("--chromium", type=Path, default=Path("/usr/bin/chromium"))
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args(arguments)
    if not options.chromium.exists():
        print(
            f"{options.chromium} does not exist: install Chromium, or name it with --chromium.",
            file=sys.stderr,
        )
        return 2
    with (
        tempfile.TemporaryDirectory() as folder,
        Emulator(api_keys=[API_KEY]) as emulator,
        emulator.serve() as base_url,
        redis_server() as redis_url,
        Workers(variables(base_url, redis_url, f"sqlite+aiosqlite:///{folder}/chat.db"), 1) as workers,
    ):
        take(workers.urls[0], talk(workers.urls[0], emulator), options)
    print(f"{options.output}: {options.output.stat().st_size // 1000} kB")
    return 0


def talk(url: str, emulator: Emulator) -> str:
    """Have conversations; leave the last answer unfinished, and return the id of its conversation."""
    user = Browser(url)
    for question, answer in CONVERSATIONS.items():
        emulator.reply(answer)
        user.ask(user.create(), question)
    name: str = user.create()
    for question, answer in ANSWERS.items():
        emulator.reply(answer)
        user.ask(name, question)
    emulator.reply(SHOWN + REST, delay=0.2)
    user.start(name, QUESTION)
    return name


def take(url: str, name: str, options: argparse.Namespace) -> None:
    """Take a screenshot of the page while the last answer is being written."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": options.width, "height": 640},
            color_scheme="dark" if options.dark else "light",
            extra_http_headers={HEADER: "alice"},
            locale="en-GB",
            timezone_id="America/Los_Angeles",
        )
        page.goto(f"{url}/#/{name}")
        page.locator(".writing", has_text=SHOWN).wait_for()
        page.screenshot(path=options.output)
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
