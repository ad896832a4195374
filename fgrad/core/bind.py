"""The one door: every operation goes through bind, which finds the interpreter that its arguments call for."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import attrs
import numpy as np

from fgrad.core.errors import (
    DtypeError,
    EscapedTracerError,
    FgradError,
    IndexingError,
    ShapeError,
    SourceLine,
    at_user_line,
)
from fgrad.core.primitive import Primitive
from fgrad.core.shape import PYTHON_NUMBERS, shape_dtype_of
from fgrad.core.tensor import ConcreteTensor, Tensor, adopt, as_numeric_array, to_tensor

__all__ = [
    "Trace",
    "Tracer",
    "bind",
    "bind1",
    "bind2",
    "bind_creation",
    "make_operator",
    "make_unary_operator",
    "next_level",
    "staging",
]

_ndarray = np.ndarray
_asarray = np.asarray
_new = object.__new__
_set_array = ConcreteTensor._array.__set__  # type: ignore[attr-defined]


class Tracer(Tensor):
    """A Tensor that stands for a value inside a transform; `_trace` is the transform call that it belongs to."""

    __slots__ = ()
    _trace: Trace


@attrs.define(eq=False)
class Trace:
    """One call of a transform: how it interprets an operation on its tracers.

    The level is unique to the call and larger than that of every call around it. `closed` is set, in a ``finally``,
    when the call ends; it is the only thing about a trace that changes, besides the record it appends to.
    """

    level: int
    closed: bool = False

    @property
    def transform(self) -> str:
        """The name of the transform, for messages."""
        raise NotImplementedError

    def process(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Interprets one operation, at least one of whose arguments belongs to this trace or is staged by it."""
        raise NotImplementedError

    def process_unary(self, primitive: Primitive, x: Any) -> Any:
        """`process` for one argument and no params; a trace may have a quicker way."""
        return self.process(primitive, (x,), {})

    def process_binary(self, primitive: Primitive, x: Any, y: Any) -> Any:
        """`process` for two arguments and no params; a trace may have a quicker way."""
        return self.process(primitive, (x, y), {})

    def require_open(self) -> None:
        """Raises EscapedTracerError when the call that made this trace has ended."""
        if self.closed:
            raise_escaped(self)


def raise_escaped(trace: Trace) -> NoReturn:
    """Raises the error for a tracer that outlived its transform."""
    message = (
        f"a value that belongs to a finished {trace.transform} call is used outside of it; return it from the "
        f"function instead of storing it (has_aux=True returns extra values beside the loss)"
    )
    raise EscapedTracerError(at_user_line(message))


_levels = itertools.count(1)
_levels_lock = threading.Lock()


def next_level() -> int:
    """A number larger than every level given out before, in any thread."""
    with _levels_lock:
        return next(_levels)


class _Staging(threading.local):
    trace: Trace | None = None
    run: int = 0
    source: SourceLine | None = None


# The innermost open staging trace of this thread, the level of the outermost one (0 for none), and, while an operation
# of another graph is written down, the user's line that it has there. Whoever sets one restores the previous one in a
# ``finally``.
staging = _Staging()


def bind(primitive: Primitive, *args: Any, **params: Any) -> Any:
    """Applies a primitive: by the trace of its highest-level tracer, or on NumPy arrays when there is none."""
    trace: Trace | None = None
    level = -1
    for value in args:
        if type(value) is not ConcreteTensor and isinstance(value, Tracer) and value._trace.level > level:
            trace = value._trace
            level = trace.level
    if trace is None:
        return evaluate(primitive, args, params)
    stage = staging.trace
    if stage is not None and stage.level > level:
        trace = stage
    return trace.process(primitive, args, params)


def bind1(primitive: Primitive, x: Any) -> Any:
    """`bind` for one argument and no params, with the concrete case in line."""
    if type(x) is ConcreteTensor:
        try:
            out = primitive.evaluate(x._array)
        except (ValueError, TypeError, IndexError) as error:
            raise_explained(primitive, (x,), {}, error)
        if type(out) is not _ndarray:
            out = _asarray(out)
        tensor = _new(ConcreteTensor)
        _set_array(tensor, out)
        return tensor
    if not isinstance(x, Tracer):
        return evaluate(primitive, (x,), {})
    trace = x._trace
    stage = staging.trace
    return (trace if stage is None or stage.level < trace.level else stage).process_unary(primitive, x)


def bind2(primitive: Primitive, x: Any, y: Any) -> Any:
    """`bind` for two arguments and no params, with the concrete cases in line."""
    if type(x) is ConcreteTensor:
        left = x._array
    elif type(x) in PYTHON_NUMBERS and type(y) is ConcreteTensor and primitive.takes_numbers:
        left = x
    else:
        return _bind_traced(primitive, x, y)
    if type(y) is ConcreteTensor:
        right = y._array
    elif type(y) in PYTHON_NUMBERS and primitive.takes_numbers:
        right = y
    else:
        return _bind_traced(primitive, x, y)
    try:
        out = primitive.evaluate(left, right)
    except (ValueError, TypeError, IndexError) as error:
        raise_explained(primitive, (x, y), {}, error)
    if type(out) is not _ndarray:
        out = _asarray(out)
    tensor = _new(ConcreteTensor)
    _set_array(tensor, out)
    return tensor


