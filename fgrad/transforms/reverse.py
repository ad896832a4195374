"""Reverse mode: vjp, grad and value_and_grad, and a look at the tape."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, ParamSpec

import attrs
import numpy as np

from fgrad.core.bind import Tracer
from fgrad.core.errors import DtypeError, NotDifferentiableError, ShapeError, TreeError, at_user_line
from fgrad.core.key import Key
from fgrad.core.pytree import Structure, flatten, flatten_up_to, flatten_with_path, tree_map, unflatten
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, shape_dtype_of
from fgrad.core.tensor import NUMERIC, ConcreteTensor, Tensor, adopt, to_tensor
from fgrad.transforms.tape import Entry, TapeTrace, TapeTracer, lower, open_tape, walk_back, zeros_for

__all__ = ["Pullback", "TapeRecord", "grad", "show_tape", "value_and_grad", "vjp"]

P = ParamSpec("P")

_INTEGERS = (int, np.integer)


def grad(
    function: Callable[P, Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
) -> Callable[P, Any]:
    """The gradient of a scalar function, as a function of the same arguments.

    For a scalar loss f(x) the result has, at each leaf x_i, the derivatives df/dx_i: the shape, dtype and tree
    structure of the argument. One backward pass gives all of them, at a small multiple of the cost of f
    (Griewank and Walther, Evaluating Derivatives, 2nd ed., section 4.6).

    Args:
        function: returns a scalar, or (with `has_aux`) a pair of a scalar and anything else.
        argnums: which positional arguments to differentiate by; a tuple gives a tuple of gradients.
        has_aux: the function returns ``(loss, aux)``; the result is then ``(gradient, aux)``.

    Returns:
        A function with the arguments of `function`. Floating-point leaves of the chosen arguments (tensors, arrays,
        Python floats) give Tensors; None subtrees stay None. Other arguments, and keyword arguments, may be anything.

    Raises:
        NotDifferentiableError: a leaf is an integer, a boolean or a key; the loss is not a real scalar.
        EscapedTracerError: the function returns a value of a transform that finished inside it.

    >>> import fgrad as fg
    >>> fg.grad(lambda x: x**2)(3.0)
    Tensor(6., dtype=float64)
    >>> fg.grad(lambda params: fg.sum(params["w"] * params["x"]))({"w": 2.0, "x": fg.asarray([1.0, 3.0])})
    {'w': Tensor(4., dtype=float64), 'x': Tensor([2., 2.], dtype=float64)}
    """
    transformed = value_and_grad(function, argnums, has_aux)

    @functools.wraps(function)
    def gradient(*args: P.args, **kwargs: P.kwargs) -> Any:
        value, gradients = transformed(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return gradient


def value_and_grad(
    function: Callable[P, Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
) -> Callable[P, Any]:
    """Like `grad`, giving ``(value, gradient)``, or ``((value, aux), gradient)`` with `has_aux`.

    >>> import fgrad as fg
    >>> fg.value_and_grad(lambda x: fg.sum(x * x))(fg.asarray([1.0, 2.0]))
    (Tensor(5., dtype=float64), Tensor([2., 4.], dtype=float64))
    """
    _require_function(function, "grad")
    one = isinstance(argnums, _INTEGERS)

    @functools.wraps(function)
    def value_and_gradient(*args: P.args, **kwargs: P.kwargs) -> Any:
        positions = _positions(argnums, len(args), function)
        chosen: Any = args[positions[0]] if one else tuple([args[position] for position in positions])
        leaves, structure = flatten(chosen)
        primals = [leaf if type(leaf) is ConcreteTensor else _differentiable(leaf) for leaf in leaves]
        if any([primal is None or primal.dtype.kind not in "fc" for primal in primals if type(primal) is not float]):
            _refuse_leaves(function, positions, (chosen,) if one else chosen)
        trace = open_tape()
        traced = unflatten(structure, [trace.new_input(primal) for primal in primals])
        arguments: list[Any] = list(args)
        for position, argument in zip(positions, (traced,) if one else traced, strict=True):
            arguments[position] = argument
        try:
            out = function(*arguments, **kwargs)
        finally:
            trace.closed = True
        loss, aux = _split_aux(out, trace) if has_aux else (out, None)
        value, gradients = _gradients(trace, loss, primals)
        return (value, aux) if has_aux else value, unflatten(structure, gradients)

    return value_and_gradient


def _gradients(trace: TapeTrace, loss: Any, primals: list[Any]) -> tuple[Any, list[Any]]:
    _require_scalar(loss)
    value = lower(trace, loss)
    cotangents: list[Any] = [None] * len(trace.entries)
    if isinstance(loss, TapeTracer) and loss._trace is trace:
        cotangents[loss.slot] = _one(loss.dtype)
    walk_back(trace.entries, cotangents, free=True)
    found = cotangents[1 : len(primals) + 1]
    return value, [zeros_for(primal) if g is None else g for g, primal in zip(found, primals, strict=True)]


@functools.cache
def _one(dtype: np.dtype[Any]) -> ConcreteTensor:
    return adopt(np.ones((), dtype))


def _positions(argnums: int | Sequence[int], count: int, function: Callable[..., Any]) -> list[int]:
    wanted = [argnums] if isinstance(argnums, _INTEGERS) else list(argnums)
    positions = []
    for argnum in wanted:
        position = operator.index(argnum)
        if not -count <= position < count:
            message = (
                f"grad differentiates by positional argument {position}, and {_name(function)} was called with {count} "
                f"of them; pass that argument by position, or name others with argnums="
            )
            raise TypeError(at_user_line(message))
        positions.append(position % count)
    if len(set(positions)) < len(positions):
        message = f"argnums {tuple(wanted)} names a positional argument of {_name(function)} twice"
        raise TypeError(at_user_line(message))
    return positions


def _differentiable(leaf: Any) -> Any:
    """The leaf as a primal to trace: a Tensor, or the Python number as it is; None when it has no gradient."""
    if type(leaf) in (float, complex):
        return leaf if type(leaf) is float else to_tensor(leaf)
    if isinstance(leaf, Tensor):
        return leaf
    if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "fc":
        return to_tensor(leaf)
    return None


def _refuse_leaves(function: Callable[..., Any], positions: list[int], chosen: tuple[Any, ...]) -> NoReturn:
    for position, argument in zip(positions, chosen, strict=True):
        name = _parameter_name(function, position)
        for path, leaf in flatten_with_path(argument)[0]:
            primal = _differentiable(leaf)
            if primal is None or (type(primal) is not float and primal.dtype.kind not in "fc"):
                raise NotDifferentiableError(at_user_line(_explain_leaf(name + path, leaf)))
    message = "an argument is not differentiable"
    raise NotDifferentiableError(message)


def _explain_leaf(path: str, leaf: Any) -> str:
    if type(leaf) is int:
        return (
            f"the gradient by {path} was asked for, which is the integer {leaf}: write {leaf}.0, since only "
            f"floating-point numbers have gradients"
        )
    if isinstance(leaf, Key):
        return (
            f"the gradient by {path} was asked for, which is a random key and has none; pass keys in another argument"
        )
    if hasattr(leaf, "dtype"):
        return (
            f"the gradient by {path} was asked for, which has dtype {leaf.dtype} and shape {leaf.shape}; only "
            f"floating-point leaves have gradients: convert it ({path}.astype(float)), or pass it in an argument that "
            f"argnums does not name"
        )
    return f"the gradient by {path} was asked for, which is a {type(leaf).__name__} and not a number or an array"


def _split_aux(out: Any, trace: TapeTrace) -> tuple[Any, Any]:
    if not isinstance(out, tuple) or len(out) != 2:
        message = f"with has_aux=True the function must return a pair (loss, aux); it returned {_describe(out)}"
        raise NotDifferentiableError(at_user_line(message))
    return out[0], tree_map(lambda leaf: lower(trace, leaf), out[1])


def _require_scalar(loss: Any) -> None:
    if isinstance(loss, Tensor) and loss.shape == () and loss.dtype.kind == "f":
        return
    if isinstance(loss, tuple | list) and loss:
        message = (
            f"grad needs a function that returns one scalar loss; it returned {_describe(loss)}. If the first of them "
            f"is the loss and the rest is extra, write fg.grad(f, has_aux=True)"
        )
        raise NotDifferentiableError(at_user_line(message))
    if not isinstance(loss, NUMERIC):
        message = f"grad needs a function that returns a scalar loss; it returned {_describe(loss)}"
        raise NotDifferentiableError(at_user_line(message))
    aval = shape_dtype_of(loss)
    if aval.shape:
        sums = "its only element with .reshape(())" if aval.size == 1 else "one with .sum() or .mean()"
        message = (
            f"grad needs a scalar loss, of shape (); the function returned shape {aval.shape} {aval.dtype}. Make it "
            f"{sums}, or use fg.vjp, which pulls a cotangent of that shape back"
        )
        raise NotDifferentiableError(at_user_line(message))
    if aval.dtype.kind == "c":
        message = f"grad needs a real loss; the function returned {aval.dtype}. Take fg.real(...) or fg.abs(...) of it"
        raise NotDifferentiableError(at_user_line(message))
    if aval.dtype.kind != "f":
        message = (
            f"grad needs a floating-point loss; the function returned {aval.dtype}, whose derivative is zero or "
            f"undefined everywhere"
        )
        raise NotDifferentiableError(at_user_line(message))


def _describe(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}: ({', '.join(map(_describe, value))})"
    if isinstance(value, Tensor | np.ndarray | np.generic):
        aval = shape_dtype_of(value)
        return str(ShapeDtype(aval.shape, aval.dtype))
    return "None" if value is None else f"a {type(value).__name__}"


def _require_function(function: Any, transform: str) -> None:
    if not callable(function):
        message = (
            f"fg.{transform} takes a function, not a {type(function).__name__}: write fg.{transform}(f)(x), not "
            f"fg.{transform}(f(x))"
        )
        raise TypeError(at_user_line(message))


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", repr(function))


def _parameter_name(function: Callable[..., Any], position: int) -> str:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return f"args[{position}]"
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named[position] if position < len(named) else f"args[{position}]"


@attrs.frozen(eq=False, repr=False)
class Pullback:
    """The linear map from cotangents of a function's output to cotangents of its inputs; call it as often as needed."""

    _entries: list[Entry | None]
    _primals: list[Any]
    _slots: list[int]
    _in_structure: Structure
    _out_slots: list[int]
    _out_avals: list[ShapeDtype]
    _out_structure: Structure

    def __repr__(self) -> str:
        return f"<pullback of {len(self._out_avals)} outputs to {len(self._primals)} inputs>"

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        """The cotangent of every argument, for a cotangent of the output's structure, shapes and dtypes.

        Integer, boolean and key leaves of the arguments have the cotangent None.

        Raises:
            TreeError, ShapeError, DtypeError: when the cotangent is not like the output, naming the path.
        """
        given = flatten_up_to(self._out_structure, cotangent, "cotangent")
        cotangents: list[Any] = [None] * len(self._entries)
        for position, (slot, aval, leaf) in enumerate(zip(self._out_slots, self._out_avals, given, strict=True)):
            if leaf is None or aval.dtype.kind not in "fc":
                continue
            fitted = _fit_cotangent(leaf, aval, position)
            if not slot:
                continue
            cotangents[slot] = fitted if cotangents[slot] is None else cotangents[slot] + fitted
        walk_back(self._entries, cotangents, free=False)
        found = [
            None if not slot else (zeros_for(primal) if cotangents[slot] is None else cotangents[slot])
            for slot, primal in zip(self._slots, self._primals, strict=True)
        ]
        return unflatten(self._in_structure, found)  # type: ignore[no-any-return]


