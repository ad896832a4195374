"""NumPy's protocols: how np.sin(tensor), ndarray + tensor and np.concatenate([tensor]) reach fgrad's operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from fgrad.core.errors import ImmutableError, TracerConversionError, at_user_line
from fgrad.core.late import load_late_modules
from fgrad.core.methods import operations

# Filled by fgrad.ops on import: NumPy's function or ufunc -> fgrad's function of the same meaning.
UFUNC_COUNTERPARTS: dict[np.ufunc, Callable[..., Any]] = {}
UFUNC_REDUCTIONS: dict[np.ufunc, Callable[..., Any]] = {}
FUNCTION_COUNTERPARTS: dict[Callable[..., Any], Callable[..., Any]] = {}

_WAY_OUT = (
    "convert with np.asarray(t) outside of transforms; inside one, np.asarray(fg.stop_gradient(t)) says that the "
    "value is a constant there"
)


def dispatch_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Runs a NumPy ufunc that met a Tensor as fgrad's operation.

    Raises:
        ImmutableError: when the ufunc was asked to write into an array (``out=``, ``ndarray += tensor``).
        TracerConversionError: when fgrad has no counterpart of the ufunc, its method or its option.
    """
    name = ufunc.__name__
    if options.get("out") is not None:
        message = (
            f"np.{name} was asked to write a Tensor's values into an array (out=, or an in-place operator such as "
            f"`a += t`), which would drop the gradient; write `a = a + t`, which makes a new Tensor"
        )
        raise ImmutableError(at_user_line(message))
    table = {"__call__": UFUNC_COUNTERPARTS, "reduce": UFUNC_REDUCTIONS}.get(method, {})
    counterpart = _find(table, ufunc)
    options = {key: value for key, value in options.items() if key != "out"}
    if counterpart is None:
        suffix = "" if method == "__call__" else f".{method}"
        _no_counterpart(f"np.{name}{suffix}")
    if method == "reduce":
        options.setdefault("axis", 0)
        return counterpart(*inputs, **options)
    dtype = options.pop("dtype", None)
    if options:
        _no_counterpart(f"np.{name} with {', '.join(f'{key}=' for key in options)}")
    if dtype is not None:
        inputs = tuple(operations.astype(value, dtype) if hasattr(value, "dtype") else value for value in inputs)
    return counterpart(*inputs)


def dispatch_function(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs a NumPy function that met a Tensor as fgrad's function of the same meaning.

    Raises:
        TracerConversionError: when fgrad has no counterpart of the function.
        ImmutableError: when the function was given ``out=``.
    """
    name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
    counterpart = _find(FUNCTION_COUNTERPARTS, function)
    if counterpart is None:
        _no_counterpart(name)
    if kwargs.get("out") is not None:
        message = f"{name}(out=...) cannot write a Tensor's values into an array; use the result that it returns"
        raise ImmutableError(at_user_line(message))
    return counterpart(*args, **{key: value for key, value in kwargs.items() if key != "out"})


def _find(table: dict[Any, Callable[..., Any]], key: Any) -> Callable[..., Any] | None:
    if key not in table:
        load_late_modules()
    return table.get(key)


def _no_counterpart(name: str) -> NoReturn:
    message = f"{name} has no counterpart in fgrad that takes a Tensor, and would drop its gradient; {_WAY_OUT}"
    raise TracerConversionError(at_user_line(message))
