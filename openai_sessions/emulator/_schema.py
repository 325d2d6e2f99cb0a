"""The schema of the items in a request: which fields each type has, and how they are stored.

It is written by hand because the API's errors carry the path of the field, `items[0].content[1].text` for
example, which validation libraries report in other forms.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    empty_string,
    invalid_choice,
    invalid_type,
    missing_parameter,
    too_long,
    unknown_parameter,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class Null(Enum):
    """How a null in a field is treated."""

    REFUSED = "refused"  # not nullable in the schema of requests
    KEPT = "kept"  # nullable in listed items too, so it is stored
    ABSENT = "absent"  # not nullable in listed items, so it is dropped


@dataclass(frozen=True, slots=True)
class Value:
    """The schema of one JSON value. An object without `shape` or `variants` is free-form."""

    kinds: tuple[str, ...]
    null: Null = Null.REFUSED
    choices: tuple[str, ...] = ()
    max_length: int | None = None
    may_be_empty: bool = True
    elements: Value | None = None
    shape: Shape | None = None
    variants: Mapping[str, Shape] | None = None

    def nullable(self, *, null: Null = Null.KEPT) -> Value:
        """Return a copy that accepts null."""
        return replace(self, null=null)


@dataclass(frozen=True, slots=True)
class Shape:
    """The schema of an object with known fields; missing ones are stored as their `defaults`.

    Unknown fields are refused, or stored as they are if it `is_open`.
    """

    required: Mapping[str, Value] = field(default_factory=dict)
    optional: Mapping[str, Value] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    is_open: bool = False

    def field_value(self, name: str) -> Value | None:
        """Return the schema of a field, or None if the field is unknown."""
        return self.required.get(name) or self.optional.get(name)


def conform(value: Any, *, to: Value, path: str) -> Any:
    """Validate a value and return its stored form.

    Raises:
        ApiError: 400 with the path of the first invalid field, which starts with `path`.
    """
    kind = kind_of(value)
    if kind not in to.kinds and not (kind == "integer" and "number" in to.kinds):
        raise wrong_type(value, kinds=to.kinds, path=path)
    if kind == "string":
        _check_string(value, to=to, path=path)
    if kind == "array" and to.elements is not None:
        return [conform(each, to=to.elements, path=f"{path}[{i}]") for i, each in enumerate(value)]
    if kind == "object" and to.variants is not None:
        return conform_object(value, to=_variant(value, variants=to.variants, path=path), path=path)
    if kind == "object" and to.shape is not None:
        return conform_object(value, to=to.shape, path=path)
    return value


def _check_string(value: str, *, to: Value, path: str) -> None:
    if to.choices and value not in to.choices:
        raise invalid_choice(path, value=value, choices=to.choices)
    if not to.may_be_empty and not value:
        raise empty_string(path)
    if to.max_length is not None and len(value) > to.max_length:
        raise too_long(path, "string", maximum=to.max_length, length=len(value))


def _variant(value: JsonObject, *, variants: Mapping[str, Shape], path: str) -> Shape:
    name = value.get("type")
    if name is None:
        raise missing_parameter(f"{path}.type")
    return variants[conform(name, to=one_of(*variants), path=f"{path}.type")]


def conform_object(value: JsonObject, *, to: Shape, path: str) -> JsonObject:
    """Validate the fields of an object and return its stored form.

    `type` is not validated: it selected the shape. Fields are stored in the API's order: `type`, fields with
    defaults, other required fields, the rest.

    Args:
        value: The object.
        to: Its schema.
        path: Its path in the request; empty for the body itself.

    Raises:
        ApiError: 400 for an unknown, missing, null or wrongly typed field.
    """
    stored = {
        name: _conform_field(name, each, to=to, path=_inside(path, name))
        for name, each in value.items()
        if not _counts_as_absent(name, each, to=to)
    }
    for name in to.required:
        if name not in stored:
            raise missing_parameter(_inside(path, name))
    completed = {**to.defaults, **stored}
    in_order = dict.fromkeys(("type", *to.defaults, *to.required, *to.optional, *completed))
    return {name: completed[name] for name in in_order if name in completed}


def _inside(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _counts_as_absent(name: str, value: Any, *, to: Shape) -> bool:
    known = to.field_value(name)
    return value is None and known is not None and known.null is Null.ABSENT


def _conform_field(name: str, value: Any, *, to: Shape, path: str) -> Any:
    if name == "type":
        return value
    known = to.field_value(name)
    if known is None and to.is_open:
        return value
    if known is None:
        raise unknown_parameter(path)
    if value is not None:
        return conform(value, to=known, path=path)
    if known.null is Null.KEPT:
        return None
    raise unknown_parameter(path)


def kind_of(value: Any) -> str:
    """Return the JSON type of a parsed value."""
    return next((kind for python_type, kind in _KINDS if isinstance(value, python_type)), "null")


def wrong_type(value: Any, *, kinds: tuple[str, ...], path: str) -> ApiError:
    """Return the 400 for a value whose JSON type is not one of `kinds`."""
    expected = " or ".join(_ARTICLED[kind] for kind in kinds)
    return invalid_type(path, expected=expected, actual=_ARTICLED[kind_of(value)])


_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
)

_ARTICLED = {
    "boolean": "a boolean",
    "integer": "an integer",
    "number": "a decimal",
    "string": "a string",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


class IdRule(Enum):
    """Whether an item must include its id."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    REQUIRED_UNLESS_ENCRYPTED = "required without encrypted_content"


