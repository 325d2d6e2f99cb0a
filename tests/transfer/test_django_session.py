"""The example of a session on the Django ORM conforms, and histories are copied to and from it."""

from __future__ import annotations

import importlib.util
from uuid import uuid4

import pytest

from openai_sessions import OpenAIConversationsSession, copy_session, export_session, import_session
from openai_sessions.errors import TransferConflictError
from openai_sessions.testing import CHECKS, check_session
from openai_sessions.transfer import TransferReport
from tests.examples.stand_in import ROOT

from .items import every_kind, turns, users

PATH = ROOT / "examples" / "django_session.py"

SKIPPED = {
    "settings_limit_holds_without_another": "the session has no session_settings with a limit",
    "explicit_limit_beats_settings": "the session has no session_settings with a limit",
    "unused_session_creates_nothing": "the session has its id from the start",
}


@pytest.fixture(scope="module")
def example():
    pytest.importorskip("django", reason="the package django is not installed")
    spec = importlib.util.spec_from_file_location("django_session", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    module.connection.close()


@pytest.fixture
def make(example):
    return lambda: example.DjangoSession(uuid4().hex)


@pytest.fixture
def hosted(emulator):
    client = emulator.client()
    return lambda: OpenAIConversationsSession(openai_client=client)


async def test_it_passes_the_conformance_suite(example, make):
    report = await check_session(make, reopen=lambda session: example.DjangoSession(session.session_id))
    assert report.ok, str(report)
    assert SKIPPED == {result.name: result.detail for result in report.skipped}
    assert len(CHECKS) - len(SKIPPED) == len(report.passed)


async def test_every_kind_of_item_is_copied_there_and_back(make, hosted):
    here, there, back = hosted(), make(), hosted()
    await here.add_items(every_kind())
    items = await here.get_items()
    assert TransferReport(copied=len(items)) == await copy_session(here, there)
    assert items == await there.get_items()
    assert TransferReport(copied=len(items)) == await copy_session(there, back)
    assert items == await back.get_items()


async def test_copy_continues_is_refused_and_is_popped_again(make, hosted):
    here, there = hosted(), make()
    await here.add_items(turns(60))
    await there.add_items(turns(60)[:33])
    assert TransferReport(copied=207, already_there=33) == await copy_session(here, there)
    with pytest.raises(TransferConflictError):
        await copy_session(hosted(), there)

    def stop(*_):
        raise LookupError

    with pytest.raises(LookupError):
        await copy_session(here, there, append=True, on_progress=stop)
    assert turns(60) == await there.get_items()


async def test_it_is_exported_and_imported(make, tmp_path):
    here, there = make(), make()
    await here.add_items(users(250))
    await export_session(here, tmp_path / "history.jsonl")
    assert TransferReport(copied=250) == await import_session(tmp_path / "history.jsonl", there)
    assert users(250) == await there.get_items()
