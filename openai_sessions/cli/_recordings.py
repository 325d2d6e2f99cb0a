"""Recordings of the `doctor` command: files of its requests, without secrets, to replay without a server."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai

from openai_sessions._secrets import spellings
from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.cli._running import OPENAI_URL, require_folder
from openai_sessions.cli._setup import PACKAGE, Access, is_private
from openai_sessions.testing._reducing import with_few_headers, without_noise
from openai_sessions.testing.cassettes import CassetteError, use_cassette

REPLAYED_URL = "http://server.invalid/v1"
"""The base URL in recordings of servers other than OpenAI's, whose addresses may name an account."""


def require_new(file: Path) -> None:
    """Refuse a file that exists, that has no folder, or that is not YAML by its name.

    Raises:
        CommandError: It cannot be recorded to.
    """
    if file.suffix not in (".yaml", ".yml"):
        raise CommandError(f"--record {file}: give a name that ends in .yaml.", exit_code=ExitCode.USAGE)
    require_folder(file)
    if file.exists():
        raise CommandError(
            f"--record {file}: the file exists. Remove it, or give another name.", exit_code=ExitCode.USAGE
        )


@contextmanager
def draft_of(file: Path) -> Iterator[Path]:
    """Yield the path of a draft of a file, in a folder beside it that is removed at the end."""
    with tempfile.TemporaryDirectory(dir=file.absolute().parent, prefix=".doctor-") as folder:
        yield Path(folder) / "draft.yaml"


@contextmanager
def recorded(draft: Path, access: Access) -> Iterator[None]:
    """Record the requests of the block.

    The base URL is written as that of OpenAI, or as `REPLAYED_URL`, and its host is removed from responses.

    Args:
        draft: The file, which is new.
        access: Where the requests go.

    Raises:
        CommandError: The file could not be written.
    """
    is_openai = access.base_url.rstrip("/") == OPENAI_URL
    written_url = OPENAI_URL if is_openai else REPLAYED_URL
    host = urlsplit(access.base_url).hostname or ""
    is_public = is_openai or "." not in host  # a host of one word may be any word in a response
    base_path = urlsplit(access.base_url).path.rstrip("/")

    def request(sent: Any) -> Any:
        reduced = without_noise(sent)
        url = urlsplit(reduced.uri)
        query = f"?{url.query}" if url.query else ""
        reduced.uri = f"{written_url}{url.path.removeprefix(base_path)}{query}"
        return reduced

    def response(received: dict[str, Any]) -> dict[str, Any]:
        reduced = with_few_headers(received)
        body = reduced["body"]
        text = body["string"] if is_public else body["string"].replace(host.encode(), b"server.invalid")
        return {**reduced, "body": {**body, "string": text}}

    with (
        _explained(),
        use_cassette(
            draft, record_mode="all", before_record_request=request, before_record_response=response
        ),
    ):
        yield


@contextmanager
def replayed(file: Path) -> Iterator[tuple[Access, str | None]]:
    """Answer the requests of the block from a recording.

    Yields where to send them, and the model that was asked.

    Raises:
        CommandError: There is no such file, it is damaged, or the block sent other requests.
    """
    if not file.is_file():
        raise CommandError(f"--replay {file}: no such file.", exit_code=ExitCode.USAGE)
    with _explained(), use_cassette(file, record_mode="none") as cassette:
        url = (
            OPENAI_URL if any(each.uri.startswith(OPENAI_URL) for each in cassette.requests) else REPLAYED_URL
        )
        access = Access(base_url=url, url_source=file.name, key="sk-replayed", key_variable="OPENAI_API_KEY")
        asked = [json.loads(each.body) for each in cassette.requests if each.uri.endswith("/responses")]
        yield access, asked[0]["model"] if asked else None


def publish(draft: Path, file: Path, variables: Mapping[str, str]) -> None:
    """Move a recording to its place, with a comment that says where it comes from.

    Args:
        draft: The recording.
        file: Its place.
        variables: The environment, whose secrets must not be in it.

    Raises:
        CommandError: The recording contains the value of a variable that is secret. There is no file.
    """
    text = draft.read_text(encoding="utf-8")
    for name, value in variables.items():
        if is_private(name) and any(map(text.__contains__, spellings(value.strip()))):
            raise CommandError(
                f"--record {file}: nothing was written, because the recording contains the value of {name}. "
                "Report this without the value.",
                exit_code=ExitCode.FAILED,
            )
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    versions = f"{PACKAGE} {version(PACKAGE)}, openai {openai.__version__}"
    draft.write_text(f"# openai-sessions doctor --record, {now}, {versions}\n{text}", encoding="utf-8")
    draft.replace(file)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except CassetteError as error:
        raise CommandError(" ".join(str(error).split()), exit_code=ExitCode.FAILED) from error