@dataclass(frozen=True, slots=True)
class ItemType:
    """A type of item in a request: the prefix of its ids, and its fields."""

    prefix: str
    shape: Shape
    id_rule: IdRule = IdRule.OPTIONAL


def one_of(*choices: str) -> Value:
    """Return the schema of a string with these choices."""
    return Value(("string",), choices=choices)


def _status(*others: str) -> Value:
    return one_of("in_progress", "completed", *others)


def _object(schema: Shape | Mapping[str, Shape]) -> Value:
    """Return the schema of an object, or of one whose `type` selects its shape."""
    if isinstance(schema, Shape):
        return Value(("object",), shape=schema)
    return Value(("object",), variants=schema)


def _array_of(schema: Shape | Mapping[str, Shape]) -> Value:
    return Value(("array",), elements=_object(schema))


TEXT = Value(("string",))

LONG_TEXT = Value(("string",), max_length=10_485_760)

_LONG_DATA = Value(("string",), max_length=20_971_520)

_FILE_DATA = Value(("string",), max_length=73_400_320)

CALL_ID = Value(("string",), max_length=64, may_be_empty=False)

FLAG = Value(("boolean",))

INTEGER = Value(("integer",))

NUMBER = Value(("number",))

ANYTHING = Value(("boolean", "number", "string", "array", "object"))

FREE_OBJECT = Value(("object",))

FREE_ARRAY = Value(("array",))

TEXTS = Value(("array",), elements=TEXT)

STATUS = _status("incomplete")

PHASE = one_of("commentary", "final_answer").nullable()

COMPLETED = {"status": "completed"}


def _input_parts(null: Null) -> Mapping[str, Shape]:
    """Return the parts of input.

    Args:
        null: How nulls are treated in the fields where that depends on the item.
    """
    mark = {"prompt_cache_breakpoint": _object(Shape(required={"mode": TEXT})).nullable(null=null)}
    detail = {"detail": one_of("low", "high", "auto", "original").nullable(null=null)}
    texts = {"filename": TEXT, "file_data": _FILE_DATA, "file_url": TEXT}
    file_id = {"file_id": TEXT.nullable()}
    return {
        "input_text": Shape(required={"text": LONG_TEXT}, optional=mark),
        "input_image": Shape(
            optional={"image_url": _LONG_DATA.nullable(), **file_id, **detail, **mark},
            defaults={"detail": "auto"},
        ),
        "input_file": Shape(
            optional={
                **file_id,
                **{name: value.nullable(null=null) for name, value in texts.items()},
                "detail": one_of("auto", "low", "high"),
                **mark,
            },
        ),
    }


