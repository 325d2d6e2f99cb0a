"""Make two recordings of a flow alike: stable ids, and metadata that says where the file comes from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import openai
import yaml

_ID = re.compile(
    r"(?:(?<![0-9A-Za-z_\\])|(?<=\\[nrt]))(?!(?:call|req|proj|ek)_)"
    r"[a-z]{2,8}_(?=[A-Za-z]*[0-9])[0-9A-Za-z]{16,64}(?![0-9A-Za-z_])"
)
"""Ids that the server creates: `conv_`, `msg_`, `resp_`, … and at least 16 characters, one of them a digit.

The API's have 48 or 50 hexadecimal digits. The model creates `call_` ids; `req_`, `proj_` and `ek_` name
requests, accounts and keys.
"""


def finish(path: Path, metadata: Mapping[str, str]) -> None:
    """Write stable ids and metadata into a cassette that was just recorded.

    Args:
        path: The file.
        metadata: Written to the file, with the time of recording and the version of openai.
    """
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    data["interactions"] = with_stable_ids(data["interactions"])
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    data["metadata"] = {"recorded_at": now, "openai": openai.__version__, **metadata}
    text = yaml.dump(data, Dumper=_Dumper, width=2**16, allow_unicode=True)
    path.write_text(text, encoding="utf-8")


def with_stable_ids(interactions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Number the ids that the server created in order of appearance: `conv_68f0…` becomes `conv_000…01`.

    An id keeps its length. It keeps its value too if a request had it before any response did.
    """
    names: dict[str, str] = {}
    numbers: Counter[str] = Counter()

    def known(found: re.Match[str]) -> str:
        return names.setdefault(found[0], found[0])

    def numbered(found: re.Match[str]) -> str:
        prefix, _, digits = found[0].partition("_")
        while found[0] not in names:
            numbers[prefix] += 1
            name = f"{prefix}_{numbers[prefix]:0{len(digits)}d}"
            if name not in names.values():
                names[found[0]] = name
        return names[found[0]]

    def rewritten(interaction: dict[str, Any]) -> dict[str, Any]:
        request = _rewritten(interaction["request"], lambda text: _ID.sub(known, text))
        response = _rewritten(interaction["response"], lambda text: _ID.sub(numbered, text))
        return {**interaction, "request": request, "response": response}

    return [rewritten(interaction) for interaction in interactions]


class _Dumper(yaml.SafeDumper):
    """Writes strings of several lines, such as bodies, as block scalars, which can be read and compared."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return the node of a string."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)


def _rewritten(value: Any, rewrite: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _rewritten(member, rewrite) for key, member in value.items()}
    if isinstance(value, list):
        return [_rewritten(member, rewrite) for member in value]
    return rewrite(value) if isinstance(value, str) else value
