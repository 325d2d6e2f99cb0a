"""Which cases of a product of parameters `make test` runs; `make test-all` runs every one."""

import pytest


def one_in(number, values, *, are_sets=False):
    """Return values as parameters; all but the first and every `number`th after it are marked exhaustive.

    Args:
        number: How many values there are for each that `make test` runs.
        values: Of one argument,
        are_sets: or, if true, of several arguments, each value a tuple.
    """
    return [
        pytest.param(
            *(value if are_sets else [value]), marks=pytest.mark.exhaustive if place % number else ()
        )
        for place, value in enumerate(values)
    ]
