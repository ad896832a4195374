"""Pieces: selection among arrays and functions piece by piece, and functions of what lies along an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import Tracer, bind
from fgrad.core.errors import DtypeError, ShapeError, at_user_line, refuse_out
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt, to_tensor
from fgrad.ops.arguments import as_operand, axis_index, axis_tuple, dtype_of, number_of_dtype, shape_of
from fgrad.ops.arithmetic import remainder
from fgrad.ops.assembling import known_value
from fgrad.ops.declare import batch_elementwise, stands_for
from fgrad.ops.indexing import getitem
from fgrad.ops.joining import stack
from fgrad.ops.logic import equal, logical_not, logical_or, not_equal
from fgrad.ops.selection import maximum, minimum, select_p, where
from fgrad.ops.shaping import expand_dims, moveaxis
from fgrad.ops.structure import convert, reshape_to, unbroadcast

__all__ = ["apply_along_axis", "apply_over_axes", "choose", "piecewise", "select", "trim_zeros"]

_ALL = slice(None)


# Selecting piece by piece.


@stands_for(np.select)
def select(condlist: Sequence[ArrayLike], choicelist: Sequence[ArrayLike], default: ArrayLike = 0) -> Tensor:
    """For each place the choice of the first condition that is true there, or the default; with broadcasting.

    The cotangent goes to what was selected, and zero to the rest (see `where`).

    Raises:
        ShapeError: there are not as many conditions as choices, or none.
        DtypeError: a condition is not boolean.

    >>> import fgrad as fg
    >>> x = fg.asarray([-1.0, 0.5, 3.0])
    >>> fg.select([x < 0, x > 1], [-x, x**2])
    Tensor([1., 0., 9.], dtype=float64)
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        message = f"[select] needs as many conditions as choices, not {len(condlist)} and {len(choicelist)}, and not 0"
        raise ShapeError(at_user_line(message))
    conditions = [as_operand(one) for one in condlist]
    for place, one in enumerate(conditions):
        if dtype_of(one).kind != "b":
            message = f"[select] condition {place} is of {dtype_of(one)}, and must be boolean"
            raise DtypeError(at_user_line(message))
    choices = [one if type(one) in PYTHON_NUMBERS else as_operand(one) for one in (*choicelist, default)]
    dtype = result_dtype(*[shape_dtype_of(one) for one in choices])
    result: Any = choices.pop()
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        result = bind(select_p, condition, choice, result)
    return result if result.dtype == dtype else convert(result, dtype)


def _conditions(x: Any, condlist: Any) -> list[Any]:
    """One boolean operand for each condition, as NumPy reads its `condlist`."""
    if not isinstance(condlist, list | tuple):
        condlist = as_operand(condlist)
        single = len(shape_of(condlist)) == len(shape_of(x))
        condlist = [condlist] if single else [condlist[place] for place in range(shape_of(condlist)[0])]
    elif not isinstance(condlist[0], list | np.ndarray | Tensor) and shape_of(x):
        condlist = [condlist]
    operands = [as_operand(one) for one in condlist]
    return [one if dtype_of(one).kind == "b" else not_equal(one, 0) for one in operands]


