"""check_grads: derivatives of any order against central differences along random directions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np

from fgrad.core.errors import NotDifferentiableError
from fgrad.core.pytree import flatten, flatten_with_path, tree_leaves, unflatten
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, shape_dtype_of
from fgrad.core.tensor import Tensor, adopt, to_tensor
from fgrad.transforms.reverse import vjp

__all__ = ["check_grads"]

Array: TypeAlias = np.ndarray[Any, Any]


@attrs.frozen
class _Accuracy:
    """How far the two sides may be apart, and how far the differences step."""

    rtol: float
    atol: float
    eps: float


# By the bytes of one real number. The steps are powers of two, so that x + step is nearly free of rounding; the error
# of the formula is of order eps**4 and that of rounding of order (unit roundoff) / eps.
_ACCURACIES = {
    2: _Accuracy(rtol=5e-2, atol=5e-2, eps=2.0**-3),
    4: _Accuracy(rtol=1e-4, atol=1e-4, eps=2.0**-5),
    8: _Accuracy(rtol=1e-6, atol=1e-7, eps=2.0**-10),
}


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    eps: float | None = None,
    seed: int = 0,
) -> None:
    """Checks the derivatives of a function, up to an order, against central differences.

    For every floating-point or complex leaf x of the arguments, with a random direction v of the shape of x and a
    random cotangent u of the shape of the outputs, the pullback of f must give the same number as differences do::

        Re sum(pullback(u)_x * v)  =  d/dt Re sum(u * f(x + t v)) at t = 0

    The right side is (8 (s(h) - s(-h)) - (s(2h) - s(-2h))) / 12h for s(t) = Re sum(u * f(x + t v)), whose error is of
    order h**4 (Fornberg, Generation of finite difference formulas on arbitrarily spaced grids, Math. Comp. 51, 1988,
    table 1). The entries of v lie between 1/2 and 1 in size, so no element moves further than 2h; a complex leaf moves
    that far in its real and its imaginary part. The pairing has no conjugation, so it is right for functions that are
    not holomorphic too. Every cotangent must have the shape and dtype of its primal. Order n checks in the same way
    the function that takes the arguments and the cotangents to the gradients of order n - 1.

    Check in float64 where you can: there a derivative that is wrong by one part in 100,000 is found. The same call
    always draws the same directions.

    Args:
        f: takes `args` and returns a pytree; its floating-point and complex leaves are differentiated.
        args: the tuple of positional arguments, pytrees of numbers and arrays; leaves that are not floating point or
            complex stay as they are. f must be smooth within 2 `eps` of them.
        order: the highest order of derivative, 1 or more.
        rtol: the difference allowed, relative to the larger of the two numbers. By default 1e-6, 1e-4 when float32
            takes part, 5e-2 with float16.
        atol: the difference allowed besides. By default 1e-7, 1e-4, 5e-2.
        eps: the step h. By default 2**-10, 2**-5, 2**-3.
        seed: of the directions.

    Raises:
        AssertionError: when a derivative is wrong; the message names the order, the argument's path, both numbers and
            what was allowed.
        NotDifferentiableError: when there is nothing to check: no floating-point leaf in the arguments or the result.
        TypeError, ValueError: when f is not callable, args is not a tuple or a list, or order is less than 1.

    >>> import fgrad as fg
    >>> from fgrad.testing import check_grads
    >>> check_grads(lambda w, x: fg.sum(fg.tanh(x @ w)), (fg.full((3,), 0.5), fg.full((2, 3), 0.1)), order=2)
    >>> check_grads(lambda x: x * fg.stop_gradient(x), (3.0,))
    Traceback (most recent call last):
    ...
    AssertionError: check_grads of <lambda>, order 1, by args[0]: reverse mode gives ... central differences give ...
    """
    _require_arguments(f, args, order)
    problem = _flat_problem(f, args)
    generator = np.random.Generator(np.random.PCG64(seed))
    for current in range(1, order + 1):
        cotangents = [_draw_normal(generator, aval) for aval in problem.output_avals()]
        default = _default_accuracy(problem.inputs, cotangents)
        accuracy = _Accuracy(
            default.rtol if rtol is None else rtol,
            default.atol if atol is None else atol,
            default.eps if eps is None else eps,
        )
        where = f"check_grads of {getattr(f, '__name__', repr(f))}, order {current}"
        _check_first_order(problem, cotangents, accuracy, generator, where)
        problem = problem.gradient(cotangents)


def _require_arguments(f: Any, args: Any, order: Any) -> None:
    if not callable(f):
        message = f"check_grads takes a function and its arguments, not a {type(f).__name__}: check_grads(f, (x,))"
        raise TypeError(message)
    if not isinstance(args, tuple | list):
        message = f"args is the tuple of f's positional arguments, not a {type(args).__name__}: check_grads(f, (x,))"
        raise TypeError(message)
    if operator.index(order) < 1:
        message = f"order is the highest order of derivative to check, 1 or more, not {order}"
        raise ValueError(message)


@attrs.frozen(eq=False)
class _Problem:
    """A function from inexact leaves to a list of inexact leaves, and where to differentiate it."""

    function: Callable[..., list[Any]]
    inputs: list[Any]
    names: list[str]

    def output_avals(self) -> list[ShapeDtype]:
        return [shape_dtype_of(leaf) for leaf in self.function(*self.inputs)]

    def gradient(self, cotangents: list[Any]) -> _Problem:
        """The function from inputs and cotangents to the pullback's results."""
        count = len(self.inputs)

        def pull_back(*values: Any) -> list[Any]:
            _, pullback = vjp(self.function, *values[:count])
            return list(pullback(list(values[count:])))

        names = [f"the cotangent of output {position}" for position in range(len(cotangents))]
        return _Problem(pull_back, [*self.inputs, *cotangents], [*self.names, *names])


