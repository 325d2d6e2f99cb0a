"""Faults on demand, for the pytest plugin: the fixture `conversation_faults` and the marker of this name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from contextlib import AbstractContextManager

    from openai_sessions.emulator import Emulator, Fault, FaultKind, OperationName


_REMEDY = "Inject it where a request comes, say allow_unmet=True, or clear the faults."


class ConversationFaults:
    """The faults that the requests of a test meet at the emulator.

    Args:
        emulator: The emulator that the test talks to.
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
        """Let coming requests meet a fault.

        A test that passes although no request has met the fault fails: it would prove nothing of it.

        Args:
            kind: The kind of fault, one of `openai_sessions.emulator.FAULT_KINDS`, or a `Fault`.
            operation: The operation it happens to, such as "create_items"; None for all that it fits.
            after: How many matching requests pass before.
            times: How many requests meet the fault then.
            conversation_id: The conversation it happens to; None for all.
            allow_unmet: Let the test pass although no request meets the fault.
            **details: `retry_after` and `delay` of the `Fault`.

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
        """Let coming requests meet faults at random, until `clear`.

        Args:
            rate: The probability, from 0 to 1, with which a request meets a fault.
            seed: What the choices are made from: the same requests meet the same faults.
            kinds: The faults to choose from; None for one of each kind.
            operations: The operations that they happen to; None for all.

        Raises:
            ValueError: The rate is no probability, a kind or an operation is unknown, or none fits.
        """
        faults = None if kinds is None else [_fault(kind, {}) for kind in kinds]
        self._emulator.inject_at_random(rate, seed=seed, faults=faults, operations=operations)

    def locked(self, conversation_id: str) -> AbstractContextManager[None]:
        """Let another writer hold the conversation inside a `with` block, so that writes are refused."""
        return self._emulator.locked(conversation_id)

    def clear(self) -> None:
        """Let no more requests meet a fault, and let the test pass without those that were not met."""
        self._emulator.clear_faults()

    def check_met(self) -> None:
        """Fail the test when a fault was injected, here or at the emulator, that no request has met."""
        unmet = [
            fault.kind
            for fault in self._emulator.unmet_faults
            if not any(fault is allowed for allowed in self._may_stay_unmet)
        ]
        if unmet:
            kinds = ", ".join(map(repr, unmet))
            pytest.fail(
                f"The test passed, but no request met the fault {kinds}: it proves nothing of it. {_REMEDY}",
                pytrace=False,
            )


def use_marked(items: Iterable[pytest.Item]) -> None:
    """Check the markers of faults on tests, and give these tests the fixture that injects them.

    It comes last, so that the faults meet the test and not what its other fixtures prepare.

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
            ]  # the list may be of several tests


def inject_marked(faults: ConversationFaults, item: pytest.Item) -> None:
    """Inject what the markers of a test say: those of its module and class first, then its own from the top.

    Raises:
        pytest.UsageError: A marker has bad arguments; the message names the test, them and the remedy.
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
    """Return a marker as it stands in the source of a test."""
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
            raise TypeError(f"{', '.join(details)}: give it to the Fault itself.")
        return kind
    return Fault(kind, **details)


@contextmanager
def testing_extra() -> Iterator[None]:
    """Fail the test with the remedy when an import inside the block finds no module."""
    try:
        yield
    except ImportError as error:
        missing = f"{error.name} not found" if error.name else str(error)
        pytest.fail(f'{missing}: install "openai-sessions[testing]"', pytrace=False)
