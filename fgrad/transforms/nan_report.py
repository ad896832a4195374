"""NanReport: what find_nan tells of an operation whose value or cotangent is not finite, and the hints it gives."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any, Literal

import attrs
import numpy as np

from fgrad.core.errors import SourceLine
from fgrad.core.shape import Shape, ShapeDtype

__all__ = ["ArraySummary", "NanOperand", "NanReport", "hint_for", "summarise"]

Kind = Literal["value", "cotangent"]


@attrs.frozen
class ArraySummary:
    """The range of an array.

    Attributes:
        shape: the length of each axis; inside `vmap` the axis of the examples is among them.
        dtype: the NumPy dtype.
        minimum: the smallest finite element, of complex ones the smallest modulus; None when there is none.
        maximum: the largest finite element or modulus; None when there is none.
        nans: how many elements are NaN.
        infinities: how many are infinite.
    """

    shape: Shape
    dtype: np.dtype[Any]
    minimum: float | None
    maximum: float | None
    nans: int
    infinities: int

    @property
    def is_finite(self) -> bool:
        """Whether no element is NaN or infinite."""
        return not self.nans and not self.infinities

    def __str__(self) -> str:
        parts = [str(ShapeDtype(self.shape, self.dtype))]
        size = ShapeDtype(self.shape, self.dtype).size
        if self.minimum is not None and self.maximum is not None:
            one = self.minimum == self.maximum
            numbers = f"{self.minimum:.6g}" if one else f"from {self.minimum:.6g} to {self.maximum:.6g}"
            parts.append(numbers if self.is_finite else f"finite elements {numbers}")
        for count, name in ((self.nans, "NaN"), (self.infinities, "infinite")):
            if count:
                parts.append(name if size == 1 else f"{count} {name}")
        return ", ".join(parts) if size else f"{parts[0]}, no elements"


def summarise(array: Any) -> ArraySummary:
    """The range of an array or a number."""
    values = np.asarray(array)
    nans = np.isnan(values)
    infinite = np.isinf(values)
    finite = values[~(nans | infinite)]
    if finite.dtype.kind == "c":
        finite = np.abs(finite)
    return ArraySummary(
        values.shape,
        values.dtype,
        float(finite.min()) if finite.size else None,
        float(finite.max()) if finite.size else None,
        int(np.count_nonzero(nans)),
        int(np.count_nonzero(infinite)),
    )


@attrs.frozen
class NanOperand:
    """An operand of the operation.

    Attributes:
        origin: where it came from: ``argument x['w']``, ``constant`` (whatever has no derivative by the arguments), or
            ``result of sqrt``.
        values: its range.
        cotangent: the range of the cotangent that the operation gave to it; None for a report on a value, and where
            it gave none.
    """

    origin: str
    values: ArraySummary
    cotangent: ArraySummary | None = None


@attrs.frozen(eq=False, repr=False)
class NanReport:
    """The operation at which a computation stopped being finite; printing it tells what is known.

    Attributes:
        operation: the name of the primitive; ``output`` when the function returns a value that is not finite and that
            no operation on its arguments made, ``argument`` when only the sum of the cotangents of one is too large.
        kind: ``value`` when the result of the operation is not finite, ``cotangent`` when the gradient through it is
            not.
        source: the user's line that asked for the operation, where it is known.
        operands: the operands with their ranges.
        result: the range of the result of the operation.
        cotangent: the range of the cotangent of that result; None for a report on a value.
        came_in: the origins of the operands that were not finite already.
        harmless: the result of the function and its gradient are finite all the same.
        error: the exception that the function raised later on, as text; None when it raised none.
        hint: what to do about it.
    """

    operation: str
    kind: Kind
    source: SourceLine | None
    operands: tuple[NanOperand, ...]
    result: ArraySummary
    cotangent: ArraySummary | None
    came_in: tuple[str, ...]
    harmless: bool
    error: str | None
    hint: str

    def __str__(self) -> str:
        what = "has a value" if self.kind == "value" else "passes on a cotangent"
        lines = [f"{self.operation} {what} that is not finite"]
        if self.source is not None:
            lines.append(f"  at {self.source}")
        for position, operand in enumerate(self.operands):
            gets = "" if operand.cotangent is None else f"; it gets the cotangent {operand.cotangent}"
            lines.append(f"  operand {position} ({operand.origin}): {operand.values}{gets}")
        has = "" if self.cotangent is None else f"; its cotangent is {self.cotangent}"
        lines.append(f"  result: {self.result}{has}")
        if self.came_in:
            lines.append(f"  not finite already when it came in: {', '.join(self.came_in)}")
        if self.harmless:
            lines.append("  the function's result and its gradient are finite all the same")
        if self.error is not None:
            lines.append(f"  the function then raised {self.error}")
        if self.hint:
            lines.append(textwrap.fill(self.hint, 110, initial_indent="  hint: ", subsequent_indent="    "))
        return "\n".join(lines)

    __repr__ = __str__


# Hints. Each rule looks at the operands and gives a sentence, or an empty string when it has nothing to say.

Operands = tuple[ArraySummary, ...]


def hint_for(operation: str, kind: Kind, operands: Operands, result: ArraySummary, came_in: tuple[str, ...]) -> str:
    """What to do about an operation whose value or cotangent is not finite."""
    if kind == "value" and came_in:
        return _came_in_hint(operation, operands, result, came_in)
    if operation in _OWN_RULES and kind == "cotangent":
        return f"the rule of this {operation} made it: look at what was given to defjvp or defvjp"
    if operation in _WHOLE_FUNCTIONS:
        return f"this {operation} is a whole function: fg.find_nan of that function, or without it, looks inside"
    rule = (_VALUE_HINTS if kind == "value" else _COTANGENT_HINTS).get(operation)
    hint = rule(operands) if rule is not None else ""
    if hint or kind == "cotangent":
        return hint
    if result.infinities and not result.nans and result.dtype.kind == "f":
        largest = np.finfo(result.dtype).max
        return (
            f"the result overflows: the largest {result.dtype} is {largest:.3g}. Look for what makes the operands grow "
            f"(a learning rate, inputs that are not normalised, a product over many factors), or compute with "
            f"logarithms"
        )
    return ""


_OWN_RULES = frozenset(("custom_jvp", "custom_vjp"))
_WHOLE_FUNCTIONS = frozenset(("checkpoint", "cond", "scan", "while")) | _OWN_RULES
_INDETERMINATE = {
    **dict.fromkeys(("add", "subtract", "sum", "mean", "cumsum"), "inf - inf is NaN"),
    **dict.fromkeys(("multiply", "matmul", "prod"), "0 * inf is NaN, and so is the sum of inf and -inf"),
    "divide": "inf / inf is NaN",
}


def _came_in_hint(operation: str, operands: Operands, result: ArraySummary, came_in: tuple[str, ...]) -> str:
    infinite = not any([operand.nans for operand in operands])
    reason = f"{_INDETERMINATE[operation]}. " if infinite and result.nans and operation in _INDETERMINATE else ""
    mask = " Where infinities are meant, as in a mask of -inf, fg.find_nan(f, infinities=False) looks for NaN alone."
    return (
        f"{reason}Mend what came in where it is made ({', '.join(dict.fromkeys(came_in))}), or replace what is not "
        f"finite before it is used: x = fg.where(fg.isfinite(x), x, 0.0).{mask if infinite else ''}"
    )


def _has_zero(values: ArraySummary) -> bool:
    return values.minimum is not None and values.maximum is not None and values.minimum <= 0 <= values.maximum


def _has_negative(values: ArraySummary) -> bool:
    return values.minimum is not None and values.minimum < 0


def _log_value(operands: Operands) -> str:
    (x,) = operands
    what = "a negative number is NaN" if _has_negative(x) else "0 is -inf"
    return (
        f"the logarithm of {what}. Keep such operands out, fg.log(fg.where(x > 0, x, 1.0)), or use a function that has "
        f"the logarithm inside: fg.logsumexp, nn.log_softmax, nn.softplus"
    )


def _sqrt_value(operands: Operands) -> str:
    return (
        "the square root of a negative number is NaN. Rounding can make a difference negative that ought to be 0: "
        "fg.sqrt(fg.maximum(x, 0.0)); a variance is fg.var"
    )


def _exp_value(operands: Operands) -> str:
    (x,) = operands
    return (
        f"it overflows in {x.dtype}. Subtract the largest exponent first, as fg.logsumexp, nn.softmax and "
        f"nn.log_softmax do, or use nn.sigmoid and nn.softplus"
    )


def _divide_value(operands: Operands) -> str:
    divisor = operands[-1]
    if not _has_zero(divisor):
        return ""
    return (
        "a division by 0. Replace such divisors before they are used, x / fg.where(y == 0, 1.0, y), and select the "
        "result with fg.where; fg.divide_no_nan(x, y) is 0 where x is 0"
    )


def _rule_value(operands: Operands) -> str:
    if not _has_zero(operands[-1]):
        return ""
    return (
        "it is part of a derivative, which is infinite at this point, as those of fg.sqrt and fg.log are at 0: keep "
        "the operand of the function that is differentiated away from there"
    )


def _power_value(operands: Operands) -> str:
    base, exponent = operands
    if _has_negative(base):
        return "a negative number to a power that is not an integer is NaN: take fg.abs(x), or clip x at 0"
    if _has_zero(base) and _has_negative(exponent):
        return "0 to a negative power is infinite: replace zeros first, fg.where(x == 0, 1.0, x)"
    return ""


def _moment_value(operands: Operands) -> str:
    return "a mean needs at least one element, and a variance more than ddof of them"


def _range_value(condition: str, way_out: str) -> Callable[[Operands], str]:
    return lambda operands: f"it is defined for {condition}: {way_out}"


_INSIDE = "rounding can lead outside, and fg.clip(x, {}, {}) leads back"
_VALUE_HINTS: dict[str, Callable[[Operands], str]] = {
    "log": _log_value,
    "log2": _log_value,
    "log10": _log_value,
    "log1p": _range_value("x > -1", "keep other operands out, with fg.where(x > -1, x, 0.0) before it"),
    "sqrt": _sqrt_value,
    **dict.fromkeys(("exp", "exp2", "expm1", "sinh", "cosh"), _exp_value),
    "divide": _divide_value,
    "reciprocal": _divide_value,
    "divide_no_nan": _rule_value,
    "remainder": _divide_value,
    "floor_divide": _divide_value,
    "power": _power_value,
    "arcsin": _range_value("|x| <= 1", _INSIDE.format(-1.0, 1.0)),
    "arccos": _range_value("|x| <= 1", _INSIDE.format(-1.0, 1.0)),
    "arctanh": _range_value("|x| < 1", "keep the edges out, with fg.clip(x, -1.0 + eps, 1.0 - eps)"),
    "arccosh": _range_value("x >= 1", "rounding can lead below, and fg.maximum(x, 1.0) leads back"),
    "mean": _moment_value,
    "var": _moment_value,
}


def _pole(derivative: str, place: str, way_out: str) -> Callable[[Operands], str]:
    return lambda operands: f"its derivative {derivative} is infinite at {place}: {way_out}"


def _multiply_cotangent(operands: Operands) -> str:
    return (
        "an infinite factor. Where it comes from a branch that fg.where does not take, keep the operand of that branch "
        "harmless: f(fg.where(condition, x, 1.0)) inside of the fg.where"
    )


_SELECT = "select the operand before it, {}(fg.where(x {}, x, {})), and the result with a second fg.where"
_COTANGENT_HINTS: dict[str, Callable[[Operands], str]] = {
    "sqrt": _pole(
        "1 / (2 sqrt(x))", "0", "add a small number, fg.sqrt(x + 1e-12), or " + _SELECT.format("fg.sqrt", "> 0", 1.0)
    ),
    "log": _pole("1 / x", "0", _SELECT.format("fg.log", "> 0", 1.0)),
    "log2": _pole("1 / (x log(2))", "0", _SELECT.format("fg.log2", "> 0", 1.0)),
    "log10": _pole("1 / (x log(10))", "0", _SELECT.format("fg.log10", "> 0", 1.0)),
    "log1p": _pole("1 / (1 + x)", "-1", _SELECT.format("fg.log1p", "> -1", 0.0)),
    "divide": _pole("by the divisor, -x / y**2,", "y = 0", "divide by fg.where(y == 0, 1.0, y), and select the result"),
    "reciprocal": _pole("-1 / x**2", "0", _SELECT.format("fg.reciprocal", "!= 0", 1.0)),
    "power": _pole("y x**(y - 1)", "x = 0 for y < 1", "add a small number to x, or replace zeros with fg.where first"),
    "arcsin": _pole("1 / sqrt(1 - x**2)", "-1 and 1", "keep the edges out, with fg.clip(x, -1.0 + eps, 1.0 - eps)"),
    "arccos": _pole("-1 / sqrt(1 - x**2)", "-1 and 1", "keep the edges out, with fg.clip(x, -1.0 + eps, 1.0 - eps)"),
    "arctanh": _pole("1 / (1 - x**2)", "-1 and 1", "keep the edges out, with fg.clip(x, -1.0 + eps, 1.0 - eps)"),
    "arccosh": _pole("1 / sqrt(x**2 - 1)", "1", "keep the edge out, with fg.maximum(x, 1.0 + eps)"),
    "multiply": _multiply_cotangent,
    "matmul": _multiply_cotangent,
}