def _flat_problem(f: Callable[..., Any], args: Sequence[Any]) -> _Problem:
    leaves, structure = flatten(list(args))
    paths = [f"args{path}" for path, _ in flatten_with_path(list(args))[0]]
    chosen = [position for position, leaf in enumerate(leaves) if _is_inexact(leaf)]
    if not chosen:
        message = (
            f"check_grads has nothing to check: args hold no floating-point or complex leaf ({paths or 'no leaf'})"
        )
        raise NotDifferentiableError(message)

    def function(*values: Any) -> list[Any]:
        filled = list(leaves)
        for position, value in zip(chosen, values, strict=True):
            filled[position] = value
        return [leaf for leaf in tree_leaves(f(*unflatten(structure, filled))) if _is_inexact(leaf)]

    inputs = [leaf if type(leaf) is float else to_tensor(leaf) for leaf in (leaves[position] for position in chosen)]
    if not function(*inputs):
        message = "check_grads has nothing to check: the function returns no floating-point or complex leaf"
        raise NotDifferentiableError(message)
    return _Problem(function, inputs, [paths[position] for position in chosen])


def _is_inexact(leaf: Any) -> bool:
    return (
        isinstance(leaf, Tensor | np.ndarray | np.generic | float | complex) and shape_dtype_of(leaf).dtype.kind in "fc"
    )


def _check_first_order(
    problem: _Problem, cotangents: list[Any], accuracy: _Accuracy, generator: np.random.Generator, where: str
) -> None:
    _, pullback = vjp(problem.function, *problem.inputs)
    found = pullback(cotangents)
    for position, (name, primal, gradient) in enumerate(zip(problem.names, problem.inputs, found, strict=True)):
        aval = shape_dtype_of(primal)
        if gradient.shape != aval.shape or gradient.dtype != aval.dtype:
            message = (
                f"{where}, by {name}: the cotangent has shape {gradient.shape} and dtype {gradient.dtype}; the primal "
                f"has shape {aval.shape} and dtype {aval.dtype}"
            )
            raise AssertionError(message)
        direction = _draw_direction(generator, aval)
        exact = _pair(np.asarray(gradient), direction)
        near, far = _differences(problem, position, direction, cotangents, accuracy.eps)
        numeric = (4 * near - far) / 3
        allowed = accuracy.atol + accuracy.rtol * max(abs(exact), abs(numeric))
        if not abs(exact - numeric) <= allowed:  # so put that NaN fails
            raise AssertionError(_describe_failure(f"{where}, by {name}", exact, near, far, allowed, accuracy))


