"""The layers of the package, and which imports break them."""

from __future__ import annotations

import ast
from pathlib import PurePath

CORE = (
    "_lazy_names",
    "errors",
    "_types",
    "_closing",
    "_observing",
    "_operations",
    "_plain_json",
    "_item_types",
    "_items",
    "_item_texts",
    "_pairing",
    "_turns",
    "_turn_limits",
    "_fork_points",
    "tokens",
    "_same_item",
    "_planning",
    "_usage",
    "_arguments",
    "_policy",
    "_retrying",
    "_failures",
    "_answers",
    "_slots",
    "_requests",
    "_gateway",
    "_locking",
    "_owned",
    "_plugged_lock",
    "_per_loop",
    "_clients",
    "_receipts",
    "_packed_ids",
    "_conversation",
    "_counting",
    "_pages",
    "_reading",
    "_history",
    "_holding",
    "_settling",
    "_writing",
    "_removing",
    "_agents",
    "_lazy_conversation",
    "_unread",
    "_resource",
    "_identity",
    "_metadata",
    "_usage_keeping",
    "_compactable",
    "_turn_reading",
    "_forking",
    "_streaming",
    "session",
    "_starting",
)
"""Each module or package imports only from those before it."""

PACKAGES = {
    "telemetry": CORE,
    "encryption": CORE,
    "directory": CORE,
    "sync": CORE,
    "transfer": CORE,
    "emulator": (),
    "testing": (*CORE, "emulator"),
    "cli": (*CORE, "directory", "transfer", "emulator", "testing"),
}
"""Which parts of the package each of these may import, beside itself."""

ONLY_IMPORTERS = {
    "openai": ("_requests", "_gateway", "_failures"),
    "tenacity": ("_retrying",),
    "tiktoken": ("tokens",),
}
"""Which modules of the core alone import these at run time."""

ROOT = "openai_sessions"


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
    """Yield all nodes but those under `if TYPE_CHECKING:`."""
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
    return [name for name in imported(source, path) if not allowed(name, layer_of(path))]


def layer_of(path):
    """Return the module of the core or the subpackage that a file belongs to."""
    return PurePath(path).parts[1].removesuffix(".py")


def allowed(name, layer):
    """Tell whether a layer may import a module."""
    top, _, inside = name.partition(".")
    if top == ROOT:
        return inside.partition(".")[0] in above(layer)
    return layer not in CORE or layer in ONLY_IMPORTERS.get(top, (layer,))


def above(layer):
    """Return the parts of the package that a layer may import."""
    if layer in PACKAGES:
        return (*PACKAGES[layer], layer)
    return CORE[: CORE.index(layer) + 1]  # a package imports from itself
