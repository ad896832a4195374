"""Every operation, by its row in the operation table: it has its rules, values, dtypes, graphs and method forms.

Derivatives are tested in test_operation_derivatives.py, vmap in test_operation_batching.py.
"""

from __future__ import annotations

import inspect
import random

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from operation_checks import (
    PRIMITIVES,
    assert_close,
    assert_equal_bits,
    by_row,
    on_operands,
    quietly,
)
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
    *("ArrayLike", "Graph", "NanReport", "ShapeDtype", "Tensor"),
    *("grad", "value_and_grad", "vjp", "jvp", "linearize", "vmap", "jacobian", "jacfwd", "jacrev"),
    *("hessian", "hessian_matrix", "hvp", "checkpoint", "custom_jvp", "custom_vjp", "eval_shape"),
    *("find_nan", "make_graph", "show_tape", "vjp_graph", "save", "load"),
    *("data", "errors", "fft", "linalg", "nn", "optim", "random", "special", "testing", "training", "tree"),
    *("e", "inf", "nan", "newaxis", "pi"),
    # Dtypes and what is asked of them: tested in test_array_api.py.
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
    *("can_cast", "finfo", "iinfo", "isdtype", "result_type", "from_dlpack"),
}

# Completeness.


def test_every_primitive_has_a_row():
    rows = [name for row in ROWS for name in row.primitives]
    registered = {primitive.name for primitive in registered_primitives()}
    assert len(set(rows)) == len(rows)
    assert registered - set(rows) == set(), "primitives without a row in tests/operation_table.py"
    assert set(rows) - registered == set(), "rows of primitives that do not exist"


def test_every_public_array_function_has_a_row():
    rows = [row.function for row in ROWS]
    named = {row.name.rpartition(".")[2] for row in ROWS}
    missing = [name for name in fg.__all__ if name not in OTHERS and getattr(fg, name) not in rows]
    for namespace in (fg.linalg, fg.fft, fg.special):
        functions = [getattr(namespace, name) for name in namespace.__all__]
        missing += [
            f.__name__ for f in functions if inspect.isfunction(f) and f not in rows and f.__name__ not in named
        ]
    assert missing == [], "public functions without a row in tests/operation_table.py"
    assert set(fg.__all__) >= OTHERS


# Primitives that have no derivative rule for one of the modes, and why.
ONE_MODE: dict[str, str] = {}
# Primitives that never meet a batch, since they make values out of params alone.
WITHOUT_OPERANDS = {"full", "arange", "eye"}


@pytest.mark.parametrize("primitive", PRIMITIVES, ids=lambda primitive: primitive.name)
def test_every_primitive_has_its_rules(primitive):
    forward = primitive.jvp or primitive.linear or primitive.dual
    missing = []
    if not primitive.locally_constant and primitive.name not in ONE_MODE:
        missing = [name for name, rule in [("jvp, linear or dual", forward), ("vjp", primitive.vjp)] if not rule]
    if primitive.batch is None and primitive.name not in WITHOUT_OPERANDS:
        missing.append("batch")
    assert missing == [], f"{primitive.name} has no rule for {' and for '.join(missing)}"
    assert not (primitive.locally_constant and (forward or primitive.vjp)), "a constant needs no derivative"
    assert not (primitive.linear and (primitive.jvp or primitive.dual)), "a linear primitive needs no other rule"
    if primitive.python is not None:
        twin = primitive.python
        assert (twin.vjp, twin.jvp, twin.linear) == (primitive.vjp, primitive.jvp, primitive.linear)
        assert twin.locally_constant == primitive.locally_constant


def test_creation_takes_no_operands():
    graph = fg.make_graph(lambda: (fg.full((2,), 3.0), fg.arange(3), fg.eye(2)))()
    assert {equation.primitive.name for equation in graph.equations} == WITHOUT_OPERANDS
    assert all(equation.operands == () for equation in graph.equations)


def test_rows_have_names_of_their_own():
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


def primitives_of(row, call):
    """The primitives that a call of the row binds, in its evaluation and in its derivatives."""

    operands = [fg.asarray(operand) for operand in call.operands]
    return {equation.primitive.name for equation in quietly(fg.make_graph(on_operands(row, call)), *operands).equations}


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
    assert_close(found, expected, row.rtol)


# Graphs.

STAGED = [row for row in ROWS if row.staged]


@pytest.mark.parametrize("row", STAGED, ids=[row.name for row in STAGED])
@given(data=st.data())
def test_graphs_know_shapes_and_dtypes_and_evaluate_to_the_same_bits(row, data):
    call = data.draw(row.calls)
    operands = [fg.asarray(operand) for operand in call.operands]
    f = on_operands(row, call)
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
    "conjugate": [()],
    "copy": [()],
    "compress": [([True, False, True], 1)],
    "diagonal": [(), (1,)],
    "cumprod": [(), (0,)],
    "argpartition": [(1,)],
}
# Those that return something else, or raise: tests/test_numpy_protocol.py.
OTHER_METHODS = {"nonzero", "searchsorted", "sort", "partition", "fill", "put", "resize", "setflags", "view"}
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
    assert names == set(METHODS) | OTHER_METHODS
    properties = {name for name, member in vars(TensorMethods).items() if isinstance(member, property)}
    assert properties == {"T", "mT", "real", "imag", "at"}


def test_a_call_fills_its_operands_in_order():
    call = Call(([X, 2], (X[0], "axis")), {"axis": 1})
    assert [operand.shape for operand in call.operands] == [(2, 3), (3,)]
    args, kwargs = call.apply(lambda *args, **kwargs: (args, kwargs), [1.0, 2.0])
    assert args == ([1.0, 2], (2.0, "axis"))
    assert kwargs == {"axis": 1}
