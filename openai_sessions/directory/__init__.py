"""Sessions by name, stored in SQLite or PostgreSQL.

Requires SQLAlchemy and a driver: `pip install "openai-sessions[directory]"`, or `[postgresql]`.
"""

try:
    import sqlalchemy.ext.asyncio
except ImportError as error:
    raise ImportError(
        "SessionDirectory requires SQLAlchemy: pip install 'openai-sessions[directory]'", name=error.name
    ) from error

from openai_sessions.directory._directory import SessionDirectory
from openai_sessions.directory._keys import DirectoryKeyStore
from openai_sessions.directory._session import NamedSession
from openai_sessions.directory._values import (
    BranchEntry,
    ErasedObjects,
    ErasureReport,
    LostCreation,
    SessionEntry,
    SessionPage,
    SweepReport,
)

__all__ = [
    "BranchEntry",
    "DirectoryKeyStore",
    "ErasedObjects",
    "ErasureReport",
    "LostCreation",
    "NamedSession",
    "SessionDirectory",
    "SessionEntry",
    "SessionPage",
    "SweepReport",
]

del sqlalchemy
