"""OpenAI's Conversations API in a box: all eight operations over SQLite, in process or on a socket."""

from ._emulator import Emulator
from ._requests import EmulatedRequest

__all__ = ["EmulatedRequest", "Emulator"]
