"""The operation table: one row per primitive and per public array function, which drives the tests of operations.

An operation is added to the suite by adding its row: elementwise functions and reductions here, shapes, joining and
indexing in operation_table_shapes.py, products, creation, order and random numbers in operation_table_arrays.py, the
primitives of control flow and of custom rules in operation_table_control.py and operation_table_custom.py, and the
public functions that take functions in operation_table_functions.py.
"""

from __future__ import annotations

import operator

import numpy as np
from hypothesis import strategies as st
from operation_row import (
    CLOSE,
    ULPS,
    Call,
    Row,
    arrays,
    binary,
    call,
    complex_arrays,
    optional,
    over_axes,
    reordered,
    smooth_arrays,
    special_arrays,
    thinned,
    unary,
    with_broadcast_shapes,
    with_shape,
)
from operation_table_arrays import ARRAY_ROWS
from operation_table_assembling import ASSEMBLING_ROWS
from operation_table_control import CONTROL_ROWS
from operation_table_cumulative import CUMULATIVE_ROWS
from operation_table_custom import CUSTOM_ROWS
from operation_table_decompositions import DECOMPOSITION_ROWS
from operation_table_fourier import FOURIER_ROWS
from operation_table_functions import FUNCTION_ROWS
from operation_table_norms import NORM_ROWS
from operation_table_order import ORDER_ROWS
from operation_table_pairs import PAIR_ROWS
from operation_table_shapes import PRIMITIVES, SHAPE_ROWS
from operation_table_special import SPECIAL_ROWS
from operation_table_systems import SYSTEM_ROWS
from scipy import special

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.ops.special import erf, erfinv
from fgrad.testing import strategies

