"""What the tests of control flow share: running a function eagerly and through its graph, and comparing trees."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg
from fgrad.core.shape import PYTHON_NUMBERS
from fgrad.ops.staged import value_of


def eager(function):
    """The function as it is."""
    return function


def staged(function):
    """The function through its graph, which is checked."""

    def run(*args):
        graph = fg.make_graph(function)(*args)
        graph.check()
        assert str(graph).startswith("graph(")
        return graph(*args)

    return run


by_run = pytest.mark.parametrize("run", [eager, staged])


def assert_same(found, expected, rtol=1e-9):
    """Equal structures, dtypes and shapes, and close values."""
    assert fg.tree.structure(found) == fg.tree.structure(expected)
    for x, y in zip(map(value_of, fg.tree.leaves(found)), map(value_of, fg.tree.leaves(expected)), strict=True):
        assert (type(x) in PYTHON_NUMBERS) == (type(y) in PYTHON_NUMBERS), (x, y)
        left, right = np.asarray(x), np.asarray(y)
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        np.testing.assert_allclose(left, right, rtol=rtol, atol=rtol)


def operations_of(graph):
    """The names of a graph's operations."""
    return [equation.primitive.name for equation in graph.equations]
