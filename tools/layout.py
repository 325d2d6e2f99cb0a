"""Print figures of the package's structure: `python -m tools.layout [CHECKOUT ...]`, or `make layout`.

Each checkout has a column, so that two states of the package are counted in the same way. Lines of code
exclude blank lines, comments and docstrings. An import counts if it runs when its module is imported. The
source is parsed, except for the names of the root, which are counted by importing it.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = "openai_sessions"
SESSION = "OpenAIConversationsSession"

Graph = Mapping[str, set[str]]
"""The names that each name depends on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.layout", description=__doc__)
    parser.add_argument("checkouts", type=Path, nargs="*", default=[ROOT], metavar="CHECKOUT")
    options = parser.parse_args(arguments)
    columns = [figures(checkout) for checkout in options.checkouts]
    print("| | " + " | ".join(checkout.resolve().name for checkout in options.checkouts) + " |")
    print("|---" + "|--:" * len(columns) + "|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
    return 0


def figures(checkout: Path) -> dict[str, str]:
    """Return the figures of a checkout by their names."""
    package = Package(checkout)
    lines = sum(module.lines for module in package.modules.values())
    code = sum(module.code_lines for module in package.modules.values())
    deepest = max(package.classes, key=lambda each: len(package.ancestors(each)))
    only = package.with_one_subclass()
    longest = max(package.functions(), key=lambda each: each.lines)
    return {
        "modules": f"{len(package.modules)}",
        "private modules in the root": f"{package.private_in_root()}",
        "lines": f"{lines:,}",
        "lines of code": f"{code:,}",
        "lines of code of a module": f"{code / len(package.modules):.0f}",
        "levels of imports between modules": f"{levels(package.imports)}",
        "levels of imports between parts of the root": f"{levels(package.part_imports)}",
        f"ancestors of {SESSION}": f"{len(package.ancestors(package.find(SESSION)))}",
        "most ancestors of a class": f"{len(package.ancestors(deepest))}, {deepest.name}",
        "base classes with one subclass": ", ".join([f"{len(only)}", *sorted(each.name for each in only)]),
        "lines of the longest function": f"{longest.lines}, {longest.name}",
        "names of the root": f"{public_names(checkout)}",
        f"arguments of {SESSION}": f"{package.constructor_arguments(package.find(SESSION))}",
        "lines of the README": f"{len((checkout / 'README.md').read_text().splitlines())}",
    }


class ClassName(NamedTuple):
    """A class on the top level of a module."""

    module: str
    name: str


class Function(NamedTuple):
    """A function or method, and its lines without decorators and docstring."""

    name: str
    lines: int


@dataclass(frozen=True)
class Module:
    """A parsed module.

    Attributes:
        name: Its name without that of the package: `_api.client`, or `_api` for a package.
        source: Its text.
    """

    name: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.source)

    @property
    def lines(self) -> int:
        """The number of lines."""
        return self.source.count("\n")

    @property
    def code_lines(self) -> int:
        """The number of lines without blank lines, comments and docstrings."""
        skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
        skipped |= {tokenize.ENDMARKER}
        tokens = tokenize.generate_tokens(io.StringIO(self.source).readline)
        code = {
            line
            for token in tokens
            if token.type not in skipped
            for line in range(token.start[0], token.end[0] + 1)
        }
        return len(code - set(chain.from_iterable(self._strings())))

    def _strings(self) -> Iterator[range]:
        """Yield the lines of docstrings, those of attributes included."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Expr(value=ast.Constant(value=str())):
                    yield range(node.lineno, (node.end_lineno or node.lineno) + 1)


class Package:
    """The package of a checkout.

    Attributes:
        modules: Its modules by name.
        classes: Its classes, with the classes of the package among their bases.
    """

    def __init__(self, checkout: Path) -> None:
        folder = checkout / PACKAGE
        self.modules = {
            name: Module(name, path.read_text(encoding="utf-8"))
            for path in sorted(folder.rglob("*.py"))
            for name in [_name(path.relative_to(folder))]
        }
        self._names = {module.name: _bindings(module.tree) for module in self.modules.values()}
        self.classes = {
            ClassName(module.name, node.name): [
                base for base in (self._resolve(module.name, base) for base in node.bases) if base
            ]
            for module in self.modules.values()
            for node in module.tree.body
            if isinstance(node, ast.ClassDef)
        }

    @property
    def imports(self) -> Graph:
        """The modules that each module imports when it is imported, the root excepted."""
        return {
            module.name: {
                imported
                for name in _imported(module.tree)
                if (imported := self._module_of(name)) not in (None, "__init__", module.name)
            }
            for module in self.modules.values()
            if module.name != "__init__"
        }

    @property
    def part_imports(self) -> Graph:
        """The same for the packages and modules of the root."""
        parts: dict[str, set[str]] = {}
        for module, imported in self.imports.items():
            part = _part(module)
            parts.setdefault(part, set()).update(set(map(_part, imported)) - {part})
        return parts

    def private_in_root(self) -> int:
        """Return the number of private modules beside `__init__`, packages excepted."""
        packages = {name.partition(".")[0] for name in self.modules if "." in name}
        modules = self.modules.keys() - packages
        return sum("." not in name and name[0] == "_" and name != "__init__" for name in modules)

    def find(self, name: str) -> ClassName:
        """Return the class of this name."""
        return next(each for each in self.classes if each.name == name)

    def ancestors(self, name: ClassName) -> set[ClassName]:
        """Return the classes of the package that a class inherits from, directly or not."""
        bases = self.classes[name]
        return {*bases, *chain.from_iterable(map(self.ancestors, bases))}

    def with_one_subclass(self) -> list[ClassName]:
        """Return the classes with exactly one direct subclass in the package."""
        counts = Counter(chain.from_iterable(self.classes.values()))
        return [name for name, count in counts.items() if count == 1]

    def functions(self) -> Iterator[Function]:
        """Yield all functions and methods."""
        for module in self.modules.values():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    docstring = _length(node.body[0]) if ast.get_docstring(node) else 0
                    yield Function(node.name, _length(node) - docstring)

    def constructor_arguments(self, name: ClassName) -> int:
        """Return the number of arguments of a class, of its own constructor or the first inherited one."""
        tree = self.modules[name.module].tree
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        for method in classes[name.name].body:
            if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                return len([*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs]) - 1
        return next(filter(None, map(self.constructor_arguments, self.classes[name])), 0)

    def _resolve(self, module: str, base: ast.expr) -> ClassName | None:
        """Return the class that an expression among bases means; None if the package does not define it."""
        if isinstance(base, ast.Subscript):
            return self._resolve(module, base.value)
        if not isinstance(base, ast.Name):
            return None
        return self._follow(module, base.id)

    def _follow(self, module: str, name: str) -> ClassName | None:
        """Return the class that a name of a module means, through imports."""
        binding = self._names[module].get(name)
        if binding is None:
            return None
        if binding == name:
            return ClassName(module, name)
        source, _, imported = binding.rpartition(".")
        defining = self._module_of(source)
        return self._follow(defining, imported) if defining is not None else None

    def _module_of(self, name: str) -> str | None:
        """Return the module of the package that an absolute name means, itself or its parent."""
        top, _, inside = name.partition(".")
        if top != PACKAGE:
            return None
        inside = inside or "__init__"
        parent = inside.rpartition(".")[0] or "__init__"
        return next((each for each in (inside, parent) if each in self.modules), None)


def levels(graph: Graph) -> int:
    """Return the length of the longest chain of names that depend on each other; a cycle is one level."""
    reached = {name: _reached(graph, name) for name in graph}
    heights: dict[str, int] = {}

    def height(name: str) -> int:
        if name not in heights:
            cycle = {other for other in reached[name] if name in reached.get(other, ())} | {name}
            below = {other for each in cycle for other in graph.get(each, ())} - cycle
            heights[name] = 1 + max(map(height, below & graph.keys()), default=0)
        return heights[name]

    return max(map(height, graph), default=0)


def public_names(checkout: Path) -> int:
    """Return the number of names in `__all__` of the root."""
    code = f"import {PACKAGE}; print(len({PACKAGE}.__all__))"
    return int(subprocess.check_output([sys.executable, "-c", code], cwd=checkout))  # noqa: S603 - ours


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _part(module: str) -> str:
    return module.partition(".")[0]


def _bindings(tree: ast.Module) -> dict[str, str]:
    """Return what the names of a module mean: itself for a class, an absolute name for an import."""
    bindings = {node.name: node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            bindings |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return bindings


def _imported(tree: ast.AST) -> Iterator[str]:
    """Yield the absolute names that are imported when a module is imported: not in functions or for types."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from chain.from_iterable(map(_imported, node.orelse))
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imported(node)


def _reached(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new: Iterable[str] = graph.get(waiting.pop(), set()) - seen
        seen.update(new)
        waiting += new
    return seen


if __name__ == "__main__":
    sys.exit(main())
