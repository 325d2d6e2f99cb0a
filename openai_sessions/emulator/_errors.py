"""Errors of the API: one exception, and a maker for each error the emulator answers with.

Messages follow the wording of the API where it is known: clients must read statuses and codes instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


JsonObject = dict[str, Any]


class ApiError(Exception):
    """Carry an error answer: its HTTP status, its `{"error": ...}` fields and its headers."""

    def __init__(  # noqa: PLR0913 - an error has these fields
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> JsonObject:
        """Return the JSON body of the answer."""
        fields = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return {"error": fields}

    def renamed(self, old: str, new: str) -> ApiError:
        """Return the same 400 for a list that a request names otherwise: `items[0]` becomes `input[0]`."""
        param = None if self.param is None else self.param.replace(old, new, 1)
        message = self.message.replace(f"'{old}[", f"'{new}[")
        return ApiError(message, status=self.status, kind=self.kind, param=param, code=self.code)


def missing_key() -> ApiError:
    """Return the 401 of a request without a bearer key."""
    message = (
        "You didn't provide an API key. You need to provide your API key in an Authorization header using "
        "Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from "
        "https://platform.openai.com/account/api-keys."
    )
    return ApiError(message, status=401, headers=_CHALLENGE)


def wrong_key() -> ApiError:
    """Return the 401 of an unknown key, which it masks whole."""
    message = (
        "Incorrect API key provided: ********. "
        "You can find your API key at https://platform.openai.com/account/api-keys."
    )
    return ApiError(message, status=401, code="invalid_api_key", headers=_CHALLENGE)


_CHALLENGE = {"www-authenticate": 'Bearer realm="OpenAI API"'}


def conversation_not_found(conversation_id: str) -> ApiError:
    """Return the 404 of a conversation that is unknown, deleted or another key's."""
    return ApiError(f"Conversation with id '{conversation_id}' not found.", status=404)


def item_not_found(item_id: str) -> ApiError:
    """Return the 404 of an item that is unknown or deleted."""
    return ApiError(f"Item with id '{item_id}' not found.", status=404)


def unknown_url(method: str, path: str) -> ApiError:
    """Return the 404 of a path that is none of the operations'."""
    return ApiError(f"Invalid URL ({method} {path})", status=404)


def method_not_allowed(method: str, path: str) -> ApiError:
    """Return the 405 of a known path asked with a wrong method."""
    message = f"Not allowed to {method} on {path} (HINT: Perhaps you meant to use a different HTTP method?)"
    return ApiError(message, status=405, code="method_not_supported")


def conversation_locked() -> ApiError:
    """Return the 400 of a write while another writer holds the conversation."""
    message = "Another process is currently operating on this conversation. Please retry in a few seconds."
    return ApiError(message, code="conversation_locked")


def rate_limited(*, retry_after: float | None) -> ApiError:
    """Return the 429 of too many requests, with the seconds to wait where they are given."""
    message = "Rate limit reached for requests. Please try again later."
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return ApiError(message, status=429, kind="requests", code="rate_limit_exceeded", headers=headers)


