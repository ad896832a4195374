"""Arithmetic of elements: sums, products, quotients, powers, and the complex parts of a number."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fgrad.core.bind import bind1, bind2, is_weak, make_operator, make_unary_operator
from fgrad.core.buffers import MANY_ELEMENTS, empty_array
from fgrad.core.errors import refuse_out
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt
from fgrad.ops.arguments import as_operand, dtype_of, shape_of
from fgrad.ops.declare import batch_elementwise, elementwise, stands_for, ufunc_shape_rule
from fgrad.ops.logic import equal
from fgrad.ops.selection import where
from fgrad.ops.special_values import COUNTING_LIMIT, all_finite, count_nonzero, evaluate_floor_divide
from fgrad.ops.staged import as_number
from fgrad.ops.structure import convert, real_p

__all__ = [
    "abs",
    "absolute",
    "add",
    "conj",
    "conjugate",
    "divide",
    "divide_no_nan",
    "floor_divide",
    "imag",
    "mod",
    "multiply",
    "multiply_no_nan",
    "negative",
    "positive",
    "real",
    "reciprocal",
    "remainder",
    "sign",
    "square",
    "subtract",
    "true_divide",
]


@stands_for(np.add)
def add(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 + x2, elementwise with broadcasting; the partial derivatives are 1 and 1.

    >>> import fgrad as fg
    >>> fg.add(fg.asarray([1.0, 2.0]), 3.0)
    Tensor([4., 5.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.add")
    return bind2(add_p, x1, x2)


@stands_for(np.subtract)
def subtract(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 - x2, elementwise with broadcasting; the partial derivatives are 1 and -1.

    >>> import fgrad as fg
    >>> fg.subtract(fg.asarray([1.0, 2.0]), 3.0)
    Tensor([-2., -1.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.subtract")
    return bind2(subtract_p, x1, x2)


@stands_for(np.multiply)
def multiply(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 * x2, elementwise with broadcasting; the partial derivatives are x2 and x1.

    In the derivative a zero makes a product zero: a zero cotangent, as in the branch of a `where` that is not taken,
    contributes nothing even if the other factor is infinite or NaN, and a zero factor passes nothing on of an infinite
    cotangent.

    >>> import fgrad as fg
    >>> fg.multiply(fg.asarray([1.0, 2.0]), 3.0)
    Tensor([3., 6.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.multiply")
    return bind2(multiply_p, x1, x2)


@stands_for(np.divide)
def divide(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 / x2, elementwise with broadcasting; integers give floats.

    The partial derivatives are 1 / x2 and -x1 / x2**2. Where the cotangent is zero, as in the branch of a `where` that
    is not taken, the contribution is zero even if x2 is zero or NaN.

    >>> import fgrad as fg
    >>> fg.divide(fg.asarray([1.0, 2.0]), 4.0)
    Tensor([0.25, 0.5 ], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.divide")
    return bind2(divide_p, x1, x2)


true_divide = divide


@stands_for(np.floor_divide)
def floor_divide(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The largest integer not above x1 / x2, elementwise; its derivative is zero wherever it exists.

    Where one of the two is infinite it is the limit, as the array API has it: inf // 2 is inf, and 1 // -inf is -0.
    There np.floor_divide of arrays gives NaN and -1.

    >>> import fgrad as fg
    >>> fg.floor_divide(fg.asarray([7.0, -7.0]), 2.0)
    Tensor([ 3., -4.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.floor_divide")
    return bind2(floor_divide_p, x1, x2)


@stands_for(np.remainder)
def remainder(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 - floor(x1 / x2) * x2, elementwise, of the sign of x2; the partials are 1 and -floor(x1 / x2).

    >>> import fgrad as fg
    >>> fg.remainder(fg.asarray([7.0, -7.0]), 3.0)
    Tensor([1., 2.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.remainder")
    return bind2(remainder_p, x1, x2)


mod = remainder


@stands_for(np.negative)
def negative(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """-x, elementwise; the derivative is -1.

    >>> import fgrad as fg
    >>> fg.negative(fg.asarray([1.0, -2.0]))
    Tensor([-1.,  2.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.negative")
    return bind1(negative_p, x)


@stands_for(np.positive)
def positive(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """+x, elementwise: a tensor of the same values.

    >>> import fgrad as fg
    >>> fg.positive(fg.asarray([1.0, -2.0]))
    Tensor([ 1., -2.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.positive")
    return bind1(positive_p, x)


@stands_for(np.square)
def square(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """x**2, elementwise; the derivative is 2 x.

    >>> import fgrad as fg
    >>> fg.square(fg.asarray([1.0, -3.0]))
    Tensor([1., 9.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.square")
    return bind1(square_p, x)


@stands_for(np.reciprocal)
def reciprocal(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """1 / x, elementwise; the derivative is -1 / x**2.

    >>> import fgrad as fg
    >>> fg.reciprocal(fg.asarray([2.0, -4.0]))
    Tensor([ 0.5 , -0.25], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.reciprocal")
    return bind1(reciprocal_p, x)


# Products and quotients for derivative rules: a factor that is zero makes the product zero, whatever the other one is.
# That keeps the branch of a `where` that was not taken from turning 0 * inf into NaN. And it makes the products of the
# chain rule the same from the left, as forward mode multiplies them, as from the right. A division by infinity is no
# such factor where the dividend is NaN: the gradient of a loss that is NaN would be zero.


_ndarray = np.ndarray
_multiply = np.multiply


def _has_no_zeros(x: Any) -> bool:
    """Whether no element is zero; for many elements the answer is no, since others are cheaper to find there."""
    if type(x) is _ndarray:
        return x.size <= COUNTING_LIMIT and count_nonzero(x) == x.size
    return bool(x)


def _memory_for(x: Any, y: Any) -> Any:
    """Where the result of two operands goes, if they are large arrays of one shape and dtype; NumPy finds it else."""
    if type(x) is not _ndarray or type(y) is not _ndarray or x.size < MANY_ELEMENTS:
        return None
    alike = x.shape == y.shape and x.dtype == y.dtype and x.dtype.kind in "fc"
    # NumPy gives a result the order of its operands in memory, and sums follow that order.
    ordered = all([array.flags.c_contiguous or not any(array.strides) for array in (x, y)])
    return empty_array(x.shape, x.dtype) if alike and ordered else None


def _evaluate_multiply_no_nan(x: Any, y: Any) -> Any:
    # Nothing can go wrong where neither has zeros. That is asked in line, because every rule multiplies.
    if type(x) is _ndarray and type(y) is _ndarray:
        count, other = x.size, y.size
        if count <= COUNTING_LIMIT >= other and count_nonzero(x) == count and count_nonzero(y) == other:
            return _multiply(x, y)
    elif _has_no_zeros(x) and _has_no_zeros(y):
        return _multiply(x, y)
    with np.errstate(invalid="ignore"):
        product = np.multiply(x, y, out=_memory_for(x, y))
    if all_finite(product):
        return product
    return np.where(np.equal(x, 0) | np.equal(y, 0), 0, product).astype(product.dtype, copy=False)


def _evaluate_divide_no_nan(x: Any, y: Any) -> Any:
    if _has_no_zeros(x) and all_finite(y):
        return np.divide(x, y)
    with np.errstate(all="ignore"):
        quotient = np.divide(x, y, out=_memory_for(x, y))
    if all_finite(quotient):
        return quotient
    # Once more, for the warnings that NumPy has for what remains.
    remaining = np.not_equal(x, 0) & np.logical_not(np.isinf(x) & np.isinf(y))
    return np.divide(x, y, out=np.zeros(np.shape(quotient), quotient.dtype), where=remaining)


divide_no_nan_p = elementwise(
    "divide_no_nan",
    np.divide,
    lambda g, out, x, y: divide_no_nan(g, y),
    lambda g, out, x, y: negative(divide_no_nan(multiply_no_nan(g, out), y)),
    evaluate=_evaluate_divide_no_nan,
)
multiply_no_nan_p = elementwise(
    "multiply_no_nan",
    np.multiply,
    lambda g, out, x, y: multiply_no_nan(g, y),
    lambda g, out, x, y: multiply_no_nan(g, x),
    evaluate=_evaluate_multiply_no_nan,
)


def divide_no_nan(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 / x2, elementwise, but 0 wherever x1 is 0, also when x2 is 0, infinite or NaN, and where both are infinite.

    Derivative rules divide in this way: what a zero cotangent or tangent meets does not matter. One that is NaN stays.

    >>> import fgrad as fg
    >>> fg.divide_no_nan(fg.asarray([0.0, 1.0]), fg.asarray([0.0, 4.0]))
    Tensor([0.  , 0.25], dtype=float64)
    """
    return bind2(divide_no_nan_p, x1, x2)


def multiply_no_nan(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 * x2, elementwise, but 0 wherever one of them is 0, also when the other one is infinite or NaN.

    Derivative rules multiply in this way: what a zero cotangent, tangent or partial derivative meets does not matter.

    >>> import fgrad as fg
    >>> fg.multiply_no_nan(fg.asarray([0.0, 2.0]), fg.asarray([float("inf"), 4.0]))
    Tensor([0., 8.], dtype=float64)
    """
    return bind2(multiply_no_nan_p, x1, x2)


def _accumulate(total: Any, term: Any) -> Any:
    """total + term, as cotangents and tangents are summed."""
    if type(total) is ConcreteTensor and total._array.size >= MANY_ELEMENTS and type(term) is ConcreteTensor:
        return adopt(np.add(total._array, term._array, out=_memory_for(total._array, term._array)))
    return bind2(add_p, total, term)


# Absolute value, sign and the parts of complex numbers.


def _abs_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    if dtype_of(x).kind == "c":
        return (multiply_no_nan(g, divide_no_nan(conj(x), out)),)
    return (multiply_no_nan(g, sign(x)),)


def _abs_jvp(tangents: Any, out: Any, x: Any) -> Any:
    (tangent,) = tangents
    if dtype_of(x).kind == "c":
        return real(multiply_no_nan(tangent, divide_no_nan(conj(x), out)))
    return multiply_no_nan(tangent, sign(x))


def _absolute_rule(x: ShapeDtype) -> ShapeDtype:
    return ShapeDtype(x.shape, np.empty(0, x.dtype).real.dtype)


def _imag_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    return (multiply(convert(g, dtype_of(x)), -1j),)


@stands_for(np.absolute)
def abs(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """|x|, elementwise; the derivative is sign(x), which is 0 at 0.

    Of a complex x it is the modulus, whose cotangent is g conj(x) / |x|, 0 at 0.

    >>> import fgrad as fg
    >>> fg.abs(fg.asarray([1.0, -2.0]))
    Tensor([1., 2.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.abs")
    return bind1(abs_p, x)


absolute = abs


@stands_for(np.sign)
def sign(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """-1, 0 or 1 as x is negative, zero or positive, elementwise; x / |x| of complex x.

    The derivative is zero for real x, and taken as zero at a complex 0.

    >>> import fgrad as fg
    >>> fg.sign(fg.asarray([1.5, 0.0, -2.0]))
    Tensor([ 1.,  0., -1.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.sign")
    if dtype_of(as_operand(x)).kind == "c":
        modulus = abs(x)
        zero = equal(modulus, 0)
        return where(zero, 0, divide_no_nan(x, where(zero, 1, modulus)))
    return bind1(sign_p, x)


@stands_for(np.real)
def real(x: ArrayLike, /) -> Tensor:
    """The real part; a real x as it is.

    >>> import fgrad as fg
    >>> fg.real(fg.asarray([1.0 + 2.0j]))
    Tensor([1.], dtype=float64)
    """
    return bind1(real_p, x)


@stands_for(np.imag)
def imag(x: ArrayLike, /) -> Tensor:
    """The imaginary part; zeros for a real x.

    >>> import fgrad as fg
    >>> fg.imag(fg.asarray([1.0 + 2.0j]))
    Tensor([2.], dtype=float64)
    """
    operand = as_operand(x)
    if dtype_of(operand).kind == "c":
        return bind1(imag_p, x)
    return adopt(np.zeros(shape_of(operand), dtype_of(operand)))  # no product with 0: x may be infinite


@stands_for(np.conjugate)
def conj(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The complex conjugate; its cotangent is conj(g).

    >>> import fgrad as fg
    >>> fg.conj(fg.asarray([1.0 + 2.0j]))
    Tensor([1.-2.j], dtype=complex128)
    """
    if out is not None:
        refuse_out("fg.conj")
    return bind1(conj_p, x)


conjugate = conj

add_p = elementwise("add", np.add, lambda g, out, x, y: g, lambda g, out, x, y: g, python=operator.add)
subtract_p = elementwise(
    "subtract", np.subtract, lambda g, out, x, y: g, lambda g, out, x, y: negative(g), python=operator.sub
)
multiply_p = elementwise(
    "multiply",
    np.multiply,
    lambda g, out, x, y: multiply_no_nan(g, y),
    lambda g, out, x, y: multiply_no_nan(g, x),
    python=operator.mul,
)
divide_p = elementwise(
    "divide",
    np.divide,
    lambda g, out, x, y: divide_no_nan(g, y),
    lambda g, out, x, y: negative(divide_no_nan(multiply_no_nan(g, out), y)),
    python=operator.truediv,
)
negative_p = elementwise("negative", np.negative, lambda g, out, x: negative(g), python=operator.neg)
positive_p = elementwise("positive", np.positive, lambda g, out, x: g, python=operator.pos)
square_p = elementwise("square", np.square, lambda g, out, x: multiply_no_nan(g, multiply(x, 2)))
reciprocal_p = elementwise(
    "reciprocal", np.reciprocal, lambda g, out, x: negative(divide_no_nan(divide_no_nan(g, x), x))
)
floor_divide_p = elementwise(
    "floor_divide",
    np.floor_divide,
    evaluate=evaluate_floor_divide,
    locally_constant=True,
    python=operator.floordiv,
)
remainder_p = elementwise(
    "remainder",
    np.remainder,
    lambda g, out, x, y: g,
    lambda g, out, x, y: negative(multiply_no_nan(g, floor_divide(x, y))),
    python=operator.mod,
)

abs_p: Primitive = register(
    Primitive(
        "abs",
        np.absolute,
        _absolute_rule,
        _abs_vjp,
        _abs_jvp,
        batch=batch_elementwise,
        python=Primitive(
            "abs",
            operator.abs,
            # abs(True) is 1
            lambda x: ShapeDtype((), np.dtype(int) if x.dtype.kind == "b" else _absolute_rule(x).dtype, weak=True),
            _abs_vjp,
            _abs_jvp,
            batch=lambda _, batched, x: bind1(abs_p, x),
            takes_numbers=True,
        ),
        takes_numbers=True,
    )
)
sign_p = elementwise("sign", np.sign, locally_constant=True)
imag_p = register(
    Primitive("imag", np.imag, _absolute_rule, _imag_vjp, linear=slice(1), batch=batch_elementwise, makes_views=True)
)
conj_p = register(
    Primitive(
        "conj",
        np.conjugate,
        ufunc_shape_rule(np.conjugate),
        lambda g, needed, out, x: (conj(g),),
        linear=slice(1),
        batch=batch_elementwise,
    )
)


def _make_method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method of numbers as of tensors, such as ``x.real``: the function, but of a Python number a Python number."""

    def method(x: Any) -> Any:
        return as_number(function(x)) if is_weak(x) else function(x)

    return method


operations.accumulate = _accumulate
operations.add = make_operator(add_p)
operations.subtract = make_operator(subtract_p)
operations.multiply = make_operator(multiply_p)
operations.divide = make_operator(divide_p)
operations.floor_divide = make_operator(floor_divide_p)
operations.remainder = make_operator(remainder_p)
operations.negative = make_unary_operator(negative_p)
operations.positive = make_unary_operator(positive_p)
operations.abs = make_unary_operator(abs_p)
operations.real = _make_method(real)
operations.imag = _make_method(imag)
operations.conj = _make_method(conj)
