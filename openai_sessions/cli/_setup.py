"""The local half of the `doctor` command: versions, and the settings that decide where requests go."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Literal
from urllib.parse import urlsplit

from openai_sessions._api.client import HTTP_LIBRARY
from openai_sessions._api.transports import address_of
from openai_sessions._secrets import is_secret
from openai_sessions.cli._errors import CommandError
from openai_sessions.cli._running import OPENAI_URL, checked_key, require_url

PACKAGE = "openai-sessions"

AZURE_PATH = "/openai/v1"
"""The path of the base URL of Azure's API without dated versions."""

_AZURE_HOSTS = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

_EXTRA = re.compile(r"^([\w.-]+).*;.*\bextra == ['\"]([\w-]+)['\"]")
"""A requirement of an extra in the metadata of a package: the package, and the extra."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one check.

    Attributes:
        check: The name of the check.
        status: `ok`; `note` for a fact that differs from OpenAI or was recovered from; `failed`.
        detail: What was found.
        remedy: What to do about it; None unless the check failed.
        ms: How long it took, in milliseconds; None without a request.
        requests: The number of requests; None if the check sends none.
    """

    check: str
    status: Literal["ok", "note", "failed"] = "ok"
    detail: str
    remedy: str | None = None
    ms: float | None = None
    requests: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where requests go and with which key, and what says so.

    Attributes:
        base_url: The base URL of the API.
        url_source: The option or variable that has it, or "default".
        key: The key, or an empty string.
        key_variable: The variable that has the key; without a key, the one to set.
        is_azure: Whether the server is Azure's.
    """

    base_url: str
    url_source: str
    key: str = field(repr=False)
    key_variable: str
    is_azure: bool = False

    @property
    def shown_url(self) -> str:
        """The base URL without user, password, query and fragment."""
        try:
            return address_of(self.base_url)
        except ValueError:  # the check of the base URL says what is wrong
            return self.url_source

    @property
    def is_usable(self) -> bool:
        """Whether requests can be sent."""
        try:
            require_url(self.base_url)
            return bool(checked_key(self.key))
        except CommandError:
            return False

    @property
    def sends_api_key_header(self) -> bool:
        """Whether the key is sent as `api-key`, as openai's client of Azure does."""
        return self.key_variable == "AZURE_OPENAI_API_KEY"


def find_access(base_url: str | None, variables: Mapping[str, str]) -> Access:
    """Return where openai's clients send their requests in an environment.

    These are `AsyncOpenAI()`, or, if there is no OPENAI_API_KEY, the endpoint and the key of
    `AsyncAzureOpenAI()` with the path of Azure's API without dated versions.

    Args:
        base_url: `--base-url`, or OPENAI_BASE_URL, or None.
        variables: The environment.
    """
    keys = {name: variables.get(name, "").strip() for name in _KEYS}
    endpoint = "" if keys["OPENAI_API_KEY"] else variables.get("AZURE_OPENAI_ENDPOINT", "").strip()
    if base_url:
        source = "OPENAI_BASE_URL" if variables.get("OPENAI_BASE_URL") == base_url else "--base-url"
    elif endpoint:
        base_url, source = f"{endpoint.rstrip('/')}{AZURE_PATH}", "AZURE_OPENAI_ENDPOINT"
    else:
        base_url, source = OPENAI_URL, "default"
    is_azure = source == "AZURE_OPENAI_ENDPOINT" or _host(base_url).endswith(_AZURE_HOSTS)
    names = _KEYS if is_azure else _KEYS[:1]
    variable = next((name for name in names if keys[name]), names[0])
    return Access(
        base_url=base_url,
        url_source=source,
        key=keys[variable],
        key_variable=variable,
        is_azure=is_azure,
    )


_KEYS = ("OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_API_KEY")
"""The variables of keys, in the order in which openai's clients prefer them."""


_ACCOUNT = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS")
"""Variables that openai's client reads, and that name an account or may contain keys."""


def is_private(variable: str) -> bool:
    """Return whether the value of a variable must not be shown."""
    return variable in _ACCOUNT or is_secret(variable)


