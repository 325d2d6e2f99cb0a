"""What a usage costs, by the price lists of genai-prices."""

import re
import sys
from datetime import datetime, timezone
from decimal import Decimal

import pytest
from genai_prices import Usage as Tokens
from genai_prices import calc_price

from openai_sessions import Usage
from openai_sessions.errors import UnknownCostError
from openai_sessions.session import ModelUsage

AT = datetime(2026, 11, 1, tzinfo=timezone.utc)


def used(model="gpt-5.2", *, requests=1, output=7, **numbers):
    return Usage.of_models([ModelUsage(requests, output_tokens=output, model=model, **numbers)])


def listed(model, **tokens):
    """Return the price that genai-prices has for one request."""
    return calc_price(Tokens(**tokens), model, genai_request_timestamp=AT).total_price


def test_cost_is_that_of_the_list():
    cost = used(input_tokens=1_000_000, cached_tokens=400_000, output=100_000).cost(at=AT)
    assert Decimal("0.6") * Decimal("1.75") + Decimal("0.4") * Decimal("0.175") + Decimal("1.4") == cost


def test_tokens_written_to_the_cache_have_their_price():
    cost = used("gpt-6-luna", input_tokens=1000, cached_tokens=300, cache_write_tokens=500).cost(at=AT)
    tokens = {"input_tokens": 1000, "cache_read_tokens": 300, "cache_write_tokens": 500, "output_tokens": 7}
    assert listed("gpt-6-luna", **tokens) == cost
    assert cost > used("gpt-6-luna", input_tokens=1000, cached_tokens=300).cost(at=AT)


def test_costs_of_models_add_up():
    first, second = used("gpt-5.2", input_tokens=10), used("gpt-5-mini", input_tokens=20)
    assert first.cost(at=AT) + second.cost(at=AT) == (first + second).cost(at=AT)
    assert 0 < second.cost(at=AT) < first.cost(at=AT)


def test_name_of_a_snapshot_has_the_price_of_its_model():
    assert used("gpt-5.2", input_tokens=10).cost() == used("gpt-5.2-2025-12-11", input_tokens=10).cost()


@pytest.mark.parametrize("model", ["openai/gpt-5.2", "litellm/openai/gpt-5.2", "azure/gpt-5.2"])
def test_name_with_a_provider_has_the_price_of_that_provider(model):
    assert used(input_tokens=10).cost() == used(model, input_tokens=10).cost()


def test_price_of_a_long_input_is_not_that_of_many_short_ones():
    """OpenAI takes twice the price where one request has more than 272,000 input tokens."""
    model, million = "gpt-5.6-terra", 1_000_000
    short = used(model, requests=100, input_tokens=million, output=million)
    long = used(model, input_tokens=million, output=million, long_input=True)
    assert [Decimal(2) + 12, Decimal(4) + 18] == [short.cost(at=AT), long.cost(at=AT)]
    assert Decimal(36) == (long + short).cost(at=AT)


def test_price_of_a_request_is_that_of_each():
    usage = used("perplexity/sonar", requests=3, input_tokens=1_000_000, output=0)
    assert Decimal(1) + 3 * Decimal("0.012") == usage.cost(at=AT)


def test_prices_are_those_of_the_time_that_is_given():
    usage = used("gpt-5.6-luna", input_tokens=1_000_000, output=0, requests=10)
    days = [datetime(2026, 7, day, tzinfo=timezone.utc) for day in (1, 31)]
    assert [Decimal(1), Decimal("0.2")] == [usage.cost(at=day) for day in days]


@pytest.mark.parametrize("usage", [Usage(), Usage(requests=2), used("my-deployment", output=0)])
def test_nothing_used_costs_nothing(usage):
    """A request that failed has no tokens."""
    assert usage.cost() == 0


def test_sum_with_a_hole_is_an_error_that_has_the_rest():
    usage = used(input_tokens=10) + used("my-deployment", requests=2) + Usage(3, input_tokens=5)
    with pytest.raises(UnknownCostError) as caught:
        usage.cost(at=AT)
    assert used(input_tokens=10).cost(at=AT) == caught.value.known
    assert {"my-deployment": 2, "": 3} == caught.value.unknown
    assert re.match(
        r"genai-prices has no price for 5 request\(s\): 2 of my-deployment, 3 of an unknown model\. "
        r"The others cost \$0\.000\d+\. "
        r"`usage\.cost\(models=\{'my-deployment': 'gpt-5\.2', '': 'gpt-5\.2'\}\)`",
        str(caught.value),
    )


def test_name_that_has_the_price_of_a_model_is_given():
    usage = used("my-deployment", input_tokens=10) + Usage(1, input_tokens=10, output_tokens=7)
    expected = used(input_tokens=20, output=14).cost(at=AT)
    assert expected == usage.cost(models={"my-deployment": "gpt-5.2", "": "gpt-5.2"}, at=AT)
    with pytest.raises(UnknownCostError, match="1 of my-deployment"):
        usage.cost(models={"": "gpt-5.2"})


def test_tokens_that_contradict_each_other_have_no_price():
    with pytest.raises(UnknownCostError, match=r"1 of gpt-5\.2"):
        used(input_tokens=10, cached_tokens=20).cost()


def test_extra_is_named_where_genai_prices_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    expected = r"^Usage\.cost requires genai-prices: pip install 'openai-sessions\[prices\]'$"
    with pytest.raises(ImportError, match=expected) as caught:
        used(input_tokens=10).cost()
    assert "genai_prices" == caught.value.name
