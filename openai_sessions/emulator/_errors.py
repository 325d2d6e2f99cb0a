"""The error responses of the API: `ApiError`, and a function that builds each error the emulator sends.

Messages use the API's wording where it is known. Clients should rely on statuses and codes only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


JsonObject = dict[str, Any]


class ApiError(Exception):
    """An error response: its HTTP status, the fields of its `error` object, and its headers."""

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
        """Return the JSON body of the response."""
        fields = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return {"error": fields}

    def renamed(self, old: str, new: str) -> ApiError:
        """Return the error for a request that names the list differently: `items[0]` becomes `input[0]`."""
        param = None if self.param is None else self.param.replace(old, new, 1)
        message = self.message.replace(f"'{old}[", f"'{new}[")
        return ApiError(message, status=self.status, kind=self.kind, param=param, code=self.code)


# Keys and URLs


def missing_key() -> ApiError:
    """Return the 401 for a request without a bearer key."""
    message = (
        "You didn't provide an API key. You need to provide your API key in an Authorization header using "
        "Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from "
        "https://platform.openai.com/account/api-keys."
    )
    return ApiError(message, status=401, headers=_CHALLENGE)


def wrong_key() -> ApiError:
    """Return the 401 for an unknown key, which is fully masked."""
    message = (
        "Incorrect API key provided: ********. "
        "You can find your API key at https://platform.openai.com/account/api-keys."
    )
    return ApiError(message, status=401, code="invalid_api_key", headers=_CHALLENGE)


_CHALLENGE = {"www-authenticate": 'Bearer realm="OpenAI API"'}


def unknown_url(method: str, path: str) -> ApiError:
    """Return the 404 for a path that belongs to no operation."""
    return ApiError(f"Invalid URL ({method} {path})", status=404)


def method_not_allowed(method: str, path: str) -> ApiError:
    """Return the 405 for a known path with a wrong method."""
    message = f"Not allowed to {method} on {path} (HINT: Perhaps you meant to use a different HTTP method?)"
    return ApiError(message, status=405, code="method_not_supported")


# The state of conversations and responses


def not_found(kind: str, object_id: str) -> ApiError:
    """Return the 404 for an object that is unknown, deleted or owned by another key.

    Args:
        kind: "Conversation", "Item", "Response" or "File".
        object_id: The id in the request.
    """
    return ApiError(f"{kind} with id '{object_id}' not found.", status=404)


def item_not_found(item_id: str) -> ApiError:
    """Return the 404 for an item that is not in the conversation."""
    return ApiError(f"Item with id '{item_id}' not found in conversation.", status=404)


def file_not_found(file_id: str) -> ApiError:
    """Return the 404 for a file that is unknown, deleted or owned by another key."""
    return ApiError(f"No such File object: {file_id}", status=404, param="id")


def conversation_locked() -> ApiError:
    """Return the 400 for a write to a conversation that another writer has locked."""
    message = "Another process is currently operating on this conversation. Please retry in a few seconds."
    return ApiError(message, code="conversation_locked")


def duplicate_item(item_id: str) -> ApiError:
    """Return the 400 for an item whose id is already in the conversation."""
    message = f"Duplicate item found with id {item_id}. Remove duplicate items from your input and try again."
    return ApiError(message, param="items")


def previous_response_not_found(response_id: str) -> ApiError:
    """Return the 400 for a `previous_response_id` that is unknown, deleted or owned by another key."""
    message = f"Previous response with id '{response_id}' not found."
    return ApiError(message, param="previous_response_id", code="previous_response_not_found")


def previous_response_and_conversation() -> ApiError:
    """Return the 400 for a request with both `previous_response_id` and `conversation`."""
    message = (
        "Mutually exclusive parameters. "
        "Ensure you are only providing one of: 'previous_response_id' or 'conversation'."
    )
    return ApiError(message, code="mutually_exclusive_parameters")


def background_without_store() -> ApiError:
    """Return the 400 for a background response with `"store": false`."""
    message = "Background mode requires 'store' to be true."
    return ApiError(message, param="background", code="unsupported_parameter")


def not_cancellable(state: str) -> ApiError:
    """Return the 400 for a response that cannot be cancelled: `state` is "synchronous", or its status."""
    return ApiError(f"Cannot cancel {'an' if state[0] in 'aeiou' else 'a'} {state} response.")


def still_running() -> ApiError:
    """Return the 400 for deleting a background response that runs."""
    return ApiError("Cannot delete an in-flight response.")


def not_streamable(condition: str) -> ApiError:
    """Return the 400 for streaming a stored response that was not created with `condition`."""
    message = f"This response cannot be streamed because it was not created with {condition}."
    return ApiError(message, param="stream")


def no_input() -> ApiError:
    """Return the 400 for an empty input without a conversation or a previous response."""
    message = "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' must be provided."
    return ApiError(message, code="missing_required_parameter")


def call_missing(call_id: object, *, kind: str) -> ApiError:
    """Return the 400 for a tool output without its call; `kind` is "function call", for example."""
    return ApiError(f"No tool call found for {kind} output with call_id {call_id}.", param="input")


def output_missing(call_id: object, *, kind: str) -> ApiError:
    """Return the 400 for a tool call without its output; `kind` is "function call", for example."""
    return ApiError(f"No tool output found for {kind} {call_id}.", param="input")


def approval_request_missing(request_id: object) -> ApiError:
    """Return the 400 for an approval without its request."""
    return ApiError(f"No MCP approval request found with id {request_id}.", param="input")


def approval_missing(request_ids: Sequence[str]) -> ApiError:
    """Return the 400 for requests for an approval that have no answer."""
    message = f"The following MCP approval requests do not have an approval: {', '.join(request_ids)}."
    return ApiError(message, param="input")


def following_missing(item_id: str) -> ApiError:
    """Return the 400 for reasoning without the output that it led to."""
    message = f"Item '{item_id}' of type 'reasoning' was provided without its required following item."
    return ApiError(message, param="input")


# Injected faults


def rate_limited(*, retry_after: float | None) -> ApiError:
    """Return the 429 of the rate limit, with a `retry-after` header if seconds are given."""
    message = "Rate limit reached for requests. Please try again later."
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return ApiError(message, status=429, kind="requests", code="rate_limit_exceeded", headers=headers)


def quota_exceeded() -> ApiError:
    """Return the 429 for an account without credit: a retry cannot succeed."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return ApiError(message, status=429, kind="insufficient_quota", code="insufficient_quota")


