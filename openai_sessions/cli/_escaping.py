"""Text of others on a terminal: what would act on the terminal is shown as an escape instead."""

from __future__ import annotations

import json
import re
from typing import Any

_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
"""The controls C0 and C1, but for the tab and the end of a line."""

_REORDERING = r"\u202a-\u202e\u2066-\u2069"
"""They turn the direction of writing, so that a line reads otherwise than it is."""

_UNSEEN = r"\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Ends of lines that are none elsewhere, marks, and letters that nobody sees but a model."""

_SURROGATES = r"\ud800-\udfff"
"""Halves of characters: JSON may hold them, and no output can encode them."""

_ACTIVE = re.compile(f"[{_CONTROLS}{_REORDERING}{_UNSEEN}{_SURROGATES}]")


def escaped(text: str) -> str:
    r"""Return a text with tabs and lines as they are, and escapes such as `\x1b` for what is no text."""
    return _ACTIVE.sub(_escape, text.replace("\r\n", "\n"))


def escaped_line(text: str) -> str:
    r"""Return a text in one line: ends of lines and tabs are shown as `\n` and `\t` too."""
    return re.sub(r"[\n\t]", _escape, _ACTIVE.sub(_escape, text))


def json_text(value: Any, *, encoding: str = "utf-8") -> str:
    """Return JSON in one line that any terminal can show.

    Args:
        value: What to write.
        encoding: Of the output. One that is not UTF-8 gets escapes for all that is not ASCII.
    """
    as_ascii = encoding.lower().replace("-", "") != "utf8"
    text = json.dumps(value, ensure_ascii=as_ascii)
    return _ACTIVE.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