def _describe_failure(where: str, exact: float, near: float, far: float, allowed: float, accuracy: _Accuracy) -> str:
    numeric = (4 * near - far) / 3
    lines = [
        f"{where}: reverse mode gives {exact:.12g}, central differences give {numeric:.12g} along the same direction.",
        (
            f"They differ by {abs(exact - numeric):.3g}; allowed are {allowed:.3g} "
            f"(atol {accuracy.atol:.3g} + rtol {accuracy.rtol:.3g} of the larger; step {accuracy.eps:.3g})."
        ),
    ]
    if not np.isfinite(exact) or not np.isfinite(numeric):
        lines.append("A number that is not finite cannot be checked: stay inside the function's domain.")
    elif abs(near - far) > 0.01 * max(abs(near), abs(far)) + accuracy.atol:
        lines.append(
            f"The step and its double give {near:.6g} and {far:.6g}: the function bends strongly or has a kink near "
            f"these arguments; move them, or make eps smaller."
        )
    return "\n".join(lines)


def _differences(
    problem: _Problem, position: int, direction: Array, cotangents: list[Any], eps: float
) -> tuple[float, float]:
    """The slopes over one step and over two, to either side."""

    def outputs(distance: float) -> list[Any]:
        values = list(problem.inputs)
        values[position] = _move(values[position], distance * direction)
        return problem.function(*values)

    def slope(distance: float) -> float:
        total = 0.0
        for cotangent, ahead, behind in zip(cotangents, outputs(distance), outputs(-distance), strict=True):
            with np.errstate(invalid="ignore"):  # inf - inf is reported as a failure, not as a warning
                total += _pair(np.asarray(cotangent), _widen(np.asarray(ahead)) - _widen(np.asarray(behind)))
        return total / (2 * distance)

    return slope(eps), slope(2 * eps)


def _move(primal: Any, displacement: Array) -> Any:
    if type(primal) in PYTHON_NUMBERS:
        return primal + float(displacement)
    array = np.asarray(primal)
    return adopt(np.asarray(_widen(array) + displacement, array.dtype))


def _widen(array: Array) -> Array:
    return np.asarray(array, np.result_type(array.dtype, np.float64))


def _pair(first: Array, second: Array) -> float:
    """The real part of the sum of products, without conjugation."""
    with np.errstate(invalid="ignore"):
        return float(np.sum(_widen(first) * _widen(second)).real)


def _draw_direction(generator: np.random.Generator, aval: ShapeDtype) -> Array:
    # Multiples of 1/1024: their products with the step are exact, and x + them nearly so in float32 as well.
    def draw() -> Array:
        size = generator.integers(512, 1024, aval.shape, endpoint=True) / 1024.0
        return np.asarray(np.where(generator.random(aval.shape) < 0.5, -size, size))

    return draw() + 1j * draw() if aval.dtype.kind == "c" else draw()


def _draw_normal(generator: np.random.Generator, aval: ShapeDtype) -> Tensor:
    drawn = generator.standard_normal(aval.shape)
    if aval.dtype.kind == "c":
        drawn = drawn + 1j * generator.standard_normal(aval.shape)
    return adopt(np.asarray(drawn, aval.dtype))


def _default_accuracy(inputs: list[Any], cotangents: list[Any]) -> _Accuracy:
    sizes = [np.dtype(shape_dtype_of(leaf).dtype).type(0).real.dtype.itemsize for leaf in (*inputs, *cotangents)]
    return _ACCURACIES[min(8, *sizes)]