def _bind_traced(primitive: Primitive, x: Any, y: Any) -> Any:
    trace = x._trace if isinstance(x, Tracer) else None
    if isinstance(y, Tracer) and (trace is None or y._trace.level > trace.level):
        trace = y._trace
    if trace is None:
        return evaluate(primitive, (x, y), {})
    stage = staging.trace
    return (trace if stage is None or stage.level < trace.level else stage).process_binary(primitive, x, y)


def bind_creation(primitive: Primitive, *args: Any, **params: Any) -> Any:
    """`bind` for operations that make values out of none: inside a staged function they are recorded there."""
    stage = staging.trace
    if stage is not None and not any(isinstance(value, Tracer) for value in args):
        return stage.process(primitive, args, params)
    return bind(primitive, *args, **params)


# What an operator accepts beside a Tensor; for others Python tries the reflected operator.
_OPERANDS = (Tensor, int, float, complex, np.ndarray, np.generic, list, tuple)


def make_operator(primitive: Primitive) -> Callable[..., Any]:
    """What ``+`` and its kin call: the primitive, but Python numbers among themselves stay Python numbers."""
    python = primitive.python or primitive

    def operate(x: Any, y: Any) -> Any:
        if type(x) is ConcreteTensor:
            if type(y) is ConcreteTensor or type(y) in PYTHON_NUMBERS:
                return bind2(primitive, x, y)
            return _bind_traced(primitive, x, y) if isinstance(y, _OPERANDS) else NotImplemented
        if type(y) is ConcreteTensor:
            if type(x) in PYTHON_NUMBERS:
                return bind2(primitive, x, y)
            return _bind_traced(primitive, x, y) if isinstance(x, _OPERANDS) else NotImplemented
        if is_weak(x) and is_weak(y):
            return bind(python, x, y)
        if isinstance(x, _OPERANDS) and isinstance(y, _OPERANDS):
            return _bind_traced(primitive, x, y)
        return NotImplemented

    return operate


def make_unary_operator(primitive: Primitive) -> Callable[..., Any]:
    """What ``-x`` and its kin call: the primitive, but a Python number stays a Python number."""
    python = primitive.python
    assert python is not None, primitive

    def operate(x: Any) -> Any:
        return bind(python, x) if is_weak(x) else bind1(primitive, x)

    return operate


def is_weak(value: Any) -> bool:
    """Whether the value is a Python number, or a tracer that stands for one."""
    return value.weak if isinstance(value, Tracer) else type(value) in PYTHON_NUMBERS


_NUMPY_VALUES = (np.ndarray, np.generic)


def evaluate(primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Applies a primitive to concrete values: tensors, arrays, NumPy scalars, Python numbers, nested lists."""
    operands: list[Any] = []
    # A loop, because a comprehension is one more call in Python 3.11.
    for value in args:
        operands.append(value._array if type(value) is ConcreteTensor else _operand(primitive, value))  # noqa: PERF401
    try:
        out = primitive.evaluate(*operands, **params)
    except (ValueError, TypeError, IndexError) as error:
        raise_explained(primitive, args, params, error)
    if type(out) is not _ndarray:
        if primitive.multiple_results:
            return tuple([part if type(part) in PYTHON_NUMBERS else adopt(_asarray(part)) for part in out])
        if type(out) in PYTHON_NUMBERS:
            return out
        out = _asarray(out)
    tensor = _new(ConcreteTensor)
    _set_array(tensor, out)
    return tensor


def _operand(primitive: Primitive, value: Any) -> Any:
    if type(value) in PYTHON_NUMBERS:
        return value if primitive.takes_numbers else _asarray(value)
    if primitive.makes_views or not isinstance(value, _NUMPY_VALUES):
        tensor = to_tensor(value)
        return tensor._array if type(tensor) is ConcreteTensor else tensor
    return as_numeric_array(value)


def raise_explained(primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any], error: Exception) -> NoReturn:
    """Raises, for an error of NumPy's, one that names the operation, its operands and the user's own line."""
    values = [value if hasattr(value, "dtype") or type(value) in PYTHON_NUMBERS else to_tensor(value) for value in args]
    avals = [shape_dtype_of(value) for value in values]
    reason: Exception = error
    try:
        primitive.shape_rule(*avals, **params)
    except (ValueError, TypeError, IndexError) as explained:
        reason = explained
    try:
        raise explain(primitive, avals, reason) from None
    finally:
        # Its traceback leads to this frame: a cycle, which would keep the values of every caller alive.
        del reason


def explain(primitive: Primitive, avals: list[Any], reason: Exception) -> Exception:
    """The error for operands that do not fit: of the class that the reason has, naming everything involved."""
    operands = " and ".join(str(aval) for aval in avals)
    # The errors of NumPy's ufuncs have the ufunc for their first argument.
    text = reason.args[0] if reason.args and isinstance(reason.args[0], str) else str(reason)
    if isinstance(reason, np.linalg.LinAlgError):
        # Under vmap it is explained twice, the second time with the shapes of one example.
        text = getattr(reason, "reason", text)
    message = at_user_line(f"[{primitive.name}] on {operands}: {text}")
    if isinstance(reason, np.linalg.LinAlgError):
        failure = np.linalg.LinAlgError(message)
        failure.reason = text  # type: ignore[attr-defined] # as FgradError has it, in NumPy's class
        return failure
    error: FgradError
    if isinstance(reason, FgradError):
        error = type(reason)(message)
    elif isinstance(reason, IndexError):
        error = IndexingError(message)
    else:
        error = (DtypeError if isinstance(reason, TypeError) else ShapeError)(message)
    error.reason = text
    return error
