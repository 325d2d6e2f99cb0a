"""What type checkers must refuse; mypy complains of an ignored error that is none. Never run."""

from __future__ import annotations

import openai_sessions
import openai_sessions.testing

openai_sessions.OpenAIConversationsSession("user_123")  # type: ignore[arg-type]
openai_sessions.OpenAIConversationSession  # type: ignore[attr-defined]  # noqa: B018
openai_sessions.testing.check_sessions  # type: ignore[attr-defined]  # noqa: B018
