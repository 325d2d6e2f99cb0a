"""OpenAI's Conversations API in a box: all eight operations over SQLite, in process or on a socket.

It can also fail like a network and a service, on purpose: see `Fault`, `Emulator.inject` and
`Emulator.inject_at_random`.
"""

from openai_sessions.emulator._emulator import Emulator
from openai_sessions.emulator._faults import FAULT_KINDS, Fault, FaultKind, OperationName
from openai_sessions.emulator._requests import EmulatedRequest

__all__ = ["FAULT_KINDS", "EmulatedRequest", "Emulator", "Fault", "FaultKind", "OperationName"]
