"""What a failed check of the `doctor` command means: a fact, and a remedy."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from openai import APIConnectionError, APIStatusError, APITimeoutError

from openai_sessions._api.transports import cause_of
from openai_sessions._secrets import without_tokens
from openai_sessions.cli._setup import AZURE_PATH, Access
from openai_sessions.errors import (
    ConversationNotFoundError,
    InvalidResponseError,
    RedirectError,
    RequestTimeoutError,
)

_MAX_CAUSES = 10


@dataclass(frozen=True, slots=True)
class Failure:
    """What is wrong, and what to do about it."""

    detail: str
    remedy: str


def diagnosed(error: Exception, check: str, access: Access) -> Failure:
    """Return what an error of a check means.

    Args:
        error: The error, of openai or a session.
        check: The name of the check, such as "create".
        access: Where requests go.
    """
    if isinstance(error, APITimeoutError) and type(error.__cause__).__name__ != "ConnectTimeout":
        return Failure("no complete response in time", _SLOW)
    if isinstance(error, APIConnectionError):
        return _unreachable(error, access)
    if isinstance(error, APIStatusError):
        return _refused(error, check, access)
    if isinstance(error, (RequestTimeoutError, InvalidResponseError, RedirectError)):
        return _unusable(error, access)
    if isinstance(error, ConversationNotFoundError):
        return Failure(
            "the server does not have the conversation that it has created",
            "If several servers share the address, they do not share their storage.",
        )
    return Failure(
        f"{type(error).__name__}: {error}", "Run the command again; if it stays, report this line."
    )


_SLOW = "Check the server, and proxies between; give a slow server more time with --timeout."


def _unusable(error: RequestTimeoutError | InvalidResponseError | RedirectError, access: Access) -> Failure:
    if isinstance(error, RequestTimeoutError):
        return Failure(f"no complete response within {error.timeout:g} s", _SLOW)
    if isinstance(error, RedirectError):
        to = f" to {error.address}" if error.address else ""
        remedy = error.base_url or "an address that does not redirect"
        return Failure(
            f"a redirect with status {error.status}{to}", f"Set {_url_source(access)} to {remedy}."
        )
    return Failure(
        f"the response to {error.operation!r} is not one of the API, perhaps a web page",
        f"Check {_url_source(access)}: the base URL of OpenAI's API ends in /v1.",
    )


def _url_source(access: Access) -> str:
    return "--base-url or OPENAI_BASE_URL" if access.url_source == "default" else access.url_source


def _refused(error: APIStatusError, check: str, access: Access) -> Failure:
    status = error.status_code
    if status == 401:  # its message may contain a part of the key
        return Failure(
            "401: the key is not accepted", f"Set {access.key_variable} to a key of {access.shown_url}."
        )
    if status in _NO_ENDPOINT and check == "create":
        path = AZURE_PATH if access.is_azure else "/v1"
        return Failure(
            f"{status}: the server has no /conversations",
            f"Check {_url_source(access)}, which should end in {path}. Not every server of OpenAI's API has "
            "conversations; OpenAI, Azure, smg and the emulator do.",
        )
    if status in (400, 404) and check == "response":
        return Failure(
            f"{status}: {_reason(error)}", "Check --model, and that the server has it and the Responses API."
        )
    remedy = _REMEDIES.get((status, error.code)) or _REMEDIES.get((status, None))
    if remedy is None:
        is_down = status >= 500
        remedy = (
            _SERVER_FAILED if is_down else "The server refuses what OpenAI accepts: report it with this line."
        )
    return Failure(f"{status}: {_reason(error)}", remedy.format(key=access.key_variable))


_NO_ENDPOINT = (404, 405, 501)

_SERVER_FAILED = "The server failed: look at its log or status page, and try again."

_REMEDIES = {
    (403, None): "Give the key in {key} the permission to write conversations.",
    (429, None): "Wait a minute, or raise the limits of the project.",
    (429, "insufficient_quota"): "Add credit, or raise the budget of the project.",
}
"""By status and code; without a code, those of all others."""


def _reason(error: APIStatusError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return without_tokens(str(body.get("message") or "no reason given")).rstrip(".")


def _unreachable(error: APIConnectionError, access: Access) -> Failure:
    causes = list(_causes(error))
    if any(type(cause).__name__ == "ProxyError" for cause in causes):
        return Failure(f"the proxy did not connect to {access.shown_url}", _PROXY_REMEDY)
    for kind, fact, remedy in _TLS_ERRORS:
        if any(isinstance(cause, kind) for cause in causes):
            return Failure(fact.format(access.shown_url), remedy.format(_url_source(access)))
    has_proxy = _has_proxy(access.base_url)
    target = f"the proxy for {access.shown_url}" if has_proxy else access.shown_url
    for kind, fact, remedy in _CONNECTION_ERRORS:
        if any(isinstance(cause, kind) for cause in causes):
            return Failure(
                fact.format(target), _PROXY_REMEDY if has_proxy else remedy.format(_url_source(access))
            )
    return Failure(
        f"no response from {target} ({cause_of(error)})",
        f"Check {_url_source(access)}, the log of the server, the network and proxies.",
    )


_PROXY_REMEDY = "Check the variables of proxies above; NO_PROXY names hosts that need none."

_TLS_ERRORS: tuple[tuple[type[Exception], str, str], ...] = (
    (
        ssl.SSLCertVerificationError,
        "TLS: the certificate of {} is not trusted",
        "Set SSL_CERT_FILE to the certificates of your company's proxy or server, or check the clock.",
    ),
    (
        ssl.SSLError,
        "TLS: no secure connection to {}",
        "Check {}: a server without TLS needs http://, not https://.",
    ),
)
"""What went wrong, the fact with the base URL, and the remedy with what sets that."""

_CONNECTION_ERRORS: tuple[tuple[type[Exception], str, str], ...] = (
    (socket.gaierror, "DNS: the host of {} is unknown", "Check {}, and the network."),
    (
        ConnectionRefusedError,
        "connect: {} refused the connection",
        "Start the server, or check the port in {}.",
    ),
    (
        ConnectionResetError,
        "connect: {} closed the connection without a response",
        "Check the server at {}; if it has TLS, it needs https://.",
    ),
    (TimeoutError, "connect: {} did not accept a connection in time", "Check {}, and firewalls."),
)
"""The same of what connects, which may be a proxy."""


def _has_proxy(url: str) -> bool:
    """Return whether requests to a URL go to a proxy, as the environment says."""
    parts = urlsplit(url)
    proxies = getproxies()
    return bool(proxies.get(parts.scheme) or proxies.get("all")) and not proxy_bypass(parts.hostname or "")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those below it; of several attempts to connect, the first."""
    for _ in range(_MAX_CAUSES):
        if error is None:
            return
        yield error
        attempts = getattr(error, "exceptions", ())
        error = attempts[0] if attempts else error.__cause__ or error.__context__
