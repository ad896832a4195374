"""Discrete Fourier transforms over any axes, with exact adjoints."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, ShapeError, at_user_line, refuse_out
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive
from fgrad.core.shape import Shape, ShapeDtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, Tensor, to_tensor
from fgrad.ops.arguments import as_integer, as_operand, axis_index, dtype_of, shape_of
from fgrad.ops.arithmetic import conj, multiply
from fgrad.ops.declare import batch_over_axes, linear, stands_for
from fgrad.ops.padding import pad
from fgrad.ops.structure import unbroadcast

__all__ = [
    "fft",
    "fft2",
    "fftn",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ihfft",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftn",
    "transform_length",
]

# Three linear maps: the complex transform, the one of real input, whose second half is the conjugate of the first and
# left out, and the inverse of that. Params are the lengths that axes are cut or padded to first, the axes in the order
# of the lengths, and the normalization by its name.
#
# The matrix of the complex transform, w_jk = s exp(-2 pi i j k / n), is symmetric. The pairing Re sum(u v) has no
# conjugation, so the transform is its own adjoint, but for cutting and padding, which are each other's.
#
# The transform of real input is the same matrix with fewer rows. Its adjoint is x_j = s Re(sum_k g_k w_jk), which is
# the inverse transform of conj(g) without the factor 2 that the inverse has for all frequencies but 0 and n / 2. The
# adjoint of the inverse has that factor.


def _undispatched(function: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy's function without its dispatch on other classes of arrays, which the arrays here never need."""
    undispatched: Callable[..., Any] = getattr(function, "__wrapped__", function)
    return undispatched


_fft, _ifft = _undispatched(np.fft.fft), _undispatched(np.fft.ifft)
_fftn, _ifftn = _undispatched(np.fft.fftn), _undispatched(np.fft.ifftn)
_rfft, _rfftn = _undispatched(np.fft.rfft), _undispatched(np.fft.rfftn)
_irfft, _irfftn = _undispatched(np.fft.irfft), _undispatched(np.fft.irfftn)

_NORMS = {None: "backward", "backward": "backward", "ortho": "ortho", "forward": "forward"}
# The normalization by which the inverse has the factor that the transform has by this one.
_SWAPPED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _changed(shape: Shape, axes: tuple[int, ...], lengths: tuple[int, ...]) -> Shape:
    out = list(shape)
    for axis, length in zip(axes, lengths, strict=True):
        out[axis] = length
    return tuple(out)


def _cut_or_pad(g: Any, shape: Shape) -> Any:
    """The entries with the smallest indices along each axis, zeros where there are none."""
    kept = [slice(0, length) for length in shape]
    if any(one > length for one, length in zip(g.shape, shape, strict=True)):
        g = operations.getitem(g, tuple(kept))
    missing = [(0, length - one) for one, length in zip(g.shape, shape, strict=True)]
    return pad(g, missing) if any(after for _, after in missing) else g


def _to_operand(g: Any, x: Any) -> Any:
    """A cotangent of the transform's input as one of x, whose axes may be longer or shorter, and which may be real."""
    shape = shape_of(x)
    return unbroadcast(g if g.shape == shape else _cut_or_pad(g, shape), x)


def _complex_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.result_type(dtype, 1j)


def _real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.result_type(np.empty(0, dtype).real.dtype, 1.0)


# The complex transform.


def _evaluate_transform(x: Any, lengths: tuple[int, ...], axes: tuple[int, ...], inverse: bool, norm: str) -> Any:
    if len(axes) == 1:
        return (_ifft if inverse else _fft)(x, lengths[0], axes[0], norm)
    return (_ifftn if inverse else _fftn)(x, lengths, axes, norm)


def _transform_rule(
    x: ShapeDtype, lengths: tuple[int, ...], axes: tuple[int, ...], inverse: bool, norm: str
) -> ShapeDtype:
    return ShapeDtype(_changed(x.shape, axes, lengths), _complex_dtype(x.dtype))


def _transform_adjoint(
    g: Any, x: Any, lengths: tuple[int, ...], axes: tuple[int, ...], inverse: bool, norm: str
) -> Any:
    return _to_operand(bind(fourier_p, g, lengths=lengths, axes=axes, inverse=inverse, norm=norm), x)


