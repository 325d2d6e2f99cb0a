"""What is known of a request that failed, by error, status, code and header."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Iterator
from email.utils import formatdate

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_sessions import ConversationNotFoundError, InvalidItemError, RequestTimeoutError
from openai_sessions._api.retries import Failure, Outcome, classify
from openai_sessions.errors import ClientLoopError, CursorError, InvalidResponseError
from tests.wire import HTTP_FAMILY

CLIENT = openai.AsyncOpenAI(api_key="sk-x")
REQUEST = HTTP_FAMILY.Request("POST", "https://wire.test/v1")

CORE = importlib.import_module(HTTP_FAMILY.__name__.replace("httpx", "httpcore"))

BEFORE_SENDING = {"ConnectError", "ConnectTimeout", "PoolTimeout"}
"""The errors of httpcore after which the server has seen nothing of a request."""


def subclasses(of: type) -> Iterator[type]:
    yield of
    for subclass in of.__subclasses__():
        yield from subclasses(subclass)


def of_package(root: type) -> list[type]:
    """Return a class of errors and its subclasses, as far as its own package defines them."""
    package = root.__module__.partition(".")[0]
    return sorted(
        {error for error in subclasses(root) if error.__module__.partition(".")[0] == package},
        key=lambda error: error.__name__,
    )


def raised(error: Exception, cause: BaseException | None = None) -> Exception:
    error.__cause__ = cause
    return error


def connection_error(cause: BaseException | None) -> Exception:
    return raised(openai.APIConnectionError(request=REQUEST), cause)


def status_error(status: int, code: str | None = None, **headers: str) -> openai.APIStatusError:
    """Return the error that openai makes of an answer."""
    body = {"message": "no", "type": "x", "param": None, "code": code}
    response = HTTP_FAMILY.Response(
        status,
        request=REQUEST,
        json={"error": body},
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    return CLIENT._make_status_error("no", body=body, response=response)


@pytest.mark.parametrize("error", of_package(HTTP_FAMILY.TransportError), ids=lambda error: error.__name__)
def test_no_error_of_the_http_library_alone_proves_that_nothing_was_sent(error):
    assert Failure(Outcome.UNKNOWN) == classify(connection_error(error("cut")))


@pytest.mark.parametrize(
    "error",
    sorted(
        {each for each in vars(CORE).values() if isinstance(each, type) and issubclass(each, Exception)},
        key=lambda error: error.__name__,
    ),
    ids=lambda error: error.__name__,
)
def test_errors_of_httpcore_while_it_connects_do(error):
    expected = Outcome.UNREACHABLE if error.__name__ in BEFORE_SENDING else Outcome.UNKNOWN
    cause = raised(HTTP_FAMILY.ConnectError("any"), error("cut"))
    assert Failure(expected) == classify(connection_error(cause))


@pytest.mark.parametrize("cause", [None, OSError("cut"), asyncio.IncompleteReadError(b"", 1), ValueError()])
def test_a_connection_error_of_another_cause_is_unknown(cause):
    assert Failure(Outcome.UNKNOWN) == classify(connection_error(cause))


def test_an_error_that_only_bears_the_name_proves_nothing():
    """Transports of other libraries raise their own `ConnectError`s, or wrap others under the same name."""
    other = type("ConnectError", (Exception,), {})
    assert Failure(Outcome.UNKNOWN) == classify(connection_error(raised(other(), other())))


STATUSES = [
    (400, None, Outcome.REFUSED),
    (400, "unknown_parameter", Outcome.REFUSED),
    (400, "conversation_locked", Outcome.LOCKED),
    (401, "invalid_api_key", Outcome.REFUSED),
    (403, None, Outcome.REFUSED),
    (403, "conversation_locked", Outcome.REFUSED),
    (404, None, Outcome.NOT_FOUND),
    (404, "conversation_locked", Outcome.NOT_FOUND),
    (408, None, Outcome.UNKNOWN),
    (409, None, Outcome.UNKNOWN),
    (410, None, Outcome.REFUSED),
    (413, None, Outcome.REFUSED),
    (418, None, Outcome.REFUSED),
    (422, None, Outcome.REFUSED),
    (429, None, Outcome.THROTTLED),
    (429, "rate_limit_exceeded", Outcome.THROTTLED),
    (429, "insufficient_quota", Outcome.REFUSED),
    (499, None, Outcome.REFUSED),
    (500, None, Outcome.UNKNOWN),
    (500, "insufficient_quota", Outcome.UNKNOWN),
    (502, None, Outcome.UNKNOWN),
    (503, None, Outcome.UNKNOWN),
    (504, None, Outcome.UNKNOWN),
    (529, None, Outcome.UNKNOWN),
]


@pytest.mark.parametrize(("status", "code", "expected"), STATUSES)
def test_a_status_is_classified_by_number_and_code(status, code, expected):
    assert Failure(expected) == classify(status_error(status, code))


def test_an_answer_whose_error_has_no_body_is_classified_by_number():
    response = HTTP_FAMILY.Response(400, request=REQUEST)
    assert Failure(Outcome.REFUSED) == classify(openai.APIStatusError("no", response=response, body=None))


OF_NO_REQUEST = {
    "OpenAIError",
    "APIRemovedInV1",
    "ContentFilterFinishReasonError",
    "LengthFinishReasonError",
    "MutuallyExclusiveAuthError",
    "StreamAlreadyConsumed",
    "SubjectTokenProviderError",
    "WebSocketConnectionClosedError",
    "WebSocketQueueFullError",
    "_AmbiguousModuleClientUsageError",
}
"""openai's errors that come before any request, or never from one of these."""

