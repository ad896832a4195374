"""Assembling, selecting and grids: values as NumPy's where rows do not reach, errors, and what changes in place."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import DtypeError, ImmutableError, IndexingError, ShapeError, TracerConversionError
from fgrad.testing import check_grads

Y = np.array([[0.6, -1.3, 2.2], [1.1, 0.3, -2.8]])
MUTATORS = [
    (np.fill_diagonal, (Y, 1.0)),
    (np.put, (Y, 0, 1.0)),
    (np.put_along_axis, (Y, np.array([[0]]), 1.0, 1)),
    (np.place, (Y, Y > 0, 1.0)),
    (np.putmask, (Y, Y > 0, 1.0)),
    (np.copyto, (Y, 1.0)),
]


@pytest.mark.parametrize(("function", "args"), MUTATORS, ids=lambda value: getattr(value, "__name__", ""))
def test_what_changes_an_array_names_what_returns_a_new_one(function, args):
    with pytest.raises(ImmutableError, match=rf"np\.{function.__name__} .*a Tensor never changes.*(\.at|fg\.where)"):
        function(fg.asarray(args[0]), *args[1:])


INSERTIONS = [
    (1, 2.0, None),
    (1, Y[:, 0], 1),
    ([1], Y[:, :1], 1),
    ([2, 0], Y[:, :2], 1),
    (slice(0, 2), 7.0, 1),
    (np.array([True, False]), 7.0, 0),
    (-1, 1.0, 1),
]


@pytest.mark.parametrize(("place", "values", "axis"), INSERTIONS)
def test_insert(place, values, axis):
    np.testing.assert_array_equal(fg.insert(Y, place, values, axis), np.insert(Y, place, values, axis))
    check_grads(lambda x, v: fg.insert(x, place, v, axis), (Y, np.asarray(values)), 1)


def test_positions_out_of_range():
    with pytest.raises(ShapeError, match=r"\[delete\] on shape \(2, 3\): index 5 is out of bounds"):
        fg.delete(Y, 5, 0)
    with pytest.raises(ShapeError, match="choose"):
        fg.choose([0, 3, 0], [Y[0], Y[1]])


@pytest.mark.parametrize("number", [0.5, 1, 1j, -1, np.float64(2.0)], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64", bool])
def test_a_python_number_among_the_choices_does_not_widen_the_others(dtype, number):
    places, x = np.array([0, 1]), np.array([1, 0], dtype)
    promoted = np.result_type(x, number)
    expected = np.choose(places, [x.astype(promoted), np.asarray(number).astype(promoted)])
    for f in (fg.choose, np.choose):
        found = f(places, [fg.asarray(x), number])
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    if expected.dtype.kind == "f":
        check_grads(lambda x: fg.choose(places, [x, number]), (x.astype(float),))


@pytest.mark.parametrize("transform", [lambda f: f, fg.vmap])
@pytest.mark.parametrize(
    "call",
    [
        lambda x, value: fg.insert(x, 1, value),
        lambda x, value: fg.piecewise(x, [x > 1], [value, 0]),
        lambda x, value: fg.piecewise(x, [x > 1], [lambda piece: value, 0]),
    ],
    ids=["insert", "piecewise", "piecewise of functions"],
)
def test_a_python_number_that_does_not_fit_the_dtype_is_refused(call, transform):
    for value in (-1, 300):
        with pytest.raises(OverflowError, match=f"{value} out of bounds for uint8"):
            transform(lambda x, value=value: call(x, value))(np.array([[1, 2, 3]], np.uint8))
    with pytest.raises(DtypeError, match=r"1j is no number of dtype float64"):
        transform(lambda x: call(x, 1j))(np.array([[1.0, 2.0, 3.0]]))


def test_piecewise_calls_each_function_with_its_piece_and_in_a_graph_with_all():
    pieces = [lambda v: -v, fg.sqrt]
    f = lambda x: fg.piecewise(x, [x < 0], pieces)
    expected = np.where(Y < 0, -Y, np.sqrt(np.abs(Y)))
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(f(Y), expected)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(fg.make_graph(f)(fg.asarray(Y))(fg.asarray(Y)), expected)
        np.testing.assert_array_equal(fg.vmap(f)(Y), expected)
    check_grads(f, (Y,), 2)


def test_trim_zeros_keeps_the_gradient_and_needs_values():
    x = np.array([0.0, 1.0, 0.0, 2.0, 0.0])
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(fg.trim_zeros(x) ** 2))(x), [0, 2, 0, 4, 0])
    with pytest.raises(TracerConversionError, match=r"\[trim_zeros\] the shape of the result depends on"):
        fg.make_graph(fg.trim_zeros)(fg.asarray(x))


def test_blocks_nested_unevenly():
    with pytest.raises(ShapeError, match="nested equally deep"):
        fg.block([[Y], Y])


def test_indices_of_triangles_of_a_matrix():
    tensor = fg.asarray(Y)
    for function in (np.tril_indices_from, np.triu_indices_from):
        for found, expected in zip(function(tensor), function(Y), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert len(np.diag_indices_from(tensor[:, :2])) == 2


def test_progressions_are_differentiable_by_their_ends():
    ends = (np.array(1.5), np.array(4.0))
    check_grads(lambda a, b: fg.geomspace(a, b, 5), ends, 2)
    check_grads(lambda a, b, base: fg.logspace(a, b, 5, base=base), (*ends, np.array(2.0)), 2)
    np.testing.assert_allclose(fg.geomspace(-1, -1000, 4), np.geomspace(-1, -1000, 4))


@pytest.mark.parametrize("options", [{}, {"endpoint": False}, {"axis": -1}, {"dtype": "int32"}, {"num": 1}, {"num": 0}])
def test_linspace_is_numpys_traced_or_not(options):
    start, stop = np.asarray([0.3, -2.0], np.float32), np.float32(7.1)
    expected = np.linspace(start, stop, **{"num": 6, **options})
    found = fg.linspace(fg.asarray(start), fg.asarray(stop), **{"num": 6, **options})
    staged = fg.make_graph(lambda a, b: fg.linspace(a, b, **{"num": 6, **options}))(start, stop).evaluate(start, stop)[
        0
    ]
    for result in (found, staged):
        assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-6)


def test_linspace_gives_the_step():
    samples, step = np.linspace(fg.asarray(1.0), 3.0, 5, retstep=True)
    assert (samples.tolist(), float(step)) == ([1.0, 1.5, 2.0, 2.5, 3.0], 0.5)
    check_grads(lambda a, b: fg.linspace(a, b, 4, retstep=True), (0.5, 2.0), order=2)


PADDINGS = [
    {"mode": "linear_ramp", "end_values": 5},
    {"mode": "mean", "stat_length": 2},
    {"mode": "median"},
    {"mode": "reflect", "reflect_type": "odd"},
    {"mode": "symmetric", "reflect_type": "odd"},
]


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        *itertools.product(PADDINGS, ["uint8", "int8"]),
        *[(options, "bool") for options in PADDINGS if "reflect_type" not in options],  # booleans have no differences
    ],
    ids=str,
)
def test_a_traced_pad_of_small_integers_is_numpys(options, dtype):
    x = np.array([[0, 3, 1, 100], [1, 0, 0, 90]]).astype(dtype)
    expected = np.pad(x, 7, **options)
    (found,) = fg.vmap(lambda x: fg.pad(x, 7, **options))(x[np.newaxis])
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_the_slopes_of_booleans_are_floats_when_they_are_traced_too():
    x, places = np.array([[True, False, True, True]]), np.array([0.0, 1.0, 3.0, 4.5])
    (found,) = fg.vmap(lambda x: fg.gradient(x, places, edge_order=2))(x)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.gradient(x[0].astype(float), places, edge_order=2))


@pytest.mark.parametrize("indices", [[True, False, True], [[True], [False]], True, [], [[], []], ()], ids=str)
@pytest.mark.parametrize("mode", ["raise", "wrap", "clip"])
def test_take_reads_booleans_as_positions_and_empty_lists_as_integers(indices, mode):
    x = np.array([1.0, 2.0, 4.0])
    expected = np.take(x, indices, mode=mode)
    for given in (indices, np.take([0, 1], indices).astype(bool) if np.size(indices) else indices):
        f = lambda x, given=given: fg.take(x, given, mode=mode)
        np.testing.assert_array_equal(f(x), expected)
        np.testing.assert_array_equal(fg.jvp(f, (x,), (x,))[0], expected)
        np.testing.assert_array_equal(fg.vmap(f)(x[np.newaxis])[0], expected)
    with pytest.raises(IndexingError, match="not float64"):
        fg.take(x, np.zeros(0))


@pytest.mark.parametrize("name", ["tril", "triu"])
def test_a_triangle_of_a_vector_is_numpys_when_it_is_traced_too(name):
    x = np.array([1.0, 2.0, 3.0])
    f = lambda x: getattr(fg, name)(x, 1)
    expected = getattr(np, name)(x, 1)
    np.testing.assert_array_equal(f(x), expected)
    np.testing.assert_array_equal(fg.jvp(f, (x,), (x,))[0], expected)
    np.testing.assert_array_equal(fg.vmap(f)(x[np.newaxis])[0], expected)
    check_grads(f, (x,))
    with pytest.raises(ShapeError, match=rf"\[{name}\] needs the two axes of matrices"):
        getattr(fg, name)(1.0)


@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
def test_roll_takes_an_array_of_shape_zero_for_a_number(axis):
    x = np.arange(6.0).reshape(2, 3)
    for shift in (np.array(1), fg.asarray(1), np.int64(1)):
        np.testing.assert_array_equal(fg.roll(x, shift, axis), np.roll(x, 1, axis))
        np.testing.assert_array_equal(np.roll(fg.asarray(x), shift, axis), np.roll(x, 1, axis))
