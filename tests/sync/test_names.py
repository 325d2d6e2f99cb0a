"""The class without async has what the async class has, in the same form."""

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
    """Return a signature as text, with the type that a plain function gives in place of an async one."""
    return re.sub(r"AsyncGenerator\[(.*), None\]", r"Iterator[\1]", str(signature))


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_signature_is_the_same(name):
    expected = inspect.signature(getattr(ASYNC, name))
    assert without_async(expected) == str(inspect.signature(getattr(SYNC, RENAMED.get(name, name))))


@pytest.mark.parametrize("name", METHODS)
def test_method_is_not_async_and_documented(name):
    method = getattr(SYNC, RENAMED.get(name, name))
    assert not inspect.iscoroutinefunction(method)
    assert not inspect.isasyncgenfunction(method)
    assert method.__doc__


@pytest.mark.parametrize("name", PROPERTIES)
def test_property_can_be_set_where_that_of_the_async_class_can(name):
    expected, actual = getattr(ASYNC, name), getattr(SYNC, name)
    assert (expected.fset is None) == (actual.fset is None)
    assert actual.__doc__


def test_module_exports_the_class_alone():
    assert ["OpenAIConversationsSession"] == sync.__all__
