"""Take the screenshot `docs/chat-streamlit.png`: `python -m tools.streamlit_picture`, or `make pictures`.

The program serves examples/chat_streamlit.py on the emulator, talks to it in a headless browser, and takes a
screenshot. It needs Chromium, Playwright and Streamlit, without which the picture stays as it is.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from openai_sessions.emulator import Emulator
from tests.examples.stand_in import API_KEY, ROOT
from tools.chat_picture import ANSWERS, CONVERSATIONS, QUESTION, REST, SHOWN

PICTURE = ROOT / "docs" / "chat-streamlit.png"

OPTIONS = ("--server.headless=true", "--server.address=127.0.0.1", "--browser.gatherUsageStats=false")


def main(arguments: list[str] | None = None) -> int:
    """Take the screenshot, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.streamlit_picture", description=__doc__)
    parser.add_argument("--output", type=Path, default=PICTURE)
    parser.add_argument("--chromium", type=Path, default=Path("/usr/bin/chromium"))
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("streamlit") is None:
        print(f"Streamlit is not installed: {options.output} stays as it is.")
        return 0
    if not options.chromium.exists():
        print(
            f"{options.chromium} does not exist: install Chromium, or name it with --chromium.",
            file=sys.stderr,
        )
        return 2
    with Emulator(api_keys=[API_KEY]) as emulator, emulator.serve() as base_url, serving(base_url) as url:
        take(url, emulator, options)
    print(f"{options.output}: {options.output.stat().st_size // 1000} kB")
    return 0


@contextmanager
def serving(base_url: str) -> Iterator[str]:
    """Run the program inside the block, and yield its URL."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        program = str(ROOT / "examples" / "chat_streamlit.py")
        command = [sys.executable, "-m", "streamlit", "run", program, f"--server.port={port}", *OPTIONS]
        variables = {
            **os.environ,
            "CHAT_USER": "alice",
            "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/chat.db",
            "OPENAI_AGENTS_DISABLE_TRACING": "1",
            "OPENAI_API_KEY": API_KEY,
            "OPENAI_BASE_URL": base_url,
        }
        with subprocess.Popen(command, env=variables, cwd=folder, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - ours
            try:
                wait_for(port)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.kill()


def wait_for(port: int, *, seconds: float = 60) -> None:
    """Wait until a program listens on a port."""
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def take(url: str, emulator: Emulator, options: argparse.Namespace) -> None:
    """Have conversations, and take a screenshot of the page while the last answer is being written."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 640}, color_scheme="light")
        page.set_default_timeout(60_000)
        for question, answer in CONVERSATIONS.items():
            page.goto(url)
            ask(page, emulator, question, answer)
        page.goto(url)
        for question, answer in ANSWERS.items():
            ask(page, emulator, question, answer)
        emulator.reply(SHOWN + REST, delay=0.2)
        send(page, QUESTION)
        page.get_by_test_id("stChatMessage").last.get_by_text(SHOWN).wait_for()
        page.screenshot(path=options.output)
        browser.close()


def ask(page: Page, emulator: Emulator, question: str, answer: str) -> None:
    """Ask a question, and wait until the answer is stored: then its conversation is the first of the list."""
    emulator.reply(answer)
    send(page, question)
    page.get_by_test_id("stChatMessage").last.get_by_text(answer).wait_for()
    page.get_by_role("button", name="Rename").wait_for()


def send(page: Page, question: str) -> None:
    """Enter a question."""
    field = page.get_by_test_id("stChatInput").get_by_role("textbox")
    field.fill(question)
    field.press("Enter")


if __name__ == "__main__":
    sys.exit(main())
