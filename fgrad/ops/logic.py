"""Comparison, logic, bits, rounding and predicates: operations whose results carry no gradient."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fgrad.core.bind import bind, bind1, bind2, make_operator
from fgrad.core.errors import refuse_out
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, dtype_of, shape_of
from fgrad.ops.declare import batch_elementwise, constant, elementwise, stands_for, untraced_by

__all__ = [
    "allclose",
    "around",
    "array_equal",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "equal",
    "floor",
    "greater",
    "greater_equal",
    "invert",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "left_shift",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "right_shift",
    "rint",
    "round",
    "trunc",
]

equal_p = elementwise("equal", np.equal, locally_constant=True, python=operator.eq)
not_equal_p = elementwise("not_equal", np.not_equal, locally_constant=True, python=operator.ne)
less_p = elementwise("less", np.less, locally_constant=True, python=operator.lt)
less_equal_p = elementwise("less_equal", np.less_equal, locally_constant=True, python=operator.le)
greater_p = elementwise("greater", np.greater, locally_constant=True, python=operator.gt)
greater_equal_p = elementwise("greater_equal", np.greater_equal, locally_constant=True, python=operator.ge)
logical_and_p = elementwise("logical_and", np.logical_and, locally_constant=True)
logical_or_p = elementwise("logical_or", np.logical_or, locally_constant=True)
logical_xor_p = elementwise("logical_xor", np.logical_xor, locally_constant=True)
bitwise_and_p = elementwise("bitwise_and", np.bitwise_and, locally_constant=True, python=operator.and_)
bitwise_or_p = elementwise("bitwise_or", np.bitwise_or, locally_constant=True, python=operator.or_)
bitwise_xor_p = elementwise("bitwise_xor", np.bitwise_xor, locally_constant=True, python=operator.xor)
left_shift_p = elementwise("left_shift", np.left_shift, locally_constant=True, python=operator.lshift)
right_shift_p = elementwise("right_shift", np.right_shift, locally_constant=True, python=operator.rshift)
logical_not_p = elementwise("logical_not", np.logical_not, locally_constant=True)
bitwise_not_p = elementwise("bitwise_not", np.invert, locally_constant=True)
isnan_p = elementwise("isnan", np.isnan, locally_constant=True)
isinf_p = elementwise("isinf", np.isinf, locally_constant=True)
isfinite_p = elementwise("isfinite", np.isfinite, locally_constant=True)
floor_p = elementwise("floor", np.floor, locally_constant=True)
ceil_p = elementwise("ceil", np.ceil, locally_constant=True)
trunc_p = elementwise("trunc", np.trunc, locally_constant=True)
rint_p = elementwise("rint", np.rint, locally_constant=True)
round_p = constant(
    "round",
    evaluate=np.round,
    shape_rule=lambda x, decimals: ShapeDtype(x.shape, np.dtype("float16") if x.dtype.kind == "b" else x.dtype),
    batch=batch_elementwise,
    makes_views=True,
)


@stands_for(np.equal)
def equal(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 == x2, elementwise, as booleans.

    >>> import fgrad as fg
    >>> fg.equal(fg.asarray([1.0, 2.0]), 2.0)
    Tensor([False,  True], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.equal")
    return bind2(equal_p, x1, x2)


@stands_for(np.not_equal)
def not_equal(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 != x2, elementwise, as booleans.

    >>> import fgrad as fg
    >>> fg.not_equal(fg.asarray([1.0, 2.0]), 2.0)
    Tensor([ True, False], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.not_equal")
    return bind2(not_equal_p, x1, x2)


@stands_for(np.less)
def less(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 < x2, elementwise, as booleans.

    >>> import fgrad as fg
    >>> fg.less(fg.asarray([1.0, 2.0]), 2.0)
    Tensor([ True, False], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.less")
    return bind2(less_p, x1, x2)


@stands_for(np.less_equal)
def less_equal(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 <= x2, elementwise, as booleans.

    >>> import fgrad as fg
    >>> fg.less_equal(fg.asarray([1.0, 3.0]), 2.0)
    Tensor([ True, False], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.less_equal")
    return bind2(less_equal_p, x1, x2)


@stands_for(np.greater)
def greater(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 > x2, elementwise, as booleans.

    >>> import fgrad as fg
    >>> fg.greater(fg.asarray([1.0, 3.0]), 2.0)
    Tensor([False,  True], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.greater")
    return bind2(greater_p, x1, x2)


@stands_for(np.greater_equal)
def greater_equal(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 >= x2, elementwise, as booleans.

    >>> import fgrad as fg
    >>> fg.greater_equal(fg.asarray([1.0, 2.0]), 2.0)
    Tensor([False,  True], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.greater_equal")
    return bind2(greater_equal_p, x1, x2)


@stands_for(np.logical_and)
def logical_and(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """Whether both are true (not zero), elementwise.

    >>> import fgrad as fg
    >>> fg.logical_and(fg.asarray([True, False]), True)
    Tensor([ True, False], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.logical_and")
    return bind2(logical_and_p, x1, x2)


@stands_for(np.logical_or)
def logical_or(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """Whether at least one is true (not zero), elementwise.

    >>> import fgrad as fg
    >>> fg.logical_or(fg.asarray([True, False]), False)
    Tensor([ True, False], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.logical_or")
    return bind2(logical_or_p, x1, x2)


@stands_for(np.logical_xor)
def logical_xor(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """Whether exactly one is true (not zero), elementwise.

    >>> import fgrad as fg
    >>> fg.logical_xor(fg.asarray([True, False]), True)
    Tensor([False,  True], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.logical_xor")
    return bind2(logical_xor_p, x1, x2)


@stands_for(np.bitwise_and)
def bitwise_and(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 & x2 of booleans or the bits of integers, elementwise.

    >>> import fgrad as fg
    >>> fg.bitwise_and(fg.asarray([6, 5]), 3)
    Tensor([2, 1], dtype=int64)
    """
    if out is not None:
        refuse_out("fg.bitwise_and")
    return bind2(bitwise_and_p, x1, x2)


@stands_for(np.bitwise_or)
def bitwise_or(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 | x2 of booleans or the bits of integers, elementwise.

    >>> import fgrad as fg
    >>> fg.bitwise_or(fg.asarray([6, 5]), 3)
    Tensor([7, 7], dtype=int64)
    """
    if out is not None:
        refuse_out("fg.bitwise_or")
    return bind2(bitwise_or_p, x1, x2)


@stands_for(np.bitwise_xor)
def bitwise_xor(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 ^ x2 of booleans or the bits of integers, elementwise.

    >>> import fgrad as fg
    >>> fg.bitwise_xor(fg.asarray([6, 5]), 3)
    Tensor([5, 6], dtype=int64)
    """
    if out is not None:
        refuse_out("fg.bitwise_xor")
    return bind2(bitwise_xor_p, x1, x2)


@stands_for(np.left_shift)
def left_shift(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The bits of x1 moved x2 places up, elementwise.

    >>> import fgrad as fg
    >>> fg.left_shift(fg.asarray([1, 2]), 3)
    Tensor([ 8, 16], dtype=int64)
    """
    if out is not None:
        refuse_out("fg.left_shift")
    return bind2(left_shift_p, x1, x2)


@stands_for(np.right_shift)
def right_shift(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The bits of x1 moved x2 places down, elementwise.

    >>> import fgrad as fg
    >>> fg.right_shift(fg.asarray([8, 16]), 3)
    Tensor([1, 2], dtype=int64)
    """
    if out is not None:
        refuse_out("fg.right_shift")
    return bind2(right_shift_p, x1, x2)


@stands_for(np.logical_not)
def logical_not(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """Whether x is false (zero), elementwise.

    >>> import fgrad as fg
    >>> fg.logical_not(fg.asarray([True, False]))
    Tensor([False,  True], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.logical_not")
    return bind1(logical_not_p, x)


@stands_for(np.invert)
def bitwise_not(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """Every bit flipped; of booleans, the negation; elementwise.

    >>> import fgrad as fg
    >>> fg.bitwise_not(fg.asarray([True, False]))
    Tensor([False,  True], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.bitwise_not")
    return bind1(bitwise_not_p, x)


@stands_for(np.isnan)
def isnan(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """Whether x is NaN, elementwise.

    >>> import fgrad as fg
    >>> fg.isnan(fg.asarray([1.0, float("nan")]))
    Tensor([False,  True], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.isnan")
    return bind1(isnan_p, x)


@stands_for(np.isinf)
def isinf(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """Whether x is infinite, elementwise.

    >>> import fgrad as fg
    >>> fg.isinf(fg.asarray([1.0, float("inf")]))
    Tensor([False,  True], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.isinf")
    return bind1(isinf_p, x)


@stands_for(np.isfinite)
def isfinite(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """Whether x is neither infinite nor NaN, elementwise.

    >>> import fgrad as fg
    >>> fg.isfinite(fg.asarray([1.0, float("inf")]))
    Tensor([ True, False], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.isfinite")
    return bind1(isfinite_p, x)


@stands_for(np.floor)
def floor(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The largest integer not above x, elementwise; the derivative is zero wherever it exists.

    >>> import fgrad as fg
    >>> fg.floor(fg.asarray([1.5, -1.5]))
    Tensor([ 1., -2.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.floor")
    return bind1(floor_p, x)


@stands_for(np.ceil)
def ceil(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The smallest integer not below x, elementwise; the derivative is zero wherever it exists.

    >>> import fgrad as fg
    >>> fg.ceil(fg.asarray([1.5, -1.5]))
    Tensor([ 2., -1.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.ceil")
    return bind1(ceil_p, x)


@stands_for(np.trunc)
def trunc(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """x without its fraction, elementwise; the derivative is zero wherever it exists.

    >>> import fgrad as fg
    >>> fg.trunc(fg.asarray([1.5, -1.5]))
    Tensor([ 1., -1.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.trunc")
    return bind1(trunc_p, x)


@stands_for(np.rint)
def rint(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The nearest integer, halves to the even one, elementwise; the derivative is zero wherever it exists.

    >>> import fgrad as fg
    >>> fg.rint(fg.asarray([1.5, 2.5]))
    Tensor([2., 2.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.rint")
    return bind1(rint_p, x)


# Other names of the same, the array API standard's among them.
invert = bitwise_not
bitwise_invert = bitwise_not
bitwise_left_shift = left_shift
bitwise_right_shift = right_shift


@stands_for(np.round, np.around)
def round(x: ArrayLike, decimals: int = 0, *, out: None = None) -> Tensor:
    """x rounded to so many decimals, halves to even; the derivative is zero wherever it exists.

    >>> import fgrad as fg
    >>> fg.round(fg.asarray([1.25, 2.345]), 1)
    Tensor([1.2, 2.3], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.round")
    return bind(round_p, as_operand(x), decimals=decimals)


around = round

# As an operator on what stands for a Python number, whose own rounding it is; without digits it gives an integer.
_round_number_p = Primitive(
    "round",
    evaluate=lambda x, ndigits: x.__round__() if ndigits is None else x.__round__(ndigits),
    shape_rule=lambda x, ndigits: ShapeDtype(
        (), np.dtype(int) if ndigits is None or x.dtype.kind == "b" else x.dtype, weak=True
    ),
    batch=lambda _, batched, x, ndigits: (
        rint(x).astype(int) if ndigits is None else bind(round_p, x, decimals=operator.index(ndigits))
    ),
    locally_constant=True,
    takes_numbers=True,
)


def _round_number(x: Any, ndigits: int | None) -> Any:
    return bind(_round_number_p, x, ndigits=ndigits)


@stands_for(np.isclose)
def isclose(
    a: ArrayLike, b: ArrayLike, rtol: ArrayLike = 1e-05, atol: ArrayLike = 1e-08, *, equal_nan: bool = False
) -> Tensor:
    """Whether |a - b| <= atol + rtol |b|, elementwise; infinities of one sign are close.

    >>> import fgrad as fg
    >>> fg.isclose(fg.asarray([1.0, 2.0]), fg.asarray([1.0 + 1e-9, 2.1]))
    Tensor([ True, False], dtype=bool)
    """
    tolerances = [value if type(value) in PYTHON_NUMBERS else as_operand(value) for value in (rtol, atol)]
    return bind(isclose_p, as_operand(a), as_operand(b), *tolerances, equal_nan=bool(equal_nan))


isclose_p = constant(
    "isclose",
    evaluate=lambda a, b, rtol, atol, equal_nan: np.isclose(a, b, rtol, atol, equal_nan=equal_nan),
    shape_rule=lambda a, b, rtol, atol, equal_nan: ShapeDtype(
        np.broadcast_shapes(a.shape, b.shape, rtol.shape, atol.shape), equal_p.shape_rule(a, b).dtype
    ),
    batch=batch_elementwise,
    takes_numbers=True,
)


@stands_for(np.allclose)
@untraced_by(np.allclose)
def allclose(a: ArrayLike, b: ArrayLike, rtol: float = 1e-05, atol: float = 1e-08, *, equal_nan: bool = False) -> bool:
    """Whether every element `isclose`; a Python bool.

    >>> import fgrad as fg
    >>> fg.allclose(fg.asarray([1.0, 2.0]), fg.asarray([1.0 + 1e-9, 2.0]))
    True
    """
    return bool(operations.all(isclose(a, b, rtol, atol, equal_nan=equal_nan)))


@stands_for(np.array_equal)
@untraced_by(np.array_equal)
def array_equal(a1: ArrayLike, a2: ArrayLike, *, equal_nan: bool = False) -> bool:
    """Whether two arrays have one shape and equal elements; a Python bool.

    >>> import fgrad as fg
    >>> fg.array_equal(fg.asarray([1.0, 2.0]), [1.0, 2.0])
    True
    """
    first, second = as_operand(a1), as_operand(a2)
    if shape_of(first) != shape_of(second):
        return False
    same: Any = equal(first, second)
    if equal_nan and dtype_of(first).kind in "fc" and dtype_of(second).kind in "fc":
        same = same | (isnan(first) & isnan(second))
    return bool(operations.all(same))


operations.equal = make_operator(equal_p)
operations.not_equal = make_operator(not_equal_p)
operations.less = make_operator(less_p)
operations.less_equal = make_operator(less_equal_p)
operations.greater = make_operator(greater_p)
operations.greater_equal = make_operator(greater_equal_p)
operations.bitwise_and = make_operator(bitwise_and_p)
operations.bitwise_or = make_operator(bitwise_or_p)
operations.bitwise_xor = make_operator(bitwise_xor_p)
operations.left_shift = make_operator(left_shift_p)
operations.right_shift = make_operator(right_shift_p)
operations.bitwise_not = bitwise_not
operations.round = round
operations.round_number = _round_number