def versions() -> Iterator[CheckResult]:
    """Yield the versions of what takes part."""
    yield CheckResult(check="version", detail=f"{PACKAGE} {metadata.version(PACKAGE)}")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield CheckResult(check="python", detail=f"{python}, {system}")
    yield CheckResult(check="openai", detail=_versions_of("openai", "openai-agents"))
    others = [
        f"{name} {found}"
        for name in ("httpx", "httpx2", "httpx-aiohttp")
        if name != HTTP_LIBRARY.__name__ and (found := _version_of(name))
    ]
    also = f"; also installed: {', '.join(others)}" if others else ""
    yield CheckResult(check="http", detail=f"{HTTP_LIBRARY.__name__} {HTTP_LIBRARY.__version__}{also}")
    yield CheckResult(check="packages", detail=_versions_of("anyio", "tenacity"))
    yield CheckResult(check="extras", detail=_extras())


def _versions_of(*names: str) -> str:
    return ", ".join(f"{name} {_version_of(name) or 'not installed'}" for name in names)


def _version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _extras() -> str:
    """Return the extras of the package whose requirements are installed, and the others."""
    needed: dict[str, list[str]] = {}
    for requirement in metadata.requires(PACKAGE) or ():
        if found := _EXTRA.match(requirement):
            needed.setdefault(found[2], []).append(found[1])
    missing = [extra for extra, names in needed.items() if not all(map(_version_of, names))]
    installed = " ".join(sorted(needed.keys() - missing)) or "none"
    return f"{installed}; not installed: {' '.join(sorted(missing))}" if missing else installed


def settings(access: Access, variables: Mapping[str, str]) -> Iterator[CheckResult]:
    """Yield what the environment says about requests, without its values.

    Args:
        access: Where requests go.
        variables: The environment.
    """
    yield _check_base_url(access, variables)
    yield _check_key(access, variables)
    account = [name for name in _ACCOUNT if variables.get(name)]
    yield CheckResult(check="account", detail=" ".join(account) or "no organization and no project set")
    proxies = [name for name in variables if name.upper() in _PROXIES and variables[name]]
    yield CheckResult(check="proxies", detail=" ".join(sorted(proxies)) or "none set")


def _check_base_url(access: Access, variables: Mapping[str, str]) -> CheckResult:
    try:
        require_url(access.base_url, access.url_source)
    except CommandError as error:
        return CheckResult(
            check="base URL",
            status="failed",
            detail=str(error),
            remedy=f"Correct {access.url_source}; without one, {OPENAI_URL} is used.",
        )
    source = access.url_source if access.url_source == "default" else f"from {access.url_source}"
    detail = f"{access.shown_url} ({source}{', Azure' if access.is_azure else ''})"
    if access.is_azure and urlsplit(access.base_url).path.rstrip("/") != AZURE_PATH:
        remedy = f"On Azure it ends in {AZURE_PATH}, as in https://NAME.openai.azure.com{AZURE_PATH}."
        return CheckResult(check="base URL", status="failed", detail=detail, remedy=remedy)
    if access.url_source == "default" and variables.get("AZURE_OPENAI_ENDPOINT"):
        ignored = "AZURE_OPENAI_ENDPOINT is ignored, as OPENAI_API_KEY is set"
        return CheckResult(check="base URL", status="note", detail=f"{detail}; {ignored}")
    return CheckResult(check="base URL", detail=detail)


def _check_key(access: Access, variables: Mapping[str, str]) -> CheckResult:
    name = access.key_variable
    if not access.key:
        also = ", or AZURE_OPENAI_API_KEY" if access.is_azure else ""
        return CheckResult(
            check="key",
            status="failed",
            detail=f"{name} is not set",
            remedy=f"Set {name}{also}; for `openai-sessions serve`, any text.",
        )
    try:
        checked_key(access.key, name)
    except CommandError as error:
        return CheckResult(check="key", status="failed", detail=str(error), remedy=f"Set {name} again.")
    if variables.get(name) != access.key:
        return CheckResult(
            check="key",
            status="failed",
            detail=f"{name} starts or ends with white space, which openai's client sends",
            remedy=f"Set {name} again without it. The checks below leave it out.",
        )
    return CheckResult(check="key", detail=f"from {name}")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
