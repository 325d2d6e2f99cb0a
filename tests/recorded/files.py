"""The cassettes as files, and what must not be in them."""

from __future__ import annotations

import re
from collections import Counter

import yaml

from tools.recording.recorder import FOLDER

CASSETTES = tuple(sorted(FOLDER.rglob("*.yaml")))

SECRETS = re.compile(
    r"authorization|bearer|cookie|api[-_]?key|organization|openai-project|\bsk-|\borg-|\bproj_", re.IGNORECASE
)
"""What a key, an account or a cookie looks like, and the names of the headers that hold them."""


def secrets_in(text):
    """Return what looks like a secret, each with the line it is on."""
    return [line for line in text.splitlines() if SECRETS.search(line)]


def contents(path):
    """Return what a cassette holds."""
    return yaml.safe_load(path.read_text())


def answers(path):
    """Count the requests of a cassette by their method and the status of the answer."""
    return Counter(
        (each["request"]["method"], each["response"]["status"]["code"])
        for each in contents(path)["interactions"]
    )
