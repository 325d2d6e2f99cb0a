"""The figures of `make layout`, counted on a small package."""

import textwrap

import pytest

import openai_sessions
from tools.layout import Package, figures, levels, main

FILES = {
    "README.md": "# Title\n\nOne line.\n",
    "openai_sessions/__init__.py": "__all__ = ['a', 'b', 'c']\n",
    "openai_sessions/errors.py": '''
        """Errors."""


        class SessionError(Exception):
            """A docstring
            of two lines."""

            field = 1
            """What it is."""


        class LostError(SessionError): ...
        ''',
    "openai_sessions/_core/__init__.py": "from openai_sessions._core.base import Base\n",
    "openai_sessions/_core/base.py": """
        from typing import TYPE_CHECKING, Generic, TypeVar

        from openai_sessions import errors  # a comment

        if TYPE_CHECKING:
            from openai_sessions import session

        T = TypeVar("T")


        class Base(Generic[T]):
            def __init__(self, a, *, b):
                def inner():
                    from openai_sessions import session


        class Lone(Base[int]): ...
        """,
    "openai_sessions/session.py": """
        from openai_sessions import _core as core
        from openai_sessions._core import Base
        from openai_sessions._core.base import Lone as Renamed


        class Mixin: ...


        class OpenAIConversationsSession(Mixin, Base[str]): ...


        class Grandchild(Renamed): ...
        """,
}


@pytest.fixture
def checkout(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    return tmp_path


def test_figures_of_a_package(checkout):
    assert figures(checkout) == {
        "modules": "5",
        "private modules in the root": "0",
        "lines": "43",
        "lines of code": "21",
        "lines of code of a module": "4",
        "levels of imports between modules": "4",
        "levels of imports between parts of the root": "3",
        "ancestors of OpenAIConversationsSession": "2",
        "most ancestors of a class": "2, OpenAIConversationsSession",
        "base classes with one subclass": "3, Lone, Mixin, SessionError",
        "lines of the longest function": "3, __init__",
        "names of the root": "3",
        "arguments of OpenAIConversationsSession": "2",
        "lines of the README": "3",
    }


def test_classes_are_followed_through_imports(checkout):
    package = Package(checkout)
    bases = {name.name: [base.name for base in found] for name, found in package.classes.items()}
    assert bases["OpenAIConversationsSession"] == ["Mixin", "Base"]
    assert bases["Grandchild"] == ["Lone"]


def test_imports_in_functions_and_for_types_do_not_count(checkout):
    assert Package(checkout).imports["_core.base"] == {"errors"}


def test_a_cycle_is_one_level():
    assert [0, 1, 2, 1, 3] == [
        levels(graph)
        for graph in (
            {},
            {"a": set()},
            {"a": {"b"}, "b": set()},
            {"a": {"b"}, "b": {"a"}},
            {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()},
        )
    ]


def test_each_checkout_has_a_column(checkout, capsys):
    assert 0 == main([str(checkout), str(checkout)])
    lines = capsys.readouterr().out.splitlines()
    assert "| modules | 5 | 5 |" in lines


@pytest.mark.exhaustive
def test_this_checkout_is_the_default(capsys):
    assert 0 == main([])
    assert f"| names of the root | {len(openai_sessions.__all__)} |" in capsys.readouterr().out
