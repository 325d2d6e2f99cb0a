"""Copy histories between sessions, and export and import them as JSON Lines files."""

from openai_sessions.transfer._copying import copy_session
from openai_sessions.transfer._files import export_session, import_session, read_header
from openai_sessions.transfer._sessions import TransferReport

__all__ = ["TransferReport", "copy_session", "export_session", "import_session", "read_header"]
