"""associative_scan: values for every length, direction and axis, the number of rounds, derivatives, and its errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from control_checks import assert_same, by_run
from hypothesis import given
from hypothesis import strategies as st

import fgrad as fg
from fgrad.errors import DtypeError, ShapeError, TreeError
from fgrad.testing import check_grads

X = fg.asarray([1.0, 2.0, 3.0])


def affine(a, b):
    """The map that applies a, and then b: x -> b.w (a.w x + a.b) + b.b."""
    return {"w": b["w"] * a["w"], "b": b["w"] * a["b"] + b["b"]}


@by_run
@given(
    length=st.integers(0, 17),
    reverse=st.booleans(),
    axis=st.sampled_from([0, 1, 2, -1, -2, -3]),
    seed=st.integers(0, 9),
)
def test_partial_results_of_matrix_products(run, length, reverse, axis, seed):
    # Matrix products do not commute; the matrices lie along the axis of three.
    matrices = np.random.default_rng(seed).normal(size=(length, 2, 2))
    order = matrices[::-1] if reverse else matrices
    results = [order[0]] if length else []
    for matrix in order[1:]:
        results.append(results[-1] @ matrix)
    expected = np.reshape(results, (length, 2, 2))
    expected = expected[::-1] if reverse else expected

    def product(a, b):
        return fg.moveaxis(fg.moveaxis(a, axis, 0) @ fg.moveaxis(b, axis, 0), 0, axis)

    scan = run(lambda x: fg.associative_scan(product, x, reverse=reverse, axis=axis))
    assert_same(scan(np.moveaxis(matrices, 0, axis)), fg.asarray(np.moveaxis(expected, 0, axis)))


@by_run
@pytest.mark.parametrize("length", [0, 1, 2, 3, 6, 9])
@pytest.mark.parametrize("reverse", [False, True])
def test_trees_of_arrays(run, length, reverse):
    w, b = np.linspace(-0.9, 0.9, length), np.linspace(1, 2, 2 * length).reshape(length, 2)
    found = run(lambda w, b: fg.associative_scan(affine, {"w": w, "b": b}, reverse=reverse))(w[:, None], b)
    y, product, expected = np.zeros(2), np.ones(1), {}
    for k in reversed(range(length)) if reverse else range(length):
        y, product = w[k] * y + b[k], product * w[k]
        expected[k] = (product, y)
    rows = [expected[k] for k in range(length)]
    assert_same(found["w"], fg.asarray(np.reshape([row[0] for row in rows], (length, 1))))
    assert_same(found["b"], fg.asarray(np.reshape([row[1] for row in rows], (length, 2))))


@pytest.mark.parametrize(
    ("function", "accumulate"), [(fg.add, np.add), (fg.maximum, np.maximum), (fg.multiply, np.multiply)]
)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int8"])
def test_dtypes_stay(function, accumulate, dtype):
    x = (np.arange(1, 8) % 4 + 1).astype(dtype)
    assert_same(fg.associative_scan(function, x), fg.asarray(accumulate.accumulate(x, dtype=dtype)))


def test_few_rounds_and_little_work():
    counts = []

    def join(a, b):
        counts.append(a.shape[0])
        return a + b

    for length in (2, 3, 7, 8, 100, 1000):
        counts.clear()
        fg.associative_scan(join, fg.ones(length))
        assert len(counts) <= 2 * math.log2(length)
        assert sum(counts) < 2 * length
        assert min(counts) > 0


@by_run
def test_derivatives_and_batches(run):
    def f(w, b):
        return fg.associative_scan(affine, {"w": w, "b": b})

    def recurrence(w, b):
        step = lambda c, wb: ({"w": c["w"] * wb[0], "b": c["b"] * wb[0] + wb[1]},) * 2
        return fg.scan(step, {"w": 1.0, "b": 0.0}, (w, b))[1]

    w, b = fg.linspace(-0.9, 0.8, 5), fg.linspace(1.0, 2.0, 5)
    check_grads(run(f), (w, b))
    assert_same(run(fg.jacobian(f, (0, 1)))(w, b), fg.jacobian(recurrence, (0, 1))(w, b))
    ws = fg.stack([w, -w, w / 2])
    assert_same(run(fg.vmap(f, in_axes=(0, None)))(ws, b), fg.vmap(recurrence, in_axes=(0, None))(ws, b))
    loss = lambda f: lambda w, b: fg.sum(f(w, b)["b"] ** 2)
    expected = fg.vmap(fg.grad(loss(recurrence)), in_axes=(0, None))(ws, b)
    assert_same(run(fg.vmap(fg.grad(loss(f)), in_axes=(0, None)))(ws, b), expected)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: fg.associative_scan(X, X),
            TypeError,
            r"fn is float64\[3\], not a function: fg\.associative_scan\(fn, el",
        ),
        (lambda: fg.associative_scan(fg.add, ()), ShapeError, "elems holds no array"),
        (lambda: fg.associative_scan(fg.add, {"a": 1.0}), ShapeError, r"elems\['a'\] is a float, which has no axis 0"),
        (
            lambda: fg.associative_scan(fg.add, [X], axis=1),
            ShapeError,
            r"elems\[0\] is float64\[3\], which has no axis 1",
        ),
        (lambda: fg.associative_scan(fg.add, ["text"]), DtypeError, r"elems\[0\] is a str"),
        (
            lambda: fg.associative_scan(affine, {"w": X, "b": X[1:]}),
            ShapeError,
            r"different numbers of elements: elems\['b'\] has 2, elems\['w'\] has 3",
        ),
        (
            lambda: fg.associative_scan(lambda a, b: (a["w"], b["b"]), {"w": X, "b": X}),
            TreeError,
            r"fn must return a tree like its arguments: the result is a tuple where a dict is expected",
        ),
        (
            lambda: fg.associative_scan(lambda a, b: {"w": a["w"] * 1j}, {"w": X}),
            DtypeError,
            r"result\['w'\] is complex128\[1\], and the arguments are float64\[1\]",
        ),
        (
            lambda: fg.associative_scan(lambda a, b: [fg.sum(a[0])], [X]),
            ShapeError,
            r"result\[0\] is float64\[\], and the arguments are float64\[1\]",
        ),
    ],
)
def test_what_associative_scan_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()
