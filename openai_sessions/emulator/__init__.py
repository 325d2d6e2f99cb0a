"""An offline emulator of OpenAI's Conversations API over SQLite, in process or on a socket.

It also answers the Responses API with scripted replies (`Emulator.reply`) and injects the faults of networks
and services (`Fault`, `Emulator.inject`, `Emulator.inject_at_random`).
"""

from openai_sessions.emulator._app import EmulatedRequest
from openai_sessions.emulator._emulator import Emulator
from openai_sessions.emulator._faults import FAULT_KINDS, Fault, FaultKind, OperationName
from openai_sessions.emulator._responses._scripts import (
    ErrorReply,
    Reply,
    ReplyCondition,
    ReplyOutput,
    ReplyStatus,
    ResponseRequest,
)
from openai_sessions.emulator._store import (
    Contents,
    InvalidSeedError,
    SeedResult,
    StoredConversation,
    StoredItem,
)

__all__ = [
    "FAULT_KINDS",
    "Contents",
    "EmulatedRequest",
    "Emulator",
    "ErrorReply",
    "Fault",
    "FaultKind",
    "InvalidSeedError",
    "OperationName",
    "Reply",
    "ReplyCondition",
    "ReplyOutput",
    "ReplyStatus",
    "ResponseRequest",
    "SeedResult",
    "StoredConversation",
    "StoredItem",
]
