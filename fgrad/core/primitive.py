"""Primitive: one operation with all its rules, and the registry that every transform, test and document reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from fgrad.core.errors import MissingRuleError
from fgrad.core.late import load_late_modules

__all__ = ["Primitive", "registered_primitives"]

_REGISTRY: dict[str, Primitive] = {}


@attrs.frozen(eq=False, repr=False)
class Primitive:
    """One operation and every rule that an interpreter may ask of it.

    Attributes:
        name: the operation's name in graphs, tapes and error messages.
        evaluate: ``evaluate(*arrays, **params)``: the operation on ndarrays, NumPy scalars and Python numbers.
        shape_rule: ``shape_rule(*avals, **params)``: the ShapeDtype of the result (a tuple of them when the
            primitive has multiple results), or ShapeError, DtypeError or IndexingError with a reason.
        vjp: ``vjp(cotangent, needed, out, *primals, **params)``: a tuple with one cotangent per primal, None where
            `needed` is False or where the cotangent is zero. It is written in fgrad operations, so that it can be
            differentiated again. `cotangent` of a primitive with multiple results is a list with None for zeros.
        jvp: ``jvp(tangents, out, *primals, **params)``: the tangent of the result (a tuple when there are multiple
            results), of the result's shape and dtype, or None where it is zero. A zero among `tangents` is None, and
            not all are. It is written in fgrad operations.
        linear: the operands in which, all of them taken together, the primitive is linear: the tangent is the
            primitive itself of their tangents, and no jvp rule is needed.
        batch: ``batch(primitive, batched, *operands, **params)``: the operation on every example at once. Operands
            for which `batched` is True have one more axis, the first, over the examples; so has the result. With
            multiple results, a pair: the results, and for each whether it has that axis.
        forward: ``forward(needed, *primals, **params)``: a pair of the result and anything that the vjp rule wants to
            have kept, which it gets as ``residuals=``. It replaces the evaluation while a tape is recorded.
        dual: ``dual(primals, tangents, **params)``: a pair of the result and its tangents, for an operation that
            computes both at once; it replaces the evaluation and the jvp rule.
        locally_constant: its derivative is zero wherever it exists (comparisons, rounding): no rule is needed, and
            its result carries no gradient.
        python: the same operation on Python numbers, as a primitive whose result stays weak; None where an operator
            on Python numbers gives an array as NumPy does.
        takes_numbers: evaluate accepts Python numbers, which promote weakly; otherwise they arrive as 0-d arrays.
        makes_views: the result may share memory with an operand, so a writable array from outside is copied first.
        multiple_results: evaluate returns a tuple.
    """

    name: str
    evaluate: Callable[..., Any]
    shape_rule: Callable[..., Any]
    vjp: Callable[..., tuple[Any, ...]] | None = None
    jvp: Callable[..., Any] | None = None
    linear: slice | None = None
    batch: Callable[..., Any] | None = None
    forward: Callable[..., tuple[Any, Any]] | None = None
    dual: Callable[..., tuple[Any, Any]] | None = None
    locally_constant: bool = False
    python: Primitive | None = None
    takes_numbers: bool = False
    makes_views: bool = False
    multiple_results: bool = False

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def require_vjp(self) -> Callable[..., tuple[Any, ...]]:
        """The vjp rule, or MissingRuleError that says what is missing and how to supply it."""
        if self.vjp is None:
            message = (
                f"[{self.name}] has no reverse-mode rule (vjp), so grad and vjp cannot pass through it; declare one "
                f"beside the primitive, or mark the value as a constant with fg.stop_gradient"
            )
            raise MissingRuleError(message)
        return self.vjp

    def require_jvp(self) -> Callable[..., Any]:
        """The jvp rule, or MissingRuleError that says what is missing and how to supply it."""
        if self.jvp is None:
            message = (
                f"[{self.name}] has no forward-mode rule (jvp), so jvp, jacfwd and hessian cannot pass through it; "
                f"declare one beside the primitive, or mark the value as a constant with fg.stop_gradient"
            )
            raise MissingRuleError(message)
        return self.jvp

    def require_batch(self) -> Callable[..., Any]:
        """The batching rule, or MissingRuleError that says what is missing and how to supply it."""
        if self.batch is None:
            message = (
                f"[{self.name}] has no batching rule, so vmap cannot pass through it; declare one beside the "
                f"primitive, or loop over the examples in Python"
            )
            raise MissingRuleError(message)
        return self.batch


def register(primitive: Primitive) -> Primitive:
    """Adds a primitive to the registry; its name must be new."""
    if primitive.name in _REGISTRY:
        message = f"a primitive named {primitive.name!r} is registered already"
        raise ValueError(message)
    _REGISTRY[primitive.name] = primitive
    return primitive


def registered_primitives() -> Iterator[Primitive]:
    """Every registered primitive, in the order of registration, those of late modules included."""
    load_late_modules()
    return iter(tuple(_REGISTRY.values()))
