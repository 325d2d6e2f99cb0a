"""The item types that can be created: their fields, their id prefix and what a list adds to them.

Written from the request and answer schemas of OpenAI's public API document. Fields that only answers carry
(`created_by`, say) are not here, so that sending them is refused. Free-form values (tools, actions,
arguments) are taken as they come. The id prefixes `msg`, `fc` and `rs` are those of real traffic; the others
follow OpenAI's examples where there are any. The document requires `local_shell_call_output.call_id` and
`mcp_approval_response.request_id` without describing them: they are optional here. The type
`configuration_update`, `async` on calls, and what an image generation says of itself are in the openai
package (3.54) and not yet in the document.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from openai_sessions.emulator._message_schema import (
    CALL_ID,
    COMPLETED,
    FLAG,
    FREE_ARRAY,
    FREE_OBJECT,
    INPUT_PARTS,
    INTEGER_OR_NULL,
    STATUS,
    TEXT,
    TEXTS,
    IdRule,
    ItemType,
    item_status,
)
from openai_sessions.emulator._shapes import Null, Shape, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

_CALLER = FREE_OBJECT.nullable()
_OUTPUT = Value(("string", "array"), elements=Value(("object",), variants=INPUT_PARTS))
_SCREENSHOT = {"computer_screenshot": Shape(optional={"image_url": TEXT, "file_id": TEXT})}
_SHELL_ACTION = Shape(
    required={"commands": TEXTS},
    optional={"timeout_ms": INTEGER_OR_NULL, "max_output_length": INTEGER_OR_NULL},
    defaults={"timeout_ms": None, "max_output_length": None},
)
_SHELL_OUTPUT = Shape(required={"stdout": TEXT, "stderr": TEXT, "outcome": FREE_OBJECT})
_PATCHED_FILE = Shape(required={"path": TEXT, "diff": TEXT})
_PATCH = {
    "create_file": _PATCHED_FILE,
    "update_file": _PATCHED_FILE,
    "delete_file": Shape(required={"path": TEXT}),
}
_IMAGE_FACTS = {
    **dict.fromkeys(
        ("action", "background", "output_format", "quality", "revised_prompt", "size"), TEXT.nullable()
    ),
    **dict.fromkeys(("error", "svg_usage"), FREE_OBJECT.nullable()),
}
_SEARCHED = {
    "call_id": CALL_ID.nullable(),
    "execution": Value(("string",), choices=("server", "client")),
    "status": STATUS,
}
_SEARCH_DEFAULTS = {"call_id": None, "execution": "server", **COMPLETED}


def _text_parts(name: str) -> Value:
    return Value(("array",), elements=Value(("object",), variants={name: Shape(required={"text": TEXT})}))


_FUNCTIONS = {
    "function_call": ItemType(
        "fc",
        Shape(
            required={"call_id": TEXT, "name": TEXT, "arguments": TEXT},
            optional={"caller": _CALLER, "namespace": TEXT, "status": STATUS, "async": FLAG},
            defaults=COMPLETED,
        ),
    ),
    "function_call_output": ItemType(
        "fco",
        Shape(
            required={"output": _OUTPUT},
            optional={
                "call_id": CALL_ID.nullable(null=Null.ABSENT),
                "name": TEXT.nullable(null=Null.ABSENT),
                "namespace": TEXT.nullable(null=Null.ABSENT),
                "caller": _CALLER,
                "status": STATUS,
            },
            defaults=COMPLETED,
        ),
    ),
    "custom_tool_call": ItemType(
        "ctc",
        Shape(
            required={"call_id": TEXT, "name": TEXT, "input": TEXT},
            optional={"caller": _CALLER, "namespace": TEXT, "async": FLAG},
        ),
    ),
    "custom_tool_call_output": ItemType(
        "ctco", Shape(required={"call_id": TEXT, "output": _OUTPUT}, optional={"caller": _CALLER})
    ),
}

_HOSTED_TOOLS = {
    "file_search_call": ItemType(
        "fs",
        Shape(
            required={"status": item_status("searching", "incomplete", "failed"), "queries": TEXTS},
            optional={"results": FREE_ARRAY.nullable()},
        ),
        IdRule.REQUIRED,
    ),
    "web_search_call": ItemType(
        "ws",
        Shape(required={"status": item_status("searching", "failed"), "action": FREE_OBJECT}),
        IdRule.REQUIRED,
    ),
    "computer_call": ItemType(
        "cu",
        Shape(
            required={"call_id": TEXT, "pending_safety_checks": FREE_ARRAY, "status": STATUS},
            optional={"action": FREE_OBJECT, "actions": FREE_ARRAY},
        ),
        IdRule.REQUIRED,
    ),
    "computer_call_output": ItemType(
        "cuo",
        Shape(
            required={"call_id": CALL_ID, "output": Value(("object",), variants=_SCREENSHOT)},
            optional={
                "acknowledged_safety_checks": FREE_ARRAY.nullable(null=Null.ABSENT),
                "status": STATUS,
            },
            defaults=COMPLETED,
        ),
    ),
    "code_interpreter_call": ItemType(
        "ci",
        Shape(
            required={
                "status": item_status("incomplete", "interpreting", "failed"),
                "container_id": TEXT,
                "code": TEXT.nullable(),
                "outputs": FREE_ARRAY.nullable(),
            },
        ),
        IdRule.REQUIRED,
    ),
    "image_generation_call": ItemType(
        "ig",
        Shape(
            required={"status": item_status("generating", "failed"), "result": TEXT.nullable()},
            optional=_IMAGE_FACTS,
        ),
        IdRule.REQUIRED,
    ),
}

_SHELLS = {
    "local_shell_call": ItemType(
        "lsh",
        Shape(required={"call_id": TEXT, "action": FREE_OBJECT, "status": STATUS}),
        IdRule.REQUIRED,
    ),
    "local_shell_call_output": ItemType(
        "lsho",
        Shape(required={"output": TEXT}, optional={"call_id": TEXT, "status": STATUS}),
        IdRule.REQUIRED,
    ),
    "shell_call": ItemType(
        "sh",
        Shape(
            required={"call_id": CALL_ID, "action": Value(("object",), shape=_SHELL_ACTION)},
            optional={"caller": _CALLER, "status": STATUS, "environment": FREE_OBJECT.nullable()},
            defaults={"environment": None, **COMPLETED},
        ),
    ),
    "shell_call_output": ItemType(
        "sho",
        Shape(
            required={
                "call_id": CALL_ID,
                "output": Value(("array",), elements=Value(("object",), shape=_SHELL_OUTPUT)),
            },
            optional={"caller": _CALLER, "status": STATUS, "max_output_length": INTEGER_OR_NULL},
            defaults={"max_output_length": None, **COMPLETED},
        ),
    ),
    "apply_patch_call": ItemType(
        "apc",
        Shape(
            required={
                "call_id": CALL_ID,
                "status": item_status(),
                "operation": Value(("object",), variants=_PATCH),
            },
            optional={"caller": _CALLER},
        ),
    ),
    "apply_patch_call_output": ItemType(
        "apco",
        Shape(
            required={"call_id": CALL_ID, "status": Value(("string",), choices=("completed", "failed"))},
            optional={"caller": _CALLER, "output": TEXT.nullable()},
        ),
    ),
}

_MCP_CALL = {"server_label": TEXT, "name": TEXT, "arguments": TEXT}
_MCP = {
    "mcp_list_tools": ItemType(
        "mcpl",
        Shape(required={"server_label": TEXT, "tools": FREE_ARRAY}, optional={"error": TEXT.nullable()}),
        IdRule.REQUIRED,
    ),
    "mcp_approval_request": ItemType("mcpr", Shape(required=_MCP_CALL), IdRule.REQUIRED),
    "mcp_approval_response": ItemType(
        "mcpr",
        Shape(
            required={"approval_request_id": TEXT, "approve": FLAG},
            optional={"reason": TEXT.nullable(), "request_id": TEXT},
        ),
    ),
    "mcp_call": ItemType(
        "mcp",
        Shape(
            required=_MCP_CALL,
            optional={
                "output": TEXT.nullable(),
                "error": Value(("object", "string"), null=Null.KEPT),
                "status": item_status("incomplete", "calling", "failed"),
                "approval_request_id": TEXT.nullable(),
            },
        ),
        IdRule.REQUIRED,
    ),
}

_CONTEXT = {
    "reasoning": ItemType(
        "rs",
        Shape(
            required={"summary": _text_parts("summary_text")},
            optional={
                "encrypted_content": TEXT.nullable(),
                "content": _text_parts("reasoning_text"),
                "status": STATUS,
            },
        ),
        IdRule.REQUIRED_UNLESS_ENCRYPTED,
    ),
    "compaction": ItemType("cmp", Shape(required={"encrypted_content": TEXT})),
    "tool_search_call": ItemType(
        "tsc", Shape(required={"arguments": FREE_OBJECT}, optional=_SEARCHED, defaults=_SEARCH_DEFAULTS)
    ),
    "tool_search_output": ItemType(
        "tso", Shape(required={"tools": FREE_ARRAY}, optional=_SEARCHED, defaults=_SEARCH_DEFAULTS)
    ),
    "additional_tools": ItemType(
        "at", Shape(required={"role": Value(("string",), choices=("developer",)), "tools": FREE_ARRAY})
    ),
    "configuration_update": ItemType(
        "cfu", Shape(optional={"reasoning": FREE_OBJECT.nullable(), "text": FREE_OBJECT.nullable()})
    ),
    "program": ItemType(
        "prog", Shape(required={"call_id": CALL_ID, "code": TEXT, "fingerprint": TEXT}), IdRule.REQUIRED
    ),
    "program_output": ItemType(
        "progo",
        Shape(
            required={
                "call_id": CALL_ID,
                "result": TEXT,
                "status": Value(("string",), choices=("completed", "incomplete")),
            },
        ),
        IdRule.REQUIRED,
    ),
}

ITEM_TYPES: Mapping[str, ItemType] = MappingProxyType(
    {**_FUNCTIONS, **_HOSTED_TOOLS, **_SHELLS, **_MCP, **_CONTEXT}
)
"""Every type that can be created, messages aside."""

NOTHING_ADDED = ("item_reference", "compaction_trigger")
"""Types that a request may hold and that store nothing themselves."""