def server_error() -> ApiError:
    """Return the 500 for a failure inside the service."""
    message = "The server had an error while processing your request. Sorry about that!"
    return ApiError(message, status=500, kind="server_error")


# The values in a request


def unparsable_body() -> ApiError:
    """Return the 400 for a body that is not JSON."""
    message = (
        "Invalid body: failed to parse JSON value. Please check the value to ensure it is valid JSON. "
        "(Common errors include trailing commas, missing closing brackets, missing quotation marks, etc.)"
    )
    return ApiError(message, code="invalid_json")


def unparsable_form(reason: str) -> ApiError:
    """Return the 400 for a form that cannot be read."""
    return ApiError(f"Invalid body: failed to parse multipart/form-data: {reason}")


def unknown_parameter(param: str) -> ApiError:
    """Return the 400 for a field that the operation does not accept."""
    return ApiError(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


def missing_parameter(param: str) -> ApiError:
    """Return the 400 for a missing required field."""
    return ApiError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def invalid_type(param: str, *, expected: str, actual: str) -> ApiError:
    """Return the 400 for a value of the wrong JSON type; both types include their article."""
    message = f"Invalid type for '{param}': expected {expected}, but got {actual} instead."
    return ApiError(message, param=param, code="invalid_type")


def invalid_choice(param: str, *, value: str, choices: Sequence[str]) -> ApiError:
    """Return the 400 for a string that is not one of the supported values."""
    message = f"Invalid value: '{value}'. Supported values are: {_enumerate(choices)}."
    return ApiError(message, param=param, code="invalid_value")


def _enumerate(choices: Sequence[str]) -> str:
    quoted = [f"'{choice}'" for choice in choices]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def invalid_id(param: str, *, value: str, expectation: str) -> ApiError:
    """Return the 400 for a malformed id; `expectation` completes "Expected an ID that"."""
    message = f"Invalid '{param}': '{value}'. Expected an ID that {expectation}."
    return ApiError(message, param=param, code="invalid_value")


def empty_string(param: str) -> ApiError:
    """Return the 400 for an empty string in a field that requires a character."""
    message = (
        f"Invalid '{param}': empty string. "
        "Expected a string with minimum length 1, but got an empty string instead."
    )
    return ApiError(message, param=param, code="empty_string")


def too_long(param: str, kind: str, *, maximum: int, length: int) -> ApiError:
    """Return the 400 for a "string" or "array" over its maximum length; `kind` says which."""
    article = "an" if kind == "array" else "a"
    message = (
        f"Invalid '{param}': {kind} too long. Expected {article} {kind} with maximum length {maximum}, "
        f"but got {article} {kind} with length {length} instead."
    )
    return ApiError(message, param=param, code=f"{kind}_above_max_length")


def too_many_properties(param: str, *, maximum: int, count: int) -> ApiError:
    """Return the 400 for an object with too many keys."""
    message = (
        f"Invalid '{param}': too many properties. Expected an object with at most {maximum} properties, "
        f"but got an object with {count} properties instead."
    )
    return ApiError(message, param=param, code="object_above_max_properties")


def property_name_too_long(param: str, *, maximum: int, length: int) -> ApiError:
    """Return the 400 for a key over its maximum length."""
    message = (
        f"Invalid property name in '{param}': too long. "
        f"Expected a property name with maximum length {maximum}, but got one with length {length} instead."
    )
    return ApiError(message, param=param, code="property_name_above_max_length")


def number_out_of_range(param: str, kind: str, *, value: float, bound: float) -> ApiError:
    """Return the 400 for an "integer" or "decimal" beyond one of its bounds; `kind` says which."""
    side, relation, code = (
        ("above maximum", "<=", "above_max") if value > bound else ("below minimum", ">=", "below_min")
    )
    expected, actual = (str(each) if kind == "integer" else f"{each:g}" for each in (bound, value))
    message = (
        f"Invalid '{param}': {kind} {side} value. "
        f"Expected a value {relation} {expected}, but got {actual} instead."
    )
    return ApiError(message, param=param, code=f"{kind}_{code}_value")


# The emulator's own errors


def not_emulated(feature: str) -> ApiError:
    """Return the 501 for a feature of the API that the emulator lacks; openai's client does not retry it."""
    message = f"The emulator does not support {feature}."
    headers = {"x-should-retry": "false"}
    return ApiError(message, status=501, kind="server_error", code="not_emulated", headers=headers)


def invalid_schema(name: str, *, place: tuple[str, ...], problem: str) -> ApiError:
    """Return the 400 for the schema of a `text.format`; `place` has the keys that lead to the problem."""
    message = f"Invalid schema for response_format '{name}': In context={place}, {problem}"
    return ApiError(message, param="text.format.schema", code="invalid_json_schema")


def no_reply(reason: str) -> ApiError:
    """Return the 400 for a request without a reply; clients do not retry it."""
    message = (
        f"The emulator has no reply for this request: {reason}. "
        "Queue one with Emulator.reply, or add one to the file of serve --replies."
    )
    return ApiError(message, code="no_scripted_reply")


def reply_failed(error: Exception) -> ApiError:
    """Return the 400 for a scripted reply that raised or was invalid; clients do not retry it."""
    message = f"The reply scripted for this request failed: {type(error).__name__}: {error}"
    return ApiError(message, code="scripted_reply_failed")