INPUT_PARTS = _input_parts(Null.REFUSED)

_RANGE = {"start_index": INTEGER, "end_index": INTEGER}

_ANNOTATIONS = {
    "file_citation": Shape(required={"file_id": TEXT, "index": INTEGER, "filename": TEXT}),
    "url_citation": Shape(required={"url": TEXT, **_RANGE, "title": TEXT}),
    "container_file_citation": Shape(
        required={"container_id": TEXT, "file_id": TEXT, **_RANGE, "filename": TEXT}
    ),
    "file_path": Shape(required={"file_id": TEXT, "index": INTEGER}),
}

_TOKEN = {"token": TEXT, "logprob": NUMBER, "bytes": Value(("array",), elements=INTEGER)}

_LOGPROB = Shape(required={**_TOKEN, "top_logprobs": _array_of(Shape(required=_TOKEN))})

OUTPUT_PARTS: Mapping[str, Shape] = {
    "output_text": Shape(
        required={"text": TEXT},
        optional={"annotations": _array_of(_ANNOTATIONS), "logprobs": _array_of(_LOGPROB)},
        defaults={"annotations": [], "logprobs": []},
    ),
    "refusal": Shape(required={"refusal": TEXT}),
}


def _message(parts: Mapping[str, Shape]) -> ItemType:
    shape = Shape(
        required={"content": _array_of(parts), "role": TEXT},
        optional={"status": STATUS, "phase": PHASE},
        defaults=COMPLETED,
    )
    return ItemType("msg", shape)


INPUT_MESSAGE = _message(INPUT_PARTS)

ASSISTANT_MESSAGE = _message({**INPUT_PARTS, **OUTPUT_PARTS})

MESSAGE_ROLES = ("user", "assistant", "system", "developer")

_CALLER = _object({"direct": Shape(), "program": Shape(required={"caller_id": CALL_ID})}).nullable()

_OUTPUT = Value(("string", "array"), elements=_object(INPUT_PARTS))

_FUNCTION_OUTPUT = Value(
    ("string", "array"),
    max_length=LONG_TEXT.max_length,
    elements=_object(_input_parts(Null.ABSENT)),
)

_SCREENSHOT = {"computer_screenshot": Shape(optional={"image_url": TEXT, "file_id": TEXT})}

_KEYS = {"keys": TEXTS.nullable()}

_PLACE = {"x": INTEGER, "y": INTEGER}

_COMPUTER_ACTION = _object(
    {
        "click": Shape(
            required={"button": one_of("left", "right", "wheel", "back", "forward"), **_PLACE}, optional=_KEYS
        ),
        "double_click": Shape(required={**_PLACE, **_KEYS}),
        "drag": Shape(required={"path": _array_of(Shape(required=_PLACE))}, optional=_KEYS),
        "keypress": Shape(required={"keys": TEXTS}),
        "move": Shape(required=_PLACE, optional=_KEYS),
        "screenshot": Shape(),
        "scroll": Shape(required={**_PLACE, "scroll_x": INTEGER, "scroll_y": INTEGER}, optional=_KEYS),
        "type": Shape(required={"text": TEXT}),
        "wait": Shape(),
    }
)

_SAFETY_CHECKS = _array_of(
    Shape(required={"id": TEXT}, optional={"code": TEXT.nullable(), "message": TEXT.nullable()})
)

_SOURCES = _array_of({"url": Shape(required={"url": TEXT}), "api": Shape(required={"name": TEXT})})

