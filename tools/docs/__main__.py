"""Build the documentation site in `build/site`: `python -m tools.docs`, or `make docs`.

A warning is an error: a link, an anchor or a name that does not exist, a page that is not in the navigation,
a docstring of an argument that its function does not have, or a page that loads something from another host.

The environment may have `SITE_URL`, where the site will be, with a slash at its end, and `REPOSITORY_URL`,
where the links to source files lead.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import yaml

from tools.docs.links import broken_links
from tools.docs.names import link_names
from tools.docs.pages import listed_pages, misplaced, page_text, settings
from tools.docs.reference import ROOT, anchors

LOOPBACK = "127.0.0.1"

ASSETS = (".css", ".png", ".svg")

EXPECTED = ("", "No issues found")
"""The lines that zensical prints to stderr when all is well."""


def main(arguments: list[str] | None = None) -> int:
    """Build the site, show it on loopback if `--serve` is given, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=__doc__)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "build", help="where pages/ and site/ are written"
    )
    parser.add_argument("--serve", action="store_true", help="show the site on loopback")
    parser.add_argument("--port", type=int, default=8000, help="port of --serve; 0 picks a free one")
    options = parser.parse_args(arguments)
    site = options.output / "site"
    errors = misplaced() or missing()
    if not errors:
        collect(options.output)
        errors = build(options.output) or with_links(site)
    if errors:
        print(*errors, sep="\n", file=sys.stderr)
        return 1
    print(f"{site}: {len([*site.rglob('*.html')])} pages")
    if options.serve:
        serve(site, options.port)
    return 0


def missing() -> list[str]:
    """Return what to do if zensical is not installed."""
    return (
        []
        if find_spec("zensical")
        else ["zensical is not installed. It needs Python 3.11: make docs PYTHON=…"]
    )


def build(folder: Path) -> list[str]:
    """Build the site from the pages in a folder; return the warnings."""
    command = [
        sys.executable,
        "-m",
        "zensical",
        "build",
        "--strict",
        "--clean",
        "--config-file",
        "mkdocs.yml",
    ]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    printed = re.sub(r"\x1b\[[\d;]*m", "", finished.stderr).partition("Traceback (most recent call last)")[0]
    warnings = [line for line in printed.splitlines() if line.strip() not in EXPECTED]
    return warnings or ([finished.stderr] if finished.returncode else [])


def with_links(site: Path) -> list[str]:
    """Link the names in the text of a site to the reference; return what is wrong with all of its links."""
    link_names(site, anchors(listed_pages()))
    return [*broken_links(site)]


def collect(folder: Path) -> None:
    """Write the pages, their pictures and the settings of zensical into a folder, in place of older ones."""
    for name in ("pages", "site"):
        shutil.rmtree(folder / name, ignore_errors=True)
    repository_url = os.environ.get("REPOSITORY_URL")
    texts = {path: page_text(path, repository_url) for path in listed_pages()}
    for path, text in texts.items():
        file = folder / "pages" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for asset in (ROOT / "docs").iterdir():
        if asset.suffix in ASSETS:
            shutil.copy(asset, folder / "pages")
    site_url = os.environ.get("SITE_URL") or f"http://{LOOPBACK}:8000/"
    made = settings(texts, site_url=site_url, repository_url=repository_url)
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(made, sort_keys=False))


def serve(site: Path, port: int) -> None:
    """Show a site on loopback until Ctrl-C."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer((LOOPBACK, port), handler) as server, suppress(KeyboardInterrupt):
        print(f"http://{LOOPBACK}:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
