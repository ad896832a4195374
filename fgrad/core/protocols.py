"""NumPy's protocols: how np.sin(tensor), ndarray + tensor and np.concatenate([tensor]) reach fgrad's operations."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from fgrad.core.errors import ImmutableError, at_user_line
from fgrad.core.late import load_late_modules
from fgrad.core.methods import operations
from fgrad.core.numpy_calls import (
    NO_VALUE,
    CallPlan,
    convert_for_loop,
    name_of,
    plan_call,
    refuse_call,
    refuse_ufunc,
)

# Filled by fgrad.ops on import: NumPy's function or ufunc -> fgrad's function of the same meaning.
UFUNC_COUNTERPARTS: dict[np.ufunc, Callable[..., Any]] = {}
UFUNC_REDUCTIONS: dict[np.ufunc, Callable[..., Any]] = {}
UFUNC_ACCUMULATIONS: dict[np.ufunc, Callable[..., Any]] = {}
FUNCTION_COUNTERPARTS: dict[Callable[..., Any], Callable[..., Any]] = {}

# Options of ufuncs that choose the loop, and those that have no meaning for a Tensor.
_LOOP_OPTIONS = frozenset(("dtype", "signature", "casting"))
_IGNORED_OPTIONS = frozenset(("out", "order", "subok"))
_SPECIAL_OPTIONS = _LOOP_OPTIONS | _IGNORED_OPTIONS


def dispatch_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Runs a NumPy ufunc that met a Tensor as fgrad's operation.

    Raises:
        ImmutableError: when the ufunc was asked to write into an array (``out=``, ``ndarray += tensor``).
        TracerConversionError: when fgrad has no counterpart of the ufunc, its method or its option.
    """
    if method == "__call__" and _LOOP_OPTIONS.issuperset(options):
        counterpart = UFUNC_COUNTERPARTS.get(ufunc) or _find(UFUNC_COUNTERPARTS, ufunc)
        if counterpart is not None:
            return counterpart(*(convert_for_loop(ufunc, inputs, options, operations.convert) if options else inputs))
    _refuse_writing(ufunc, method, options)
    if method == "__call__":
        return _call_with_options(ufunc, inputs, options)
    if method == "outer":
        return _call_with_options(ufunc, _for_outer(ufunc, inputs), options)
    name = f"np.{ufunc.__name__}.{method}"
    methods = {"reduce": UFUNC_REDUCTIONS, "accumulate": UFUNC_ACCUMULATIONS}
    counterpart = _find(methods[method], ufunc) if method in methods else None
    if counterpart is None:
        refuse_call(name)
    given = {
        key: value for key, value in options.items() if key != "out" and value is not None and value is not NO_VALUE
    }
    _refuse_unknown(name, counterpart, given)
    return counterpart(*inputs, **{"axis": options.get("axis", 0), **given})


def _refuse_writing(ufunc: np.ufunc, method: str, options: dict[str, Any]) -> None:
    name = ufunc.__name__
    if method == "at":
        message = (
            f"np.{name}.at changes an array in place, and a Tensor never changes: x.at[index].add(values), .multiply, "
            f".min and .max return a new one, with every value applied where an index repeats"
        )
        raise ImmutableError(at_user_line(message))
    if options.get("out") is not None:
        message = (
            f"np.{name} was asked to write a Tensor's values into an array (out=, or an in-place operator such as "
            f"`a += t`), which would drop the gradient; write `a = a + t`, which makes a new Tensor"
        )
        raise ImmutableError(at_user_line(message))


def _call_with_options(ufunc: np.ufunc, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    counterpart = _find(UFUNC_COUNTERPARTS, ufunc)
    if counterpart is None:
        refuse_ufunc(ufunc)
    further = {key: value for key, value in options.items() if key not in _SPECIAL_OPTIONS}
    if further.get("where") is True:
        del further["where"]
    _refuse_unknown(f"np.{ufunc.__name__}", counterpart, further)
    if not _LOOP_OPTIONS.isdisjoint(options):
        inputs = convert_for_loop(ufunc, inputs, options, operations.convert)
    return counterpart(*inputs, **further)


def _refuse_unknown(name: str, counterpart: Callable[..., Any], options: dict[str, Any]) -> None:
    if options:
        unknown = [key for key in options if key not in inspect.signature(counterpart).parameters]
        if unknown:
            refuse_call(f"{name} with {', '.join(f'{key}=' for key in unknown)}")


def _for_outer(ufunc: np.ufunc, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Two operands that broadcast to all pairs of their elements."""
    if ufunc.signature is not None or len(inputs) != 2:
        refuse_call(f"np.{ufunc.__name__}.outer")
    x, y = [value if hasattr(value, "shape") else np.asarray(value) for value in inputs]
    return operations.reshape(x, (*x.shape, *[1] * len(y.shape))), y


_PLANS: dict[Callable[..., Any], CallPlan] = {}


def dispatch_function(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs a NumPy function that met a Tensor as fgrad's function of the same meaning.

    Raises:
        TracerConversionError: when fgrad has no counterpart of the function or of one of its options.
        ImmutableError: when the function was given ``out=``.
    """
    counterpart = FUNCTION_COUNTERPARTS.get(function) or _find(FUNCTION_COUNTERPARTS, function)
    if counterpart is None:
        refuse_call(name_of(function))
    plan = _PLANS.get(function)
    if plan is None:
        plan = _PLANS[function] = plan_call(function, counterpart)
    if len(args) <= plan.same:
        if not kwargs:
            return counterpart(*args)
        if kwargs.keys() <= plan.known and not any([value is NO_VALUE for value in kwargs.values()]):
            return counterpart(*args, **kwargs)
    positional, keywords = plan.translate(function, args, kwargs)
    return counterpart(*positional, **keywords)


def _find(table: dict[Any, Callable[..., Any]], key: Any) -> Callable[..., Any] | None:
    if key not in table:
        load_late_modules()
    return table.get(key)
