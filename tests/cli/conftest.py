"""A service for the command; a server with a page, and a browser to look at it."""

import pytest

from tests.cli.page import chromium, served
from tests.cli.service import serving_conversations


@pytest.fixture
def service():
    """A service on a socket, for the command in a process of its own."""
    with serving_conversations() as service:
        yield service


@pytest.fixture(scope="module")
def browser():
    """One browser for a module, whose tests cannot be async: Playwright has a loop in their thread."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def server():
    with served() as server:
        yield server


@pytest.fixture
def opened(browser, server):
    """Open the page; fail the test when a script goes wrong, a dialog opens, or a request goes elsewhere."""
    contexts, complaints, asked, known = [], [], [], ["data:"]

    def open_page(path="/", *, url=server.url, width=1200, **options):
        known.append(f"{url}/")
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [each for each in asked if not each.startswith(tuple(known))] == []
