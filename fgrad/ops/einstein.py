"""einsum: Einstein's summation convention, contracted two operands at a time by matrix products."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from math import prod as product
from typing import Any

import attrs
import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.primitive import Primitive
from fgrad.core.shape import Shape, ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.tensor import Tensor, to_tensor
from fgrad.ops.arguments import as_operand, dtype_of, shape_of
from fgrad.ops.contractions import diagonal_p
from fgrad.ops.declare import batch_by_example, bilinear, stands_for
from fgrad.ops.shaping import transpose
from fgrad.ops.structure import convert, reduce_sum, reshape_to

__all__ = ["einsum"]

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


# The primitive: two operands, no label twice in one of them, every label of one length and in at least two of x, y and
# the result. Then each adjoint is of the same kind: the result's labels and the other operand's give this operand's.


@attrs.frozen(eq=False, repr=False)
class _Plan:
    """How a product of two labelled operands is arranged as a stack of matrix products.

    An order of axes is None where it is theirs already. `direct` products are what matmul makes of the operands.
    """

    x_order: tuple[int, ...] | None
    y_order: tuple[int, ...] | None
    batch: int
    x_free: int
    y_free: int
    contracted: int
    out_order: tuple[int, ...] | None
    direct: bool


@functools.lru_cache(maxsize=1024)
def _plan(subscripts: str) -> _Plan:
    operands, out = subscripts.split("->")
    x, y = operands.split(",")
    batch = [label for label in x if label in y and label in out]
    contracted = [label for label in x if label not in out]
    x_free = [label for label in x if label not in y]
    y_free = [label for label in y if label not in x]
    arranged = batch + x_free + y_free
    return _Plan(
        x_order=_order_of([x.index(label) for label in batch + x_free + contracted]),
        y_order=_order_of([y.index(label) for label in batch + contracted + y_free]),
        batch=len(batch),
        x_free=len(x_free),
        y_free=len(y_free),
        contracted=len(contracted),
        out_order=_order_of([arranged.index(label) for label in out]),
        direct=len(contracted) == 1 >= max(len(x_free), len(y_free)) and (not batch or len(x_free + y_free) == 2),
    )


def _order_of(axes: list[int]) -> tuple[int, ...] | None:
    return None if axes == sorted(axes) else tuple(axes)


def _evaluate_pair(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], subscripts: str) -> Any:
    plan = _plan(subscripts)
    if plan.batch and plan.contracted and not plan.x_free and not plan.y_free:
        return np.einsum(subscripts, x, y)  # many short inner products: a call of BLAS for each would cost more
    x = x if plan.x_order is None else x.transpose(plan.x_order)
    y = y if plan.y_order is None else y.transpose(plan.y_order)
    if plan.direct:
        found = np.matmul(x, y)
        return found if plan.out_order is None else found.transpose(plan.out_order)
    batch = x.shape[: plan.batch]
    rows, columns = x.shape[plan.batch : plan.batch + plan.x_free], y.shape[y.ndim - plan.y_free :]
    if not plan.contracted:
        spread = (*batch, *rows, *[1] * plan.y_free)
        out = np.multiply(x.reshape(spread), y.reshape((*batch, *[1] * plan.x_free, *columns)))
    else:
        stack = (product(batch),) if plan.batch else ()
        length = product(x.shape[plan.batch + plan.x_free :])
        left = x.reshape((*stack, product(rows), length))
        right = y.reshape((*stack, length, product(columns)))
        out = np.matmul(left, right).reshape((*batch, *rows, *columns))
    return out if plan.out_order is None else out.transpose(plan.out_order)


def _pair_rule(x: ShapeDtype, y: ShapeDtype, subscripts: str) -> ShapeDtype:
    operands, out = subscripts.split("->")
    first, second = operands.split(",")
    lengths = dict(zip(second + first, y.shape + x.shape, strict=True))
    for label, length in zip(second, y.shape, strict=True):
        if lengths[label] != length:
            message = f"label {label!r} of {subscripts!r} has the lengths {lengths[label]} and {length}"
            raise ShapeError(message)
    return ShapeDtype(tuple([lengths[label] for label in out]), result_dtype(x, y))


def _left_adjoint(g: Any, x: Any, y: Any, subscripts: str) -> Any:
    operands, out = subscripts.split("->")
    first, second = operands.split(",")
    return bind(einsum_p, g, y, subscripts=f"{out},{second}->{first}")


def _right_adjoint(g: Any, x: Any, y: Any, subscripts: str) -> Any:
    operands, out = subscripts.split("->")
    first, second = operands.split(",")
    return bind(einsum_p, g, x, subscripts=f"{out},{first}->{second}")


def _batch_pair(primitive: Primitive, batched: tuple[bool, ...], x: Any, y: Any, subscripts: str) -> Any:
    examples = next((letter for letter in _LETTERS if letter not in subscripts), None)
    if examples is None:
        # No letter is left to name one more axis by.
        return batch_by_example(primitive, batched, x, y, subscripts=subscripts)
    operands, out = subscripts.split("->")
    terms = [examples + term if own else term for term, own in zip(operands.split(","), batched, strict=True)]
    return bind(primitive, x, y, subscripts=f"{','.join(terms)}->{examples}{out}")


einsum_p = bilinear("einsum", _evaluate_pair, _pair_rule, _left_adjoint, _right_adjoint, batch=_batch_pair)


# Reading the subscripts.


@attrs.frozen(eq=False, repr=False)
class _Contraction:
    """Subscripts with every ellipsis and the result spelled out, the length of each label, and the order of work.

    `pair` is the subscripts of the primitive where it can take the operands as they are, else None.
    """

    terms: tuple[str, ...]
    out: str
    lengths: dict[str, int]
    path: tuple[tuple[int, ...], ...]
    pair: str | None


def _check_characters(subscripts: str) -> None:
    for character in subscripts.replace("->", "").replace("...", "").replace(",", ""):
        if character not in _LETTERS:
            message = (
                f"{character!r} is not a subscript: subscripts are letters, operands are separated by ',', the result "
                f"follows '->', and '...' stands for the axes that are not named"
            )
            raise ShapeError(message)
    if subscripts.count("->") > 1 or [term for term in subscripts.replace("->", ",").split(",") if term.count(".") > 3]:
        message = "'->' occurs at most once, and '...' at most once in each operand and in the result"
        raise ShapeError(message)


def _expand_ellipsis(terms: list[str], out: str | None, shapes: Sequence[Shape]) -> tuple[list[str], str]:
    """The terms with letters that are not in use in place of '...', aligned from the right, and the result's labels."""
    used = set("".join(terms))
    spare = [letter for letter in _LETTERS if letter not in used]
    hidden = [
        len(shape) - len(term.replace("...", "")) if "..." in term else 0
        for term, shape in zip(terms, shapes, strict=True)
    ]
    for position, (term, shape, count) in enumerate(zip(terms, shapes, hidden, strict=True)):
        if count < 0 or ("..." not in term and len(term) != len(shape)):
            message = (
                f"operand {position} has {len(shape)} axes, and its subscripts {term!r} name {len(term.strip('.'))}"
            )
            raise ShapeError(message)
    deepest = max(hidden, default=0)
    if deepest > len(spare):
        message = f"there are not enough letters for the {deepest} axes of '...'"
        raise ShapeError(message)
    letters = "".join(spare[:deepest])
    expanded = [term.replace("...", letters[deepest - count :]) for term, count in zip(terms, hidden, strict=True)]
    if out is None:
        named = "".join(terms).replace(".", "")
        return expanded, letters + "".join(sorted(label for label in set(named) if named.count(label) == 1))
    if deepest and "..." not in out:
        message = f"'...' stands for {deepest} axes of the operands and must stand in the result {out!r} too"
        raise ShapeError(message)
    return expanded, out.replace("...", letters)


