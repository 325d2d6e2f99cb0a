"""Errors of the operations on responses, those of the emulator's own among them.

The codes and messages of the API's are those of published reports and measurements of it.
"""

from __future__ import annotations

from openai_sessions.emulator._errors import ApiError


def response_not_found(response_id: str) -> ApiError:
    """Return the 404 of a response that is unknown, deleted, not stored or another key's."""
    return ApiError(f"Response with id '{response_id}' not found.", status=404)


def previous_response_not_found(response_id: str) -> ApiError:
    """Return the 400 of a response to follow that is unknown, deleted, not stored or another key's."""
    message = f"Previous response with id '{response_id}' not found."
    return ApiError(message, param="previous_response_id", code="previous_response_not_found")


def previous_response_and_conversation() -> ApiError:
    """Return the 400 of a request that names both what it follows and where it belongs."""
    message = (
        "Mutually exclusive parameters. "
        "Ensure you are only providing one of: 'previous_response_id' or 'conversation'."
    )
    return ApiError(message, code="mutually_exclusive_parameters")


def nothing_to_answer() -> ApiError:
    """Return the 400 of an empty input that nothing comes before."""
    message = "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' must be provided."
    return ApiError(message, code="missing_required_parameter")


def call_missing(call_id: object, *, kind: str) -> ApiError:
    """Return the 400 of an output that no call belongs to; `kind` is "function call", for example."""
    return ApiError(f"No tool call found for {kind} output with call_id {call_id}.", param="input")


def output_missing(call_id: object, *, kind: str) -> ApiError:
    """Return the 400 of a call that nobody has answered; `kind` is "function call", for example."""
    return ApiError(f"No tool output found for {kind} {call_id}.", param="input")


def unsupported_parameter(param: str) -> ApiError:
    """Return the 400 of a parameter that the emulator does not support."""
    message = f"Unsupported parameter: '{param}' is not supported by the emulator. Leave it out."
    return ApiError(message, param=param, code="unsupported_parameter")


def no_reply(reason: str) -> ApiError:
    """Return the 400 of a request that the emulator has no reply for; no client repeats it."""
    message = f"The emulator has no reply for this request: {reason}. Queue one with Emulator.reply."
    return ApiError(message, code="no_scripted_reply")


def reply_failed(error: Exception) -> ApiError:
    """Return the 400 of a reply that could not be made; no client repeats it."""
    message = f"The reply that was scripted for this request failed: {type(error).__name__}: {error}"
    return ApiError(message, code="scripted_reply_failed")