fourier_p: Primitive = linear("fft", _evaluate_transform, _transform_rule, _transform_adjoint, batch=batch_over_axes)


# The transform of real input, and its inverse; the last of the axes is that of which half is left out.


def _evaluate_real(x: Any, lengths: tuple[int, ...], axes: tuple[int, ...], norm: str) -> Any:
    if len(axes) == 1:
        return _rfft(x, lengths[0], axes[0], norm)
    return _rfftn(x, lengths, axes, norm)


def _half(lengths: tuple[int, ...]) -> tuple[int, ...]:
    return (*lengths[:-1], lengths[-1] // 2 + 1)


def _real_rule(x: ShapeDtype, lengths: tuple[int, ...], axes: tuple[int, ...], norm: str) -> ShapeDtype:
    if x.dtype.kind == "c":
        message = "the transform of real input takes no complex numbers; fft, fft2 and fftn do"
        raise DtypeError(message)
    return ShapeDtype(_changed(x.shape, axes, _half(lengths)), _complex_dtype(x.dtype))


def _scale_inner(spectrum: Any, length: int, axis: int, factor: float) -> Any:
    """Half a spectrum with all frequencies but 0 and length / 2 scaled: each of those stands for two."""
    count = length // 2 + 1
    weights = np.full(count, factor, np.empty(0, spectrum.dtype).real.dtype)
    weights[0] = 1
    if length % 2 == 0:
        weights[-1] = 1
    return multiply(spectrum, weights.reshape(count, *[1] * (len(spectrum.shape) - axis - 1)))


def _real_adjoint(g: Any, x: Any, lengths: tuple[int, ...], axes: tuple[int, ...], norm: str) -> Any:
    spectrum = _scale_inner(conj(g), lengths[-1], axes[-1], 0.5)
    return _to_operand(bind(inverse_real_fourier_p, spectrum, lengths=lengths, axes=axes, norm=_SWAPPED[norm]), x)


real_fourier_p: Primitive = linear("rfft", _evaluate_real, _real_rule, _real_adjoint, batch=batch_over_axes)


def _evaluate_inverse_real(x: Any, lengths: tuple[int, ...], axes: tuple[int, ...], norm: str) -> Any:
    if len(axes) == 1:
        return _irfft(x, lengths[0], axes[0], norm)
    return _irfftn(x, lengths, axes, norm)


def _inverse_real_rule(x: ShapeDtype, lengths: tuple[int, ...], axes: tuple[int, ...], norm: str) -> ShapeDtype:
    # Along other axes it is complex first; half precision, which has no complex numbers, becomes single there.
    dtype = x.dtype if len(axes) == 1 else _complex_dtype(x.dtype)
    return ShapeDtype(_changed(x.shape, axes, lengths), _real_dtype(dtype))


def _inverse_real_adjoint(g: Any, x: Any, lengths: tuple[int, ...], axes: tuple[int, ...], norm: str) -> Any:
    spectrum = conj(bind(real_fourier_p, g, lengths=lengths, axes=axes, norm=_SWAPPED[norm]))
    return _to_operand(_scale_inner(spectrum, lengths[-1], axes[-1], 2.0), x)


inverse_real_fourier_p: Primitive = linear(
    "irfft", _evaluate_inverse_real, _inverse_real_rule, _inverse_real_adjoint, batch=batch_over_axes
)


# Arguments.


def _norm_name(norm: Any, operation: str) -> str:
    try:
        return _NORMS[norm]
    except (KeyError, TypeError):
        message = f"[{operation}] norm is 'backward', 'ortho' or 'forward', not {norm!r}"
        raise ShapeError(at_user_line(message)) from None


def transform_length(n: Any, operation: str) -> int:
    """The number of points of a transform, at least 1.

    Raises:
        ShapeError: when it is less.
    """
    length = as_integer(n, operation, "the number of points is an integer")
    if length < 1:
        message = f"[{operation}] the transform has at least one point, and not {length}; a longer n pads with zeros"
        raise ShapeError(at_user_line(message))
    return length


def _along_axis(
    primitive: Primitive, operation: str, a: Any, n: Any, axis: Any, norm: str, extra: dict[str, Any]
) -> Any:
    """A transform along one axis."""
    shape = shape_of(a)
    place = axis_index(axis, len(shape), operation)
    if n is None:
        n = 2 * (shape[place] - 1) if primitive is inverse_real_fourier_p else shape[place]
    return bind(primitive, a, lengths=(transform_length(n, operation),), axes=(place,), norm=norm, **extra)


_FORWARD: dict[str, Any] = {"inverse": False}
_INVERSE: dict[str, Any] = {"inverse": True}
_NEITHER: dict[str, Any] = {}


def _listed_lengths(shape: Shape, s: Any, axes: Any, operation: str) -> tuple[list[Any], list[int]]:
    """The lengths as they are given, or as many None, and the axes that they belong to."""
    rank = len(shape)
    if axes is None:
        if s is not None:
            message = "`s` without `axes` is deprecated in NumPy 2.0; say axes=range(-len(s), 0)"
            warnings.warn(message, DeprecationWarning, stacklevel=4)
        axes = range(rank) if s is None else range(-len(s), 0)
    places = [axis_index(axis, rank, operation) for axis in (axes if isinstance(axes, Iterable) else (axes,))]
    given = [None] * len(places) if s is None else list(s)
    if len(given) != len(places):
        message = f"[{operation}] s gives {len(given)} lengths for the {len(places)} axes {tuple(places)}"
        raise ShapeError(at_user_line(message))
    if s is not None and None in given:
        message = "None among the lengths `s` is deprecated in NumPy 2.0; -1 takes the whole axis"
        warnings.warn(message, DeprecationWarning, stacklevel=4)
    return given, places


def _over_axes(
    primitive: Primitive, operation: str, a: Any, s: Any, axes: Any, norm: str, extra: dict[str, Any]
) -> Any:
    """A transform over several axes."""
    shape = shape_of(a)
    if s is None and axes is None and primitive is not inverse_real_fourier_p and shape and 0 not in shape:
        return bind(primitive, a, lengths=shape, axes=tuple(range(len(shape))), norm=norm, **extra)
    given, places = _listed_lengths(shape, s, axes, operation)
    if not places:
        if primitive is fourier_p:
            return to_tensor(a)  # as NumPy has it, without a change of dtype
        message = f"[{operation}] on {shape_dtype_of(a)}: a transform of real input needs at least one axis"
        raise ShapeError(at_user_line(message))
    lengths = [shape[place] if n is None or n == -1 else n for n, place in zip(given, places, strict=True)]
    if given[-1] is None and primitive is inverse_real_fourier_p:
        lengths[-1] = 2 * (shape[places[-1]] - 1)
    lengths = [transform_length(n, operation) for n in lengths]
    if len(set(places)) < len(places):
        return _one_by_one(primitive, a, lengths, places, norm, extra)
    return bind(primitive, a, lengths=tuple(lengths), axes=tuple(places), norm=norm, **extra)


def _one_by_one(
    primitive: Primitive, a: Any, lengths: list[int], places: list[int], norm: str, extra: dict[str, Any]
) -> Any:
    """A transform that names an axis twice, in NumPy's order: that of real input first, its inverse last."""
    pairs = list(zip(lengths, places, strict=True))
    complex_extra = {"inverse": primitive is inverse_real_fourier_p} | extra
    if primitive is inverse_real_fourier_p:
        steps = [(fourier_p, *pair, complex_extra) for pair in pairs[:-1]] + [(primitive, *pairs[-1], extra)]
    elif primitive is real_fourier_p:
        steps = [(primitive, *pairs[-1], extra)] + [(fourier_p, *pair, complex_extra) for pair in reversed(pairs[:-1])]
    else:
        steps = [(primitive, *pair, extra) for pair in reversed(pairs)]
    for step, length, place, options in steps:
        a = bind(step, a, lengths=(length,), axes=(place,), norm=norm, **options)
    return a


# Transforms along one axis.


@stands_for(np.fft.fft)
def fft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None, *, out: None = None) -> Tensor:
    """The discrete Fourier transform along an axis: y_k = s sum_j a_j exp(-2 pi i j k / n), with s = 1.

    `n` cuts the axis or pads it with zeros first. The factor s is 1 / n for the norm "forward" and 1 / sqrt(n) for
    "ortho"; the inverse has what is missing from 1 / n. float32 gives complex64. Linear; the cotangent is the transform
    of the cotangent, and the real part of it for a real a.

    Raises:
        ShapeError: fewer than one point, an axis out of range, or another norm.

    >>> import fgrad as fg
    >>> fg.fft.fft(fg.asarray([1.0, 2.0, 3.0, 4.0]))
    Tensor([10.+0.j, -2.+2.j, -2.+0.j, -2.-2.j], dtype=complex128)
    """
    if out is not None:
        refuse_out("fg.fft.fft")
    operand = as_operand(a)
    return _along_axis(fourier_p, "fft", operand, n, axis, _norm_name(norm, "fft"), _FORWARD)