def quota_exceeded() -> ApiError:
    """Return the 429 of an account without credit, which no waiting mends."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return ApiError(message, status=429, kind="insufficient_quota", code="insufficient_quota")


def server_error() -> ApiError:
    """Return the 500 of a failure inside the service."""
    message = "The server had an error while processing your request. Sorry about that!"
    return ApiError(message, status=500, kind="server_error")


def unparsable_body() -> ApiError:
    """Return the 400 of a body that is not JSON."""
    message = (
        "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload, "
        "but what was sent was not valid JSON."
    )
    return ApiError(message)


def duplicate_item(item_id: str) -> ApiError:
    """Return the 400 of an item whose id the conversation holds already."""
    message = f"Duplicate item found with id {item_id}. Remove duplicate items from your input and try again."
    return ApiError(message, param="items")


def unknown_parameter(param: str) -> ApiError:
    """Return the 400 of a field that a request may not carry."""
    return ApiError(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


def missing_parameter(param: str) -> ApiError:
    """Return the 400 of a field that a request must carry."""
    return ApiError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def invalid_type(param: str, *, expected: str, actual: str) -> ApiError:
    """Return the 400 of a value of a wrong JSON type; both types come with their article."""
    message = f"Invalid type for '{param}': expected {expected}, but got {actual} instead."
    return ApiError(message, param=param, code="invalid_type")


def invalid_choice(param: str, *, value: str, choices: Sequence[str]) -> ApiError:
    """Return the 400 of a string that is none of the values allowed."""
    message = f"Invalid value: '{value}'. Supported values are: {_enumerate(choices)}."
    return ApiError(message, param=param, code="invalid_value")


def _enumerate(choices: Sequence[str]) -> str:
    quoted = [f"'{choice}'" for choice in choices]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def invalid_id(param: str, *, value: str, expectation: str) -> ApiError:
    """Return the 400 of an id of a wrong form; `expectation` completes "Expected an ID that"."""
    message = f"Invalid '{param}': '{value}'. Expected an ID that {expectation}."
    return ApiError(message, param=param, code="invalid_value")


def string_too_long(param: str, *, maximum: int, length: int) -> ApiError:
    """Return the 400 of a string over its maximum length in characters."""
    message = (
        f"Invalid '{param}': string too long. "
        f"Expected a string with maximum length {maximum}, but got a string with length {length} instead."
    )
    return ApiError(message, param=param, code="string_above_max_length")


def empty_string(param: str) -> ApiError:
    """Return the 400 of an empty string where one character is the minimum."""
    message = (
        f"Invalid '{param}': empty string. "
        "Expected a string with minimum length 1, but got an empty string instead."
    )
    return ApiError(message, param=param, code="empty_string")


def array_too_long(param: str, *, maximum: int, length: int) -> ApiError:
    """Return the 400 of an array over its maximum length."""
    message = (
        f"Invalid '{param}': array too long. "
        f"Expected an array with maximum length {maximum}, but got an array with length {length} instead."
    )
    return ApiError(message, param=param, code="array_above_max_length")


def too_many_properties(param: str, *, maximum: int, count: int) -> ApiError:
    """Return the 400 of an object with too many keys."""
    message = (
        f"Invalid '{param}': too many properties. Expected an object with at most {maximum} properties, "
        f"but got an object with {count} properties instead."
    )
    return ApiError(message, param=param, code="object_above_max_properties")


def property_name_too_long(param: str, *, maximum: int, length: int) -> ApiError:
    """Return the 400 of a key over its maximum length in characters."""
    message = (
        f"Invalid property name in '{param}': too long. "
        f"Expected a property name with maximum length {maximum}, but got one with length {length} instead."
    )
    return ApiError(message, param=param, code="property_name_above_max_length")


def number_too_large(param: str, *, kind: str, maximum: float, value: float) -> ApiError:
    """Return the 400 of a number over its maximum; its kind is "integer" or "decimal"."""
    message = (
        f"Invalid '{param}': {kind} above maximum value. "
        f"Expected a value <= {_written(maximum, kind)}, but got {_written(value, kind)} instead."
    )
    return ApiError(message, param=param, code=f"{kind}_above_max_value")


def number_too_small(param: str, *, kind: str, minimum: float, value: float) -> ApiError:
    """Return the 400 of a number below its minimum; its kind is "integer" or "decimal"."""
    message = (
        f"Invalid '{param}': {kind} below minimum value. "
        f"Expected a value >= {_written(minimum, kind)}, but got {_written(value, kind)} instead."
    )
    return ApiError(message, param=param, code=f"{kind}_below_min_value")


def _written(value: float, kind: str) -> str:
    return str(value) if kind == "integer" else f"{value:g}"


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
