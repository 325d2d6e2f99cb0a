"""Counting tokens, for reads that are limited by `max_tokens=` and `count_tokens=`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openai_sessions._items.text import item_text
from openai_sessions._items.types import CountTokens
from openai_sessions.errors import VocabularyError

__all__ = ["ServerTokens", "item_text", "tiktoken_counter"]

_MAX_BLOCKS = 10_000


@dataclass(frozen=True, slots=True)
class CountedBlock:
    """What consecutive turns have.

    Attributes:
        turns: How many turns.
        key: Identifies their contents.
        tokens: The number of tokens.
    """

    turns: int
    key: bytes
    tokens: int


class BlockMemory:
    """The latest 10,000 counts, by the base URL of the server and the newest turn; usable from any thread.

    It has digests of turns, not their contents.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._blocks: OrderedDict[tuple[str, bytes], CountedBlock] = OrderedDict()

    def get(self, base_url: str, newest: bytes) -> CountedBlock | None:
        """Return the block that ends with a turn."""
        return self._blocks.get((base_url, newest))

    def put(self, base_url: str, newest: bytes, block: CountedBlock) -> None:
        """Store the block that ends with a turn, in place of an earlier one."""
        with self._mutex:
            self._blocks[base_url, newest] = block
            self._blocks.move_to_end((base_url, newest))
            if len(self._blocks) > _MAX_BLOCKS:
                self._blocks.popitem(last=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTokens:
    """Count tokens as the server does, with images, files and tools: a value for `count_tokens=`.

    `max_tokens` then limits the input of a model request that has these instructions and tools, and the
    history. It is counted by `POST /responses/input_tokens` of the session's client, which costs no tokens.
    Turns are counted in blocks of at most 100 items, and each block a few tokens too high, as the server adds
    some to every input. A call without its output is not counted, as the server refuses it.

    Counts are remembered, 10,000 at most, so create one object, and use it for all sessions: then a read
    sends one request for the turns that are new. A count is a read: it is repeated if its reply is lost.

    Args:
        model: The model that reads the history, such as "gpt-5-mini".
        instructions: The instructions of the requests; None to leave them out.
        tools: The tools of the requests, as `responses.create` takes them.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The model is empty.
    """

    model: str
    instructions: str | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    memory: BlockMemory = field(default_factory=BlockMemory, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str):
            raise TypeError(f"model must be the name of a model such as 'gpt-5-mini', not {self.model!r}")
        if not self.model:
            raise ValueError("model is empty: give the name of the model that reads the history")
        if not isinstance(self.instructions, str | None):
            raise TypeError(f"instructions must be a string, not {self.instructions!r}")
        if not isinstance(self.tools, Sequence) or not all(isinstance(tool, Mapping) for tool in self.tools):
            raise TypeError(
                "tools must be a list of dicts as responses.create takes them, such as "
                f"{{'type': 'function', 'name': …}}, not {self.tools!r}"
            )

    @property
    def settings(self) -> dict[str, object]:
        """The instructions and tools in the body of a request; empty if there are none."""
        settings = {"instructions": self.instructions, "tools": [dict(tool) for tool in self.tools]}
        return {name: value for name, value in settings.items() if value}


def checked_count_tokens(value: CountTokens | ServerTokens | None) -> CountTokens | ServerTokens | None:
    """Return what counts tokens, or None.

    Raises:
        TypeError: It is neither a function nor a `ServerTokens`.
    """
    if value is None or isinstance(value, ServerTokens) or callable(value):
        return value
    raise TypeError(
        "count_tokens must be a function that returns the number of tokens in a text, or "
        f"openai_sessions.tokens.ServerTokens(model=…), not {value!r}"
    )


def tiktoken_counter(model: str = "gpt-4.1-mini") -> Callable[[str], int]:
    """Return a function that counts the tokens in a text as a model of OpenAI does.

    Special tokens in the text are counted as ordinary text. Needs the package tiktoken:
    `pip install "openai-sessions[tokens]"`. Unless tiktoken has the model's vocabulary in its cache, this
    call downloads it, and blocks meanwhile.

    Args:
        model: The name of a model that tiktoken knows.

    Raises:
        TypeError: The model is not a string.
        ImportError: The package tiktoken is not installed.
        ValueError: tiktoken does not know the model.
        VocabularyError: The vocabulary could not be downloaded. The message says how to count offline.
    """
    if not isinstance(model, str):
        raise TypeError(f"model must be the name of a model such as 'gpt-4.1-mini', not {model!r}")
    try:
        import tiktoken  # noqa: PLC0415 -- optional
    except ImportError as error:
        raise ImportError(
            "Counting tokens without count_tokens= needs the package tiktoken: "
            'pip install "openai-sessions[tokens]", or give count_tokens= a function of your own.',
            name="tiktoken",
        ) from error
    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        raise ValueError(
            f"tiktoken {tiktoken.__version__} does not know the model {model!r}: upgrade tiktoken, or name a "
            "model with the same vocabulary, such as 'gpt-4.1-mini'"
        ) from None
    try:
        encoding = tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:
        raise VocabularyError(name) from error
    return lambda text: len(encoding.encode_ordinary(text))
