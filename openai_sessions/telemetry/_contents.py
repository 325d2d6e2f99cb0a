"""The items themselves, recorded only where the application asks for it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping

from openai_sessions._plain_json import NotJSONError, plain_json

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The variable by which the instrumentations of OpenTelemetry are asked for contents."""

_ON_SPANS = frozenset({"true", "span_only", "span_and_event"})


def is_captured(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether contents are to be recorded on spans."""
    return environ.get(CAPTURE, "").strip().lower() in _ON_SPANS


def as_records(items: Iterable[object]) -> str:
    """Return items as the convention has the records of a memory: JSON, each item the content of one."""
    return json.dumps([{"content": _content(item)} for item in items], ensure_ascii=False)


def _content(item: object) -> object:
    try:
        return plain_json(item)
    except NotJSONError:  # the operation refuses it
        return None
