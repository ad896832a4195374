"""Batching: a value with one more axis, over the examples of vmap, and the trace for all of them at once."""

from __future__ import annotations

from typing import Any, NoReturn

import attrs
import numpy as np

from fgrad.core.bind import Trace, Tracer, explain, next_level, raise_escaped
from fgrad.core.errors import FgradError
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive
from fgrad.core.shape import PYTHON_NUMBERS, Shape, ShapeDtype, shape_dtype_of
from fgrad.core.tensor import as_value, index_hint, refuse_conversion, to_tensor

__all__ = ["BatchTrace", "BatchTracer", "open_batch"]

_new = object.__new__


@attrs.frozen(eq=False, repr=False, str=False, init=False)
class BatchTracer(Tracer):
    """One example's value: `batch` holds those of all examples, of a lower level or concrete, along its first axis.

    It is `weak` when it stands for a Python number: the counter of a loop that takes some examples further than others.
    """

    _trace: BatchTrace
    batch: Any
    weak: bool

    @property
    def shape(self) -> Shape:
        """The length of each axis of one example's value."""
        return tuple(self.batch.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        dtype: np.dtype[Any] = self.batch.dtype
        return dtype

    def _read(self, action: str, *, drops_gradient: bool) -> NoReturn:
        self._trace.require_open()
        way_out = (
            f"needs one value, and this one stands for {self._trace.size} examples at once. Compute with fgrad's "
            f"functions; in place of an `if` on it write fg.where(condition, x, y) or fg.cond, in place of a `while` "
            f"fg.while_loop, and leave an argument that is the same for all examples out of the batch with in_axes"
        )
        refuse_conversion(action, self._trace.transform, way_out + index_hint(action))

    def __repr__(self) -> str:
        if self._trace.closed:
            return "Tensor(of a finished vmap call)"
        return f"Tensor({ShapeDtype(self.shape, self.dtype)}, one of {self._trace.size} examples of vmap)"

    __str__ = __repr__


_set_trace = BatchTracer._trace.__set__  # type: ignore[attr-defined]
_set_batch = BatchTracer.batch.__set__
_set_weak = BatchTracer.weak.__set__  # type: ignore[attr-defined]


@attrs.define(eq=False)
class BatchTrace(Trace):
    """Applies every operation to all examples at once, by the batching rule of its primitive."""

    size: int = 0

    @property
    def transform(self) -> str:
        """The name of the transform, for messages."""
        return "vmap"

    def new_input(self, batch: Any, *, weak: bool = False) -> BatchTracer:
        """A tracer for a value whose first axis is that of the examples."""
        return _new_tracer(self, batch, weak)

    def process(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Applies the batching rule, whose operations are of lower levels."""
        if self.closed:
            raise_escaped(self)
        operands: list[Any] = []
        batched: list[bool] = []
        weak = primitive.multiple_results
        for value in args:
            own = type(value) is BatchTracer and value._trace is self
            operands.append(value.batch if own else as_value(value))
            batched.append(own)
            weak = weak or (own and value.weak)
        rule = primitive.batch or primitive.require_batch()
        try:
            out = rule(primitive, tuple(batched), *operands, **params)
        except (ValueError, TypeError, IndexError) as error:
            raise self._explained(primitive, args, params, error) from None
        if weak:
            return self._typed(primitive, args, params, out)
        return _new_tracer(self, out)

    def _typed(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any], out: Any) -> Any:
        # An array in the place of a Python number promotes otherwise: the result gets the dtype that one example has.
        expected = primitive.shape_rule(*_avals(args), **params)
        if not primitive.multiple_results:
            return _fit(self, out, expected)
        triples = zip(*out, expected, strict=True)
        return tuple([_fit(self, part, aval) if own else part for part, own, aval in triples])

    def _explained(
        self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any], error: Exception
    ) -> Exception:
        # The shapes that the user knows are those of one example.
        avals = _avals(args)
        try:
            primitive.shape_rule(*avals, **params)
        except (ValueError, TypeError, IndexError) as reason:
            return explain(primitive, avals, reason)
        if not isinstance(error, FgradError):
            return explain(primitive, avals, error)
        # What is wrong is a value: the same error, with the shapes of one example.
        return error if error.reason is None else explain(primitive, avals, type(error)(error.reason))


def _avals(args: tuple[Any, ...]) -> list[ShapeDtype]:
    values = [value if hasattr(value, "dtype") or type(value) in PYTHON_NUMBERS else to_tensor(value) for value in args]
    return [shape_dtype_of(value) for value in values]


def _fit(trace: BatchTrace, batch: Any, aval: ShapeDtype) -> BatchTracer:
    return _new_tracer(trace, batch if batch.dtype == aval.dtype else operations.astype(batch, aval.dtype), aval.weak)


def _new_tracer(trace: BatchTrace, batch: Any, weak: bool = False) -> BatchTracer:
    tracer = _new(BatchTracer)
    _set_trace(tracer, trace)
    _set_batch(tracer, batch)
    _set_weak(tracer, weak)
    return tracer


def open_batch(size: int) -> BatchTrace:
    """A trace for one call of vmap over so many examples; the caller closes it in a ``finally``."""
    return BatchTrace(next_level(), size=size)