_SEARCH_ACTION = _object(
    {
        "search": Shape(optional={"query": TEXT, "queries": TEXTS, "sources": _SOURCES}),
        "open_page": Shape(optional={"url": TEXT.nullable()}),
        "find_in_page": Shape(required={"url": TEXT, "pattern": TEXT}),
    }
)

_FOUND = Shape(
    optional={
        **dict.fromkeys(("file_id", "text", "filename"), TEXT),
        "attributes": FREE_OBJECT.nullable(),
        "score": NUMBER,
    }
)

_CODE_OUTPUTS = {"logs": Shape(required={"logs": TEXT}), "image": Shape(required={"url": TEXT})}

_LOCAL_SHELL_ACTION = {
    "exec": Shape(
        required={"command": TEXTS, "env": FREE_OBJECT},
        optional={
            "timeout_ms": INTEGER.nullable(),
            "working_directory": TEXT.nullable(),
            "user": TEXT.nullable(),
        },
    )
}

_SHELL_ENVIRONMENT = {
    "local": Shape(
        optional={"skills": _array_of(Shape(required=dict.fromkeys(("name", "description", "path"), TEXT)))}
    ),
    "container_reference": Shape(required={"container_id": TEXT}),
}

_OUTCOMES = {"timeout": Shape(), "exit": Shape(required={"exit_code": INTEGER})}

_SHELL_ACTION = Shape(
    required={"commands": TEXTS},
    optional={"timeout_ms": INTEGER.nullable(), "max_output_length": INTEGER.nullable()},
    defaults={"timeout_ms": None, "max_output_length": None},
)

_SHELL_OUTPUT = Shape(required={"stdout": LONG_TEXT, "stderr": LONG_TEXT, "outcome": _object(_OUTCOMES)})

_PATCHED_FILE = Shape(required={"path": TEXT, "diff": LONG_TEXT})

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
    "execution": one_of("server", "client"),
    "status": STATUS,
}

_SEARCH_DEFAULTS = {"call_id": None, "execution": "server", **COMPLETED}


def _text_parts(name: str) -> Value:
    return _array_of({name: Shape(required={"text": TEXT})})


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
            required={"output": _FUNCTION_OUTPUT},
            optional={
                "call_id": CALL_ID.nullable(null=Null.ABSENT),
                "name": replace(CALL_ID, max_length=128).nullable(null=Null.ABSENT),
                "namespace": CALL_ID.nullable(null=Null.ABSENT),
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
            required={"status": _status("searching", "incomplete", "failed"), "queries": TEXTS},
            optional={"results": _array_of(_FOUND).nullable()},
        ),
        IdRule.REQUIRED,
    ),
    "web_search_call": ItemType(
        "ws",
        Shape(required={"status": _status("searching", "failed"), "action": _SEARCH_ACTION}),
        IdRule.REQUIRED,
    ),
    "computer_call": ItemType(
        "cu",
        Shape(
            required={"call_id": TEXT, "pending_safety_checks": _SAFETY_CHECKS, "status": STATUS},
            optional={"action": _COMPUTER_ACTION, "actions": Value(("array",), elements=_COMPUTER_ACTION)},
        ),
        IdRule.REQUIRED,
    ),
    "computer_call_output": ItemType(
        "cuo",
        Shape(
            required={"call_id": CALL_ID, "output": Value(("object",), variants=_SCREENSHOT)},
            optional={
                "acknowledged_safety_checks": _SAFETY_CHECKS.nullable(null=Null.ABSENT),
                "status": STATUS,
            },
            defaults=COMPLETED,
        ),
    ),
    "code_interpreter_call": ItemType(
        "ci",
        Shape(
            required={
                "status": _status("incomplete", "interpreting", "failed"),
                "container_id": TEXT,
                "code": TEXT.nullable(),
                "outputs": _array_of(_CODE_OUTPUTS).nullable(),
            },
        ),
        IdRule.REQUIRED,
    ),
    "image_generation_call": ItemType(
        "ig",
        Shape(
            required={"status": _status("generating", "failed"), "result": TEXT.nullable()},
            optional=_IMAGE_FACTS,
        ),
        IdRule.REQUIRED,
    ),
}