ANSWERED = {
    "APIStatusError": (418, Outcome.REFUSED),
    "BadRequestError": (400, Outcome.REFUSED),
    "AuthenticationError": (401, Outcome.REFUSED),
    "OAuthError": (401, Outcome.REFUSED),
    "PermissionDeniedError": (403, Outcome.REFUSED),
    "NotFoundError": (404, Outcome.NOT_FOUND),
    "ConflictError": (409, Outcome.UNKNOWN),
    "UnprocessableEntityError": (422, Outcome.REFUSED),
    "RateLimitError": (429, Outcome.THROTTLED),
    "InternalServerError": (500, Outcome.UNKNOWN),
    # No status of an error, but an answer whose body is not what it should be.
    "APIError": (200, Outcome.UNKNOWN),
    "APIResponseValidationError": (200, Outcome.UNKNOWN),
    "APIConnectionError": (200, Outcome.UNKNOWN),
    "APITimeoutError": (200, Outcome.UNKNOWN),
}


@pytest.mark.parametrize("error", of_package(openai.OpenAIError), ids=lambda error: error.__name__)
def test_every_error_of_openai_is_classified_on_purpose(error):
    """One that is in neither table here is new: say in `retries.py` what is known after it."""
    if error.__name__ in OF_NO_REQUEST:
        assert classify(error.__new__(error)) is None
        return
    status, expected = ANSWERED[error.__name__]
    made = error.__new__(error)
    made.status_code, made.code = status, None
    made.response = HTTP_FAMILY.Response(status, request=REQUEST)
    assert Failure(expected) == classify(made)


@pytest.mark.parametrize(
    "error", [RequestTimeoutError("create items", 1), InvalidResponseError("create items", "is odd", None)]
)
def test_an_answer_that_did_not_arrive_whole_is_unknown(error):
    assert Failure(Outcome.UNKNOWN) == classify(error)


def test_a_closed_client_is_unknown_and_not_worth_another_attempt():
    expected = Failure(Outcome.UNKNOWN, should_retry=False)
    assert expected == classify(RuntimeError("Event loop is closed"))


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        ValueError(),
        OSError(),
        TypeError(),
        ConversationNotFoundError("conv_1"),
        CursorError("conv_1", "msg_1", "is odd"),
        InvalidItemError(0, "it is odd"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_is_of_no_request_is_not_classified(error):
    assert classify(error) is None


def test_a_client_of_another_loop_is_not_asked_again():
    assert classify(ClientLoopError()) == Failure(Outcome.UNKNOWN, should_retry=False)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry_after_ms": "1500"}, 1.5),
        ({"retry_after_ms": "0"}, 0),
        ({"retry_after": "7"}, 7),
        ({"retry_after": "0.25"}, 0.25),
        ({"retry_after_ms": "20", "retry_after": "7"}, 0.02),
        ({"retry_after_ms": "soon", "retry_after": "7"}, 7),
        ({"retry_after_ms": "soon"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": ""}, None),
        ({"retry_after": "-3"}, 0),
        ({"retry_after_ms": "-3"}, 0),
        ({"retry_after": "nan"}, 0),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry_after_ms": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_retry_after(headers, expected):
    assert expected == classify(status_error(429, **headers)).retry_after


def test_retry_after_as_a_date_counts_from_now():
    in_an_hour = formatdate(time.time() + 3600, usegmt=True)
    assert classify(status_error(503, retry_after=in_an_hour)).retry_after == pytest.approx(3600, abs=5)


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("false", False), ("", None), ("yes", None), ("True", None)]
)
def test_should_retry_is_what_the_server_says(value, expected):
    assert expected is classify(status_error(500, x_should_retry=value)).should_retry


dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Tue", ""]),
    st.integers(0, 40),
    st.sampled_from(["Jan", "Feb", "Foo"]),
    st.integers(0, 10**6),
    *[st.integers(0, 99)] * 3,
    st.sampled_from(["GMT", "-0000", "+0100", "+9999", f"+{10**20}", "-1"]),
)


@given(dates | st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_no_retry_after_makes_classifying_fail(value):
    failure = classify(status_error(429, retry_after=value))
    assert failure.retry_after is None or failure.retry_after >= 0
