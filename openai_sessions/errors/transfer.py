"""The errors of copies, exports and imports."""

from __future__ import annotations

from openai_sessions.errors import SessionError


class TransferConflictError(SessionError):
    """Tell that the target of a copy or an import holds something else. Nothing was written.

    Attributes:
        position: The first of its items, from 0, that is not what was to be written.
    """

    def __init__(self, position: int) -> None:
        super().__init__(
            f"The target holds something else than the source, from its item {position} on (counted from 0), "
            "and so is no copy that was cut short. Nothing was written. Give an empty target, or "
            "append=True to add to what it holds."
        )
        self.position = position


class TransferFileError(SessionError, ValueError):
    """Tell that a file cannot be imported. Nothing was written.

    Attributes:
        line: The number of the line, from 1.
        reason: What is wrong with it, and the remedy.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"Line {line} of the export {reason}. Nothing was written.")
        self.line = line
        self.reason = reason


class TransferVerificationError(SessionError):
    """Tell that the target of a copy or an import does not give back what the source holds.

    Either was changed meanwhile, or the target does not keep such an item as it is.

    Attributes:
        position: The first item of the copy, from 0, that is not what the source holds.
    """

    def __init__(self, position: int) -> None:
        super().__init__(
            f"The copy was read back, and is not what the source holds from its item {position} on (counted "
            "from 0). If something wrote to one of them meanwhile, try again when nothing does; otherwise "
            "the target does not keep that item as it is."
        )
        self.position = position


class UnsettledTransferError(SessionError):
    """Tell that a copy or an import failed and could not be undone. `__cause__` says how it failed.

    Attributes:
        session_id: What the target calls itself, or None.
        left: How many of the items that it wrote are left in the target at most.
        undoing: Why the undoing failed.
    """

    def __init__(
        self, session_id: str | None, left: int, undoing: BaseException, *, append: bool = False
    ) -> None:
        what = f"up to {left} item(s) of it are" if left else "the conversation that it created, empty, is"
        go_on = (
            "Call it again with the same source and target to go on, or use clear_session() if it was empty."
        )
        take_off = (
            "They stand behind what the target held: take them off its end before you copy to it again."
        )
        super().__init__(
            f"A copy to {session_id} failed and could not be undone ({type(undoing).__name__}): {what} left. "
            f"{take_off if append and left else go_on}"
        )
        self.session_id = session_id
        self.left = left
        self.undoing = undoing