@stands_for(np.fft.ifft)
def ifft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None, *, out: None = None) -> Tensor:
    """The inverse of `fft`: a_j = s sum_k y_k exp(2 pi i j k / n), with s = 1 / n.

    The factor s is 1 for the norm "forward" and 1 / sqrt(n) for "ortho". The rest is as in `fft`.

    Raises:
        ShapeError: fewer than one point, an axis out of range, or another norm.

    >>> import fgrad as fg
    >>> fg.fft.ifft(fg.asarray([4.0, 0.0, 0.0, 0.0]))
    Tensor([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j], dtype=complex128)
    """
    if out is not None:
        refuse_out("fg.fft.ifft")
    operand = as_operand(a)
    return _along_axis(fourier_p, "ifft", operand, n, axis, _norm_name(norm, "ifft"), _INVERSE)


@stands_for(np.fft.rfft)
def rfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None, *, out: None = None) -> Tensor:
    """The first n // 2 + 1 entries of the Fourier transform of real numbers; the others are conjugates of those.

    Arguments and norms are those of `fft`. The cotangent of a_j is s Re(sum_k g_k exp(-2 pi i j k / n)).

    Raises:
        ShapeError: fewer than one point, an axis out of range, or another norm.
        DtypeError: the input is complex.

    >>> import fgrad as fg
    >>> fg.fft.rfft(fg.asarray([1.0, 2.0, 3.0, 4.0]))
    Tensor([10.+0.j, -2.+2.j, -2.+0.j], dtype=complex128)
    """
    if out is not None:
        refuse_out("fg.fft.rfft")
    operand = as_operand(a)
    return _along_axis(real_fourier_p, "rfft", operand, n, axis, _norm_name(norm, "rfft"), _NEITHER)


