"""The layers of the package, and which imports break them."""

from __future__ import annotations

import ast
from pathlib import PurePath

LAYERS = (
    ("errors", "_instrumentation", "_secrets"),
    ("_items", "_arguments"),
    ("_api", "_agents", "reading", "tokens"),
    ("_conversation",),
    ("session", "turn", "server_managed"),
    ("encryption", "directory", "context", "redis", "transfer", "sync", "telemetry", "adapters"),
    ("testing",),
    ("cli",),
)
"""Each part of the package imports from its own layer and from those before it, without cycles."""

APART = "emulator"
"""Imports nothing of the others; `testing` and `cli` import it."""

ONLY_IMPORTERS = {"openai": "_api", "tenacity": "_api", "tiktoken": "tokens", "genai_prices": "_conversation"}
"""Which part of the core alone imports these at run time."""

ROOT = "openai_sessions"

CORE = {part for layer in LAYERS[:5] for part in layer}


def imported(source, path):
    """Return the absolute names of the modules that a file imports at run time.

    Args:
        source: The text of the file.
        path: Its path from the parent of the package, to which relative imports are relative.
    """
    package = PurePath(path).parent.parts
    names = []
    for node in run_time_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            # `from package import module` and `from module import name` look alike: the root is the package.
            names += [f"{module}.{alias.name}" for alias in node.names] if module == ROOT else [module]
    return names


def run_time_nodes(tree):
    """Yield all nodes except those under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for otherwise in node.orelse:
                yield otherwise
                yield from run_time_nodes(otherwise)
        else:
            yield node
            yield from run_time_nodes(node)


def broken(source, path):
    """Return the imports of a file that its layer forbids."""
    part = part_of(path)
    return [name for name in imported(source, path) if not allowed(name, part)]


def part_of(path):
    """Return the part of the package that a file belongs to: a package or module of its root."""
    return PurePath(path).parts[1].removesuffix(".py")


def allowed(name, part):
    """Return whether a part of the package may import a module."""
    top, _, inside = name.partition(".")
    if top == ROOT:
        return inside == "__version__" or inside.partition(".")[0] in importable_from(part)
    return part not in CORE or ONLY_IMPORTERS.get(top, part) == part


def importable_from(part):
    """Return the parts of the package that one part may import."""
    if part == APART:
        return {APART}
    above = next(index for index, layer in enumerate(LAYERS) if part in layer)
    parts = {each for layer in LAYERS[: above + 1] for each in layer}
    return parts | {APART} if part in ("testing", "cli") else parts


def cycles(imports):
    """Return the parts that import each other, directly or through others.

    Args:
        imports: The parts that each part imports.
    """

    def reached(part):
        seen, waiting = set(), [part]
        while waiting:
            for other in imports.get(waiting.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
        return seen

    return {part for part in imports if part in reached(part)}
