"""OpenAI's Conversations API in a box: all eight operations over SQLite, in process or on a socket.

Responses are created by script, see `Emulator.reply`, and added to their conversation.

It can also fail like a network and a service, on purpose: see `Fault`, `Emulator.inject` and
`Emulator.inject_at_random`.
"""

from openai_sessions.emulator._app import EmulatedRequest
from openai_sessions.emulator._emulator import Emulator
from openai_sessions.emulator._faults import FAULT_KINDS, Fault, FaultKind, OperationName
from openai_sessions.emulator._responses._scripts import Reply, ReplyOutput, ReplyStatus, ResponseRequest
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
    "Fault",
    "FaultKind",
    "InvalidSeedError",
    "OperationName",
    "Reply",
    "ReplyOutput",
    "ReplyStatus",
    "ResponseRequest",
    "SeedResult",
    "StoredConversation",
    "StoredItem",
]
