"""Encrypted histories whose items expire.

Requires the package cryptography: `pip install "openai-sessions[encrypt]"`.
"""

from openai_sessions.encryption._envelope import SkippedItems
from openai_sessions.encryption._keys import KeyStore
from openai_sessions.encryption._session import EncryptedSession

__all__ = ["EncryptedSession", "KeyStore", "SkippedItems"]
