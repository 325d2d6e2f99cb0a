"""`examples/chat_streamlit.py`: the pages that users see, over the emulator's socket."""

import importlib.util

import agents
import pytest

from openai_sessions.emulator import Emulator, ErrorReply, Fault
from tests.examples.stand_in import API_KEY, ROOT

pytest.importorskip("streamlit", reason="the group models is not installed")
import streamlit as st
from streamlit.testing.v1 import AppTest

pytestmark = [pytest.mark.exhaustive, pytest.mark.xdist_group("streamlit")]

PATH = ROOT / "examples" / "chat_streamlit.py"


@pytest.fixture(autouse=True)
def emulator(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/chat.db")
    monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
    agents.set_tracing_disabled(disabled=True)
    with Emulator() as emulator, emulator.serve() as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        yield emulator
        st.cache_resource.clear()  # closes what the pages have opened
        agents.set_default_openai_client(None, use_for_tracing=False)


@pytest.fixture
def backend():
    """What all pages share."""
    spec = importlib.util.spec_from_file_location("chat_streamlit", PATH)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program.opened_backend()


@pytest.fixture
def open_page(monkeypatch):
    """Return a function that loads the page as a user."""

    def load(user="alice", conversation=None):
        monkeypatch.setenv("CHAT_USER", user)
        page = new_page()
        if conversation is not None:
            page.query_params["conversation"] = conversation
        return checked(page.run())

    return load


def new_page(**signed_in):
    page = AppTest.from_file(str(PATH), default_timeout=30)
    page.user = signed_in
    return page


def checked(page):
    assert [] == [error.value for error in page.exception]
    return page


def ask(page, text):
    return checked(page.chat_input[0].set_value(text).run())


def click(page, key):
    return checked(page.button(key=key).click().run())


def said(page):
    return [(message.name, message.markdown[0].value) for message in page.chat_message]


def listed(page):
    """Return the titles in the sidebar, and the names behind them."""
    buttons = [each for each in page.sidebar.button if each.key not in ("new", "more", "erase")]
    return {each.label: each.key for each in buttons}


def shown(page):
    """Return the name of the conversation in the address."""
    value = page.query_params.get("conversation")
    return value[0] if isinstance(value, list) else value


def test_conversation_is_continued_and_opened_again(emulator, open_page):
    page = ask(open_page(), "How are you?")
    first = [("user", "How are you?"), ("assistant", "You said: How are you?")]
    assert (first, ["How are you?"]) == (said(page), list(listed(page)))
    page = ask(page, "And now?")
    both = [*first, ("user", "And now?"), ("assistant", "You said: And now?")]
    assert both == said(page)
    assert both == said(open_page(conversation=shown(page)))
    (stored,) = emulator.conversations()
    assert 4 == stored.item_count


def test_conversations_are_listed_newest_first(open_page):
    page = ask(open_page(), "One")
    assert [] == said(click(page, "new"))
    ask(page, "Two")
    assert ["Two", "One"] == list(listed(page))
    assert [("user", "One"), ("assistant", "You said: One")] == said(click(page, listed(page)["One"]))
    ask(page, "More")
    assert ["One", "Two"] == list(listed(page))
    checked(page.text_input(key="search").set_value("tw").run())
    assert ["Two"] == list(listed(page))


def test_more_conversations_are_shown(backend, open_page):
    page = open_page()
    for number in range(21):
        backend.portal.call(
            lambda title=f"{number}": backend.directory.session(title, user="alice", title=title)
        )
    checked(page.run())
    assert [str(number) for number in range(20, 0, -1)] == list(listed(page))
    assert 21 == len(listed(click(page, "more")))


def test_conversation_is_renamed(open_page):
    page = ask(open_page(), "One")
    name = shown(page)
    page.text_input(key=f"title {name}").set_value("Better")
    assert {"Better": name} == listed(click(page, "rename"))
    assert "Better" == page.header[0].value


def test_conversation_is_deleted_with_its_items(emulator, open_page):
    page = ask(open_page(), "One")
    (stored,) = emulator.conversations()
    click(page, "delete")
    assert ({}, [], None) == (listed(page), said(page), shown(page))
    assert ((), ()) == (emulator.conversations(), emulator.items(stored.id))


def test_deletion_that_fails_is_left_to_a_sweep(emulator, open_page):
    page = ask(open_page(), "One")
    emulator.inject(Fault("quota"), operation="delete_conversation")
    click(page, "delete")
    assert ["It is off the list. What is left of it, a sweep deletes."] == [
        each.value for each in page.warning
    ]
    assert {} == listed(page)


def test_user_is_erased(emulator, open_page):
    page = ask(open_page(), "One")
    ask(click(page, "new"), "Two")
    own = [each.id for each in emulator.conversations()]
    ask(open_page("bob"), "Three")
    page = click(open_page("alice"), "erase")
    assert {} == listed(page)
    assert [()] * 2 == [emulator.items(each) for each in own]
    assert ["Three"] == list(listed(open_page("bob")))
    assert "conversations" in page.json[0].value


def test_conversation_of_another_user_is_not_shown(open_page):
    name = shown(ask(open_page("bob"), "One"))
    page = open_page("alice", conversation=name)
    assert (["There is no such conversation."], []) == ([each.value for each in page.error], said(page))
    assert not page.chat_input


def test_page_is_shown_to_nobody_unknown(monkeypatch):
    monkeypatch.delenv("CHAT_USER", raising=False)
    page = checked(new_page().run())
    assert ["Who are you? Set CHAT_USER, or configure `st.login()`."] == [each.value for each in page.error]
    assert not page.button


def test_user_who_has_signed_in_is_that_user(open_page):
    ask(open_page("alice@example.com"), "One")
    open_page("bob")
    assert ["One"] == list(listed(checked(new_page(email="alice@example.com").run())))


def test_answer_that_fails_is_not_stored(emulator, open_page):
    page = ask(open_page(), "One")
    emulator.reply(ErrorReply("The model is overloaded."))
    ask(page, "Two")
    assert ["The answer failed, and nothing of it was stored. Ask again."] == [
        each.value for each in page.warning
    ]
    assert [("user", "One"), ("assistant", "You said: One")] == said(page)


def test_answer_comes_in_parts(backend):
    parts = list(backend.answer("name", "alice", "How are you?"))
    assert len(parts) > 2
    assert "You said: How are you?" == "".join(parts)


@pytest.mark.parametrize("how", ["delete", "erase"])
def test_deletion_in_another_tab_waits_for_the_answer_and_deletes_it_too(emulator, backend, how):
    list(backend.answer("name", "alice", "One"))
    (stored,) = emulator.conversations()
    emulator.reply("one two three four", delay=0.1)
    answer = backend.answer("name", "alice", "Two")
    next(answer)
    if how == "delete":
        backend.portal.call(lambda: backend.directory.forget("name", delete=True))
    else:
        backend.portal.call(backend.directory.erase, "alice")
    assert "two three four" == "".join(answer).strip()
    assert ((), ()) == (emulator.conversations(), emulator.items(stored.id))


def test_answer_that_is_left_is_not_stored(emulator, backend):
    emulator.reply("one two three four", delay=0.2)
    answer = backend.answer("name", "alice", "How are you?")
    assert "one" == next(answer).strip()
    answer.close()
    emulator.clear_replies()
    assert "You said: Next" == "".join(backend.answer("name", "alice", "Next"))  # waits for the one before
    (stored,) = emulator.conversations()
    texts = [item["content"][0]["text"] for item in emulator.items(stored.id)]
    assert ["Next", "You said: Next"] == texts
