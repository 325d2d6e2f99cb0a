"""The built site: what stops the build, and how its pages behave in a browser without any other network."""

import functools
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from tests.cli.page import chromium
from tests.examples.stand_in import ROOT
from tools.docs import __main__ as tool
from tools.docs.pages import listed_pages, settings
from tools.docs.reference import facade_names

pytest.importorskip("zensical", reason="the group docs is not installed, or Python is older than 3.11")
mkdocstrings = pytest.importorskip("mkdocstrings")

pytestmark = pytest.mark.exhaustive

PHONE = 390

BROKEN = '''
def broken(a: int) -> int:
    """Return it.

    Args:
        b: The wrong argument.
    """
'''

FAULTS = {
    "[a](no.md)": "page does not exist",
    "[a](index.md#no)": "anchor does not exist",
    "[a][openai_sessions.errors.NoError]": "unresolved autoref",
    "::: openai_sessions.no_module": "openai_sessions.no_module could not be found",
    "::: broken_docs.broken": "Parameter 'b' does not appear in the function signature",
}
"""What stops the build, on a page, and the warning."""


@pytest.mark.parametrize(("text", "warning"), FAULTS.items())
def test_what_is_wrong_stops_the_build(text, warning, tmp_path):
    (tmp_path / "broken_docs.py").write_text(BROKEN)
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/index.md").write_text(f"# Home\n\n{text}\n")
    texts = dict.fromkeys(listed_pages(), "# Title\n\nA line.\n")
    made = settings(texts, site_url="http://127.0.0.1/", repository_url=None)
    made["nav"], made["extra_css"] = [{"Home": "index.md"}], []
    made["plugins"]["llmstxt"]["sections"] = {}
    made["plugins"]["mkdocstrings"]["handlers"]["python"]["paths"].append(str(tmp_path))
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(made))
    assert warning in "\n".join(tool.build(tmp_path))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the whole site, which is built without a warning."""
    output = tmp_path_factory.mktemp("build")
    assert 0 == tool.main(["--output", str(output)])
    return output / "site"


def test_site_has_all_pages_and_names(site):
    built = {str(path.relative_to(site)) for path in site.rglob("index.html")}
    expected = {
        re.sub(r"(^|/)index/index", r"\1index", path.replace(".md", "/index.html")) for path in listed_pages()
    }
    assert expected == built
    with (site / "objects.inv").open("rb") as file:
        names = mkdocstrings.Inventory.parse_sphinx(file)
    assert {f"openai_sessions.{name}" for name in facade_names()} <= {*names}
    assert "openai_sessions.OpenAIConversationsSession.pop_item" in names


def test_llms_txt_is_in_its_form(site):
    lines = (site / "llms.txt").read_text().splitlines()
    assert ["# openai-sessions", ""] == lines[:2]
    assert re.fullmatch(r"> \S.*", lines[2])
    links = [
        re.fullmatch(r"- \[(.+)\]\(<?(\S+?)>?\): \S.*", line) for line in lines[3:] if line and line[0] != "#"
    ]
    assert None not in links
    assert len(links) == len(listed_pages())
    pages = [link.group(2).removeprefix("http://127.0.0.1:8000/") for link in links]
    assert [] == [page for page in pages if not (site / page).is_file()]


def test_llms_full_txt_has_pages_and_reference(site):
    text = (site / "llms-full.txt").read_text()
    assert text.startswith("# openai-sessions\n")
    for part in (
        "# What happens when a request fails?",
        "session.turn(server_managed=True)",
        "Remove the newest item",
        "openai-sessions fork",
    ):
        assert part in text


@pytest.fixture(scope="module")
def url(site):
    """The site on loopback."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_site_is_shown_on_loopback_until_interrupted(site):
    program = f"import pathlib, tools.docs.__main__ as tool; tool.serve(pathlib.Path({str(site)!r}), 0)"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        base_url, *_ = process.stdout.readline().split()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", base_url)
        with urllib.request.urlopen(f"{base_url}llms.txt") as answer:  # noqa: S310 - loopback
            assert (site / "llms.txt").read_bytes() == answer.read()
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(timeout=30)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser, url):
    """A page as wide as a phone; fail the test if a script goes wrong or a request leaves the site."""
    context = browser.new_context(viewport={"width": PHONE, "height": 800})
    page, complaints = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((url, "data:", "blob:")) else complaints.append(request.url)
        ),
    )
    yield page
    context.close()
    assert [] == complaints


def test_no_page_is_wider_than_a_phone(page, url, site):
    wide = []
    for path in sorted(site.rglob("index.html")):
        page.goto(f"{url}{path.relative_to(site).parent}/", wait_until="load")
        if page.evaluate("document.documentElement.scrollWidth") > PHONE:
            wide.append(str(path.relative_to(site)))
    assert [] == wide


@pytest.mark.parametrize(
    ("query", "found"), [("what happens when a request fails", "reliability/"), ("pop_item", "reference/")]
)
def test_search_finds_a_page(query, found, page, url):
    page.goto(url)
    page.locator("input[role=combobox]").wait_for(state="attached")
    page.locator("header label[for=__search]").click()
    page.get_by_role("combobox").fill(query)
    page.locator(f"a[role=option][href*='{found}']").first.wait_for()
