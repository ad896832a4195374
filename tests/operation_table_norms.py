"""Rows of the operation table: norms, cross and Kronecker products, chains of matrices, diagonals."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from operation_row import CLOSE, ULPS, Row, arrays, call, complex_arrays, optional, smooth_arrays, with_shape
from scipy import linalg as scipy_linalg

import fgrad as fg
from fgrad.testing import strategies

CALLS_OF_BOTH = [lambda s: smooth_arrays(s, 0.3, 2.0), lambda s: complex_arrays(s, 0.3, 2.0)]
VECTOR_ORDERS = st.sampled_from([2, 1, 0, 3, 2.5, np.inf, -np.inf, -1])
SMOOTH_ORDERS = st.sampled_from([2, 1, 3, np.inf, -np.inf, -1])
MATRIX_ORDERS = st.sampled_from(["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
FEW = {"min_dims": 1, "max_dims": 2, "min_side": 1, "max_side": 3}


def positive(kinds):
    return lambda shape: arrays(kinds, shape, 0.5, 3.0)


def norms(operand, orders):
    """Vectors along an axis, matrices, and everything as one vector."""
    vectors = with_shape(lambda s: call(operand(s), orders, st.integers(-len(s), len(s) - 1), st.booleans()), **FEW)
    return vectors | call(operand((2, 3)), MATRIX_ORDERS, None, st.booleans()) | with_shape(lambda s: call(operand(s)))


def vector_norms(operand, orders):
    return with_shape(
        lambda s: optional(call(operand(s)), ord=orders, keepdims=st.booleans(), axis=strategies.axes(len(s))), **FEW
    )


def matrix_norms(operand):
    shapes = st.sampled_from([(2, 2), (2, 3), (2, 3, 2)])
    return shapes.flatmap(lambda s: optional(call(operand(s)), ord=MATRIX_ORDERS, keepdims=st.booleans()))


def either(build):
    """Calls with real and with complex operands, away from kinks."""
    return build(CALLS_OF_BOTH[0]) | build(CALLS_OF_BOTH[1])


NORMS = [
    Row(
        "norm",
        fg.linalg.norm,
        norms(positive("fci"), VECTOR_ORDERS),
        np.linalg.norm,
        either(lambda operand: norms(operand, SMOOTH_ORDERS)),
        ("vector_norm",),
        np.linalg.norm,
        CLOSE,
    ),
    Row(
        "linalg.vector_norm",
        fg.linalg.vector_norm,
        vector_norms(positive("fci"), VECTOR_ORDERS),
        np.linalg.vector_norm,
        either(lambda operand: vector_norms(operand, SMOOTH_ORDERS)),
        counterpart=np.linalg.vector_norm,
        rtol=CLOSE,
    ),
    Row(
        "linalg.matrix_norm",
        fg.linalg.matrix_norm,
        matrix_norms(positive("fci")),
        np.linalg.matrix_norm,
        either(matrix_norms),
        counterpart=np.linalg.matrix_norm,
        rtol=CLOSE,
    ),
]


def pairs(left, right, shapes, kinds):
    """Calls of two operands with shapes out of a list, and the same away from kinks."""
    values = st.sampled_from(shapes).flatmap(lambda s: call(arrays(kinds, s[0]), arrays(kinds, s[1])))
    points = st.sampled_from(shapes).flatmap(lambda s: call(left(s[0]), right(s[1])))
    return values, points


def product_row(name, function, reference, shapes, *, primitives=(), kinds="fci", rtol=CLOSE):
    values, points = pairs(smooth_arrays, smooth_arrays, shapes, kinds)
    mixed = pairs(complex_arrays, smooth_arrays, shapes, kinds)[1]
    counterpart = None if reference is None or reference.__module__ not in ("numpy", "numpy.linalg") else reference
    return Row(name, function, values, reference, points | mixed, primitives, counterpart, rtol)


def cross_along_axes():
    """Cross products of vectors along other axes than the last."""
    return call(arrays("fci", (3, 2)), arrays("fci", (2, 3)), 0, 1, st.integers(-2, 1)) | call(
        arrays("f", (3, 2)), arrays("f", (3, 1)), axis=0
    )


CROSS_SHAPES = [((3,), (3,)), ((2, 3), (3,)), ((2, 1, 3), (2, 3)), ((0, 3), (3,))]


def matvec_reference(x, y):
    return np.matmul(x, y[..., None])[..., 0]


def vecmat_reference(x, y):
    return np.matmul(x.conj()[..., None, :], y)[..., 0, :]


def chain(*shapes):
    """Calls of multi_dot."""
    return call(st.tuples(*[arrays("fci", shape) for shape in shapes]).map(list))


def smooth_chain(make, *shapes):
    return call(st.tuples(*[make(shape) for shape in shapes]).map(list))


CHAINS = [((2, 3), (3, 2)), ((3,), (3, 2), (2,)), ((2, 3), (3, 1), (1, 2)), ((1, 2), (2, 3), (3, 2), (2, 1), (1,))]


def blocks(operand):
    shapes = [[(2, 1), (1, 2)], [(), (2,), (1, 2)], [(2, 1, 2), (2, 1)], [(2, 0), (1, 1)], [(2, 2)]]
    return st.sampled_from(shapes).flatmap(lambda each: call(*[operand(shape) for shape in each]))


def shifted(operand, shapes, name):
    """Calls of one operand with a diagonal."""
    return st.sampled_from(shapes).flatmap(lambda s: optional(call(operand(s)), **{name: st.integers(-2, 2)}))


def diagonal_row(name, function, reference, shapes, offset="k", counterpart=True):
    return Row(
        name,
        function,
        shifted(lambda s: arrays("fcib", s), shapes, offset),
        reference,
        shifted(smooth_arrays, shapes, offset) | shifted(complex_arrays, shapes, offset),
        counterpart=reference if counterpart else None,
    )


MATRICES = [(2, 3), (3, 3), (2, 3, 2), (0, 2)]

PRODUCTS = [
    product_row("cross", fg.cross, np.cross, CROSS_SHAPES, primitives=("cross",), rtol=ULPS),
    Row(
        "cross along axes",
        fg.cross,
        cross_along_axes(),
        np.cross,
        call(smooth_arrays((3, 2)), smooth_arrays((2, 3)), 0, 1, st.integers(-2, 1)),
        counterpart=np.cross,
        rtol=ULPS,
    ),
    product_row("linalg.cross", fg.linalg.cross, np.linalg.cross, CROSS_SHAPES, rtol=ULPS),
    product_row("linalg.outer", fg.linalg.outer, np.linalg.outer, [((2,), (3,)), ((0,), (2,))], rtol={}),
    product_row("kron", fg.kron, np.kron, [((2,), (3,)), ((2, 1), (2,)), ((2, 2), (1, 2)), ((), (2,)), ((2,), (0,))]),
    product_row("matvec", fg.matvec, matvec_reference, [((2, 3), (3,)), ((2, 2, 3), (3,)), ((2, 3), (4, 3))]),
    product_row("vecmat", fg.vecmat, vecmat_reference, [((3,), (3, 2)), ((4, 3), (3, 2)), ((3,), (2, 3, 1))]),
    Row(
        "multi_dot",
        fg.linalg.multi_dot,
        st.sampled_from(CHAINS).flatmap(lambda shapes: chain(*shapes)),
        np.linalg.multi_dot,
        st.sampled_from(CHAINS).flatmap(lambda s: smooth_chain(smooth_arrays, *s) | smooth_chain(complex_arrays, *s)),
        counterpart=np.linalg.multi_dot,
        rtol=CLOSE,
    ),
    diagonal_row("diag", fg.diag, np.diag, [(2,), (2, 3), (3, 3), (0,)]),
    diagonal_row("diagflat", fg.diagflat, np.diagflat, [(2,), (1, 2), ()]),
    diagonal_row("linalg.diagonal", fg.linalg.diagonal, np.linalg.diagonal, MATRICES, "offset"),
    diagonal_row("linalg.trace", fg.linalg.trace, np.linalg.trace, MATRICES, "offset"),
    Row(
        "block_diag",
        fg.block_diag,
        blocks(lambda s: arrays("fci", s)),
        scipy_linalg.block_diag,
        blocks(smooth_arrays) | blocks(complex_arrays),
    ),
]

NORM_ROWS: list[Row] = [*NORMS, *PRODUCTS]
