"""Messages and their content parts as a request may give them, and the fields they share with other items."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from openai_sessions.emulator._shapes import Null, Shape, Value

if TYPE_CHECKING:
    from collections.abc import Mapping


class IdRule(Enum):
    """Whether an item must bring its id."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    REQUIRED_UNLESS_ENCRYPTED = "required unless encrypted_content is there"


@dataclass(frozen=True, slots=True)
class ItemType:
    """One type of item, as a request may give it."""

    prefix: str
    shape: Shape
    id_rule: IdRule = IdRule.OPTIONAL


def item_status(*others: str) -> Value:
    """Return a status: in progress, completed, or one of the others."""
    return Value(("string",), choices=("in_progress", "completed", *others))


TEXT = Value(("string",))
CALL_ID = Value(("string",), max_length=64, may_be_empty=False)
FLAG = Value(("boolean",))
INTEGER_OR_NULL = Value(("integer",), null=Null.KEPT)
FREE_OBJECT = Value(("object",))
FREE_ARRAY = Value(("array",))
TEXTS = Value(("array",), elements=TEXT)
STATUS = item_status("incomplete")
PHASE = Value(("string",), null=Null.KEPT, choices=("commentary", "final_answer"))
COMPLETED = {"status": "completed"}

_BREAKPOINT = {"prompt_cache_breakpoint": FREE_OBJECT.nullable(null=Null.ABSENT)}
_DETAIL = Value(("string",), null=Null.ABSENT, choices=("low", "high", "auto", "original"))
_FILE_TEXTS = dict.fromkeys(("filename", "file_data", "file_url"), TEXT.nullable(null=Null.ABSENT))

INPUT_PARTS: Mapping[str, Shape] = {
    "input_text": Shape(required={"text": TEXT}, optional=_BREAKPOINT),
    "input_image": Shape(
        optional={"image_url": TEXT.nullable(), "file_id": TEXT.nullable(), "detail": _DETAIL, **_BREAKPOINT},
        defaults={"detail": "auto"},
    ),
    "input_file": Shape(
        optional={
            "file_id": TEXT.nullable(),
            **_FILE_TEXTS,
            "detail": Value(("string",), choices=("auto", "low", "high")),
            **_BREAKPOINT,
        },
    ),
}
OUTPUT_PARTS: Mapping[str, Shape] = {
    "output_text": Shape(
        required={"text": TEXT},
        optional={"annotations": FREE_ARRAY, "logprobs": FREE_ARRAY},
        defaults={"annotations": [], "logprobs": []},
    ),
    "refusal": Shape(required={"refusal": TEXT}),
}


def _message(parts: Mapping[str, Shape]) -> ItemType:
    content = Value(("array",), elements=Value(("object",), variants=parts))
    shape = Shape(
        required={"content": content, "role": TEXT},
        optional={"status": STATUS, "phase": PHASE},
        defaults=COMPLETED,
    )
    return ItemType("msg", shape)


INPUT_MESSAGE = _message(INPUT_PARTS)
ASSISTANT_MESSAGE = _message({**INPUT_PARTS, **OUTPUT_PARTS})
MESSAGE_ROLES = ("user", "assistant", "system", "developer")
