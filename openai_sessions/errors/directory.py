"""The errors of a directory of sessions."""

from __future__ import annotations

from openai_sessions.errors import SessionError


class DirectorySchemaError(SessionError):
    """Tell that a database has no tables of a directory, or those of another version. Nothing was changed.

    Attributes:
        found: The version of the tables, or None when there are none.
        supported: The version that this release of the library reads and writes.
    """

    def __init__(self, found: int | None, supported: int) -> None:
        if found is None:
            problem = (
                "has no tables of a session directory. Create them with `await directory.create_tables()`."
            )
        else:
            problem = (
                f"has tables of a session directory in version {found}, and this release of openai-sessions "
                f"knows version {supported}: use the release that made them, or a newer one."
            )
        super().__init__(f"The database {problem}")
        self.found = found
        self.supported = supported


class NameNotFoundError(SessionError, LookupError):
    """Tell that a directory has no such name, or a name no such branch. Nothing was changed.

    Attributes:
        name: The name that was asked for.
        branch: The branch that was asked for, or None.
    """

    def __init__(self, name: str, branch: str | None = None) -> None:
        what = f"name {name!r}" if branch is None else f"branch {branch!r} of {name!r}"
        super().__init__(f"The directory has no {what}. `await directory.session(…)` makes a name.")
        self.name = name
        self.branch = branch


class NameTakenError(SessionError, ValueError):
    """Tell that a directory has the name already, or a name the branch. Nothing was changed.

    Attributes:
        name: The name.
        branch: The branch, or None.
    """

    def __init__(self, name: str, branch: str | None = None) -> None:
        what = f"name {name!r}" if branch is None else f"branch {branch!r} of {name!r}"
        super().__init__(
            f"The directory has the {what} already: choose another one, or forget that name first."
        )
        self.name = name
        self.branch = branch


class ConversationRegisteredError(SessionError, ValueError):
    """Tell that a directory has a conversation under another name, or as another branch. Nothing was changed.

    Attributes:
        conversation_id: The conversation.
        name: Its name.
        branch: The branch of that name that it is.
    """

    def __init__(self, conversation_id: str, name: str, branch: str) -> None:
        super().__init__(
            f"{conversation_id} is registered already, as branch {branch!r} of {name!r}: open it by that "
            "name, or rename that name, or forget it first, which leaves the conversation at OpenAI."
        )
        self.conversation_id = conversation_id
        self.name = name
        self.branch = branch


class DeletionPendingError(SessionError, ValueError):
    """Tell that a directory is to delete a conversation, and cannot register it. Nothing was changed.

    Attributes:
        conversation_id: The conversation.
    """

    def __init__(self, conversation_id: str) -> None:
        super().__init__(
            f"{conversation_id} was cleared or forgotten, or its name has expired: a sweep deletes it at any "
            "moment. Register a copy: `fork()` of a session that was made with its id gives one."
        )
        self.conversation_id = conversation_id


class CurrentBranchError(SessionError, ValueError):
    """Tell that a branch cannot be forgotten, as its name stands for it. Nothing was changed.

    Attributes:
        name: The name.
        branch: The branch.
    """

    def __init__(self, name: str, branch: str) -> None:
        super().__init__(
            f"{name!r} stands for its branch {branch!r}: `await directory.switch({name!r}, …)` to another "
            "one first, or forget the whole name."
        )
        self.name = name
        self.branch = branch
