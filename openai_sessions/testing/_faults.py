"""Faults on demand for the pytest plugin: the fixture and the marker `conversation_faults`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from contextlib import AbstractContextManager

    from openai_sessions.emulator import Emulator, Fault, FaultKind, OperationName


_REMEDY = "Inject it before a request that it fits, set allow_unmet=True, or clear the faults."


class ConversationFaults:
    """Injects faults into the requests of a test to the emulator.

    Args:
        emulator: The emulator that the test uses.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._may_stay_unmet: list[Fault] = []

    def inject(  # noqa: PLR0913 -- those of Emulator.inject, and ours
        self,
        kind: FaultKind | Fault,
        *,
        operation: OperationName | None = None,
        after: int = 0,
        times: int = 1,
        conversation_id: str | None = None,
        allow_unmet: bool = False,
        **details: float,
    ) -> None:
        """Make following requests fail.

        A test that passes without any request meeting the fault fails, because it does not test the fault.

        Args:
            kind: The kind of fault, one of `openai_sessions.emulator.FAULT_KINDS`, or a `Fault`.
            operation: The operation that fails, such as "create_items"; None for all that the kind fits.
            after: The number of matching requests that succeed first.
            times: The number of requests that fail then.
            conversation_id: The conversation whose requests fail; None for all.
            allow_unmet: Whether the test may pass without any request meeting the fault.
            **details: `retry_after`, `delay`, `after_events` and `inside_event` of the `Fault`.

        Raises:
            ValueError: The kind or the operation is unknown, they do not fit, or a number is too small.
            TypeError: A detail is unknown.
        """
        fault = _fault(kind, details)
        self._emulator.inject(
            fault, operation=operation, after=after, times=times, conversation_id=conversation_id
        )
        if allow_unmet:
            self._may_stay_unmet.append(fault)

    def at_random(
        self,
        rate: float,
        *,
        seed: int,
        kinds: Iterable[FaultKind | Fault] | None = None,
        operations: Collection[OperationName] | None = None,
    ) -> None:
        """Make following requests fail at random, until `clear`.

        Args:
            rate: The probability, from 0 to 1, that a request fails.
            seed: The seed of the choices: with the same seed, the same requests meet the same faults.
            kinds: The faults to choose from; None for one of each kind.
            operations: The operations that fail; None for all.

        Raises:
            ValueError: The rate is not between 0 and 1, a kind or an operation is unknown, or none fits.
        """
        faults = None if kinds is None else [_fault(kind, {}) for kind in kinds]
        self._emulator.inject_at_random(rate, seed=seed, faults=faults, operations=operations)

    def locked(self, conversation_id: str) -> AbstractContextManager[None]:
        """Lock the conversation for another writer inside a `with` block: writes fail."""
        return self._emulator.locked(conversation_id)

    def clear(self) -> None:
        """Remove all faults, including those that no request has met."""
        self._emulator.clear_faults()

    def check_met(self) -> None:
        """Fail the test if no request has met an injected fault, wherever it was injected."""
        unmet = [
            fault.kind
            for fault in self._emulator.unmet_faults
            if not any(fault is allowed for allowed in self._may_stay_unmet)
        ]
        if unmet:
            kinds = ", ".join(map(repr, unmet))
            pytest.fail(
                f"The test passed, but no request met the fault {kinds}, so it is not tested. {_REMEDY}",
                pytrace=False,
            )


def use_marked(items: Iterable[pytest.Item]) -> None:
    """Check the `conversation_faults` markers of tests, and request the fixture for these tests.

    The fixture comes last, so that the faults affect the test but not the setup of its other fixtures.

    Raises:
        pytest.UsageError: As for `inject_marked`.
    """
    for item in items:
        if item.get_closest_marker("conversation_faults") is None:
            continue
        with testing_extra():
            from openai_sessions.emulator import Emulator  # noqa: PLC0415 -- needs the extra

        with Emulator() as emulator:
            inject_marked(ConversationFaults(emulator), item)
        if isinstance(item, pytest.Function) and "conversation_faults" not in item.fixturenames:
            item.fixturenames = [
                *item.fixturenames,
                "conversation_faults",
            ]  # a new list: tests may share it


def inject_marked(faults: ConversationFaults, item: pytest.Item) -> None:
    """Inject the faults of a test's markers: those of its module and class, then its own from the top.

    Raises:
        pytest.UsageError: A marker has invalid arguments; the message names the test and the remedy.
    """
    for marker in reversed(list(item.iter_markers("conversation_faults"))):
        try:
            _inject_marked(faults, *marker.args, **marker.kwargs)
        except (TypeError, ValueError) as error:
            raise pytest.UsageError(
                f"{item.nodeid}: {as_written(marker)}: {error} It takes the arguments of "
                'conversation_faults.inject, as in conversation_faults("cut_after_commit", '
                'operation="create_items"), or rate= and seed=, with kinds= and operations=.'
            ) from error


def as_written(marker: pytest.Mark) -> str:
    """Return a marker as it is written in a test."""
    given = [*map(repr, marker.args), *(f"{name}={value!r}" for name, value in marker.kwargs.items())]
    return f"{marker.name}({', '.join(given)})"


def _inject_marked(faults: ConversationFaults, *kind: Any, **arguments: Any) -> None:
    if "rate" in arguments:
        faults.at_random(*kind, **arguments)
    else:
        faults.inject(*kind, **arguments)


def _fault(kind: FaultKind | Fault, details: dict[str, Any]) -> Fault:
    with testing_extra():
        from openai_sessions.emulator import Fault  # noqa: PLC0415 -- needs the extra

    if isinstance(kind, Fault):
        if details:
            raise TypeError(f"{', '.join(details)}: pass it to the Fault instead.")
        return kind
    return Fault(kind, **details)


@contextmanager
def testing_extra() -> Iterator[None]:
    """Fail the test with the remedy if an import inside the block fails."""
    try:
        yield
    except ImportError as error:
        missing = f"{error.name} not found" if error.name else str(error)
        pytest.fail(f'{missing}: install "openai-sessions[testing]"', pytrace=False)
