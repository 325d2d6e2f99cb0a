"""What `make test` leaves to `make test-all`: cases marked exhaustive, and examples of property tests."""

import os

import pytest


def one_in(number, values):
    """Return values of an argument as parameters; all but each `number`th, from the first, are exhaustive."""
    return [
        pytest.param(value, marks=pytest.mark.exhaustive if place % number else ())
        for place, value in enumerate(values)
    ]


def examples(number):
    """Return how many examples a property test draws: a fifth of `number`, unless EXHAUSTIVE is set."""
    return number if os.environ.get("EXHAUSTIVE") else -(-number // 5)


def stride(number):
    """Return the step of a test that walks through all places of something: 1 if EXHAUSTIVE is set."""
    return 1 if os.environ.get("EXHAUSTIVE") else number
