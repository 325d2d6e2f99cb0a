"""What the Agents SDK needs of a session, without importing it: settings, client, model input, compaction."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import sys
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from types import MethodType
from typing import Any, TypeVar, cast

from openai_sessions._items.forms import FAKE_ID, plain_json, replay_form, same_item
from openai_sessions._items.types import Item

logger = logging.getLogger("openai_sessions")

Method = TypeVar("Method", bound=Callable[..., Awaitable[Any]])


@dataclass
class SessionSettings:
    """Settings of a session while the Agents SDK is not imported, in place of `agents.SessionSettings`.

    Attributes:
        limit: The maximum number of items that a read returns, or None for all.
    """

    limit: int | None = None


def session_settings(value: object) -> Any:
    """Return settings as the Runner expects them: `agents.SessionSettings` once that is imported.

    Args:
        value: Settings of either class, a dict of their fields, or None for the defaults.

    Raises:
        TypeError: It is none of these, or has an unknown field.
    """
    wanted = getattr(sys.modules.get("agents"), "SessionSettings", None) or SessionSettings
    if isinstance(value, wanted):
        return value
    if isinstance(value, SessionSettings):
        return wanted(limit=value.limit)
    if value is None:
        return wanted()
    if not isinstance(value, Mapping):
        raise TypeError(f"session_settings must be a SessionSettings, a dict or None, not {value!r}")
    known = [field.name for field in fields(wanted)]
    unknown = sorted(str(name) for name in value if name not in known)
    if unknown:
        raise TypeError(f"Unknown session settings: {', '.join(unknown)}. There is: {', '.join(known)}")
    return wanted(**value)


def limit_of(settings: object) -> object:
    """Return the limit in settings of either class."""
    return getattr(settings, "limit", None)


def default_client() -> Any:
    """Return the client that was given to `agents.set_default_openai_client`, or None."""
    shared = sys.modules.get("agents.models._openai_shared")
    return shared.get_default_openai_client() if shared else None


def responses_of_run(result: object) -> list[tuple[str, Any]]:
    """Return the responses of a run, each with the name of the model that its agent has, or "".

    A response has no model. Its agent is that of its items in the result; of a response whose items are not
    there, as after a `RunState` was serialised, the model is known if all agents have the same.
    """
    agents = {id(item.raw_item): item.agent for item in getattr(result, "new_items", None) or ()}
    models = {_model_of(agent) for agent in agents.values()}
    otherwise = models.pop() if len(models) == 1 else ""
    return [
        (
            next((_model_of(agents[id(item)]) for item in response.output if id(item) in agents), otherwise),
            response,
        )
        for response in getattr(result, "raw_responses", None) or ()
    ]


def _model_of(agent: Any) -> str:
    """Return the name of the model of an agent, or "" if it cannot be known."""
    model = getattr(agent, "model", "")
    if model is None:
        defaults = sys.modules.get("agents.models.default_models")
        return defaults.get_default_model() if defaults else ""
    name = model if isinstance(model, str) else getattr(model, "model", "")
    return name if isinstance(name, str) else ""


def run_config(client: object) -> Any:
    """Return a new `agents.RunConfig` whose OpenAI models use a client and the Responses API over HTTP.

    Raises:
        ImportError: openai-agents is not installed.
    """
    agents = importlib.import_module("agents")
    provider = agents.MultiProvider(
        openai_client=client, openai_use_responses=True, openai_use_responses_websocket=False
    )
    return agents.RunConfig(model_provider=provider)


def register_session(session_class: type) -> None:
    """Make `isinstance(session, agents.Session)` true for a session class.

    Without this, the check reads `session_id` on Python 3.11 and earlier, which an unused session does not
    have.
    """
    protocol = getattr(sys.modules.get("agents"), "Session", None)
    if protocol is not None:
        protocol.register(session_class)


def compaction_snapshot() -> Any:
    """Return the class of the snapshots that the SDK's compaction replaces, or None if it has none."""
    return getattr(sys.modules.get("agents.memory.session"), "_CompactionSnapshot", None)