@stands_for(np.fft.irfft)
def irfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None, *, out: None = None) -> Tensor:
    """The inverse of `rfft`: n real numbers, out of the first n // 2 + 1 entries of their transform.

    `n` is 2 (m - 1) of m entries by default, so an odd number of points must be said. Imaginary parts for the
    frequencies 0 and n / 2, which no real numbers have, are ignored. In the cotangent every other frequency has the
    factor 2, since it stands for its conjugate as well.

    Raises:
        ShapeError: fewer than one point, an axis out of range, or another norm.

    >>> import fgrad as fg
    >>> fg.fft.irfft(fg.asarray([10.0, -2.0 + 2.0j, -2.0]))
    Tensor([1., 2., 3., 4.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.fft.irfft")
    operand = as_operand(a)
    return _along_axis(inverse_real_fourier_p, "irfft", operand, n, axis, _norm_name(norm, "irfft"), _NEITHER)


@stands_for(np.fft.hfft)
def hfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None, *, out: None = None) -> Tensor:
    """The n real numbers that are the transform of a signal with a_(-j) = conj(a_j), out of a_0, ..., a_(n // 2).

    It is `irfft` of conj(a) without the factor 1 / n: the norms are those of `fft`. `n` is 2 (m - 1) by default.

    Raises:
        ShapeError: fewer than one point, an axis out of range, or another norm.

    >>> import fgrad as fg
    >>> fg.fft.hfft(fg.asarray([1.0, 2.0, 3.0]))
    Tensor([ 8., -2.,  0., -2.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.fft.hfft")
    operand = as_operand(a)
    operand = conj(operand) if dtype_of(operand).kind == "c" else operand
    return _along_axis(inverse_real_fourier_p, "hfft", operand, n, axis, _SWAPPED[_norm_name(norm, "hfft")], _NEITHER)


@stands_for(np.fft.ihfft)
def ihfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None, *, out: None = None) -> Tensor:
    """The inverse of `hfft`: the first n // 2 + 1 entries of a signal whose transform is the real a.

    It is the conjugate of `rfft`, with the factor 1 / n: the norms are those of `ifft`.

    Raises:
        ShapeError: fewer than one point, an axis out of range, or another norm.
        DtypeError: the input is complex.

    >>> import fgrad as fg
    >>> fg.fft.ihfft(fg.asarray([8.0, -2.0, 0.0, -2.0]))
    Tensor([1.-0.j, 2.-0.j, 3.-0.j], dtype=complex128)
    """
    if out is not None:
        refuse_out("fg.fft.ihfft")
    operand = as_operand(a)
    return conj(_along_axis(real_fourier_p, "ihfft", operand, n, axis, _SWAPPED[_norm_name(norm, "ihfft")], _NEITHER))


# Transforms along several axes.


@stands_for(np.fft.fftn)
def fftn(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
    *,
    out: None = None,
) -> Tensor:
    """The Fourier transforms along several axes, all of them by default, one after the other: see `fft`.

    `s` are the lengths that the axes are cut or padded to first, -1 for a whole axis. The norms are those of `fft`; an
    axis that is named twice is transformed twice.

    Raises:
        ShapeError: fewer than one point, an axis out of range, lengths and axes that differ in number, or another norm.

    >>> import fgrad as fg
    >>> fg.fft.fftn(fg.asarray([[1.0, 1.0], [1.0, 1.0]]))
    Tensor([[4.+0.j, 0.+0.j],
            [0.+0.j, 0.+0.j]], dtype=complex128)
    """
    if out is not None:
        refuse_out("fg.fft.fftn")
    operand = as_operand(a)
    return _over_axes(fourier_p, "fftn", operand, s, axes, _norm_name(norm, "fftn"), _FORWARD)


@stands_for(np.fft.fft2)
def fft2(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = (-2, -1),
    norm: str | None = None,
    *,
    out: None = None,
) -> Tensor:
    """The two-dimensional Fourier transform, along the last two axes by default: `fftn` with other defaults.

    `s` are the lengths that the axes are cut or padded to first, -1 for a whole axis. The norms are those of `fft`; an
    axis that is named twice is transformed twice.

    Raises:
        ShapeError: fewer than one point, an axis out of range, lengths and axes that differ in number, or another norm.

    >>> import fgrad as fg
    >>> fg.fft.fft2(fg.asarray([[1.0, 1.0], [1.0, 1.0]]))
    Tensor([[4.+0.j, 0.+0.j],
            [0.+0.j, 0.+0.j]], dtype=complex128)
    """
    if out is not None:
        refuse_out("fg.fft.fft2")
    operand = as_operand(a)
    return _over_axes(fourier_p, "fft2", operand, s, axes, _norm_name(norm, "fft2"), _FORWARD)


@stands_for(np.fft.ifftn)
def ifftn(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
    *,
    out: None = None,
) -> Tensor:
    """The inverse of `fftn`: inverse Fourier transforms along several axes, all of them by default.

    `s` are the lengths that the axes are cut or padded to first, -1 for a whole axis. The norms are those of `fft`; an
    axis that is named twice is transformed twice.

    Raises:
        ShapeError: fewer than one point, an axis out of range, lengths and axes that differ in number, or another norm.

    >>> import fgrad as fg
    >>> fg.fft.ifftn(fg.asarray([[4.0, 0.0], [0.0, 0.0]]))
    Tensor([[1.+0.j, 1.+0.j],
            [1.+0.j, 1.+0.j]], dtype=complex128)
    """
    if out is not None:
        refuse_out("fg.fft.ifftn")
    operand = as_operand(a)
    return _over_axes(fourier_p, "ifftn", operand, s, axes, _norm_name(norm, "ifftn"), _INVERSE)


@stands_for(np.fft.ifft2)
def ifft2(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = (-2, -1),
    norm: str | None = None,
    *,
    out: None = None,
) -> Tensor:
    """The inverse of `fft2`, along the last two axes by default: `ifftn` with other defaults.

    `s` are the lengths that the axes are cut or padded to first, -1 for a whole axis. The norms are those of `fft`; an
    axis that is named twice is transformed twice.

    Raises:
        ShapeError: fewer than one point, an axis out of range, lengths and axes that differ in number, or another norm.

    >>> import fgrad as fg
    >>> fg.fft.ifft2(fg.asarray([[4.0, 0.0], [0.0, 0.0]]))
    Tensor([[1.+0.j, 1.+0.j],
            [1.+0.j, 1.+0.j]], dtype=complex128)
    """
    if out is not None:
        refuse_out("fg.fft.ifft2")
    operand = as_operand(a)
    return _over_axes(fourier_p, "ifft2", operand, s, axes, _norm_name(norm, "ifft2"), _INVERSE)


@stands_for(np.fft.rfftn)
def rfftn(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
    *,
    out: None = None,
) -> Tensor:
    """The Fourier transform of real numbers along several axes, of which the last has n // 2 + 1 entries: see `rfft`.

    `s` are the lengths that the axes are cut or padded to first, -1 for a whole axis. The norms are those of `fft`; an
    axis that is named twice is transformed twice.

    Raises:
        ShapeError: fewer than one point, an axis out of range, lengths and axes that differ in number, or another norm.
        DtypeError: the input is complex.

    >>> import fgrad as fg
    >>> fg.fft.rfftn(fg.ones((4, 5))).shape
    (4, 3)
    """
    if out is not None:
        refuse_out("fg.fft.rfftn")
    operand = as_operand(a)
    return _over_axes(real_fourier_p, "rfftn", operand, s, axes, _norm_name(norm, "rfftn"), _NEITHER)


@stands_for(np.fft.rfft2)
def rfft2(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = (-2, -1),
    norm: str | None = None,
    *,
    out: None = None,
) -> Tensor:
    """The two-dimensional transform of real numbers, along the last two axes by default: see `rfftn`.

    `s` are the lengths that the axes are cut or padded to first, -1 for a whole axis. The norms are those of `fft`; an
    axis that is named twice is transformed twice.

    Raises:
        ShapeError: fewer than one point, an axis out of range, lengths and axes that differ in number, or another norm.
        DtypeError: the input is complex.

    >>> import fgrad as fg
    >>> fg.fft.rfft2(fg.ones((4, 5))).shape
    (4, 3)
    """
    if out is not None:
        refuse_out("fg.fft.rfft2")
    operand = as_operand(a)
    return _over_axes(real_fourier_p, "rfft2", operand, s, axes, _norm_name(norm, "rfft2"), _NEITHER)


@stands_for(np.fft.irfftn)
def irfftn(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
    *,
    out: None = None,
) -> Tensor:
    """The inverse of `rfftn`: real numbers, out of half of their transform along several axes.

    `s` are the lengths of the result along the axes, -1 for a whole axis; the last is 2 (m - 1) of m entries when `s`
    is not given. The norms are those of `ifft`.

    Raises:
        ShapeError: fewer than one point, an axis out of range, lengths and axes that differ in number, or another norm.

    >>> import fgrad as fg
    >>> fg.fft.irfftn(fg.fft.rfft2(fg.ones((4, 5))), s=(4, 5), axes=(0, 1)).shape
    (4, 5)
    """
    if out is not None:
        refuse_out("fg.fft.irfftn")
    operand = as_operand(a)
    return _over_axes(inverse_real_fourier_p, "irfftn", operand, s, axes, _norm_name(norm, "irfftn"), _NEITHER)


@stands_for(np.fft.irfft2)
def irfft2(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = (-2, -1),
    norm: str | None = None,
    *,
    out: None = None,
) -> Tensor:
    """The inverse of `rfft2`, along the last two axes by default: see `irfftn`.

    `s` are the lengths of the result along the axes, -1 for a whole axis; the last is 2 (m - 1) of m entries when `s`
    is not given. The norms are those of `ifft`.

    Raises:
        ShapeError: fewer than one point, an axis out of range, lengths and axes that differ in number, or another norm.

    >>> import fgrad as fg
    >>> fg.fft.irfft2(fg.fft.rfft2(fg.ones((4, 5))), s=(4, 5), axes=(0, 1)).shape
    (4, 5)
    """
    if out is not None:
        refuse_out("fg.fft.irfft2")
    operand = as_operand(a)
    return _over_axes(inverse_real_fourier_p, "irfft2", operand, s, axes, _norm_name(norm, "irfft2"), _NEITHER)
