"""A chat with a sidebar in Streamlit: `CHAT_USER=me streamlit run examples/chat_streamlit.py`.

Needs OPENAI_API_KEY, and the extras `agents` and `directory`. See docs/chat-app.md for what to change first.
"""

import os
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from queue import SimpleQueue
from typing import Any, NamedTuple
from uuid import uuid4

import streamlit as st
from agents import Agent, Runner, set_default_openai_client
from anyio.from_thread import BlockingPortal, start_blocking_portal
from openai import AsyncOpenAI, OpenAIError

from openai_sessions.directory import SessionDirectory, SessionEntry
from openai_sessions.errors import SessionError
from openai_sessions.tokens import item_text

AGENT = Agent(name="Guide", instructions="Answer in a few short sentences.")
PAGE, TURNS = 20, 100  # how many conversations and how many turns of one are shown at first
NEW = "New conversation"


def current_user() -> str | None:
    """Return the id of the user: of one who has signed in by `st.login()`, or else CHAT_USER."""
    signed_in = st.user.get("email")
    return str(signed_in) if signed_in else os.environ.get("CHAT_USER")


def title_of(items: list[Any]) -> str:
    """Return the title of a conversation after its first turn. You may ask a model here."""
    return textwrap.shorten(item_text(items[0]), 60, placeholder="…")


class Backend(NamedTuple):
    """The directory of all users, and the event loop in a thread of its own in which it works."""

    directory: SessionDirectory
    portal: BlockingPortal
    close: Callable[[], None]

    def answer(self, name: str, user: str, text: str) -> Iterator[str]:
        """Yield an answer in parts. It is stored with its question when it ends; if it is left, it is not."""
        parts: SimpleQueue[str | None] = SimpleQueue()

        async def write() -> None:
            try:
                session = await self.directory.session(name, user=user)
                async with session.turn(exclusive=True) as turn:
                    result = Runner.run_streamed(AGENT, text, session=turn)
                    async for event in result.stream_events():
                        if event.type != "raw_response_event":
                            continue
                        if event.data.type == "response.output_text.delta":
                            parts.put(event.data.delta)
            finally:
                parts.put(None)

        task = self.portal.start_task_soon(write)
        try:
            while (part := parts.get()) is not None:
                yield part
            task.result()
        finally:
            task.cancel()


@asynccontextmanager
async def opened_directory() -> AsyncIterator[SessionDirectory]:
    url = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///chat.db")
    async with (
        AsyncOpenAI() as client,
        SessionDirectory(url, openai_client=client, title_with=title_of) as directory,
    ):
        set_default_openai_client(client, use_for_tracing=False)
        await directory.create_tables()
        yield directory


@st.cache_resource(on_release=lambda backend: backend.close(), show_spinner=False)
def opened_backend() -> Backend:
    """Return what all users share."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        directory = stack.enter_context(portal.wrap_async_context_manager(opened_directory()))
        return Backend(directory, portal, stack.pop_all().close)


def show_sidebar(backend: Backend, user: str) -> None:
    st.title("Conversations")
    if st.button("New", key="new"):
        show(None)
    search = st.text_input("Search titles", key="search") or None
    limit = st.session_state.setdefault("limit", PAGE)
    page = backend.portal.call(lambda: backend.directory.conversations(user, search=search, limit=limit))
    for entry in page.entries:
        if st.button(entry.title or NEW, key=entry.name, width="stretch"):
            show(entry.name)
    if page.next_after and st.button("Show more", key="more"):
        st.session_state.limit += PAGE
        st.rerun()
    with st.popover("Erase me"):
        st.write("Delete all of your conversations?")
        if st.button("Erase everything", key="erase"):
            st.session_state.erased = backend.portal.call(backend.directory.erase, user).as_json()
            show(None)
    if "erased" in st.session_state:
        st.json(st.session_state.pop("erased"), expanded=False)


def show(name: str | None) -> None:
    """Show a conversation, or a new one. Its name is in the address, so that it can be loaded again."""
    st.query_params.from_dict({} if name is None else {"conversation": name})
    st.rerun()


def show_head(backend: Backend, user: str, entry: SessionEntry) -> None:
    st.header(entry.title or NEW)
    left, right = st.columns(2)
    with left.popover("Rename"):
        title = st.text_input("Title", entry.title or "", max_chars=200, key=f"title {entry.name}").strip()
        if st.button("Save", key="rename", disabled=not title):
            backend.portal.call(lambda: backend.directory.set_title(entry.name, title, user=user))
            st.rerun()
    with right.popover("Delete"):
        st.write("Delete this conversation?")
        if st.button("Delete it", key="delete"):
            try:
                backend.portal.call(lambda: backend.directory.forget(entry.name, delete=True, user=user))
            except OpenAIError:
                st.session_state.notice = "It is off the list. What is left of it, a sweep deletes."
            show(None)


def show_conversation(backend: Backend, user: str, name: str | None) -> None:
    entry = backend.portal.call(backend.directory.get, name, user) if name else None
    if name and entry is None:
        st.error("There is no such conversation.")
        return
    if entry:
        show_head(backend, user, entry)
        for item in backend.portal.call(lambda: messages_of(backend.directory, entry.name, user)):
            st.chat_message(item["role"]).markdown(item_text(item))
    if text := st.chat_input("Ask a question", max_chars=20_000):
        name = name or uuid4().hex
        st.chat_message("user").markdown(text)
        try:
            st.chat_message("assistant").write_stream(backend.answer(name, user, text))
        except (OpenAIError, SessionError):
            st.session_state.notice = "The answer failed, and nothing of it was stored. Ask again."
        show(name)


async def messages_of(directory: SessionDirectory, name: str, user: str) -> list[Any]:
    session = await directory.session(name, user=user)
    items: list[Any] = await session.get_items(turns=TURNS)
    return [item for item in items if item.get("role") in ("user", "assistant")]


def main() -> None:
    st.set_page_config("Chat")
    user = current_user()
    if not user:
        st.error("Who are you? Set CHAT_USER, or configure `st.login()`.")
        return
    backend = opened_backend()
    with st.sidebar:
        show_sidebar(backend, user)
    if "notice" in st.session_state:
        st.warning(st.session_state.pop("notice"))
    show_conversation(backend, user, st.query_params.get("conversation"))


if __name__ == "__main__":
    main()
