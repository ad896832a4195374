"""Every operation, by its row in the operation table: values, dtypes, derivatives, graphs and method forms."""

from __future__ import annotations

import inspect
import random
import warnings

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from operation_row import Call
from operation_table import ROWS

import fgrad as fg
from fgrad.core.bind import Tracer
from fgrad.core.methods import TensorMethods
from fgrad.core.primitive import registered_primitives
from fgrad.core.shape import PYTHON_NUMBERS, shape_dtype_of
from fgrad.testing import check_grads

# What fg offers besides functions of arrays.
OTHERS = {
    *("ArrayLike", "Graph", "ShapeDtype", "Tensor"),
    *("grad", "make_graph", "show_tape", "value_and_grad", "vjp", "save", "load"),
    *("data", "errors", "nn", "optim", "random", "testing", "training", "tree"),
    *("e", "inf", "nan", "newaxis", "pi"),
}

by_row = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
SMOOTH = [row for row in ROWS if row.smooth is not None]
by_smooth_row = pytest.mark.parametrize("row", SMOOTH, ids=[row.name for row in SMOOTH])


def quietly(function, *args):
    """Calls a function whose arguments may be outside of its domain; the values are what is compared."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return function(*args)


def leaves_of(result):
    return [np.asarray(leaf) for leaf in fg.tree.leaves(result)]


def assert_equal_bits(found, expected):
    for x, y in zip(leaves_of(found), leaves_of(expected), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_array_equal(x, y)


def real_bytes(dtype):
    return dtype.type(0).real.dtype.itemsize if dtype.kind in "fc" else 8


# Completeness.


def test_every_primitive_has_a_row():
    rows = [name for row in ROWS for name in row.primitives]
    registered = {primitive.name for primitive in registered_primitives()}
    assert len(set(rows)) == len(rows)
    assert registered - set(rows) == set(), "primitives without a row in tests/operation_table.py"
    assert set(rows) - registered == set(), "rows of primitives that do not exist"


def test_every_public_array_function_has_a_row():
    rows = [row.function for row in ROWS]
    missing = [name for name in fg.__all__ if name not in OTHERS and getattr(fg, name) not in rows]
    assert missing == [], "public functions without a row in tests/operation_table.py"
    assert set(fg.__all__) >= OTHERS


def test_rows_have_names_of_their_own():
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


def primitives_of(row, call):
    """The primitives that a call of the row binds, in its evaluation and in its derivatives."""

    def f(*operands):
        return call.apply(row.function, list(operands))

    operands = [fg.asarray(operand) for operand in call.operands]
    return {equation.primitive.name for equation in quietly(fg.make_graph(f), *operands).equations}


CLAIMS = [(row, name) for row in ROWS for name in row.primitives]


@pytest.mark.parametrize(("row", "name"), CLAIMS, ids=[name for _, name in CLAIMS])
def test_a_row_binds_the_primitives_that_it_claims(row, name):
    quick = settings(max_examples=1000, database=None, phases=[Phase.generate])
    assert find(row.calls, lambda call: name in primitives_of(row, call), settings=quick, random=random.Random(0))


# Values.


@by_row
@given(data=st.data())
def test_values_are_those_of_numpy(row, data):
    call = data.draw(row.calls)
    found = quietly(call.on_tensors, row.function)
    assert all(not isinstance(leaf, np.ndarray) for leaf in fg.tree.leaves(found))
    on_arrays = quietly(call.apply, row.function)
    assert_equal_bits(on_arrays, found)
    if row.counterpart is not None and call.operands:
        by_numpy = quietly(call.on_tensors, row.counterpart)
        assert_equal_bits(by_numpy, found)
        assert [type(leaf) for leaf in fg.tree.leaves(by_numpy)] == [type(leaf) for leaf in fg.tree.leaves(found)]
    if row.reference is None:
        return
    expected = quietly(call.apply, row.reference)
    if isinstance(found, list | tuple):
        assert len(found) == len(expected)
    for x, y in zip(leaves_of(found), leaves_of(expected), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        rtol = row.rtol.get(real_bytes(y.dtype), 0.0)
        if rtol:
            np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)
        else:
            np.testing.assert_array_equal(x, y)


# Derivatives.


@by_smooth_row
@given(data=st.data())
def test_derivatives_are_those_of_central_differences(row, data):
    call = data.draw(row.smooth)
    check_grads(lambda *operands: call.apply(row.function, list(operands)), tuple(call.operands), order=2, eps=row.eps)


WITH_RULES = [
    (primitive, row) for row in SMOOTH for primitive in registered_primitives() if primitive.name in row.primitives
]


@pytest.mark.parametrize(("primitive", "row"), WITH_RULES, ids=[primitive.name for primitive, _ in WITH_RULES])
def test_a_rule_that_is_wrong_by_a_thousandth_fails_its_row(primitive, row):
    if primitive.vjp is None:
        assert primitive.locally_constant
        return
    rule = primitive.vjp

    def wrong(*args, **params):
        return tuple(None if cotangent is None else cotangent * 1.001 for cotangent in rule(*args, **params))

    def fails(call):
        try:
            check_grads(lambda *operands: call.apply(row.function, list(operands)), tuple(call.operands), order=1)
        except AssertionError:
            return True
        return False

    quick = settings(max_examples=50, database=None, phases=[Phase.generate])
    object.__setattr__(primitive, "vjp", wrong)  # frozen, and broken for the length of this test only
    try:
        assert find(row.smooth, fails, settings=quick, random=random.Random(0))
    finally:
        object.__setattr__(primitive, "vjp", rule)


@by_smooth_row
@given(data=st.data())
def test_values_and_cotangents_inside_transforms(row, data):
    """Values are those outside, cotangents have the dtypes of their primals, graphs of pullbacks are the pullbacks."""
    call = data.draw(row.smooth)
    f = lambda *operands: call.apply(row.function, list(operands))
    eager = f(*[fg.asarray(operand) for operand in call.operands])
    out, pullback = fg.vjp(f, *call.operands)
    assert_equal_bits(out, eager)
    assert_equal_bits(fg.vjp(lambda *operands: fg.vjp(f, *operands)[0], *call.operands)[0], eager)
    wide = pullback(ones_for(out))

    graph = fg.make_graph(pull_back_ones(f))(*[fg.asarray(operand) for operand in call.operands])
    graph.check()
    assert_equal_bits(graph(*[fg.asarray(operand) for operand in call.operands]), wide)

    operands = narrowed(call.operands, row.mixed, even=data.draw(st.booleans()))
    for operand, cotangent, reference in zip(operands, pull_back_ones(f)(*operands), wide, strict=True):
        if operand.dtype.kind not in "fc":
            assert cotangent is None
            continue
        assert (cotangent.dtype, cotangent.shape) == (operand.dtype, operand.shape)
        np.testing.assert_allclose(cotangent, reference, rtol=2e-3, atol=2e-3)


def ones_for(tree):
    return fg.tree.map(lambda leaf: fg.ones_like(leaf) if leaf.dtype.kind in "fc" else None, tree)


def pull_back_ones(f):
    def pull_back(*operands):
        out, pullback = fg.vjp(f, *operands)
        return pullback(ones_for(out))

    return pull_back


def narrowed(operands, mixed, *, even):
    """Every other operand (all of them, if dtypes may not be mixed) in single precision."""
    narrow = {"float64": "float32", "complex128": "complex64"}
    return [
        operand.astype(narrow.get(str(operand.dtype), operand.dtype))
        if even == (place % 2 == 0) or not mixed
        else operand
        for place, operand in enumerate(operands)
    ]


# Graphs.

STAGED = [row for row in ROWS if row.staged]


@pytest.mark.parametrize("row", STAGED, ids=[row.name for row in STAGED])
@given(data=st.data())
def test_graphs_know_shapes_and_dtypes_and_evaluate_to_the_same_bits(row, data):
    call = data.draw(row.calls)
    operands = [fg.asarray(operand) for operand in call.operands]
    f = lambda *operands: call.apply(row.function, list(operands))
    eager = quietly(f, *operands)
    graph = quietly(fg.make_graph(f), *operands)
    graph.check()
    for equation in graph.equations:
        hash(equation.params)
        assert not any(isinstance(leaf, Tracer) for leaf in fg.tree.leaves(equation.params))
    for output, leaf in zip(graph.outputs, fg.tree.leaves(eager), strict=True):
        assert output.aval == shape_dtype_of(leaf)
    found = quietly(graph, *operands)
    assert fg.tree.structure(found) == fg.tree.structure(eager)
    assert_equal_bits(found, eager)
    for x, y in zip(fg.tree.leaves(found), fg.tree.leaves(eager), strict=True):
        assert (type(x) in PYTHON_NUMBERS) == (type(y) in PYTHON_NUMBERS)
    assert not any(isinstance(leaf, Tracer) for leaf in fg.tree.leaves(found))


# Methods.

X = np.array([[0.6, -1.3, 2.2], [1.1, 0.3, -2.8]])
METHODS = {
    "astype": [("float32",), ("complex128",)],
    "reshape": [((3, 2),), (3, 2), (-1,), (6,)],
    "ravel": [()],
    "flatten": [()],
    "transpose": [(), ((1, 0),), (1, 0)],
    "swapaxes": [(0, 1)],
    "squeeze": [()],
    "repeat": [(2,), (2, 1)],
    "take": [([0, 1],), ([1, 0], 0)],
    "trace": [(), (1,)],
    "dot": [(np.ones((3, 2)),)],
    "clip": [(-1.0, 1.0), (None, 0.5)],
    "round": [(), (1,)],
    "sum": [(), (0,), (1, "float32")],
    "prod": [(), (0,)],
    "mean": [(), (0,)],
    "var": [(), (0,)],
    "std": [(), (0,)],
    "max": [(), (0,)],
    "min": [(), (0,)],
    "argmax": [(), (0,)],
    "argmin": [(), (0,)],
    "argsort": [(), (0,)],
    "any": [(), (0,)],
    "all": [(), (0,)],
    "cumsum": [(), (0,)],
    "conj": [()],
}
CASES = [(name, args) for name, cases in METHODS.items() for args in cases]


@pytest.mark.parametrize(("name", "args"), CASES, ids=[f"{name}{args}" for name, args in CASES])
def test_method_forms_are_numpys(name, args):
    expected = getattr(X, name)(*args)
    found = getattr(fg.asarray(X), name)(*args)
    assert isinstance(found, fg.Tensor)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    if found.dtype.kind in "fc":
        check_grads(
            lambda x: getattr(x, name)(*args), (X[:, :2] if name == "prod" else X,), order=1, rtol=1e-4, atol=1e-3
        )


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "max", "min", "argmax", "argmin", "any", "all"])
def test_method_forms_take_keepdims(name):
    assert getattr(fg.asarray(X), name)(axis=1, keepdims=True).shape == (2, 1)


def test_properties_are_numpys():
    z = np.arange(24.0).reshape(2, 3, 4) * (1 + 2j)
    tensor = fg.asarray(z)
    for name in ("T", "real", "imag"):
        np.testing.assert_array_equal(getattr(tensor, name), getattr(z, name))
    np.testing.assert_array_equal(tensor.mT, z.mT)
    assert (tensor.shape, tensor.ndim, tensor.size, tensor.itemsize, tensor.nbytes) == ((2, 3, 4), 3, 24, 16, 384)


def test_every_method_is_tested():
    names = {name for name, member in vars(TensorMethods).items() if inspect.isfunction(member) and name[0] != "_"}
    assert names == set(METHODS)
    properties = {name for name, member in vars(TensorMethods).items() if isinstance(member, property)}
    assert properties == {"T", "mT", "real", "imag", "at"}


def test_a_call_fills_its_operands_in_order():
    call = Call(([X, 2], (X[0], "axis")), {"axis": 1})
    assert [operand.shape for operand in call.operands] == [(2, 3), (3,)]
    args, kwargs = call.apply(lambda *args, **kwargs: (args, kwargs), [1.0, 2.0])
    assert args == ([1.0, 2], (2.0, "axis"))
    assert kwargs == {"axis": 1}
