"""Counting tokens with a vocabulary of OpenAI, as bpe-openai ships it and as tiktoken downloads it."""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
import os
import socket
from pathlib import Path

import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.tokens import item_text, tiktoken_counter
from tests import programs

bpe_openai = pytest.importorskip("bpe_openai", reason="bpe-openai is not installed")
pytest.importorskip("tiktoken", reason="tiktoken is not installed")

ROOT = Path(__file__).parents[2]

FETCHING = """
from openai_sessions import HistoryLimits, OpenAIConversationsSession
from openai_sessions.errors import VocabularyError
try:
    OpenAIConversationsSession(history_limits=HistoryLimits(max_tokens=1000))
except VocabularyError as error:
    print(type(error.__cause__).__module__)
    print(error)
"""

COUNTING = """
from openai_sessions.tokens import tiktoken_counter
print(list(map(tiktoken_counter(), {texts!r})))
"""

VOCABULARY = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
"""The URL from which tiktoken downloads it, and after which its file in the cache is named."""

TEXTS = ["The Golden Gate Bridge", "<|endoftext|>", "", "서울특별시", "x = 1\n"]

READING = """
import asyncio
from openai_sessions import HistoryLimits, OpenAIConversationsSession
from openai_sessions.emulator import Emulator

async def main():
    with Emulator() as emulator:
        session = OpenAIConversationsSession(openai_client=emulator.client())
        await session.add_items([{"role": "user", "content": "Hello"}])
        await session.get_items(max_tokens=10)

try:
    asyncio.run(main())
except Exception as error:
    print(type(error).__name__, error)
"""

MISSING = """
import sys
sys.modules["tiktoken"] = None
from openai_sessions import HistoryLimits, OpenAIConversationsSession
from openai_sessions.tokens import tiktoken_counter
limited = HistoryLimits(max_tokens=1000)
for make in (lambda: OpenAIConversationsSession(history_limits=limited), tiktoken_counter):
    try:
        make()
    except ImportError as error:
        print(error.name, error)
OpenAIConversationsSession(history_limits=HistoryLimits(max_turns=2))
OpenAIConversationsSession(history_limits=HistoryLimits(max_tokens=1000, count_tokens=len))
"""


def python(program: str, **variables: str) -> str:
    """Run a program in a new process and return its output."""
    finished = programs.run(
        *("-W", "error", "-c", program), env={**os.environ, **variables}, imported=programs.OF_OPENAI
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


@pytest.fixture
def no_network(tmp_path):
    """Return the variables of a process with an empty cache, and a proxy that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        proxy = f"http://127.0.0.1:{bound.getsockname()[1]}"
        proxies = {
            name: proxy
            for lower in ("http_proxy", "https_proxy", "all_proxy")
            for name in (lower, lower.upper())
        }
        yield {"TIKTOKEN_CACHE_DIR": str(tmp_path), "NO_PROXY": "", "no_proxy": "", **proxies}


@pytest.fixture(scope="module")
def count():
    """Return a function that counts as gpt-4.1 does."""
    encoding = bpe_openai.get_encoding("o200k_base")
    return lambda text: len(encoding.encode_ordinary(text))


@pytest.fixture
async def session(emulator):
    session = OpenAIConversationsSession(openai_client=emulator.client())
    for city in ("Oakland", "San Francisco", "서울특별시"):
        await session.add_items(
            [
                {"role": "user", "content": f"How many people live in {city}?"},
                {
                    "type": "function_call",
                    "call_id": city,
                    "name": "population",
                    "arguments": f'{{"city":"{city}"}}',
                },
                {"type": "function_call_output", "call_id": city, "output": "436504"},
                {"role": "assistant", "content": "About 436,504. " * 5},
            ]
        )
    return session


async def test_a_read_has_all_turns_that_fit_the_token_limit(session, count):
    sizes = [
        sum(count(item_text(item)) for item in await session.get_items(turns=turns)) for turns in (1, 2, 3)
    ]
    assert 0 < sizes[0] < sizes[1] < sizes[2]
    for budget in range(sizes[2] + 2):
        fitting = sum(size <= budget for size in sizes)
        read = await session.get_items(max_tokens=budget, count_tokens=count)
        assert read == await session.get_items(turns=fitting)


def test_the_error_without_a_vocabulary_says_what_to_do(no_network):
    cause, message = python(FETCHING, **no_network).splitlines()
    assert cause.startswith("requests")
    for needed in ("TIKTOKEN_CACHE_DIR", "'o200k_base'", "get_encoding", "count_tokens="):
        assert needed in message


def test_a_read_without_a_vocabulary_raises_the_same_error(no_network):
    assert python(READING, **no_network).startswith("VocabularyError tiktoken could not fetch its vocabulary")


def test_without_tiktoken_the_constructor_names_the_extra():
    lines = python(MISSING).splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("tiktoken Counting tokens without count_tokens= needs the package tiktoken")
        assert 'pip install "openai-sessions[tokens]"' in line


def test_a_model_that_tiktoken_does_not_know_is_named(no_network):
    program = "from openai_sessions.tokens import tiktoken_counter\ntry:\n    tiktoken_counter('gpt-0')\n"
    printed = python(program + "except ValueError as error:\n    print(error)\n", **no_network)
    assert "does not know the model 'gpt-0'" in printed


@pytest.mark.parametrize("model", [None, 7])
def test_a_model_that_is_not_a_string_is_refused(model):
    with pytest.raises(TypeError, match=f"model must be the name of a model .* not {model}"):
        tiktoken_counter(model)


def test_a_cached_vocabulary_is_enough(no_network, tmp_path, count):
    """It is the file that bpe-openai ships. Special tokens are counted as text."""
    name = hashlib.sha1(VOCABULARY.encode(), usedforsecurity=False).hexdigest()
    shipped = importlib.resources.files(bpe_openai) / "data" / "o200k_base.tiktoken.gz"
    (tmp_path / name).write_bytes(gzip.decompress(shipped.read_bytes()))
    printed = python(COUNTING.format(texts=TEXTS), **no_network)
    assert printed == f"{[count(text) for text in TEXTS]}\n"
