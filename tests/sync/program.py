"""Programs with sync sessions that are interrupted, forked, or end during an operation.

Run as `python -m tests.sync.program NAME CONVERSATION_ID`; the tests read their output.
"""

import os
import signal
import sys
import threading

from openai_sessions import RequestSettings, RetryPolicy
from openai_sessions.sync import OpenAIConversationsSession

ITEMS = [{"role": "user", "content": str(number)} for number in range(3)]

PATIENCE = 20
"""Seconds after which a hanging child process is ended."""


POLICY = RetryPolicy(attempts=1000, initial_wait=0.02, max_wait=0.05, settle_after=0.01)


def open_session(conversation_id, timeout=0.5):
    return OpenAIConversationsSession(
        conversation_id=conversation_id, requests=RequestSettings(timeout=timeout, retry_policy=POLICY)
    )


def say(*words):
    print(*words, flush=True)  # noqa: T201 -- it is a program


def interrupted(conversation_id):
    """Print a line if the write is interrupted."""
    session = open_session(conversation_id)
    try:
        session.add_items(ITEMS)
    except KeyboardInterrupt:
        say("interrupted")


def reads_after_interrupt(conversation_id):
    session = open_session(conversation_id)
    try:
        session.add_items(ITEMS)
    except KeyboardInterrupt:
        say("items:", len(session.get_items()))


def ends_while_writing(conversation_id):
    """End after a line of input, while a daemon thread waits for its write."""
    threading.Thread(target=lambda: open_session(conversation_id).add_items(ITEMS), daemon=True).start()
    sys.stdin.readline()


def ends_without_closing(conversation_id):
    say("items:", len(open_session(conversation_id).get_items()))


def forks(conversation_id):
    """Use a session in a child process while a thread of the parent is writing."""
    session = open_session(conversation_id, timeout=4)  # the parent writes again once the child has read
    session.add_items(ITEMS[:1])
    writing = threading.Thread(target=session.add_items, args=[ITEMS[1:2]])
    writing.start()
    sys.stdin.readline()
    child = os.fork()
    if not child:
        signal.alarm(PATIENCE)
        session.add_items([{"role": "user", "content": "child"}])
        say("child:", len(session.get_items()))
        session.close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    say("status:", os.waitstatus_to_exitcode(status))
    writing.join()
    say("parent:", len(session.get_items()))
    session.close()


def forks_with_a_client_of_its_own(conversation_id):
    """Use a session in a child process with a client that the parent has used."""
    from openai import AsyncOpenAI  # noqa: PLC0415 -- only here

    from openai_sessions.errors import ClientLoopError  # noqa: PLC0415

    session = OpenAIConversationsSession(conversation_id=conversation_id, openai_client=AsyncOpenAI())
    session.get_items()
    child = os.fork()
    if not child:
        signal.alarm(PATIENCE)
        try:
            session.get_items()
        except ClientLoopError:
            say("child: ClientLoopError")
        os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