ELEMENTWISE = [
    # Arithmetic.
    binary("add", "fhciub", smooth=((-2, 2), (-2, 2))),
    binary("subtract", "fhciu", smooth=((-2, 2), (-2, 2))),
    binary("multiply", "fhciub", smooth=((-2, 2), (-2, 2))),
    binary("divide", "fhciub", smooth=((-2, 2), (0.5, 3))),
    binary("floor_divide", "fiu", right_bounds=(1, 4), smooth=((0.1, 0.9), (1, 2))),
    binary("remainder", "fiu", right_bounds=(1, 4), smooth=((4.3, 4.6), (1, 1.05))),
    binary("power", "fhc", bounds=(0.25, 3), smooth=((0.5, 2), (-2, 2)), reference=operator.pow, rtol=ULPS),
    unary("negative", "fhciu", smooth=(-2, 2), holomorphic=True),
    unary("positive", "fhciu", smooth=(-2, 2), holomorphic=True),
    unary("square", "fhciub", smooth=(-2, 2), holomorphic=True),
    unary("reciprocal", "fhc", low=0.25, smooth=(0.5, 3), holomorphic=True),
    unary("abs", "fhciub", smooth=(-2, 2), holomorphic=True, reference=np.abs),
    unary("sign", "fhiu", smooth=(-2, 2)),
    Row(
        "sign of complex numbers",
        fg.sign,
        call(arrays("c")),
        np.sign,
        call(complex_arrays()),
        counterpart=np.sign,
        rtol=ULPS,
    ),
    unary("real", "fhciub", smooth=(-2, 2), holomorphic=True),
    unary("imag", "chciuf", smooth=(-2, 2), holomorphic=True),
    unary("conj", "fhciu", smooth=(-2, 2), holomorphic=True),
    Row(
        "multiply_no_nan",
        fg.multiply_no_nan,
        with_broadcast_shapes(lambda x, y: call(arrays("fc", x), arrays("fc", y))),
        np.multiply,
        with_broadcast_shapes(lambda x, y: call(smooth_arrays(x), smooth_arrays(y))),
        ("multiply_no_nan",),
    ),
    Row(
        "divide_no_nan",
        fg.divide_no_nan,
        with_broadcast_shapes(lambda x, y: call(arrays("fc", x), arrays("fc", y, 0.25))),
        np.divide,
        with_broadcast_shapes(lambda x, y: call(smooth_arrays(x), smooth_arrays(y, 0.5, 3))),
        ("divide_no_nan",),
    ),
    # Exponentials and logarithms.
    unary("exp", "fhciub", smooth=(-2, 2), holomorphic=True),
    unary("exp2", "fhc", smooth=(-2, 2), holomorphic=True),
    unary("expm1", "fhc", smooth=(-2, 2), holomorphic=True),
    unary("log", "fhciu", low=0.25, smooth=(0.5, 3), holomorphic=True),
    unary("log2", "fhc", low=0.25, smooth=(0.5, 3), holomorphic=True),
    unary("log10", "fhc", low=0.25, smooth=(0.5, 3), holomorphic=True),
    unary("log1p", "fhc", low=-0.5, smooth=(-0.5, 2), holomorphic=True),
    unary("sqrt", "fhciu", low=0, smooth=(0.5, 3), holomorphic=True),
    unary("erf", "f", function=erf, reference=special.erf, smooth=(-2, 2), rtol={4: 1e-6, 8: 1e-14}),
    unary(
        "erfinv",
        "f",
        function=erfinv,
        reference=special.erfinv,
        low=-0.9375,
        high=0.9375,
        smooth=(-0.8, 0.8),
        rtol={4: 1e-6, 8: 1e-14},
    ),
    # Trigonometry.
    unary("sin", "fhciu", smooth=(-2, 2), holomorphic=True),
    unary("cos", "fhciu", smooth=(-2, 2), holomorphic=True),
    unary("tan", "fhc", smooth=(-1, 1), holomorphic=True),
    unary("arcsin", "fhc", low=-1, high=1, smooth=(-0.7, 0.7), holomorphic=True),
    unary("arccos", "fhc", low=-1, high=1, smooth=(-0.7, 0.7), holomorphic=True),
    unary("arctan", "fhc", smooth=(-2, 2)),
    Row(
        "arctan of complex numbers",
        fg.arctan,
        call(arrays("c")),
        np.arctan,
        call(complex_arrays(None, 0.5, 2)),
        counterpart=np.arctan,
    ),
    unary("sinh", "fhc", smooth=(-2, 2), holomorphic=True),
    unary("cosh", "fhc", smooth=(-2, 2), holomorphic=True),
    unary("tanh", "fhciu", smooth=(-2, 2), holomorphic=True),
    unary("arcsinh", "fhc", smooth=(0.5, 2), holomorphic=True),
    unary("arccosh", "fhc", low=1, smooth=(1.5, 4), holomorphic=True, vary=reordered),
    unary("arctanh", "fhc", low=-0.9375, high=0.9375, smooth=(-0.7, 0.7), holomorphic=True),
    # Comparison, logic, bits, rounding: no derivative, or zero.
    *[
        binary(name, "fhciub", bounds=(0, 1), vary=thinned)
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    ],
    *[binary(name, "fhciub", bounds=(0, 1), vary=thinned) for name in ("logical_and", "logical_or", "logical_xor")],
    *[binary(name, "ivb", bounds=(0, 7)) for name in ("bitwise_and", "bitwise_or", "bitwise_xor")],
    *[binary(name, "iv", bounds=(0, 7), right_bounds=(0, 3)) for name in ("left_shift", "right_shift")],
    unary("logical_not", "fhciub", vary=thinned),
    *[
        Row(
            name,
            getattr(fg, name),
            call(special_arrays("fhc")) | call(arrays("fhciub")),
            getattr(np, name),
            None,
            (name,),
            getattr(np, name),
        )
        for name in ("isnan", "isinf", "isfinite")
    ],
    Row("bitwise_not", fg.bitwise_not, call(arrays("iub")), np.invert, None, ("bitwise_not",), np.invert),
    *[unary(name, "fhiu", smooth=(0.1, 0.4)) for name in ("floor", "ceil", "trunc", "rint")],
    Row(
        "round",
        fg.round,
        optional(call(arrays("fhciu")), decimals=st.integers(-1, 2)),
        np.round,
        call(smooth_arrays(None, 0.1, 0.4)),
        ("round",),
        np.round,
    ),
    Row(
        "isclose",
        fg.isclose,
        with_broadcast_shapes(
            lambda x, y: optional(
                call(arrays("fc", x, -1, 1), arrays("fc", y, -1, 1)),
                rtol=st.sampled_from([0.5, 0.0]),
                atol=st.just(0.1),
                equal_nan=st.booleans(),
            )
        ),
        np.isclose,
        None,
        ("isclose",),
        np.isclose,
        vary=thinned,
    ),
    Row(
        "allclose",
        fg.allclose,
        with_broadcast_shapes(lambda x, y: call(arrays("f", x), arrays("f", y), rtol=0.5)),
        np.allclose,
        counterpart=np.allclose,
        staged=False,
        unbatched="its result is a bool of Python",
    ),
    Row(
        "array_equal",
        fg.array_equal,
        call(arrays("fi"), arrays("fi"), equal_nan=st.booleans()),
        np.array_equal,
        counterpart=np.array_equal,
        staged=False,
        unbatched="its result is a bool of Python",
    ),
    # Selection.
    Row(
        "where",
        fg.where,
        with_broadcast_shapes(lambda c, x, y: call(arrays("bfi", c), arrays("fhciub", x), arrays("fhciub", y)), 3)
        | with_broadcast_shapes(lambda c, x: call(arrays("b", c), arrays("fi", x), st.sampled_from([0, 1.5]))),
        np.where,
        with_broadcast_shapes(lambda c, x, y: call(arrays("b", c), smooth_arrays(x), smooth_arrays(y)), 3),
        ("where",),
        np.where,
    ),
    binary("maximum", "fhciub", smooth=((-2, 0), (0.1, 2))),
    binary("minimum", "fhciub", smooth=((-2, 0), (0.1, 2))),
    Row(
        "clip",
        fg.clip,
        with_broadcast_shapes(lambda x, y: call(arrays("fi", x), arrays("fi", y, -4, 0), arrays("fi", y, 0, 4)))
        | call(arrays("fhiu"), st.sampled_from([None, 1]), st.sampled_from([2, 3])),
        np.clip,
        call(smooth_arrays((4,), -0.9, 0.9), -0.36, 0.36),
        counterpart=np.clip,
    ),
    unary("relu", "fhi", smooth=(-2, 2), reference=lambda x: np.maximum(x, x.dtype.type(0))),
    unary("stop_gradient", "fhciub", reference=lambda x: x),
]

