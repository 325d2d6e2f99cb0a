"""A history that its store cannot read, and that expires.

Needs the package cryptography: `pip install "openai-sessions[encrypt]"`.
"""

from openai_sessions.encryption._envelope import SkippedItems
from openai_sessions.encryption._session import EncryptedSession

__all__ = ["EncryptedSession", "SkippedItems"]
