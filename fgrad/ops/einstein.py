"""einsum: Einstein's summation convention, contracted two operands at a time by matrix products."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from math import prod as product
from typing import Any

import attrs
import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line, refuse_out
from fgrad.core.primitive import Primitive
from fgrad.core.shape import Shape, ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.tensor import ConcreteTensor, Tensor, adopt, to_tensor
from fgrad.ops.arguments import as_operand, dtype_of, numeric_dtype
from fgrad.ops.contractions import diagonal_p
from fgrad.ops.declare import batch_by_example, bilinear, stands_for
from fgrad.ops.shaping import transpose_p
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
class _Step:
    """One operation of a contraction, on values by their numbers: the operands first, then what each step makes.

    `evaluate` is the same operation on arrays.
    """

    operation: Callable[..., Any]
    evaluate: Callable[..., Any]
    inputs: tuple[int, ...]
    params: dict[str, Any]


@attrs.frozen(eq=False, repr=False)
class _Contraction:
    """Subscripts with every ellipsis and the result spelled out, the length of each label, and the order of work."""

    terms: tuple[str, ...]
    out: str
    lengths: dict[str, int]
    path: tuple[tuple[int, ...], ...]


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
    return _Contraction(tuple(terms), out, lengths, tuple([tuple(positions) for positions in path]))


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


# Contracting. The steps depend on subscripts and shapes alone, so they are found once for each.


def _take_diagonal(x: Any, axis1: int, axis2: int) -> Any:
    return bind(diagonal_p, x, offset=0, axis1=axis1, axis2=axis2)


def _add_up(x: Any, axes: tuple[int, ...]) -> Any:
    """The sum over axes, in the dtype of x: unlike sum, einsum adds small integers in their own."""
    total = reduce_sum(x, axes)
    return total if total.dtype == dtype_of(x) else convert(total, dtype_of(x))


def _multiply_pair(x: Any, y: Any, subscripts: str) -> Any:
    return bind(einsum_p, x, y, subscripts=subscripts)


def _arrange(x: Any, axes: tuple[int, ...]) -> Any:
    return bind(transpose_p, x, axes=axes)


_ON_ARRAYS: dict[Callable[..., Any], Callable[..., Any]] = {
    _take_diagonal: lambda x, axis1, axis2: x.diagonal(0, axis1, axis2),
    _add_up: lambda x, axes: np.add.reduce(x, axes, x.dtype),
    _multiply_pair: _evaluate_pair,
    _arrange: lambda x, axes: x.transpose(axes),
    reshape_to: lambda x, shape: x.reshape(shape),
}


@attrs.frozen(eq=False, repr=False)
class _Work:
    """A value on its way through the contraction: its number and the label of each of its axes."""

    value: int
    term: str


@attrs.frozen(eq=False, repr=False)
class _Planner:
    """Adds to the steps on the values of a contraction of so many operands."""

    contraction: _Contraction
    steps: list[_Step] = attrs.field(factory=list, init=False)

    def add(self, operation: Callable[..., Any], *inputs: int, **params: Any) -> int:
        self.steps.append(_Step(operation, _ON_ARRAYS[operation], inputs, params))
        return len(self.contraction.terms) + len(self.steps) - 1

    def simplify(self, value: int, shape: Shape, elsewhere: str) -> _Work:
        """One operand without repeated labels, labels that it broadcasts, and labels that no one else has."""
        term = self.contraction.terms[value]
        for label in dict.fromkeys(term):
            while term.count(label) > 1:
                first = term.index(label)
                second = term.index(label, first + 1)
                value = self.add(_take_diagonal, value, axis1=first, axis2=second)
                term = term[:first] + term[first + 1 : second] + term[second + 1 :] + label
                shape = (*shape[:first], *shape[first + 1 : second], *shape[second + 1 :], shape[first])
        kept = [axis for axis, label in enumerate(term) if shape[axis] == self.contraction.lengths[label]]
        if len(kept) < len(term):
            value = self.add(reshape_to, value, shape=tuple([shape[axis] for axis in kept]))
            term = "".join([term[axis] for axis in kept])
        return self.sum_all_but(_Work(value, term), elsewhere)

    def sum_all_but(self, work: _Work, needed: str) -> _Work:
        axes = tuple([axis for axis, label in enumerate(work.term) if label not in needed])
        if not axes:
            return work
        term = "".join([label for label in work.term if label in needed])
        return _Work(self.add(_add_up, work.value, axes=axes), term)

    def contract_pair(self, first: _Work, second: _Work, needed: str) -> _Work:
        out = "".join([label for label in dict.fromkeys(first.term + second.term) if label in needed])
        # A label that squeezing left to one operand alone is summed there.
        x = self.sum_all_but(first, second.term + needed)
        y = self.sum_all_but(second, first.term + needed)
        return _Work(self.add(_multiply_pair, x.value, y.value, subscripts=f"{x.term},{y.term}->{out}"), out)

    def finish(self, work: _Work) -> None:
        out = self.contraction.out
        work = self.sum_all_but(work, out)
        if work.term != out:
            if self.steps and self.steps[-1].operation is _multiply_pair:
                # The primitive arranges its result itself.
                last = self.steps.pop()
                subscripts = f"{last.params['subscripts'].partition('->')[0]}->{out}"
                self.add(_multiply_pair, *last.inputs, subscripts=subscripts)
            else:
                self.add(_arrange, work.value, axes=tuple([work.term.index(label) for label in out]))


@functools.lru_cache(maxsize=1024)
def _plan_steps(subscripts: str, shapes: tuple[Shape, ...], optimize: Any) -> tuple[_Step, ...]:
    contraction = _read(subscripts, shapes, optimize)
    planner = _Planner(contraction)
    terms, out = contraction.terms, contraction.out
    work: list[_Work] = []
    for position, shape in enumerate(shapes):
        elsewhere = "".join([*terms[:position], *terms[position + 1 :], out])
        work.append(planner.simplify(position, shape, elsewhere))
    for positions in contraction.path or [(0, 1)] * (len(work) - 1):
        chosen = [work[position] for position in sorted(positions)]
        work = [item for position, item in enumerate(work) if position not in positions]
        found = chosen[0]
        for index, item in enumerate(chosen[1:], 2):
            needed = "".join([out, *[other.term for other in [*chosen[index:], *work]]])
            found = planner.contract_pair(found, item, needed)
        work.append(found)
    planner.finish(work[0])
    return tuple(planner.steps)


def _follow(steps: tuple[_Step, ...], operands: list[Any]) -> Any:
    values = list(operands)
    for step in steps:
        values.append(step.operation(*[values[number] for number in step.inputs], **step.params))
    return values[-1]


def _contract_arrays(subscripts: str, arrays: list[Any]) -> Any:
    """The contraction of arrays of one dtype; None where the general way has to be taken, or explains what is wrong."""
    dtype = arrays[0].dtype
    try:
        steps = _plan_steps(subscripts, tuple([x.shape for x in arrays]), "greedy")
    except ShapeError:
        return None
    for array in arrays:
        if array.dtype is not dtype:
            return None
    for step in steps:
        arrays.append(step.evaluate(*[arrays[number] for number in step.inputs], **step.params))
    return arrays[-1]


def _order(optimize: Any) -> Any:
    """The argument `optimize` as a hashable value."""
    if isinstance(optimize, list | tuple):
        return tuple([step if isinstance(step, str) else tuple(step) for step in optimize])
    return "greedy" if optimize is True else optimize


@stands_for(np.einsum)
def einsum(*args: Any, optimize: Any = True, dtype: Any = None, out: None = None) -> Tensor:
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
    if out is not None:
        refuse_out("fg.einsum")
    arrays = [x._array for x in args[1:] if type(x) is ConcreteTensor]
    if 0 < len(arrays) == len(args) - 1 and type(args[0]) is str and dtype is None and optimize is True:
        found = _contract_arrays(args[0], arrays)
        if found is not None:
            return adopt(np.asarray(found))
    subscripts, given = (args[0], args[1:]) if args and isinstance(args[0], str) else _from_lists(args)
    operands = [as_operand(value) for value in given]
    try:
        steps = _plan_steps(subscripts.replace(" ", ""), tuple([x.shape for x in operands]), _order(optimize))
    except ShapeError as reason:
        avals = " and ".join([str(shape_dtype_of(x)) for x in operands])
        message = f"[einsum] {subscripts!r} on {avals or 'no operands'}: {reason.args[0]}"
        raise ShapeError(at_user_line(message)) from None
    dtypes = [x.dtype for x in operands]
    if dtype is not None or any([own is not dtypes[0] for own in dtypes]):
        wanted = np.result_type(*dtypes) if dtype is None else numeric_dtype(dtype)
        operands = [x if own == wanted else convert(x, wanted) for x, own in zip(operands, dtypes, strict=True)]
    return to_tensor(_follow(steps, operands))
