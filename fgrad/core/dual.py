"""Dual numbers: what forward mode carries, a primal with its tangent, and the trace that carries both along."""

from __future__ import annotations

from typing import Any

import attrs

from fgrad.core.bind import Trace, Tracer, bind, bind1, bind2, next_level, raise_escaped
from fgrad.core.methods import operations
from fgrad.core.primal import PrimalTracer, is_inexact_value, zeros_for
from fgrad.core.primitive import Primitive
from fgrad.core.shape import shape_dtype_of
from fgrad.core.tensor import as_value

__all__ = ["DualTrace", "DualTracer", "open_dual", "tangent_of"]

_new = object.__new__


@attrs.frozen(eq=False, repr=False, str=False, init=False)
class DualTracer(PrimalTracer):
    """A primal and its tangent, both of a lower level or concrete; the tangent has the primal's shape and dtype."""

    _trace: DualTrace
    primal: Any
    tangent: Any


_set_trace = DualTracer._trace.__set__  # type: ignore[attr-defined]
_set_primal = DualTracer.primal.__set__
_set_tangent = DualTracer.tangent.__set__


@attrs.define(eq=False)
class DualTrace(Trace):
    """Carries tangents forward, beside the values; a tangent that is None is a zero."""

    name: str = "jvp"

    @property
    def transform(self) -> str:
        """The name of the transform, for messages."""
        return self.name

    def new_input(self, primal: Any, tangent: Any) -> DualTracer:
        """A tracer for a value whose tangent is given."""
        return _new_tracer(self, primal, tangent)

    def process(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Evaluates the operation on the primals, one level down, and pushes the tangents through its rule."""
        if self.closed:
            raise_escaped(self)
        primals: list[Any] = []
        tangents: list[Any] = []
        for value in args:
            if type(value) is DualTracer and value._trace is self:
                primals.append(value.primal)
                tangents.append(value.tangent)
            else:
                primals.append(as_value(value))
                tangents.append(None)
        if primitive.dual is not None:
            out, tangent = primitive.dual(primals, tangents, **params)
        else:
            out = bind(primitive, *primals, **params)
            if primitive.locally_constant:
                return out
            tangent = self._push(primitive, tangents, out, primals, params)
        if not primitive.multiple_results:
            return out if tangent is None else _new_tracer(self, out, tangent)
        pairs = zip(out, tangent or [None] * len(out), strict=True)
        return tuple(
            [_new_tracer(self, part, t) if t is not None and is_inexact_value(part) else part for part, t in pairs]
        )

    def process_unary(self, primitive: Primitive, x: Any) -> Any:
        """`process`, written out for one argument and no params."""
        if self.closed:
            raise_escaped(self)
        primal = x.primal
        out = bind1(primitive, primal)
        if primitive.locally_constant:
            return out
        tangent = self._push(primitive, (x.tangent,), out, (primal,), _NO_PARAMS)
        return out if tangent is None else _new_tracer(self, out, tangent)

    def process_binary(self, primitive: Primitive, x: Any, y: Any) -> Any:
        """`process`, written out for two arguments and no params."""
        if self.closed:
            raise_escaped(self)
        left, left_tangent = (
            (x.primal, x.tangent) if type(x) is DualTracer and x._trace is self else (as_value(x), None)
        )
        right, right_tangent = (
            (y.primal, y.tangent) if type(y) is DualTracer and y._trace is self else (as_value(y), None)
        )
        out = bind2(primitive, left, right)
        if primitive.locally_constant:
            return out
        tangent = self._push(primitive, (left_tangent, right_tangent), out, (left, right), _NO_PARAMS)
        return out if tangent is None else _new_tracer(self, out, tangent)

    def _push(self, primitive: Primitive, tangents: Any, out: Any, primals: Any, params: dict[str, Any]) -> Any:
        if primitive.jvp is not None:
            return primitive.jvp(tangents, out, *primals, **params)
        if primitive.linear is None:
            return primitive.require_jvp()(tangents, out, *primals, **params)
        operands = list(primals)
        places = range(*primitive.linear.indices(len(operands)))
        if all(tangents[place] is None for place in places):
            return None
        for place in places:
            tangent = tangents[place]
            operands[place] = _zero_operand(primals[place]) if tangent is None else tangent
        result = bind(primitive, *operands, **params)
        return result if primitive.multiple_results else operations.fit_tangent(result, out)


_NO_PARAMS: dict[str, Any] = {}


def _zero_operand(primal: Any) -> Any:
    # In the place of a Python number stands one, which leaves the dtype to the other operands.
    aval = shape_dtype_of(primal)
    return aval.dtype.type(0).item() if aval.weak else zeros_for(primal)


def _new_tracer(trace: DualTrace, primal: Any, tangent: Any) -> DualTracer:
    tracer = _new(DualTracer)
    _set_trace(tracer, trace)
    _set_primal(tracer, primal)
    _set_tangent(tracer, tangent)
    return tracer


def open_dual(name: str = "jvp") -> DualTrace:
    """A trace for one call of a transform; the caller closes it in a ``finally``."""
    return DualTrace(next_level(), name=name)


def tangent_of(trace: DualTrace, value: Any) -> Any:
    """The tangent of a value that the function returned; None where it is zero."""
    if isinstance(value, Tracer) and value._trace is trace:
        return value.tangent  # type: ignore[attr-defined]
    return None
