"""What the emulator answers where no test has said what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._errors import JsonObject
from openai_sessions.emulator._responses._errors import no_reply

if TYPE_CHECKING:
    from openai_sessions.emulator._responses._request import ResponseRequest

_TOOL_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})


def default_reply(request: ResponseRequest) -> str:
    """Return the outputs of the tools just called, or else what the user said last.

    Raises:
        ApiError: 400 where the request asks for what only a test can make up: a call, or JSON.
    """
    choice = request.body.get("tool_choice")
    if choice == "required" or (isinstance(choice, dict) and choice.get("type") != "allowed_tools"):
        raise no_reply("its tool_choice asks for a call, whose arguments only a test can choose")
    if request.body.get("text", {}).get("format", {}).get("type", "text") != "text":
        raise no_reply("its text.format asks for JSON, which only a test can choose")
    outputs = _newest_outputs(request.items)
    if outputs:
        return "\n".join(outputs)
    return f"You said: {request.user_text}" if request.user_text else "You said nothing."


def _newest_outputs(items: tuple[JsonObject, ...]) -> list[str]:
    outputs: list[str] = []
    for item in reversed(items):
        if item["type"] not in _TOOL_OUTPUTS:
            break
        outputs.insert(0, _text(item["output"]))
    return outputs


def _text(output: Any) -> str:
    return output if isinstance(output, str) else "".join(part.get("text", "") for part in output)
