"""OpenAI's Conversations API in a box: all eight operations over SQLite, in process or on a socket."""

from openai_sessions.emulator._emulator import Emulator
from openai_sessions.emulator._requests import EmulatedRequest

__all__ = ["EmulatedRequest", "Emulator"]