_SHELLS = {
    "local_shell_call": ItemType(
        "lsh",
        Shape(required={"call_id": TEXT, "action": _object(_LOCAL_SHELL_ACTION), "status": STATUS}),
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
            optional={
                "caller": _CALLER,
                "status": STATUS,
                "environment": _object(_SHELL_ENVIRONMENT).nullable(),
            },
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
            optional={"caller": _CALLER, "status": STATUS, "max_output_length": INTEGER.nullable()},
            defaults={"max_output_length": None, **COMPLETED},
        ),
    ),
    "apply_patch_call": ItemType(
        "apc",
        Shape(
            required={
                "call_id": CALL_ID,
                "status": _status(),
                "operation": Value(("object",), variants=_PATCH),
            },
            optional={"caller": _CALLER},
        ),
    ),
    "apply_patch_call_output": ItemType(
        "apco",
        Shape(
            required={"call_id": CALL_ID, "status": one_of("completed", "failed")},
            optional={"caller": _CALLER, "output": LONG_TEXT.nullable()},
        ),
    ),
}

_MCP_TOOL = Shape(
    required={"name": TEXT, "input_schema": FREE_OBJECT},
    optional={"description": TEXT.nullable(), "annotations": FREE_OBJECT.nullable()},
)

_MCP_ERRORS = {
    **dict.fromkeys(("mcp_protocol_error", "http_error"), Shape(required={"code": INTEGER, "message": TEXT})),
    "mcp_tool_execution_error": Shape(required={"content": ANYTHING.nullable()}),
}

_MCP_CALL = {"server_label": TEXT, "name": TEXT, "arguments": TEXT}

_MCP = {
    "mcp_list_tools": ItemType(
        "mcpl",
        Shape(
            required={"server_label": TEXT, "tools": _array_of(_MCP_TOOL)},
            optional={"error": TEXT.nullable()},
        ),
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
                "error": Value(("object", "string"), null=Null.KEPT, variants=_MCP_ERRORS),
                "status": _status("incomplete", "calling", "failed"),
                "approval_request_id": TEXT.nullable(),
            },
        ),
        IdRule.REQUIRED,
    ),
}


def _fields(names: str, **known: Value) -> Shape:
    """Return the schema of a tool or a part of it, to which the API adds fields often.

    Args:
        names: The names of its fields: `name!` is required, `name?` may be null, `name` neither.
        **known: The schemas of some of them; the values of the others are free-form.
    """
    required: dict[str, Value] = {}
    optional: dict[str, Value] = {}
    for marked in names.split():
        name = marked.rstrip("!?")
        value = known.get(name, ANYTHING)
        fields = required if marked.endswith("!") else optional
        fields[name] = value.nullable() if marked.endswith("?") else value
    return Shape(required, optional, is_open=True)


_NETWORK = _object({"disabled": _fields(""), "allowlist": _fields("allowed_domains! domain_secrets")})

_SKILLS = _array_of(
    {"skill_reference": _fields("skill_id! version"), "inline": _fields("name! description! source!")}
)

_TOOL_NAMES = Value(("array", "object"), shape=_fields("tool_names read_only"))

_APPROVAL = Value(("string", "object"), shape=_fields("always never", always=_TOOL_NAMES, never=_TOOL_NAMES))

_CONTAINER = Value(
    ("string", "object"),
    variants={"auto": _fields("file_ids memory_limit? network_policy", network_policy=_NETWORK)},
)

_ENVIRONMENT = _object(
    {
        "container_auto": _fields(
            "file_ids memory_limit? network_policy skills", network_policy=_NETWORK, skills=_SKILLS
        ),
        "container_reference": _fields("container_id!"),
        "local": _fields("skills"),
    }
)

