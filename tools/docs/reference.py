"""The generated pages of the site: the reference of the modules and of the command line."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

PACKAGE = "openai_sessions"

FOLDER = "reference/"
"""Where the generated pages are, each named after its module: `reference/testing.cassettes.md`."""

FIRST = ("OpenAIConversationsSession", "SessionDirectory", "EncryptedSession", "Emulator", "check_session")
"""The names that come first on the pages of their modules."""

EXTENDED = {"NamedSession": ("inherited_members: false", "show_bases: true")}
"""The options of classes whose inherited members are on the page of their base class."""

SPECIAL = {
    "index": "All public names.",
    "command-line": "All commands of `openai-sessions`, with their options.",
}
"""The pages that are not those of a module, with a line on each."""

ELSEWHERE = {"cli": "command-line", "server_managed": "session", "turn": "session"}
"""The public modules without a page, and the page that has their names."""

OVERVIEW = """\
# Reference

Names on these pages are public, and [the changelog](../changelog.md) has their changes. All others are
private.

## Modules

| module of `openai_sessions` | contents |
|---|---|
{modules}

## Names of the package itself

These are imported from `openai_sessions`, all others from their modules:

{names}
"""


def reference_page(name: str) -> str:
    """Return the text of a page of the reference.

    Args:
        name: The path of the page in the navigation.

    Raises:
        FileNotFoundError: There is no such module.
    """
    stem = name.removeprefix(FOLDER).removesuffix(".md")
    return {"index": overview, "command-line": command_line}[stem]() if stem in SPECIAL else module_page(stem)


def module_page(module: str) -> str:
    """Return a page with the docstring of a module, and all its public names."""
    options = ("members: false", "show_root_heading: false", "show_root_toc_entry: false")
    directives = [
        f"# {PACKAGE}.<wbr>{module.replace('.', '.<wbr>')}",
        directive(f"{PACKAGE}.{module}", *options),
        *(directive(path, *EXTENDED.get(name, ())) for name, path in documented_names(module).items()),
    ]
    return "\n\n".join(directives) + "\n"


def documented_names(module: str) -> dict[str, str]:
    """Return the public names of a module in the order of its page, each with its path.

    The path of a name that can be imported from the package itself is the one there.
    """
    facade = facade_names()
    names = sorted(public_names(module), key=lambda name: name not in FIRST)
    return {
        name: f"{PACKAGE}.{name}" if facade.get(name) == module else f"{PACKAGE}.{module}.{name}"
        for name in names
    }


def anchors(pages: Iterable[str]) -> dict[str, str]:
    """Return where each name is documented in the site; the first of the pages that has it.

    Args:
        pages: The paths of the pages in the navigation.
    """
    found: dict[str, str] = {}
    for page in pages:
        module = page.removeprefix(FOLDER).removesuffix(".md")
        if page.startswith(FOLDER) and module not in SPECIAL:
            for name, path in documented_names(module).items():
                found.setdefault(name, f"{page.removesuffix('.md')}#{path}")
    return found


def directive(path: str, *options: str) -> str:
    """Return what mkdocstrings replaces by the documentation of an object."""
    lines = [f"::: {path}", *(["    options:"] if options else []), *(f"        {each}" for each in options)]
    return "\n".join(lines)


def overview() -> str:
    """Return a page that lists the modules, and the names of the package itself."""
    pages = [module for module in public_modules() if public_names(module) and module not in ELSEWHERE]
    modules = [f"| [`{module}`]({module}.md) | {summary_of(f'{module}.md')} |" for module in pages]
    names = [f"- [`{name}`][{PACKAGE}.{name}]" for name in facade_names()]
    return OVERVIEW.format(modules="\n".join(modules), names="\n".join(names))


def command_line() -> str:
    """Return the help of all commands, without the lists of commands: the table of contents has them."""
    app, title = f"{PACKAGE}.cli._app", "Command line"
    command = [
        sys.executable,
        "-m",
        "typer",
        app,
        "utils",
        "docs",
        "--name",
        "openai-sessions",
        "--title",
        title,
    ]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ours
    return re.sub(r"^\*\*Commands\*\*:\n\n(\* .*\n)+\n", "", printed, flags=re.MULTILINE)


def summary_of(name: str) -> str:
    """Return one line on a page of the reference."""
    stem = name.removeprefix(FOLDER).removesuffix(".md")
    lines = {
        "index": "All public names.",
        "command-line": "All commands of `openai-sessions`, with their options.",
    }
    return lines.get(stem) or (ast.get_docstring(parsed(file_of(stem))) or "").partition("\n")[0]


def facade_names() -> dict[str, str]:
    """Return the names that are imported from the package itself, in order, each with its public module."""
    imports = (node for node in parsed("__init__.pyi").body if isinstance(node, ast.ImportFrom))
    found = [(each.name, str(node.module)) for node in imports for each in node.names]
    return {name: module.removeprefix(f"{PACKAGE}.") for name, module in sorted(found)}


def public_names(module: str) -> list[str]:
    """Return the public names of a module: those of `__all__`, or else all classes and functions."""
    tree = parsed(file_of(module))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.startswith("_")]
    definitions = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        node.name for node in tree.body if isinstance(node, definitions) and not node.name.startswith("_")
    ]


def public_modules() -> Iterator[str]:
    """Yield the names of all modules in whose path no part begins with an underscore."""
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts and not any(part.startswith("_") for part in parts):
            yield ".".join(parts)


def file_of(module: str) -> str:
    """Return the path of a module in the package."""
    path = module.replace(".", "/")
    return f"{path}/__init__.py" if (ROOT / PACKAGE / path).is_dir() else f"{path}.py"


def parsed(path: str) -> ast.Module:
    """Return the syntax tree of a file of the package."""
    return ast.parse((ROOT / PACKAGE / path).read_text())
