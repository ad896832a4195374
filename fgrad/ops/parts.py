"""What an element is made of: sign, whole and fractional part, mantissa and exponent, and what kind of number it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgrad.core.bind import bind, bind1
from fgrad.core.errors import DtypeError, ShapeError, at_user_line, refuse_out
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor, to_tensor
from fgrad.ops.arguments import as_operand, dtype_of, is_inexact
from fgrad.ops.arithmetic import abs as absolute_value
from fgrad.ops.arithmetic import imag, multiply, multiply_no_nan, negative, real, sign
from fgrad.ops.creation import ones_like, zeros_like
from fgrad.ops.declare import batch_elementwise, elementwise, stands_for, untraced_by
from fgrad.ops.logic import equal, isnan, less, not_equal, trunc
from fgrad.ops.pairs import ldexp
from fgrad.ops.selection import where
from fgrad.ops.structure import fit_tangent, unbroadcast

__all__ = [
    "array_equiv",
    "bitwise_count",
    "fabs",
    "fix",
    "frexp",
    "iscomplex",
    "iscomplexobj",
    "isneginf",
    "isposinf",
    "isreal",
    "isrealobj",
    "modf",
    "nan_to_num",
    "real_if_close",
    "signbit",
    "spacing",
]

signbit_p = elementwise("signbit", np.signbit, locally_constant=True)
spacing_p = elementwise("spacing", np.spacing, locally_constant=True)
bitwise_count_p = elementwise("bitwise_count", np.bitwise_count, locally_constant=True)
fabs_p = elementwise("fabs", np.fabs, lambda g, out, x: multiply_no_nan(g, sign(x)))


@stands_for(np.signbit)
def signbit(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """Whether the sign bit is set, elementwise: for negative numbers and for -0.0.

    >>> import fgrad as fg
    >>> fg.signbit(fg.asarray([-1.0, -0.0, 0.0]))
    Tensor([ True,  True, False], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.signbit")
    return bind1(signbit_p, x)


@stands_for(np.spacing)
def spacing(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The distance to the next floating-point number away from 0, elementwise; its derivative is zero.

    >>> import fgrad as fg
    >>> fg.spacing(fg.asarray([1.0]))
    Tensor([2.22044605e-16], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.spacing")
    return bind1(spacing_p, x)


@stands_for(np.bitwise_count)
def bitwise_count(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """How many bits of |x| are set, elementwise, for integers.

    >>> import fgrad as fg
    >>> fg.bitwise_count(fg.asarray([7, -8]))
    Tensor([3, 1], dtype=uint8)
    """
    if out is not None:
        refuse_out("fg.bitwise_count")
    return bind1(bitwise_count_p, x)


@stands_for(np.fabs)
def fabs(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """|x| as a floating-point number, elementwise; the derivative is sign(x), which is 0 at 0.

    >>> import fgrad as fg
    >>> fg.fabs(fg.asarray([-1, 2]))
    Tensor([1., 2.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.fabs")
    return bind1(fabs_p, x)


@stands_for(np.fix)
def fix(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """x without its fraction, as `trunc`, elementwise; the derivative is zero wherever it exists.

    >>> import fgrad as fg
    >>> fg.fix(fg.asarray([1.5, -1.5]))
    Tensor([ 1., -1.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.fix")
    return trunc(x)


# Parts of a floating-point number.


def _ufunc_rule(ufunc: np.ufunc) -> Any:
    def rule(x: ShapeDtype) -> tuple[ShapeDtype, ...]:
        try:
            dtypes = ufunc.resolve_dtypes((x.dtype, None, None))[1:]
        except TypeError:
            message = f"there is no {ufunc.__name__} for dtype {x.dtype}"
            raise DtypeError(message) from None
        return tuple([ShapeDtype(x.shape, dtype) for dtype in dtypes])

    return rule


def _batch_parts(primitive: Primitive, batched: tuple[bool, ...], x: Any) -> tuple[Any, tuple[bool, bool]]:
    return bind(primitive, x), (True, True)


def _modf_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    # The whole part is constant wherever it is continuous.
    return (None if g[0] is None else unbroadcast(g[0], x),)


def _frexp_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    return (None if g[0] is None else unbroadcast(ldexp(g[0], negative(out[1])), x),)


modf_p = register(
    Primitive(
        "modf",
        np.modf,
        _ufunc_rule(np.modf),
        _modf_vjp,
        lambda tangents, out, x: (fit_tangent(tangents[0], out[0]), zeros_like(out[1])),
        batch=_batch_parts,
        multiple_results=True,
    )
)
frexp_p = register(
    Primitive(
        "frexp",
        np.frexp,
        _ufunc_rule(np.frexp),
        _frexp_vjp,
        lambda tangents, out, x: (fit_tangent(ldexp(tangents[0], negative(out[1])), out[0]), None),
        batch=_batch_parts,
        multiple_results=True,
    )
)


@stands_for(np.modf)
def modf(x: ArrayLike, /, *, out: None = None) -> tuple[Tensor, Tensor]:
    """The fraction and the whole part, elementwise, both of the sign of x.

    The derivatives are 1 and 0.

    >>> import fgrad as fg
    >>> fg.modf(fg.asarray([1.5, -2.25]))
    (Tensor([ 0.5 , -0.25], dtype=float64), Tensor([ 1., -2.], dtype=float64))
    """
    if out is not None:
        refuse_out("fg.modf")
    fraction, whole = bind(modf_p, x)
    return fraction, whole


@stands_for(np.frexp)
def frexp(x: ArrayLike, /, *, out: None = None) -> tuple[Tensor, Tensor]:
    """The mantissa m, with 0.5 <= |m| < 1, and the integer exponent e of x = m 2**e, elementwise.

    The derivative of the mantissa is 2**-e.

    >>> import fgrad as fg
    >>> fg.frexp(fg.asarray([8.0, -0.75]))
    (Tensor([ 0.5 , -0.75], dtype=float64), Tensor([4, 0], dtype=int32))
    """
    if out is not None:
        refuse_out("fg.frexp")
    mantissa, exponent = bind(frexp_p, x)
    return mantissa, exponent


# Kinds of numbers.


def _require_real(x: Any, operation: str) -> None:
    if dtype_of(x).kind == "c":
        message = f"[{operation}] complex numbers have no order; x has dtype {dtype_of(x)}"
        raise DtypeError(at_user_line(message))


@stands_for(np.isposinf)
def isposinf(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """Whether x is +inf, elementwise.

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.isposinf(fg.asarray([float("-inf"), float("inf")]))
    Tensor([False,  True], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.isposinf")
    _require_real(as_operand(x), "isposinf")
    return equal(x, np.inf)


@stands_for(np.isneginf)
def isneginf(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """Whether x is -inf, elementwise.

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.isneginf(fg.asarray([float("-inf"), float("inf")]))
    Tensor([ True, False], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.isneginf")
    _require_real(as_operand(x), "isneginf")
    return equal(x, -np.inf)


@stands_for(np.isreal)
@untraced_by(np.isreal)
def isreal(x: ArrayLike, /) -> Tensor:
    """Whether the imaginary part is zero, elementwise.

    >>> import fgrad as fg
    >>> fg.isreal(fg.asarray([1.0 + 0.0j, 1.0j]))
    Tensor([ True, False], dtype=bool)
    """
    operand = as_operand(x)
    return equal(imag(operand), 0) if iscomplexobj(operand) else ones_like(operand, dtype=bool)


@stands_for(np.iscomplex)
@untraced_by(np.iscomplex)
def iscomplex(x: ArrayLike, /) -> Tensor:
    """Whether the imaginary part is not zero, elementwise.

    >>> import fgrad as fg
    >>> fg.iscomplex(fg.asarray([1.0 + 0.0j, 1.0j]))
    Tensor([False,  True], dtype=bool)
    """
    operand = as_operand(x)
    return not_equal(imag(operand), 0) if iscomplexobj(operand) else zeros_like(operand, dtype=bool)


@stands_for(np.iscomplexobj)
def iscomplexobj(x: ArrayLike, /) -> bool:
    """Whether the dtype is complex; a Python bool.

    >>> import fgrad as fg
    >>> fg.iscomplexobj(fg.asarray([1.0j]))
    True
    """
    return dtype_of(as_operand(x)).kind == "c"


@stands_for(np.isrealobj)
def isrealobj(x: ArrayLike, /) -> bool:
    """Whether the dtype is not complex; a Python bool.

    >>> import fgrad as fg
    >>> fg.isrealobj(fg.asarray([1.0]))
    True
    """
    return not iscomplexobj(x)


@stands_for(np.array_equiv)
def array_equiv(a1: ArrayLike, a2: ArrayLike, /) -> bool:
    """Whether two arrays broadcast together and are equal then; a Python bool.

    >>> import fgrad as fg
    >>> fg.array_equiv(fg.asarray([1.0, 2.0]), [[1.0, 2.0], [1.0, 2.0]])
    True
    """
    try:
        same = equal(a1, a2)
    except ShapeError:
        return False
    return bool(operations.all(same))


@stands_for(np.real_if_close)
def real_if_close(a: ArrayLike, tol: float = 100) -> Tensor:
    """The real part where all imaginary parts are near 0, and otherwise `a` as it is.

    Near is less than `tol` times the spacing of numbers at 1, or, for a `tol` of at most 1, less than `tol`. The dtype
    depends on the values, so they have to be known: not under `vmap`, nor in a staged function.

    >>> import fgrad as fg
    >>> fg.real_if_close(fg.asarray([1.0 + 1e-16j]))
    Tensor([1.], dtype=float64)
    """
    operand = as_operand(a)
    if not iscomplexobj(operand):
        return to_tensor(operand)
    limit = float(np.finfo(dtype_of(operand)).eps) * tol if tol > 1 else tol
    near = bool(operations.all(less(absolute_value(imag(operand)), limit)))
    return real(operand) if near else to_tensor(operand)


@stands_for(np.nan_to_num)
@untraced_by(
    np.nan_to_num, unless=lambda x, *given, **named: bool(given)
)  # the second is `copy`, which lets NumPy write into x
def nan_to_num(
    x: ArrayLike,
    copy: bool = True,
    nan: ArrayLike = 0.0,
    posinf: ArrayLike | None = None,
    neginf: ArrayLike | None = None,
) -> Tensor:
    """x with other numbers in the places of NaN, +inf and -inf, elementwise, in both parts of a complex number.

    The defaults are 0 and the largest and the smallest finite number of the dtype. The derivative is 1 at finite
    elements and 0 elsewhere. A tensor is never changed, so `copy` has no effect.

    >>> import fgrad as fg
    >>> fg.nan_to_num(fg.asarray([1.0, float("nan"), float("inf")]), posinf=10.0)
    Tensor([ 1.,  0., 10.], dtype=float64)
    """
    operand = as_operand(x)
    dtype = dtype_of(operand)
    if not is_inexact(dtype):
        return to_tensor(operand)
    limits = np.finfo(dtype)
    high = limits.max.item() if posinf is None else posinf
    low = limits.min.item() if neginf is None else neginf
    if dtype.kind != "c":
        return _replaced(operand, nan, high, low)
    parts = [_replaced(part, nan, high, low) for part in (real(operand), imag(operand))]
    return bind(join_complex_p, *parts)


def _replaced(x: Any, nan: Any, high: Any, low: Any) -> Tensor:
    return where(isnan(x), nan, where(equal(x, np.inf), high, where(equal(x, -np.inf), low, x)))


def _join(x: Any, y: Any) -> np.ndarray[Any, Any]:
    out = np.empty(np.broadcast_shapes(np.shape(x), np.shape(y)), np.result_type(x, y, np.complex64))
    out.real, out.imag = x, y
    return out


# re + i im, without the product, which is NaN for an infinite imaginary part.
join_complex_p = register(
    Primitive(
        "join_complex",
        _join,
        lambda x, y: ShapeDtype(np.broadcast_shapes(x.shape, y.shape), np.result_type(x.dtype, y.dtype, np.complex64)),
        lambda g, needed, out, x, y: (
            unbroadcast(real(g), x) if needed[0] else None,
            unbroadcast(real(multiply(g, 1j)), y) if needed[1] else None,
        ),
        linear=slice(2),
        batch=batch_elementwise,
    )
)
