"""Keep an agent's memory in OpenAI's hosted conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_sessions._lazy_names import importing

if TYPE_CHECKING:
    from openai_sessions._forking import ForkParent
    from openai_sessions._lazy_conversation import PossibleOrphan
    from openai_sessions._policy import RetryPolicy
    from openai_sessions._retrying import RetryBudget, RetryEvent
    from openai_sessions._settling import Settlement
    from openai_sessions._starting import start_openai_conversations_session
    from openai_sessions._turns import Turn
    from openai_sessions._usage import Usage
    from openai_sessions.encryption import EncryptedSession, SkippedItems
    from openai_sessions.errors import (
        ClientLoopError,
        ConversationNotCreatedError,
        ConversationNotFoundError,
        CursorError,
        InvalidItemError,
        InvalidResponseError,
        InvalidUsageError,
        MetadataFullError,
        RequestTimeoutError,
        SessionError,
        UnsettledWarning,
        UnsettledWriteError,
        VocabularyError,
    )
    from openai_sessions.errors.directory import (
        ConversationRegisteredError,
        CurrentBranchError,
        DeletionPendingError,
        DirectorySchemaError,
        NameNotFoundError,
        NameTakenError,
    )
    from openai_sessions.errors.forking import ForkPointError, ForkVerificationError, UnfinishedForkError
    from openai_sessions.errors.transfer import (
        TransferConflictError,
        TransferFileError,
        TransferVerificationError,
        UnsettledTransferError,
    )
    from openai_sessions.session import OpenAIConversationsSession
    from openai_sessions.transfer import TransferReport, copy_session, export_session, import_session

__version__ = "0.1.0"

__all__ = [
    "ClientLoopError",
    "ConversationNotCreatedError",
    "ConversationNotFoundError",
    "ConversationRegisteredError",
    "CurrentBranchError",
    "CursorError",
    "DeletionPendingError",
    "DirectorySchemaError",
    "EncryptedSession",
    "ForkParent",
    "ForkPointError",
    "ForkVerificationError",
    "InvalidItemError",
    "InvalidResponseError",
    "InvalidUsageError",
    "MetadataFullError",
    "NameNotFoundError",
    "NameTakenError",
    "OpenAIConversationsSession",
    "PossibleOrphan",
    "RequestTimeoutError",
    "RetryBudget",
    "RetryEvent",
    "RetryPolicy",
    "SessionError",
    "Settlement",
    "SkippedItems",
    "TransferConflictError",
    "TransferFileError",
    "TransferReport",
    "TransferVerificationError",
    "Turn",
    "UnfinishedForkError",
    "UnsettledTransferError",
    "UnsettledWarning",
    "UnsettledWriteError",
    "Usage",
    "VocabularyError",
    "copy_session",
    "export_session",
    "import_session",
    "start_openai_conversations_session",
]

_MODULES = {
    "ClientLoopError": "errors",
    "ConversationNotCreatedError": "errors",
    "ConversationNotFoundError": "errors",
    "ConversationRegisteredError": "errors.directory",
    "CurrentBranchError": "errors.directory",
    "CursorError": "errors",
    "DeletionPendingError": "errors.directory",
    "DirectorySchemaError": "errors.directory",
    "EncryptedSession": "encryption",
    "ForkParent": "_forking",
    "ForkPointError": "errors.forking",
    "ForkVerificationError": "errors.forking",
    "InvalidItemError": "errors",
    "InvalidResponseError": "errors",
    "InvalidUsageError": "errors",
    "MetadataFullError": "errors",
    "NameNotFoundError": "errors.directory",
    "NameTakenError": "errors.directory",
    "OpenAIConversationsSession": "session",
    "PossibleOrphan": "_lazy_conversation",
    "RequestTimeoutError": "errors",
    "RetryBudget": "_retrying",
    "RetryEvent": "_retrying",
    "RetryPolicy": "_policy",
    "SessionError": "errors",
    "Settlement": "_settling",
    "SkippedItems": "encryption",
    "TransferConflictError": "errors.transfer",
    "TransferFileError": "errors.transfer",
    "TransferReport": "transfer",
    "TransferVerificationError": "errors.transfer",
    "Turn": "_turns",
    "UnfinishedForkError": "errors.forking",
    "UnsettledTransferError": "errors.transfer",
    "UnsettledWarning": "errors",
    "UnsettledWriteError": "errors",
    "Usage": "_usage",
    "VocabularyError": "errors",
    "copy_session": "transfer",
    "export_session": "transfer",
    "import_session": "transfer",
    "start_openai_conversations_session": "_starting",
}
"""Where each name comes from."""

if not TYPE_CHECKING:  # type checkers know the names above, and none besides
    __getattr__ = importing(__name__, _MODULES)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
