"""One background loop serves all threads, including threads that run an event loop."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import openai_sessions
from openai_sessions.sync import OpenAIConversationsSession

HELLO = {"role": "user", "content": "Hello"}


def message(text):
    return {"role": "user", "content": text}


def test_threads_share_a_session(session, emulator):
    with ThreadPoolExecutor(8) as threads:
        adding = [
            threads.submit(session.add_items, [message(f"{n} a"), message(f"{n} b")]) for n in range(24)
        ]
    assert [None] * 24 == [added.result() for added in adding]

    texts = [item["content"] for item in session.get_items()]
    assert sorted(f"{n} {part}" for n in range(24) for part in "ab") == sorted(texts)
    assert all(first[:-1] == second[:-1] for first, second in zip(texts[::2], texts[1::2], strict=True))
    assert 1 == sum(request.path == "/v1/conversations" for request in emulator.requests)


def test_threads_pop_distinct_items(session):
    session.add_items([message(str(n)) for n in range(20)])
    with ThreadPoolExecutor(8) as threads:
        popped = list(threads.map(lambda _: session.pop_item()["content"], range(20)))
    assert sorted(map(str, range(20))) == sorted(popped)


def test_sessions_share_one_loop(session, base_url):
    with OpenAIConversationsSession() as other:
        other.add_items([HELLO])
        session.add_items([HELLO])
    assert ["openai-sessions"] == [
        thread.name for thread in threading.enumerate() if thread.name == "openai-sessions"
    ]
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "openai-sessions")


async def test_session_works_while_a_loop_is_running(session):
    """A notebook runs such a loop."""
    session.add_items([HELLO])
    assert [HELLO] == session.get_items()


async def test_async_session_on_the_same_conversation_alternates_with_it(session):
    session.add_items([HELLO])
    async with openai_sessions.OpenAIConversationsSession(conversation_id=session.session_id) as other:
        async_adds = [other.add_items([message("a"), message("b")]) for _ in range(5)]
        sync_adds = [asyncio.to_thread(session.add_items, [message("a"), message("b")]) for _ in range(5)]
        await asyncio.gather(*async_adds, *sync_adds)
    assert ["Hello", *"ab" * 10] == [item["content"] for item in session.get_items()]
