"""Results of runs, with the Agents SDK's own objects where usage is counted."""

from types import SimpleNamespace

from agents import RunContextWrapper
from agents import Usage as AgentsUsage
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

from openai_sessions import Usage

ONE = Usage(
    requests=1,
    input_tokens=20,
    cached_tokens=5,
    cache_write_tokens=4,
    output_tokens=7,
    reasoning_tokens=3,
    total_tokens=27,
)


def times(number, usage=ONE):
    """Return the usage of a number of equal runs."""
    return sum([usage] * number, Usage())


def agents_usage(usage=ONE):
    """Return usage as the Agents SDK has it."""
    return AgentsUsage(
        requests=usage.requests,
        input_tokens=usage.input_tokens,
        input_tokens_details=InputTokensDetails(
            cached_tokens=usage.cached_tokens, cache_write_tokens=usage.cache_write_tokens
        ),
        output_tokens=usage.output_tokens,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=usage.reasoning_tokens),
        total_tokens=usage.total_tokens,
    )


def result_of(usage=ONE):
    """Return what a run leaves of which this much was used."""
    return SimpleNamespace(context_wrapper=RunContextWrapper(context=None, usage=agents_usage(usage)))