def _measure(terms: Sequence[str], shapes: Sequence[Shape]) -> dict[str, int]:
    """The length of each label; axes of length 1 broadcast between operands."""
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, length in zip(term, shape, strict=True):
            before = lengths.get(label, 1)
            own = {other for name, other in zip(term, shape, strict=True) if name == label}
            if len(own) > 1 or (before not in (1, length) and length != 1):
                found = " and ".join(map(str, sorted(own if len(own) > 1 else {before, length})))
                message = f"label {label!r} has the lengths {found}, which must be equal (or 1, in different operands)"
                raise ShapeError(message)
            lengths[label] = length if before == 1 else before
    return lengths


@functools.lru_cache(maxsize=1024)
def _read(subscripts: str, shapes: tuple[Shape, ...], optimize: Any) -> _Contraction:
    _check_characters(subscripts)
    left, arrow, right = subscripts.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        message = f"the subscripts name {len(terms)} operands, and {len(shapes)} are given"
        raise ShapeError(message)
    terms, out = _expand_ellipsis(terms, right if arrow else None, shapes)
    lengths = _measure(terms, shapes)
    for label in out:
        if label not in lengths or out.count(label) > 1:
            reason = "names no axis of an operand" if label not in lengths else "occurs more than once"
            message = f"label {label!r} of the result {out!r} {reason}"
            raise ShapeError(message)
    path: Any = ()
    if len(terms) > 2:
        stand_ins = [np.broadcast_to(np.empty(()), shape) for shape in shapes]
        choice = list(optimize) if isinstance(optimize, tuple) else optimize
        path = np.einsum_path(f"{','.join(terms)}->{out}", *stand_ins, optimize=choice)[0][1:]
    steps = tuple([tuple(positions) for positions in path])
    return _Contraction(tuple(terms), out, lengths, steps, _as_pair(terms, out, lengths, shapes))


