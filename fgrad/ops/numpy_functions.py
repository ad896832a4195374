"""NumPy functions that describe, copy, save or change arrays, and what they do when they meet a Tensor."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from fgrad.core.bind import is_weak
from fgrad.core.errors import ImmutableError, at_user_line
from fgrad.core.methods import operations
from fgrad.core.numpy_calls import name_of
from fgrad.core.protocols import FUNCTION_COUNTERPARTS
from fgrad.core.tensor import Tensor, lock, to_tensor
from fgrad.ops.arguments import as_operand, dtype_of, shape_of
from fgrad.ops.contractions import diagonal
from fgrad.ops.counting import compress
from fgrad.ops.creation import arange, array, asarray, empty, eye, identity, ones, zeros
from fgrad.ops.cumulative import cumprod
from fgrad.ops.declare import stands_for
from fgrad.ops.logic import round
from fgrad.ops.sorting import argpartition, searchsorted

__all__: list[str] = []


@stands_for(np.copy)
def _copy(a: Any) -> Tensor:
    """The tensor itself: it is immutable, and needs no copy."""
    return to_tensor(a)


@stands_for(np.common_type)
def _common_type(*arrays: Any) -> Any:
    """The inexact type that holds the elements of all arrays, as NumPy has it."""
    return np.common_type(*[np.empty(0, dtype_of(as_operand(one))) for one in arrays])


@stands_for(np.min_scalar_type)
def _min_scalar_type(a: Any) -> np.dtype[Any]:
    """The smallest dtype that holds a number of shape (); of other shapes, the dtype."""
    operand = as_operand(a)
    if shape_of(operand) or is_weak(operand):
        return dtype_of(operand)
    return np.min_scalar_type(_read(operand, "np.min_scalar_type(x)", drops_gradient=False))


FUNCTION_COUNTERPARTS[np.around] = round

# Functions that create arrays of the kind that `like=` shows.
_function: Any
_counterpart: Any
for _function, _counterpart in (
    (np.arange, arange),
    (np.array, array),
    (np.asanyarray, asarray),
    (np.asarray, asarray),
    (np.ascontiguousarray, asarray),
    (np.empty, empty),
    (np.eye, eye),
    (np.identity, identity),
    (np.ones, ones),
    (np.zeros, zeros),
):
    FUNCTION_COUNTERPARTS.setdefault(_function, _counterpart)


# Functions that leave the computation: they run on the tensor's own array, which a tracer gives only where the result
# cannot carry on the computation.


def _read(value: Any, action: str, *, drops_gradient: bool) -> Any:
    if isinstance(value, Tensor):
        return lock(np.asarray(value._read(action, drops_gradient=drops_gradient)))
    return value


def _on_arrays(function: Callable[..., Any], *, drops_gradient: bool) -> Callable[..., Any]:
    action = f"{name_of(function)}(x)"
    read = functools.partial(_read, action=action, drops_gradient=drops_gradient)

    @functools.wraps(function)
    def on_arrays(*args: Any, **kwargs: Any) -> Any:
        return function(*map(read, args), **{name: read(value) for name, value in kwargs.items()})

    return on_arrays


for _function in (np.save, np.savez, np.savez_compressed, np.savetxt):
    FUNCTION_COUNTERPARTS[_function] = _on_arrays(_function, drops_gradient=True)
for _function in (np.array2string, np.array_repr, np.array_str, np.may_share_memory, np.shares_memory):
    FUNCTION_COUNTERPARTS[_function] = _on_arrays(_function, drops_gradient=False)


# Functions that change an array.


def _refuse_changes(function: Callable[..., Any], way_out: str) -> Callable[..., Any]:
    name = name_of(function)

    @functools.wraps(function)
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        message = (
            f"{name} writes into an array: a Tensor never changes, and its gradient would not survive in an ndarray. "
            f"{way_out}, which returns a new Tensor; to fill an ndarray of your own, convert with np.asarray(t) first"
        )
        raise ImmutableError(at_user_line(message))

    return refuse


for _function, _way_out in (
    (np.copyto, "Write x.at[...].set(values), or fg.where(mask, values, x); np.full is fg.full"),
    (np.fill_diagonal, "Write x.at[i, i].set(values) with i = fg.arange(n)"),
    (np.place, "Write fg.where(mask, values, x), or x.at[mask].set(values)"),
    (np.put, "Write fg.ravel(x).at[indices].set(values)"),
    (np.put_along_axis, "Write x.at[index].set(values) with one index array for each axis"),
    (np.putmask, "Write fg.where(mask, values, x), or x.at[mask].set(values)"),
):
    FUNCTION_COUNTERPARTS[_function] = _refuse_changes(_function, _way_out)

# Methods of ndarray whose functions load late.
operations.argpartition = argpartition
operations.compress = compress
operations.cumprod = cumprod
operations.diagonal = diagonal
operations.searchsorted = searchsorted
