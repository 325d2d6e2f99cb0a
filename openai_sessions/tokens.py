"""Counting tokens, for reads that are limited by `max_tokens=` and `count_tokens=`."""

from __future__ import annotations

from collections.abc import Callable

from openai_sessions._items.text import item_text
from openai_sessions.errors import VocabularyError

__all__ = ["item_text", "tiktoken_counter"]


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
