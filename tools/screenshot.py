"""Take the screenshot `docs/serve.png`: `python -m tools.screenshot`, or `make pictures`.

The program runs `openai-sessions serve` with the conversations of `fixtures/golden_gate.jsonl` and two
faults, makes requests with a session, and takes a screenshot of the page in a headless browser. It needs
Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
from playwright.sync_api import sync_playwright

from openai_sessions import OpenAIConversationsSession, RequestSettings, RetryPolicy

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "serve.png"
SEEDS = ROOT / "fixtures" / "golden_gate.jsonl"
FAULTS = {
    "inject": [
        {"fault": "cut_after_commit", "operation": "create_items"},
        {"fault": {"kind": "throttled", "retry_after": 0.1}, "operation": "list_items", "after": 1},
    ]
}
CHOSEN = "conv_golden_gate"
QUESTION = {"role": "user", "content": "How long is the Golden Gate Bridge?"}
SIZE = {"width": 1200, "height": 820}


def main(arguments: list[str] | None = None) -> int:
    """Take the screenshot, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.screenshot", description=__doc__)
    parser.add_argument("--output", type=Path, default=PICTURE)
    parser.add_argument("--chromium", type=Path, default=Path("/usr/bin/chromium"))
    parser.add_argument("--width", type=int, default=SIZE["width"])
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args(arguments)
    if not options.chromium.exists():
        print(
            f"{options.chromium} does not exist: install Chromium, or name it with --chromium.",
            file=sys.stderr,
        )
        return 2
    with serving() as url:
        asyncio.run(ask(f"{url}/v1"))
        take(url, options)
    print(f"{options.output}: {options.output.stat().st_size // 1000} kB")
    return 0


@contextmanager
def serving() -> Iterator[str]:
    """Run the command inside the block; yield the URL of its page without a trailing slash."""
    with tempfile.TemporaryDirectory() as folder:
        faults = Path(folder) / "faults.json"
        faults.write_text(json.dumps(FAULTS))
        program = "from openai_sessions.cli import main; main()"
        options = ["--port", "0", "--seed-from", str(SEEDS), "--faults", str(faults)]
        command = [sys.executable, "-c", program, "serve", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
            try:
                yield url_in(process)
            finally:
                process.kill()


def url_in(process: subprocess.Popen[str]) -> str:
    """Return the URL that the command prints when it listens."""
    for line in process.stdout or ():
        if line.split()[:1] == ["Page"]:
            return line.split()[1].rstrip("/")
    raise RuntimeError(f"the server exited with {process.wait()} before it listened")


async def ask(base_url: str) -> None:
    """Make requests with a session, which meets the faults and retries."""
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any") as client:
        session = OpenAIConversationsSession(
            openai_client=client, requests=RequestSettings(retry_policy=RetryPolicy())
        )
        await session.add_items([QUESTION])
        await session.get_items()


def take(url: str, options: argparse.Namespace) -> None:
    """Take a screenshot of the page with its list of requests open."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": options.width, "height": SIZE["height"]},
            color_scheme="dark" if options.dark else "light",
            timezone_id="America/Los_Angeles",
        )
        page.goto(f"{url}/#/{CHOSEN}")
        page.locator(".side-out .block").wait_for()
        if page.locator("#requests-panel").is_visible():
            page.locator("#requests-panel summary").click()
        page.locator("#requests li").first.wait_for(state="attached")
        page.locator(".connection.live").wait_for()
        page.mouse.move(options.width - 1, 1)
        page.screenshot(path=options.output)
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