def _as_pair(terms: Sequence[str], out: str, lengths: dict[str, int], shapes: Sequence[Shape]) -> str | None:
    if len(terms) != 2:
        return None
    for term, partner, shape in zip(terms, reversed(terms), shapes, strict=True):
        if len(set(term)) != len(term) or set(term) - set(partner + out):
            return None
        if shape != tuple([lengths[label] for label in term]):
            return None
    return f"{terms[0]},{terms[1]}->{out}"


def _from_lists(args: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """``einsum(a, [0, 1], b, [1, 2], [0, 2])`` in letters."""
    terms = [args[position] for position in range(1, len(args), 2)]
    out = args[-1] if len(args) % 2 else None

    def letters(labels: Any) -> str:
        try:
            return "".join(["..." if label is Ellipsis else _LETTERS[operator.index(label)] for label in labels])
        except (TypeError, IndexError):
            message = (
                f"[einsum] takes subscripts and operands, einsum('ij,jk->ik', a, b), or operands that are each "
                f"followed by a list of labels from 0 to 51, einsum(a, [0, 1], b, [1, 2], [0, 2]); {labels!r:.80} is "
                f"no such list"
            )
            raise ShapeError(at_user_line(message)) from None

    subscripts = ",".join(map(letters, terms))
    if out is not None:
        subscripts = f"{subscripts}->{letters(out)}"
    return subscripts, args[: 2 * len(terms) : 2]


# Contracting.


def _simplified(x: Any, term: str, contraction: _Contraction, elsewhere: str) -> tuple[Any, str]:
    """One operand without repeated labels, labels that it broadcasts, and labels that no one else has."""
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            first = term.index(label)
            second = term.index(label, first + 1)
            x = bind(diagonal_p, x, offset=0, axis1=first, axis2=second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + label
    shape = shape_of(x)
    stretched = [label for label, length in zip(term, shape, strict=True) if length != contraction.lengths[label]]
    if stretched:
        kept = [axis for axis, label in enumerate(term) if label not in stretched]
        x = reshape_to(x, tuple([shape[axis] for axis in kept]))
        term = "".join([term[axis] for axis in kept])
    alone = tuple([axis for axis, label in enumerate(term) if label not in elsewhere])
    return _summed(x, term, alone)


def _summed(x: Any, term: str, axes: tuple[int, ...]) -> tuple[Any, str]:
    if not axes:
        return x, term
    dtype = dtype_of(x)
    x = reduce_sum(x, axes)
    # Unlike sum, einsum adds small integers in their own dtype.
    x = x if x.dtype == dtype else convert(x, dtype)
    return x, "".join([label for axis, label in enumerate(term) if axis not in axes])


def _contract_pair(first: tuple[Any, str], second: tuple[Any, str], needed: str) -> tuple[Any, str]:
    (x, x_term), (y, y_term) = first, second
    out = "".join([label for label in dict.fromkeys(x_term + y_term) if label in needed])
    # A label that squeezing left to one operand alone is summed there.
    x, x_term = _summed(x, x_term, tuple([a for a, label in enumerate(x_term) if label not in y_term + needed]))
    y, y_term = _summed(y, y_term, tuple([a for a, label in enumerate(y_term) if label not in x_term + needed]))
    return bind(einsum_p, x, y, subscripts=f"{x_term},{y_term}->{out}"), out


def _contract_all(operands: list[Any], contraction: _Contraction) -> Any:
    if contraction.pair is not None:
        return bind(einsum_p, *operands, subscripts=contraction.pair)
    terms, out = contraction.terms, contraction.out
    work: list[tuple[Any, str]] = []
    for position, (x, term) in enumerate(zip(operands, terms, strict=True)):
        elsewhere = "".join([*terms[:position], *terms[position + 1 :], out])
        work.append(_simplified(x, term, contraction, elsewhere))
    for positions in contraction.path or [(0, 1)] * (len(work) - 1):
        chosen = [work[position] for position in sorted(positions)]
        work = [item for position, item in enumerate(work) if position not in positions]
        found = chosen[0]
        for index, item in enumerate(chosen[1:], 2):
            needed = "".join([out, *[term for _, term in [*chosen[index:], *work]]])
            found = _contract_pair(found, item, needed)
        work.append(found)
    x, term = work[0]
    x, term = _summed(x, term, tuple([axis for axis, label in enumerate(term) if label not in out]))
    return x if term == out else transpose(x, [term.index(label) for label in out])


def _order(optimize: Any) -> Any:
    """The argument `optimize` as a hashable value."""
    if isinstance(optimize, list | tuple):
        return tuple([step if isinstance(step, str) else tuple(step) for step in optimize])
    return "greedy" if optimize is True else optimize


@stands_for(np.einsum)
def einsum(*args: Any, optimize: Any = True, dtype: Any = None) -> Tensor:
    """Sums of products after Einstein: ``einsum("ij,jk->ik", a, b)`` is a matrix product.

    Every axis has a letter. Axes of one letter are multiplied elementwise (a letter that is repeated in one operand
    takes its diagonal), and letters that the result does not name are summed over. Without ``->`` the result has, in
    alphabetical order, the letters that occur once. ``...`` stands for further axes, which broadcast from the right.
    Between operands an axis of length 1 broadcasts.

    Operands are contracted two at a time, as matrix products, and each cotangent is such a contraction again.

    Args:
        *args: subscripts and operands; or, for each operand, itself and a list of labels from 0 to 51, and last
            (optionally) the list of the result: ``einsum(a, [0, 1], b, [1, 2], [0, 2])``.
        optimize: the order for three operands or more, as `numpy.einsum_path` takes it: True or "greedy", "optimal",
            False for the given order, or a path.
        dtype: the dtype of the computation and the result; by default the operands' promoted one.

    Raises:
        ShapeError: the subscripts cannot be read, do not fit the operands' axes, or give a letter two lengths.

    >>> import fgrad as fg
    >>> a = fg.asarray([[1.0, 2.0], [3.0, 4.0]])
    >>> fg.einsum("ij,j->i", a, fg.asarray([1.0, -1.0]))
    Tensor([-1., -1.], dtype=float64)
    >>> fg.einsum("ii", a)
    Tensor(5., dtype=float64)
    """
    subscripts, given = (args[0], args[1:]) if args and isinstance(args[0], str) else _from_lists(args)
    operands = [as_operand(value) for value in given]
    try:
        contraction = _read(subscripts.replace(" ", ""), tuple([shape_of(x) for x in operands]), _order(optimize))
    except ShapeError as reason:
        avals = " and ".join([str(shape_dtype_of(x)) for x in operands])
        message = f"[einsum] {subscripts!r} on {avals or 'no operands'}: {reason.args[0]}"
        raise ShapeError(at_user_line(message)) from None
    dtypes = [dtype_of(x) for x in operands]
    if dtype is not None or any([own is not dtypes[0] for own in dtypes]):
        wanted = np.result_type(*dtypes) if dtype is None else np.dtype(dtype)
        operands = [x if own == wanted else convert(x, wanted) for x, own in zip(operands, dtypes, strict=True)]
    return to_tensor(_contract_all(operands, contraction))