@stands_for(np.piecewise)
def piecewise(x: ArrayLike, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Tensor:
    """A function given piece by piece: at each place what the function of the last true condition says of x there.

    The functions must be elementwise: where the conditions are known each is called with the elements of its piece
    alone, as in NumPy; inside a graph or vmap it is called with all of x, and what it says elsewhere is discarded, with
    its derivative. The result has the dtype of x.

    Args:
        x: the points.
        condlist: boolean arrays of the shape of x.
        funclist: as many functions or numbers, or one more, for where no condition is true (0 by default).
        args: further arguments of the functions.
        kw: further keyword arguments of the functions.

    Raises:
        ShapeError: there are not as many functions as conditions, or one more.
        DtypeError, OverflowError: a Python number does not fit into the dtype of x, which the result has.

    >>> import fgrad as fg
    >>> x = fg.asarray([-2.0, 4.0])
    >>> fg.piecewise(x, [x < 0, x >= 0], [lambda x: -x, fg.sqrt])
    Tensor([2., 2.], dtype=float64)
    """
    points = to_tensor(x)
    conditions = _conditions(points, condlist)
    count = len(conditions)
    if len(funclist) == count + 1:
        none: Any = logical_not(conditions[0])
        for one in conditions[1:]:
            none = logical_not(logical_or(logical_not(none), one))
        conditions = [*conditions, none]
    elif len(funclist) != count:
        message = f"[piecewise] {count} conditions need {count} functions or {count + 1}, not {len(funclist)}"
        raise ShapeError(at_user_line(message))
    known = not any(isinstance(one, Tracer) for one in conditions) and bool(points.shape)
    if known:
        return _known_pieces(points, conditions, funclist, args, kw)
    result: Any = to_tensor(np.zeros(points.shape, points.dtype))
    for condition, piece in zip(conditions, funclist, strict=True):
        if not callable(piece):
            value: Any = number_of_dtype(piece, points.dtype, "piecewise")
            result = where(condition, convert(value, points.dtype), result)
        else:
            value = number_of_dtype(piece(points, *args, **kw), points.dtype, "piecewise")
            result = where(condition, convert(value, points.dtype), result)
    return result


def _known_pieces(points: Tensor, conditions: list[Any], funclist: Sequence[Any], args: Any, kw: Any) -> Tensor:
    """The pieces put together where each lies."""
    masks = [one._array if type(one) is ConcreteTensor else np.asarray(one) for one in conditions]
    present = [(mask, piece) for mask, piece in zip(masks, funclist, strict=True) if mask.any()]

    def select(mask: Any) -> Tensor:
        return adopt(points._array[mask]) if type(points) is ConcreteTensor else points[mask]

    found = [piece(select(mask), *args, **kw) if callable(piece) else piece for mask, piece in present]
    values = [to_tensor(number_of_dtype(value, points.dtype, "piecewise")) for value in found]
    out = np.zeros(points.shape, points.dtype)
    known = [value._array for value in values if type(value) is ConcreteTensor]
    if len(known) == len(values):
        for (mask, _), array in zip(present, known, strict=True):
            out[mask] = array
        return adopt(out)
    result: Any = adopt(out)
    for (mask, _), value in zip(present, values, strict=True):
        result = result.at[mask].set(convert(value, points.dtype))
    return result


def _choose_rule(places: ShapeDtype, *choices: ShapeDtype) -> ShapeDtype:
    shape = np.broadcast_shapes(places.shape, *[one.shape for one in choices])
    return ShapeDtype(shape, np.result_type(*[one.dtype for one in choices]))


def _choose_vjp(g: Any, needed: Any, out: Any, places: Any, *choices: Any) -> tuple[Any, ...]:
    return (
        None,
        *[
            unbroadcast(bind(select_p, equal(places, number), g, 0), choice) if wanted else None
            for number, (choice, wanted) in enumerate(zip(choices, needed[1:], strict=True))
        ],
    )


choose_p = register(
    Primitive(
        "choose",
        lambda places, *choices: np.choose(places, choices),
        _choose_rule,
        _choose_vjp,
        linear=slice(1, None),
        batch=batch_elementwise,
    )
)


@stands_for(np.choose)
def choose(a: ArrayLike, choices: Sequence[ArrayLike] | Tensor, *, mode: str = "raise", out: None = None) -> Tensor:
    """For each place the entry there of the choice that the integer in `a` numbers; with broadcasting.

    Args:
        a: integers from 0 to n - 1.
        choices: n arrays.
        mode: what to do with other integers: "raise", "wrap" around, or "clip" to the ends.

    Raises:
        DtypeError: `a` is not of integers.
        ShapeError: an integer is out of range in the mode "raise", `mode` is none of these, or there is no choice.

    >>> import fgrad as fg
    >>> fg.choose([1, 0], [fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0])])
    Tensor([3., 2.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.choose")
    places: Any = as_operand(a)
    operands = [one if type(one) in PYTHON_NUMBERS else as_operand(one) for one in choices]
    if dtype_of(places).kind not in "biu":
        message = f"[choose] chooses by integers, not by {dtype_of(places)}"
        raise DtypeError(at_user_line(message))
    if not operands or mode not in ("raise", "wrap", "clip"):
        message = f"[choose] needs a choice, and the mode 'raise', 'wrap' or 'clip', not {mode!r}"
        raise ShapeError(at_user_line(message))
    if mode == "wrap":
        places = remainder(places, len(operands))
    elif mode == "clip":
        places = minimum(maximum(places, 0), len(operands) - 1)
    if not any([type(one) in PYTHON_NUMBERS for one in operands]):
        return bind(choose_p, places, *operands)
    # A Python number takes part in the promotion as one, and does not widen the others.
    dtype = result_dtype(*[shape_dtype_of(one) for one in operands])
    found = [as_operand(one) for one in operands]
    return bind(choose_p, places, *[one if one.dtype == dtype else convert(one, dtype) for one in found])


# Functions along axes.


@stands_for(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: ArrayLike, *args: Any, **kwargs: Any) -> Tensor:
    """The function of each vector along an axis, in whose place stand the axes of what it returns.

    It is called once for each vector, in Python; `fgrad.vmap` calls it once for all.

    Args:
        func1d: a function of a vector.
        axis: the axis along which the vectors lie.
        arr: the array.
        args: further arguments of the function.
        kwargs: further keyword arguments of the function.

    Raises:
        ShapeError: the axis is out of range, or there is no vector.

    >>> import fgrad as fg
    >>> fg.apply_along_axis(fg.sum, 0, fg.asarray([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([4., 6.], dtype=float64)
    """
    operand = as_operand(arr)
    rank = len(shape_of(operand))
    place = axis_index(axis, rank, "apply_along_axis")
    last: Any = moveaxis(operand, place, rank - 1)
    outer = last.shape[:-1]
    if not product(outer):
        message = f"[apply_along_axis] shape {shape_of(operand)} has no vectors along axis {axis}"
        raise ShapeError(at_user_line(message))
    vectors: list[Tensor]
    if type(last) is ConcreteTensor:
        vectors = [adopt(vector) for vector in last._array.reshape(-1, last.shape[-1])]
    else:
        vectors = [getitem(last, index) for index in np.ndindex(*outer)]
    results = [to_tensor(func1d(vector, *args, **kwargs)) for vector in vectors]
    own = results[0].shape
    whole = reshape_to(stack(results), (*outer, *own))
    if not own:
        return whole
    return moveaxis(whole, tuple(range(len(outer), len(outer) + len(own))), tuple(range(place, place + len(own))))


@stands_for(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: ArrayLike, axes: int | Sequence[int]) -> Tensor:
    """``func(x, axis)`` for one axis after the other; an axis that it takes away comes back with length 1.

    Raises:
        ShapeError: the function's result has neither as many axes nor one fewer.

    >>> import fgrad as fg
    >>> fg.apply_over_axes(fg.sum, fg.ones((2, 3)), (0, 1))
    Tensor([[6.]], dtype=float64)
    """
    value: Any = to_tensor(a)
    rank = value.ndim
    for axis in axes if isinstance(axes, Sequence | np.ndarray) else (axes,):
        place = axis_index(axis, rank, "apply_over_axes")
        found = to_tensor(func(value, place))
        value = expand_dims(found, place) if found.ndim == rank - 1 else found
        if value.ndim != rank:
            message = f"[apply_over_axes] the function made shape {found.shape} of a value with {rank} axes"
            raise ShapeError(at_user_line(message))
    return value


@stands_for(np.trim_zeros)
def trim_zeros(filt: ArrayLike, trim: str = "fb", axis: int | Sequence[int] | None = None) -> Tensor:
    """The array without the zeros at the front and the back of an axis, of every axis by default.

    The shape of the result depends on the values, so they must be known: not inside a graph or vmap.

    Args:
        filt: the array.
        trim: "f" for the front, "b" for the back, "fb" for both.
        axis: the axis or axes.

    Raises:
        ShapeError: `trim` is none of these, or an axis is out of range.
        TracerConversionError: the values are not known.

    >>> import fgrad as fg
    >>> fg.trim_zeros(fg.asarray([0.0, 1.0, 0.0, 2.0, 0.0]))
    Tensor([1., 0., 2.], dtype=float64)
    """
    sides = trim.lower()
    if sides not in {"fb", "bf", "f", "b"}:
        message = f"[trim_zeros] trim is 'f', 'b' or 'fb', not {trim!r}"
        raise ShapeError(at_user_line(message))
    operand = to_tensor(filt)
    axes = axis_tuple(axis, operand.ndim, "trim_zeros")
    occupied = np.nonzero(known_value(operand, "trim_zeros", "where the zeros are"))
    bounds = [_ALL] * operand.ndim
    for one in axes:
        length = operand.shape[one]
        # Of nothing but zeros the front takes everything.
        start = int(occupied[one].min(initial=length)) if "f" in sides else 0
        stop = int(occupied[one].max(initial=-1)) + 1 if "b" in sides else length
        bounds[one] = slice(start, max(stop, start))
    return getitem(operand, tuple(bounds))
