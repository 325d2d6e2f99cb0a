"""What is a secret, by its name or its form: no cassette and no message of the command contains one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

REDACTED = "REDACTED"

_NAME = re.compile(
    r"(auth|authentication|authorization|bearer|client_?assertion|connection_?string|cookies?|credentials?|jwt|"
    r"mnemonic|open_?ai_(organization|project)|(?<![a-z])(pass|pw)|pass_?(code|phrase|wd|word)s?|pwd|secrets?|"
    r"token|(access|api|auth|bearer|refresh|session)_?tokens|(code|oauth)_?verifier|[a-z0-9]_key|"
    r"(access|account|api|app|auth|client|encrypt\w*|master|private|secret|session|shared|signing|ssh|"
    r"subscription)_?keys?|(auth|authorization|backup|device|login|mfa|otp|recovery|security|verification)_?codes?)"
    r"(_?(base64|hash|header|pem|string|text|value))?(_?v?\d+)?$"
)
_HARMLESS_NAME = re.compile(
    r"(cache|dedup\w*|foreign|group|hash|idempotency|index|lookup|object|partition|primary|public|publishable|"
    r"range|routing|row|sort|unique)_?key$|(continuation|end|eos|next|pad|page|special|start|stop|sync)_?token$"
)
_NAME_OUTSIDE_JSON = re.compile(
    r"^(code|key|(j|php)_?sess(ion)?_?id)$|(^|_)(assertion|hmac|otp|saml_?response|sig|sign|signature|ticket)(_?\d+)?$"
)
_BETWEEN_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^0-9A-Za-z]+")


@lru_cache(maxsize=1024)
def is_secret(name: str, *, in_json: bool = False) -> bool:
    """Return whether a header, parameter or field is secret, as the last word of its name tells.

    `X-Auth-Token` and `clientSecret` are, `token_type` and `max_output_tokens` are not.

    Args:
        name: The name, in any case, with any separator of words.
        in_json: Whether it is a field in JSON: there `code`, `key` and `signature` are ordinary names.
    """
    words = _BETWEEN_WORDS.sub("_", name).strip("_").lower()
    if not in_json and _NAME_OUTSIDE_JSON.search(words):
        return True
    return bool(_NAME.search(words)) and not _HARMLESS_NAME.search(words)


_TOKEN = re.compile(
    r"""
    -----BEGIN\ [A-Z0-9 ]*PRIVATE\ KEY.*?(-----END\ [A-Z0-9 ]*-----|\Z)
    | (?i:(?<=\bbearer\ )) [\w.~+/-]{24,}=*
    | (?i:(?<=\bbearer\ )|(?<=\bbasic\ )) (?=[A-Za-z.~+/_-]*[\d=]) [\w.~+/-]{8,}=*
    | (?:(?<=hooks\.slack\.com/services/)|(?<=/api/webhooks/)) [\w/-]+
    | (?<![0-9A-Za-z_-]) (
        (sk|ek|rk)[-_][\w*-]{16,}
        | (org-|proj_|sess-|do[opr]_v1_|gh[oprsu]_|gsk_|hf_|key-|lin_api_|npm_|ntn_|pcsk_|pplx-|r8_|sbp_
          |shp[a-z]{2}_|tvly-|whsec_|xai-) [0-9A-Za-z]{16,}
        | (github_pat_|glpat-|glsa_|dckr_pat_|figd_|hvs\.|AGE-SECRET-KEY-|ATATT|GOCSPX-|pypi-|xapp-|xox[a-z]-)
          [\w-]{10,}
        | (AKIA|ASIA)[0-9A-Z]{16} | AIza[\w-]{30,} | ya29\.[\w-]{16,} | SG\.[\w-]{16,}\.[\w-]{16,}
        | (SK|dapi)[0-9a-f]{32} | 1//0[\w-]{30,} | \d{8,10}:[\w-]{35}
        | eyJ[\w-]{8,}(\.[\w-]+){1,4}
    )
    """,
    re.ASCII | re.DOTALL | re.VERBOSE,
)


def without_tokens(text: str) -> str:
    """Return a text without the keys and account ids of OpenAI, and tokens of others that have a form."""
    return _TOKEN.sub(REDACTED, text)


_WORD = re.compile(r".{0,7}|[A-Za-z_]{1,13}", re.DOTALL)


def spellings(secret: str) -> set[str]:
    """Return how a secret or a part of it may be written in a text; nothing for one that may be any word."""
    parts = (secret, *re.split(r"[\s:;=]+", secret))
    found = {part for part in parts if REDACTED not in part and not _WORD.fullmatch(part)}
    quoted = {quote(part, safe=safe, errors="replace") for part in found for safe in ("", "/", " ")}
    forms = {part.replace(" ", "+") for part in quoted}
    return found | quoted | forms | {json.dumps(part)[1:-1] for part in found}


def without(text: str, spelled: Iterable[str]) -> str:
    """Return a text without secrets that are spelled so."""
    for spelling in sorted(spelled, key=len, reverse=True):
        text = text.replace(spelling, REDACTED)
    return text
