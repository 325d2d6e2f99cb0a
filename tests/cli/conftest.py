"""A server for the command and the page, shared by the tests of a worker; and a browser."""

import pytest

from openai_sessions.emulator import Emulator
from openai_sessions.emulator._server import serving
from tests.cli.page import chromium, served
from tests.cli.service import Service
from tests.examples.stand_in import API_KEY
from tests.servers import Replaceable


@pytest.fixture(scope="session")
def shared_server():
    """One server for all tests of a worker."""
    application = Replaceable()
    with serving(application, host="127.0.0.1", port=0) as base_url:
        yield application, base_url


@pytest.fixture
def service(shared_server):
    """An API of its own for each test, on a socket."""
    application, base_url = shared_server
    with Emulator(api_keys=[API_KEY]) as emulator:
        application.app = emulator
        yield Service(base_url, emulator)


@pytest.fixture
def server(shared_server):
    """A page of its own for each test, and its emulator."""
    with served(on=shared_server) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    """One browser for a module, whose tests cannot be async: Playwright has a loop in their thread."""
    with chromium() as browser:
        yield browser


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
