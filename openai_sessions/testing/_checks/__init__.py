"""What a session must do: one async function a requirement, which its docstring states."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

from openai_sessions.testing._checks import _concurrency, _history, _limits, _round_trip, _sharing
from openai_sessions.testing._report import Sessions

Check = Callable[[Sessions], Coroutine[Any, Any, None]]


def _checks_of(module: ModuleType) -> Iterator[tuple[str, Check]]:
    for name, check in vars(module).items():
        if inspect.iscoroutinefunction(check) and check.__module__ == module.__name__ and name[0] != "_":
            yield name, check


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        name: check
        for module in (_history, _limits, _round_trip, _sharing, _concurrency)
        for name, check in _checks_of(module)
    }
)
"""Every check by its name, in the order in which they run."""