# Sums and their kin may be added up in another order than NumPy's.


def _others(x: np.ndarray, *directions: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The derivative of the product over `axes` by each factor, and along directions, from its definition."""
    order = (*[axis for axis in range(x.ndim) if axis not in axes], *axes)
    kept = x.ndim - len(axes)
    out = np.zeros(x.transpose(order).shape, np.result_type(x, *directions))
    slices = [y.transpose(order).reshape(*out.shape[:kept], -1) for y in (x, *directions)]
    found = out.reshape(*out.shape[:kept], -1)
    for place in np.ndindex(found.shape[:-1]):
        factors, *along = [part[place] for part in slices]
        for position in range(len(factors)):
            found[place][position] = _derivative(factors, [position], along)
    return out.transpose(np.argsort(order)) if x.ndim else out


def _derivative(factors: np.ndarray, taken: list[int], directions: list[np.ndarray]) -> float:
    if not directions:
        return float(np.prod(np.delete(factors, taken)))
    rest = [place for place in range(len(factors)) if place not in taken]
    return sum(directions[0][place] * _derivative(factors, [*taken, place], directions[1:]) for place in rest)


def _logsumexp(x: np.ndarray, axis: object = None, *, keepdims: bool = False) -> np.ndarray:
    found = np.log(np.sum(np.exp(np.float64(x)), axis=axis, keepdims=keepdims))
    return found.astype(x.dtype) if x.dtype.kind == "f" else found


def _where(shape: tuple[int, ...]) -> st.SearchStrategy:
    return strategies.arrays("bool", shape)


def _sums(name: str) -> Row:
    return Row(
        name,
        getattr(fg, name),
        over_axes(lambda s: arrays("fciub", s), where=_where, initial=st.sampled_from([1, 2]))
        | over_axes(lambda s: arrays("fiub", s), dtype=st.sampled_from(["float64", "complex128"])),
        getattr(np, name),
        over_axes(smooth_arrays, where=_where, initial=st.just(2.0)) | over_axes(complex_arrays),
        (name,),
        getattr(np, name),
        CLOSE,
    )


def _moment(name: str, primitives: tuple[str, ...], **options: st.SearchStrategy) -> Row:
    """Derivatives are checked over at least two distinct elements: of one, the deviation has a kink."""

    def smooth(shape: tuple[int, ...]) -> st.SearchStrategy:
        axis = strategies.axes(len(shape)).filter(lambda axis: axis != ())
        operand = smooth_arrays(shape) if name == "std" else smooth_arrays(shape) | complex_arrays(shape)
        return optional(call(operand), axis=axis, keepdims=st.booleans(), **options)

    return Row(
        name,
        getattr(fg, name),
        over_axes(lambda s: arrays("fciub", s), min_dims=1, min_side=2, where=lambda s: st.just(np.arange(s[-1]) < 2))
        | over_axes(lambda s: arrays("fciub", s), min_side=2, **options),
        getattr(np, name),
        with_shape(smooth, min_dims=1, min_side=2),
        primitives,
        getattr(np, name),
        CLOSE,
    )


def _extremum(name: str) -> Row:
    return Row(
        name,
        getattr(fg, name),
        over_axes(lambda s: arrays("fhiub", s), min_side=1)
        | over_axes(lambda s: arrays("f", s), where=_where).map(lambda c: Call(c.args, c.kwargs | {"initial": 0.5})),
        getattr(np, name),
        over_axes(smooth_arrays, min_side=1),
        (name,),
        getattr(np, name),
    )


REDUCTIONS = [
    _sums("sum"),
    _sums("prod"),
    _moment("mean", ("mean",)),
    _moment("var", ("var",), ddof=st.sampled_from([0, 1, 0.5])),
    _moment("std", (), ddof=st.sampled_from([0, 1])),
    _extremum("max"),
    _extremum("min"),
    *[
        Row(
            name,
            getattr(fg, name),
            over_axes(lambda s: arrays("fhiub", s), several=False, min_side=1),
            getattr(np, name),
            None,
            (name,),
            getattr(np, name),
        )
        for name in ("argmax", "argmin")
    ],
    *[
        Row(
            name,
            getattr(fg, name),
            over_axes(lambda s: arrays("bfiuc", s), where=_where),
            getattr(np, name),
            None,
            (name,),
            getattr(np, name),
        )
        for name in ("any", "all")
    ],
    Row(
        "cumsum",
        fg.cumsum,
        over_axes(
            lambda s: arrays("fhciub", s), several=False, keepdims=False, dtype=st.sampled_from([None, "float32"])
        ),
        np.cumsum,
        over_axes(smooth_arrays, several=False, keepdims=False),
        ("cumsum",),
        np.cumsum,
        CLOSE,
    ),
    Row(
        "logsumexp",
        fg.logsumexp,
        over_axes(lambda s: arrays("fi", s), min_side=1),
        _logsumexp,
        over_axes(smooth_arrays, min_side=1),
        ("logsumexp",),
        rtol={4: 2e-6, 8: 1e-13},
    ),
    # Primitives that derivatives alone use.
    Row(
        "softmax",
        lambda x, axes: bind(PRIMITIVES["softmax"], x, axes=axes),
        with_shape(lambda s: call(arrays("f", s), _sorted_axes(len(s))), min_dims=1, min_side=1),
        special.softmax,
        with_shape(lambda s: call(smooth_arrays(s), _sorted_axes(len(s))), min_dims=1, min_side=1),
        ("softmax",),
        rtol={4: 2e-6, 8: 1e-13},
    ),
    Row(
        "extremum_share",
        lambda x, axes: bind(PRIMITIVES["extremum_share"], x, fg.max(x, axes, keepdims=True), axes=axes),
        with_shape(lambda s: call(arrays("f", s, -1, 1), _sorted_axes(len(s))), min_side=1),
        lambda x, axes: (
            (x == x.max(axes, keepdims=True))
            / np.sum(x == x.max(axes, keepdims=True), axes, keepdims=True, dtype=x.dtype)
        ),
        None,
        ("extremum_share",),
    ),
    Row(
        "product_derivative",
        lambda axes, x, *directions: bind(PRIMITIVES["product_derivative"], x, *directions, axes=axes),
        with_shape(
            lambda s: st.integers(1, 3).flatmap(
                lambda n: call(_sorted_axes(len(s)), *[arrays("f", s).map(lambda x: x.astype(float))] * n)
            ),
            min_dims=1,
            max_dims=2,
            min_side=1,
            max_side=3,
        ),
        lambda axes, x, *directions: _others(x, *directions, axes=axes),
        with_shape(
            lambda s: call(_sorted_axes(len(s)), smooth_arrays(s), smooth_arrays(s)),
            min_dims=1,
            max_dims=2,
            min_side=1,
            max_side=3,
        ),
        ("product_derivative",),
        rtol=CLOSE,
        mixed=False,
    ),
]


def _sorted_axes(ndim: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.sets(st.integers(0, ndim - 1), min_size=1).map(lambda axes: tuple(sorted(axes))) if ndim else st.just(())


ROWS = [
    *ELEMENTWISE,
    *REDUCTIONS,
    *SHAPE_ROWS,
    *ARRAY_ROWS,
    *ASSEMBLING_ROWS,
    *CONTROL_ROWS,
    *CUMULATIVE_ROWS,
    *CUSTOM_ROWS,
    *DECOMPOSITION_ROWS,
    *FOURIER_ROWS,
    *FUNCTION_ROWS,
    *NORM_ROWS,
    *ORDER_ROWS,
    *PAIR_ROWS,
    *SPECIAL_ROWS,
    *SYSTEM_ROWS,
]
