"""The sync class has the methods, properties and signatures of the async class."""

import inspect
import re

import pytest

import openai_sessions
from openai_sessions import sync

ASYNC, SYNC = openai_sessions.OpenAIConversationsSession, sync.OpenAIConversationsSession

RENAMED = {"aclose": "close"}


def public(session_class):
    return {name for name in dir(session_class) if not name.startswith("_")}


def test_public_names_are_the_same():
    assert {RENAMED.get(name, name) for name in public(ASYNC)} == public(SYNC)


METHODS = sorted(name for name in public(ASYNC) if callable(getattr(ASYNC, name)))
PROPERTIES = sorted(public(ASYNC) - set(METHODS))


def without_async(signature):
    """Return a signature as text, with Iterator for AsyncGenerator, and without the Runner's `wrapper`."""
    text = re.sub(r"AsyncGenerator\[(.*), None\]", r"Iterator[\1]", str(signature))
    text = text.replace("-> 'AsyncOpenAI'", "-> 'OpenAI'")
    return re.sub(r"(, \*)?, wrapper=None(?=\))|(?<=\*), wrapper=None", "", text)


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_signature_is_the_same(name):
    expected = inspect.signature(getattr(ASYNC, name))
    assert without_async(expected) == str(inspect.signature(getattr(SYNC, RENAMED.get(name, name))))


@pytest.mark.parametrize("name", METHODS)
def test_method_is_sync_and_documented(name):
    method = getattr(SYNC, RENAMED.get(name, name))
    assert not inspect.iscoroutinefunction(method)
    assert not inspect.isasyncgenfunction(method)
    assert method.__doc__


@pytest.mark.parametrize("name", PROPERTIES)
def test_property_is_settable_like_that_of_the_async_class(name):
    expected, actual = getattr(ASYNC, name), getattr(SYNC, name)
    assert (expected.fset is None) == (actual.fset is None)
    assert actual.__doc__


def test_module_exports_only_the_class():
    assert ["OpenAIConversationsSession"] == sync.__all__