_IN_NAMESPACE = {
    "custom": _fields(
        "name! description format defer_loading allowed_callers?",
        format=_object({"text": _fields(""), "grammar": _fields("syntax! definition!")}),
    ),
    "function": _fields(
        "name! description? parameters? output_schema? strict? defer_loading allowed_callers?"
    ),
}

TOOL_TYPES: Mapping[str, Shape] = MappingProxyType(
    {
        **_IN_NAMESPACE,
        "apply_patch": _fields("allowed_callers?"),
        "code_interpreter": _fields("container! allowed_callers?", container=_CONTAINER),
        "computer": _fields(""),
        "computer_use_preview": _fields("environment! display_width! display_height!"),
        "file_search": _fields(
            "vector_store_ids! max_num_results ranking_options filters?",
            ranking_options=_object(_fields("ranker score_threshold hybrid_search")),
        ),
        "image_generation": _fields(
            "model quality size output_format output_compression moderation background input_fidelity? "
            "input_image_mask partial_images action",
            input_image_mask=_object(_fields("image_url file_id")),
        ),
        "local_shell": _fields(""),
        "mcp": _fields(
            "server_label! server_url connector_id tunnel_id authorization server_description headers? "
            "allowed_tools? allowed_callers? require_approval? defer_loading",
            allowed_tools=_TOOL_NAMES,
            headers=FREE_OBJECT,
            require_approval=_APPROVAL,
        ),
        "namespace": _fields("name! description! tools!", tools=_array_of(_IN_NAMESPACE)),
        "programmatic_tool_calling": _fields(""),
        "shell": _fields("environment? allowed_callers?", environment=_ENVIRONMENT),
        "tool_search": _fields("execution description? parameters?"),
        **dict.fromkeys(
            ("web_search", "web_search_2025_08_26"),
            _fields(
                "external_web_access filters? user_location? search_context_size", user_location=FREE_OBJECT
            ),
        ),
        **dict.fromkeys(
            ("web_search_preview", "web_search_preview_2025_03_11"),
            _fields("user_location? search_context_size search_content_types", user_location=FREE_OBJECT),
        ),
    }
)
"""Every type of tool."""

_TOOLS = _array_of(TOOL_TYPES)

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
    "compaction": ItemType("cmp", Shape(required={"encrypted_content": _LONG_DATA})),
    "tool_search_call": ItemType(
        "tsc", Shape(required={"arguments": FREE_OBJECT}, optional=_SEARCHED, defaults=_SEARCH_DEFAULTS)
    ),
    "tool_search_output": ItemType(
        "tso", Shape(required={"tools": _TOOLS}, optional=_SEARCHED, defaults=_SEARCH_DEFAULTS)
    ),
    "additional_tools": ItemType("at", Shape(required={"role": one_of("developer"), "tools": _TOOLS})),
    "configuration_update": ItemType(
        "cfu", Shape(optional={"reasoning": FREE_OBJECT.nullable(), "text": FREE_OBJECT.nullable()})
    ),
    "program": ItemType(
        "prog",
        Shape(required={"call_id": CALL_ID, "code": LONG_TEXT, "fingerprint": LONG_TEXT}),
        IdRule.REQUIRED,
    ),
    "program_output": ItemType(
        "progo",
        Shape(
            required={
                "call_id": CALL_ID,
                "result": LONG_TEXT,
                "status": one_of("completed", "incomplete"),
            },
        ),
        IdRule.REQUIRED,
    ),
}

ITEM_TYPES: Mapping[str, ItemType] = MappingProxyType(
    {**_FUNCTIONS, **_HOSTED_TOOLS, **_SHELLS, **_MCP, **_CONTEXT}
)
"""Every type that can be created, except messages."""

NOTHING_ADDED = ("item_reference", "compaction_trigger")
"""Types that a request may contain but that are not stored."""
