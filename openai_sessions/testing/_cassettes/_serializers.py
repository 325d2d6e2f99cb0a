"""How a cassette is written as text: YAML or JSON that people can read."""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

import yaml  # type: ignore[import-untyped]
from vcr.serializers import yamlserializer  # type: ignore[import-untyped]

_FOLDED = re.compile("[\x85\u2028\u2029\ufeff]")
"""Line breaks of Unicode, and the byte order mark."""


class Serializer(Protocol):
    """What vcrpy calls a serializer."""

    def serialize(self, cassette_dict: Any) -> str: ...
    def deserialize(self, cassette_string: str) -> Any: ...


class YamlSerializer:
    """YAML that people can read: text of many lines as such, letters as they are."""

    def serialize(self, cassette_dict: Any) -> str:
        """Return the file of a cassette."""
        text: str = yaml.dump(
            cassette_dict, Dumper=_Dumper, allow_unicode=True, default_flow_style=False, width=2**16
        )
        return text

    def deserialize(self, cassette_string: str) -> Any:
        """Return what a file holds, whichever tool wrote it; no Python object is made of it."""
        return yamlserializer.deserialize(cassette_string)


class JsonSerializer:
    """JSON that people can read."""

    def serialize(self, cassette_dict: Any) -> str:
        """Return the file of a cassette."""
        return json.dumps(cassette_dict, indent=2, ensure_ascii=False, sort_keys=True) + "\n"

    def deserialize(self, cassette_string: str) -> Any:
        """Return what a file holds."""
        return json.loads(cassette_string)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """The dumper in Python: that of the C library escapes letters beyond 16 bits."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 -- PyYAML's signature
        """Write each value where it stands, however often it occurs."""
        return True


def _text(dumper: Any, text: str) -> Any:
    """Write a text of many lines as a block, and those as an escaped one that YAML would fold or drop."""
    is_block = "\n" in text and not text[0].isspace()
    style = '"' if _FOLDED.search(text) else "|" if is_block else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_multi_representer(str, _text)
_Dumper.add_representer(str, _text)
