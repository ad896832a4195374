"""Transforms composed with each other, over a grid of functions, against differences of the functions' values."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from composition_table import COMPOSITIONS, FUNCTIONS, Oracle

import fgrad as fg

GRID = [
    pytest.param(function, composition, id=f"{name}: {function}")
    for name, composition in COMPOSITIONS.items()
    for function in FUNCTIONS
    if composition.suits(function)
]

oracle_of = functools.cache(Oracle)


def require_right(composition, f, oracle):
    with np.errstate(all="ignore"):  # branches that are not taken may be singular
        found = np.asarray(composition.found(f))
        expected = np.asarray(composition.expected(oracle))
    assert found.shape == expected.shape
    assert found.dtype == np.dtype("float64")
    scale = max(1.0, np.max(np.abs(expected)))
    np.testing.assert_allclose(found, expected, rtol=composition.tolerance, atol=composition.tolerance * scale)


@pytest.mark.parametrize(("function", "composition"), GRID)
def test_composition(function, composition):
    require_right(composition, function.f, oracle_of(function.f))


def test_every_composition_meets_most_functions():
    for name, composition in COMPOSITIONS.items():
        assert sum(composition.suits(function) for function in FUNCTIONS) >= len(FUNCTIONS) - 5, name


# The tester tested.


def right(x):
    return fg.sum(fg.sin(x) * fg.exp(x * 0.5))


@fg.custom_jvp
def wrong(x):
    return right(x)


@wrong.defjvp
def _(primals, tangents):
    out, tangent = fg.jvp(right, primals, tangents)
    return out, tangent * 1.001


DERIVED = {name: composition for name, composition in COMPOSITIONS.items() if composition.modes}


@pytest.mark.parametrize("composition", DERIVED.values(), ids=DERIVED)
def test_every_composition_sees_a_derivative_that_is_wrong_by_a_thousandth(composition):
    require_right(composition, right, oracle_of(right))
    with pytest.raises(AssertionError):
        require_right(composition, wrong, oracle_of(right))