class _ForCompaction:
    """Makes a method visible on an instance to code of the SDK only; on the class, to everybody."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self._method
        caller = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001 -- there is no other way
        if caller.partition(".")[0] != "agents":
            raise AttributeError(f"{owner.__name__!r} object has no such attribute for {caller}")
        return MethodType(self._method, instance)


def for_compaction(method: Method) -> Method:
    """Decorate a method that the SDK's compaction looks up on the session that it wraps.

    A wrapper that forwards the attributes that it lacks would forward these too, and the history would be
    replaced past the `get_items` and `add_items` of the wrapper.
    """
    return cast("Method", _ForCompaction(method))


def log_skipped_compaction(conversation_id: str | None) -> None:
    """Log that the history was not replaced, as the SDK does of its own sessions."""
    logger.warning("%s: the history was not compacted, as others have changed it meanwhile", conversation_id)


def called_by_runner(method: Method) -> Method:
    """Decorate a method that the Runner calls: it accepts `wrapper`, and gives a history to model classes.

    The Runner passes the context of its run as `wrapper` to sessions whose `get_items`, `add_items`,
    `pop_item` and `clear_session` have that parameter. Only by this can a session tell it from other callers.
    """

    @wraps(method)
    async def called(*args: Any, wrapper: object = None, **kwargs: Any) -> Any:
        result = await method(*args, **kwargs)
        return for_model_classes(result) if wrapper is not None and isinstance(result, list) else result

    signature = inspect.signature(method)
    wrapper = inspect.Parameter("wrapper", inspect.Parameter.KEYWORD_ONLY, default=None)
    parameters = sorted([*signature.parameters.values(), wrapper], key=lambda parameter: parameter.kind)
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return cast("Method", called)


def for_model_classes(history: Sequence[Item]) -> list[Item]:
    """Return a history in replay form in shapes that every model class of the Agents SDK accepts.

    The classes for Chat Completions accept an assistant message with parts, and join it with the calls and
    the reasoning beside it, only if it has an id. It gets the id that the SDK itself gives to items without
    one: the class for the Responses API removes it from requests. Strings become parts, too, because a
    serialised `RunState` makes parts of them, and gives those no id. Messages of other roles need their type
    if they have any field besides role, content and phase.
    """
    return [_for_model_classes(item) if item.get("type") in (None, "message") else item for item in history]


def _for_model_classes(message: Item) -> Item:
    if message.get("role") != "assistant":
        return message if message.keys() <= {"role", "content"} else {"type": "message", **message}
    content: Any = message.get("content")
    parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list) or not all(map(_is_answer, parts)):
        return message
    answers = [_answer(part) for part in parts]
    return {"id": FAKE_ID, "type": "message", "status": "completed", **message, "content": answers}


def _is_answer(part: Any) -> bool:
    """Return whether a part can be output: OpenAI stores the string of an assistant as `input_text`."""
    return isinstance(part, dict) and part.get("type") in ("input_text", "output_text", "refusal")


def _answer(part: Item) -> Item:
    is_input = part["type"] == "input_text"
    return {"type": "output_text", "text": part.get("text"), "annotations": []} if is_input else part


_MAX_ITEMS = 250
"""More than a run writes. Bounds the memory of a session that only writes."""

_MAX_OUTLINE = 4096
"""Characters. A longer outline is not kept; it is of an item with many values that a list does not return."""

_AS_LISTED = ""
"""The outline of a plain message, whose replay form is the item as the caller gave it."""

_NO_OUTLINE = '"#"'
"""The outline of an item that cannot be restored: no text has this mark."""


class WrittenAsGiven:
    """The items written since the history was last read, as the caller gave them.

    The Agents SDK's compaction needs the fields that the replay form drops, such as `status`, because its own
    sessions return them. An outline of each item is kept: its JSON, with marks for the texts that the replay
    form has.
    """

    __slots__ = ("_outlines",)

    def __init__(self) -> None:
        self._outlines = b""

    def add(self, items: Iterable[object]) -> None:
        """Remember items that were written."""
        outlines = [*self._lines(), *(_outline(plain_json(item)) for item in items)][-_MAX_ITEMS:]
        self._outlines = zlib.compress("\n".join(["", *outlines]).encode()) if any(outlines) else b""

    def forget(self) -> None:
        """Forget all items, because the history is being read."""
        self._outlines = b""

    def restored_in(self, history: Sequence[Item]) -> list[Item]:
        """Return a history with its newest items as the caller gave them.

        Args:
            history: Items in replay form, oldest first.
        """
        restored: list[Item] = []
        for outline, listed in zip(reversed(self._lines()), reversed(history), strict=False):
            if outline == _AS_LISTED:
                restored.append(listed)
                continue
            try:
                given = _filled(json.loads(outline), _texts_by_mark(listed))
            except KeyError:
                break
            if not same_item(given, listed):
                break
            restored.append(given)
        return [*history[: len(history) - len(restored)], *reversed(restored)]

    def _lines(self) -> list[str]:
        return zlib.decompress(self._outlines).decode().split("\n")[1:] if self._outlines else []


def _outline(item: Item) -> str:
    """Return the outline of an item, without an id that its replay form drops."""
    replayed = replay_form(item)
    if item == replayed and isinstance(item.get("content"), str):
        return _AS_LISTED
    given = {key: value for key, value in item.items() if key != "id" or "id" in replayed}
    outline = json.dumps(_marked(given, _texts_by_mark(replayed)), separators=(",", ":"))
    return outline if len(outline) <= _MAX_OUTLINE else _NO_OUTLINE


def _texts_by_mark(item: Item) -> dict[str, str]:
    return {_mark(text): text for text in _strings(item)}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _mark(text: str) -> str:
    return f"#{zlib.crc32(text.encode()):x}"


def _marked(value: Any, texts: Mapping[str, str]) -> Any:
    """Return a JSON value with a mark for each of these texts, and "=" before any other string."""
    if isinstance(value, dict):
        return {key: _marked(part, texts) for key, part in value.items()}
    if isinstance(value, list):
        return [_marked(part, texts) for part in value]
    if isinstance(value, str):
        mark = _mark(value)
        return mark if texts.get(mark) == value else f"={value}"
    return value


def _filled(outline: Any, texts: Mapping[str, str]) -> Any:
    """Return the JSON value that `_marked` returned the outline of.

    Raises:
        KeyError: A mark has no text.
    """
    if isinstance(outline, dict):
        return {key: _filled(part, texts) for key, part in outline.items()}
    if isinstance(outline, list):
        return [_filled(part, texts) for part in outline]
    if isinstance(outline, str):
        return outline[1:] if outline.startswith("=") else texts[outline]
    return outline
