"""Counting tokens, for reads that keep within a budget: `max_tokens=` and `count_tokens=`."""

from __future__ import annotations

from collections.abc import Callable

from openai_sessions._items.text import item_text
from openai_sessions.errors import VocabularyError

__all__ = ["item_text", "tiktoken_counter"]


def tiktoken_counter(model: str = "gpt-4.1-mini") -> Callable[[str], int]:
    """Return a function that counts the tokens of a text as a model of OpenAI's does.

    Needs the package tiktoken: `pip install "openai-sessions[tokens]"`. It has no vocabulary with it, and
    fetches that of the model here, over the network and blocking, unless it has it in its cache.
    What looks like a special token is counted as the text that it is.

    Args:
        model: The name of a model, as tiktoken knows it.

    Raises:
        TypeError: The model is no string.
        ImportError: The package tiktoken is not installed.
        ValueError: tiktoken knows no model of this name.
        VocabularyError: The vocabulary could not be fetched; says how to do without the network.
    """
    if not isinstance(model, str):
        raise TypeError(f"model is the name of a model such as 'gpt-4.1-mini', not {model!r}")
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
            f"tiktoken {tiktoken.__version__} knows no model {model!r}: upgrade it, or name a model that "
            "counts alike, such as 'gpt-4.1-mini'"
        ) from None
    try:
        encoding = tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:
        raise VocabularyError(name) from error
    return lambda text: len(encoding.encode_ordinary(text))