def _fit_cotangent(leaf: Any, aval: ShapeDtype, position: int) -> Any:
    value = leaf if isinstance(leaf, Tracer) else to_tensor(leaf)
    where = f"the cotangent of output {position}"
    if value.shape != aval.shape:
        message = f"{where} has shape {value.shape}, and the output has shape {aval.shape}"
        raise ShapeError(at_user_line(message))
    if value.dtype != aval.dtype:
        if type(leaf) not in PYTHON_NUMBERS:
            message = f"{where} has dtype {value.dtype}, and the output has dtype {aval.dtype}; convert it with astype"
            raise DtypeError(at_user_line(message))
        value = to_tensor(np.asarray(leaf, aval.dtype))
    return value


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of a function and its pullback, the map u -> u^T J from output cotangents to input cotangents.

    Args:
        function: takes the primals and returns a pytree of numbers and arrays (with `has_aux` a pair of that and
            anything else).
        *primals: pytrees; floating-point leaves get cotangents, others None.
        has_aux: the function returns ``(out, aux)``.

    Returns:
        ``(out, pullback)``, or ``(out, pullback, aux)``. ``pullback(cotangent)`` takes what `out` looks like and
        returns a tuple with one pytree per primal; it can be called any number of times.

    Raises:
        TypeError: when `function` is not callable.

    >>> import fgrad as fg
    >>> y, pullback = fg.vjp(lambda x: x**2, fg.asarray([1.0, 2.0, 3.0]))
    >>> pullback(fg.asarray([1.0, 0.0, 10.0]))
    (Tensor([ 2.,  0., 60.], dtype=float64),)
    """
    _require_function(function, "vjp")
    leaves, structure = flatten(primals)
    trace, tracers = _trace_inputs(leaves)
    try:
        out = function(*unflatten(structure, tracers))
    finally:
        trace.closed = True
    aux = None
    if has_aux:
        out, aux = _split_aux(out, trace)
    out_leaves, out_structure = flatten(out)
    for leaf in out_leaves:
        if not isinstance(leaf, NUMERIC):
            message = f"vjp needs a function that returns numbers and arrays; it returned {_describe(leaf)}"
            raise TreeError(at_user_line(message))
    pullback = Pullback(
        trace.entries,
        leaves,
        [tracer.slot if isinstance(tracer, TapeTracer) and tracer._trace is trace else 0 for tracer in tracers],
        structure,
        [leaf.slot if isinstance(leaf, TapeTracer) and leaf._trace is trace else 0 for leaf in out_leaves],
        [shape_dtype_of(leaf) for leaf in out_leaves],
        out_structure,
    )
    result = unflatten(out_structure, [lower(trace, leaf) for leaf in out_leaves])
    return (result, pullback, aux) if has_aux else (result, pullback)


def _trace_inputs(leaves: list[Any]) -> tuple[TapeTrace, list[Any]]:
    trace = open_tape()
    tracers = []
    for leaf in leaves:
        primal = _differentiable(leaf)
        traced = primal is not None and (type(primal) is float or primal.dtype.kind in "fc")
        tracers.append(trace.new_input(primal) if traced else leaf)
    return trace, tracers


@attrs.frozen(repr=False)
class TapeRecord:
    """One line of a tape: the operation, the tape positions of its operands (0: not on the tape), its result.

    Printed as ``%3: float64[2] = multiply(%1, %2)``.
    """

    position: int
    operation: str
    operands: tuple[int, ...]
    result: ShapeDtype | tuple[ShapeDtype, ...]
    params: tuple[tuple[str, Any], ...] = ()

    def __repr__(self) -> str:
        operands = [f"%{operand}" if operand else "constant" for operand in self.operands]
        params = [f"{name}={value!r}" for name, value in self.params]
        result = self.result if isinstance(self.result, ShapeDtype) else ", ".join(map(str, self.result))
        return f"%{self.position}: {result} = {self.operation}({', '.join([*operands, *params])})"


def show_tape(function: Callable[P, Any]) -> Callable[P, tuple[TapeRecord, ...]]:
    """What `grad` writes down for a function: a function of the same arguments that returns the tape.

    Every floating-point leaf of every positional argument is an input. The backward pass of `grad` walks the records
    from the last to the first.

    >>> import fgrad as fg
    >>> for record in fg.show_tape(lambda x: fg.sin(x) * x)(2.0):
    ...     print(record)
    %1: float64*[] = input()
    %2: float64[] = sin(%1)
    %3: float64[] = multiply(%2, %1)
    """
    _require_function(function, "show_tape")

    @functools.wraps(function)
    def tape(*args: P.args, **kwargs: P.kwargs) -> tuple[TapeRecord, ...]:
        leaves, structure = flatten(args)
        trace, tracers = _trace_inputs(leaves)
        inputs = [tracer for tracer in tracers if isinstance(tracer, TapeTracer) and tracer._trace is trace]
        try:
            function(*unflatten(structure, tracers), **kwargs)
        finally:
            trace.closed = True
        records = [TapeRecord(tracer.slot, "input", (), shape_dtype_of(tracer)) for tracer in inputs]
        return (*records, *_tape_records(trace.entries))

    return tape


def _tape_records(entries: list[Entry | None]) -> list[TapeRecord]:
    records = []
    for position, entry in enumerate(entries):
        if entry is None:
            continue
        if entry[0] is None:
            _, slot, index = entry
            operation = entries[slot]
            assert operation is not None, slot
            aval = shape_dtype_of(operation[3][index])
            records.append(TapeRecord(position, f"result {index} of", (slot,), aval))
            continue
        primitive, slots, _, out, params = entry
        avals = tuple([shape_dtype_of(part) for part in out]) if primitive.multiple_results else shape_dtype_of(out)
        records.append(TapeRecord(position, primitive.name, tuple(slots), avals, tuple(sorted((params or {}).items()))))
    return records
