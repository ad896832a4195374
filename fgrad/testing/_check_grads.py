"""check_grads: derivatives of any order, in both modes and every nesting, against central differences."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np

from fgrad.core.errors import NotDifferentiableError, with_article
from fgrad.core.pytree import flatten, flatten_with_path, tree_leaves, unflatten
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, shape_dtype_of
from fgrad.core.tensor import Tensor, adopt, to_tensor
from fgrad.transforms.forward import jvp
from fgrad.transforms.reverse import vjp

__all__ = ["check_grads"]

Array: TypeAlias = np.ndarray[Any, Any]


@attrs.frozen
class _Accuracy:
    """How far two numbers may be apart, and how far the differences step.

    `exchange` is what the two modes may be apart, relative to 1 plus the sizes of the terms of <u, J v> and of
    <J^T u, v>: no differences take part there, only rounding.
    """

    rtol: float
    atol: float
    eps: float
    exchange: float


# By the bytes of one real number. The steps are powers of two, so that x + step is nearly free of rounding; the error
# of the formula is of order eps**4 and that of rounding of order (unit roundoff) / eps.
_ACCURACIES = {
    2: _Accuracy(rtol=5e-2, atol=5e-2, eps=2.0**-3, exchange=2e-2),
    4: _Accuracy(rtol=1e-4, atol=1e-4, eps=2.0**-5, exchange=2e-5),
    8: _Accuracy(rtol=1e-6, atol=1e-7, eps=2.0**-10, exchange=1e-9),
}

# Reverse mode first: it is the one that most people use.
_MODES = {"rev": "reverse", "fwd": "forward"}
_NAMES = _MODES | {"both": "both modes"}


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = ("fwd", "rev"),
    *,
    rtol: float | None = None,
    atol: float | None = None,
    eps: float | None = None,
    seed: int = 0,
) -> None:
    """Checks the derivatives of a function, up to an order, in both modes, against central differences.

    For every floating-point or complex leaf x of the arguments, with a random direction v of the shape of x and a
    random cotangent u of the shape of the outputs, three numbers must agree::

        Re sum(u * jvp(v))            forward mode, <u, J v>
        Re sum(pullback(u)_x * v)     reverse mode, <J^T u, v>
        d/dt Re sum(u * f(x + t v))   at t = 0, by differences

    The last is (8 (s(h) - s(-h)) - (s(2h) - s(-2h))) / 12h for s(t) = Re sum(u * f(x + t v)), whose error is of
    order h**4 (Fornberg, Generation of finite difference formulas on arbitrarily spaced grids, Math. Comp. 51, 1988,
    table 1). The entries of v lie between 1/2 and 1 in size, so no element moves further than 2h; a complex leaf moves
    that far in its real and its imaginary part. The pairing has no conjugation, so it is right for functions that are
    not holomorphic too. The two modes must agree with each other to rounding, every tangent must have the shape and
    dtype of its output, every cotangent those of its primal, and the values inside a mode must be those outside.

    Order n checks in the same way the functions that take arguments and tangents, or arguments and cotangents, to the
    derivatives of order n - 1: for order 2 that is forward over forward, forward over reverse, reverse over forward
    and reverse over reverse.

    Check in float64 where you can: there a derivative that is wrong by one part in 100,000 is found. The same call
    always draws the same directions.

    Args:
        f: takes `args` and returns a pytree; its floating-point and complex leaves are differentiated.
        args: the tuple of positional arguments, pytrees of numbers and arrays; leaves that are not floating point or
            complex stay as they are. f must be smooth within 2 `eps` of them.
        order: the highest order of derivative, 1 or more.
        modes: "fwd", "rev" or both, as they are nested; a function with a reverse rule alone (`custom_vjp`) is
            checked with ``modes=("rev",)``.
        rtol: the difference allowed, relative to the larger of the two numbers. By default 1e-6, 1e-4 when float32
            takes part, 5e-2 with float16.
        atol: the difference allowed besides. By default 1e-7, 1e-4, 5e-2.
        eps: the step h. By default 2**-10, 2**-5, 2**-3.
        seed: of the directions.

    Raises:
        AssertionError: when a derivative is wrong; the message names the order and the nesting of the modes, the
            argument's path, both numbers and what was allowed.
        NotDifferentiableError: when there is nothing to check: no floating-point leaf in the arguments or the result.
        TypeError, ValueError: when f is not callable, args is not a tuple or a list, order is less than 1, or modes
            are others than these.

    >>> import fgrad as fg
    >>> from fgrad.testing import check_grads
    >>> check_grads(lambda w, x: fg.sum(fg.tanh(x @ w)), (fg.full((3,), 0.5), fg.full((2, 3), 0.1)), order=2)
    >>> check_grads(lambda x: x * fg.stop_gradient(x), (3.0,))
    Traceback (most recent call last):
    ...
    AssertionError: check_grads of <lambda>, order 1, by args[0]: reverse mode gives ... central differences give ...
    """
    _require_arguments(f, args, order)
    checker = _Checker(
        getattr(f, "__name__", repr(f)),
        _parse_modes(modes),
        rtol,
        atol,
        eps,
        np.random.Generator(np.random.PCG64(seed)),
    )
    checker.check(_flat_problem(f, args), operator.index(order), ())


def _require_arguments(f: Any, args: Any, order: Any) -> None:
    if not callable(f):
        message = f"check_grads takes a function and its arguments, not {with_article(type(f))}: check_grads(f, (x,))"
        raise TypeError(message)
    if not isinstance(args, tuple | list):
        message = f"args is the tuple of f's positional arguments, not {with_article(type(args))}: check_grads(f, (x,))"
        raise TypeError(message)
    if operator.index(order) < 1:
        message = f"order is the highest order of derivative to check, 1 or more, not {order}"
        raise ValueError(message)


def _parse_modes(modes: Any) -> tuple[str, ...]:
    given = (modes,) if isinstance(modes, str) else tuple(modes)
    unknown = [mode for mode in given if mode not in _MODES]
    if unknown or not given:
        message = f'modes is "fwd", "rev" or both, not {modes!r}: check_grads(f, (x,), modes=("fwd", "rev"))'
        raise ValueError(message)
    return tuple([mode for mode in _MODES if mode in given])


@attrs.frozen(eq=False)
class _Problem:
    """A function from inexact leaves to a list of inexact leaves, and where to differentiate it."""

    function: Callable[..., list[Any]]
    inputs: list[Any]
    names: list[str]

    def pulled_back(self, cotangents: list[Any]) -> _Problem:
        """The function from inputs and cotangents to the pullback's results."""
        count = len(self.inputs)

        def pull_back(*values: Any) -> list[Any]:
            _, pullback = vjp(self.function, *values[:count])
            return list(pullback(list(values[count:])))

        names = [f"the cotangent of output {position}" for position in range(len(cotangents))]
        return _Problem(pull_back, [*self.inputs, *cotangents], [*self.names, *names])

    def pushed_forward(self, tangents: list[Any]) -> _Problem:
        """The function from inputs and their tangents to the tangents of the outputs."""
        count = len(self.inputs)

        def push_forward(*values: Any) -> list[Any]:
            return list(jvp(self.function, values[:count], values[count:])[1])

        names = [f"the tangent of {name}" for name in self.names]
        return _Problem(push_forward, [*self.inputs, *tangents], [*self.names, *names])


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


@attrs.frozen(eq=False)
class _Checker:
    """One call of check_grads: its settings, and the generator of its directions."""

    name: str
    modes: tuple[str, ...]
    rtol: float | None
    atol: float | None
    eps: float | None
    generator: np.random.Generator

    def check(self, problem: _Problem, orders: int, inner: tuple[str, ...]) -> None:
        """Checks the derivatives of a problem, which is a derivative itself, by the modes `inner`."""
        values = problem.function(*problem.inputs)
        cotangents = [self._draw_normal(shape_dtype_of(leaf)) for leaf in values]
        self._check_first_order(problem, values, cotangents, inner)
        if orders == 1:
            return
        for mode in self.modes:
            if mode == "rev":
                derivative = problem.pulled_back(cotangents)
            else:
                derivative = problem.pushed_forward(
                    [self._draw_normal(shape_dtype_of(leaf)) for leaf in problem.inputs]
                )
            self.check(derivative, orders - 1, (mode, *inner))

    def _check_first_order(
        self, problem: _Problem, values: list[Any], cotangents: list[Any], inner: tuple[str, ...]
    ) -> None:
        accuracy = self._accuracy([*problem.inputs, *cotangents])
        where = {mode: f"check_grads of {self.name}, {_describe_nesting((mode, *inner))}" for mode in self.modes}
        if "rev" in self.modes:
            gradients = _pull_back(problem, values, cotangents, accuracy, where["rev"])
        for position, name in enumerate(problem.names):
            direction = self._draw_direction(shape_dtype_of(problem.inputs[position]))
            pairs: dict[str, list[tuple[Array, Array]]] = {}
            if "rev" in self.modes:
                pairs["rev"] = [(np.asarray(gradients[position]), direction)]
            if "fwd" in self.modes:
                tangents = _push_forward(problem, values, position, direction, accuracy, where["fwd"])
                pairs["fwd"] = [(np.asarray(u), np.asarray(t)) for u, t in zip(cotangents, tangents, strict=True)]
            found = {mode: sum([_pair(u, v) for u, v in pairs[mode]], 0.0) for mode in self.modes}
            near, far = _differences(problem, position, direction, cotangents, accuracy.eps)
            for mode in self.modes:
                _require_close(f"{where[mode]}, by {name}", mode, found[mode], near, far, accuracy)
            if len(self.modes) == 2:
                terms = sum([_pair_sizes(u, v) for parts in pairs.values() for u, v in parts], 0.0)
                both = f"check_grads of {self.name}, {_describe_nesting(('both', *inner))}, by {name}"
                self._require_exchange(both, found, terms, accuracy)

    def _require_exchange(self, where: str, found: dict[str, float], terms: float, accuracy: _Accuracy) -> None:
        # Tolerances that the caller gives speak for this comparison too, where they are the wider.
        relative = max(accuracy.exchange, self.rtol or 0.0)
        allowed = relative * (1.0 + terms) + (self.atol or 0.0)
        difference = abs(found["fwd"] - found["rev"])
        if not difference <= allowed:
            message = (
                f"{where}: the modes disagree: forward mode gives <u, J v> = {found['fwd']:.15g} and reverse mode "
                f"gives <J^T u, v> = {found['rev']:.15g}.\nThey differ by {difference:.3g}; allowed are {allowed:.3g}."
            )
            raise AssertionError(message)

    def _accuracy(self, leaves: list[Any]) -> _Accuracy:
        default = _ACCURACIES[min(8, *[shape_dtype_of(leaf).dtype.type(0).real.dtype.itemsize for leaf in leaves])]
        return _Accuracy(
            default.rtol if self.rtol is None else self.rtol,
            default.atol if self.atol is None else self.atol,
            default.eps if self.eps is None else self.eps,
            default.exchange,
        )

    def _draw_direction(self, aval: ShapeDtype) -> Array:
        # Multiples of 1/1024: their products with the step are exact, and x + them nearly so in float32 as well.
        def draw() -> Array:
            size = self.generator.integers(512, 1024, aval.shape, endpoint=True) / 1024.0
            return np.asarray(np.where(self.generator.random(aval.shape) < 0.5, -size, size))

        return draw() + 1j * draw() if aval.dtype.kind == "c" else draw()

    def _draw_normal(self, aval: ShapeDtype) -> Tensor:
        drawn = self.generator.standard_normal(aval.shape)
        if aval.dtype.kind == "c":
            drawn = drawn + 1j * self.generator.standard_normal(aval.shape)
        return adopt(np.asarray(drawn, aval.dtype))


def _describe_nesting(modes: tuple[str, ...]) -> str:
    order = f"order {len(modes)}"
    return order if len(modes) == 1 else f"{order}, {' over '.join(_NAMES[mode] for mode in modes)}"


def _pull_back(
    problem: _Problem, values: list[Any], cotangents: list[Any], accuracy: _Accuracy, where: str
) -> list[Any]:
    out, pullback = vjp(problem.function, *problem.inputs)
    _require_same_values(out, values, accuracy, f"{where}: inside reverse mode")
    gradients = list(pullback(cotangents))
    for name, primal, gradient in zip(problem.names, problem.inputs, gradients, strict=True):
        _require_same_form(gradient, primal, f"{where}, by {name}: the cotangent", "the primal")
    return gradients


def _push_forward(
    problem: _Problem, values: list[Any], position: int, direction: Array, accuracy: _Accuracy, where: str
) -> list[Any]:
    tangents: list[Any] = [None] * len(problem.inputs)
    aval = shape_dtype_of(problem.inputs[position])
    tangents[position] = adopt(np.asarray(direction, aval.dtype))
    out, pushed = jvp(problem.function, problem.inputs, tangents)
    name = problem.names[position]
    _require_same_values(out, values, accuracy, f"{where}, by {name}: inside forward mode")
    for number, (value, tangent) in enumerate(zip(values, pushed, strict=True)):
        _require_same_form(tangent, value, f"{where}, by {name}: the tangent of output {number}", "the output")
    return list(pushed)


def _require_same_form(found: Any, expected: Any, what: str, of: str) -> None:
    aval, wanted = shape_dtype_of(found), shape_dtype_of(expected)
    if aval.shape != wanted.shape or aval.dtype != wanted.dtype:
        message = (
            f"{what} has shape {aval.shape} and dtype {aval.dtype}; {of} has shape {wanted.shape} and dtype "
            f"{wanted.dtype}"
        )
        raise AssertionError(message)


def _require_same_values(found: list[Any], expected: list[Any], accuracy: _Accuracy, where: str) -> None:
    for position, (inside, outside) in enumerate(zip(found, expected, strict=True)):
        _require_same_form(inside, outside, f"{where}, output {position}", "outside it")
        first, second = np.asarray(inside), np.asarray(outside)
        with np.errstate(invalid="ignore"):  # inf - inf
            same = np.isclose(_widen(first), _widen(second), accuracy.rtol, accuracy.atol, equal_nan=True)
        if not np.all(same):
            place = tuple([int(index) for index in np.argwhere(~same)[0]])
            message = (
                f"{where}, output {position} has another value than outside it: {first[place]:.12g} and "
                f"{second[place]:.12g} at index {place}"
            )
            raise AssertionError(message)


def _require_close(where: str, mode: str, exact: float, near: float, far: float, accuracy: _Accuracy) -> None:
    numeric = (4 * near - far) / 3
    allowed = accuracy.atol + accuracy.rtol * max(abs(exact), abs(numeric))
    if abs(exact - numeric) <= allowed:  # so put that NaN fails
        return
    lines = [
        (
            f"{where}: {_MODES[mode]} mode gives {exact:.12g}, central differences give {numeric:.12g} along the same "
            f"direction."
        ),
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
    raise AssertionError("\n".join(lines))


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


def _pair_sizes(first: Array, second: Array) -> float:
    """The sum of the sizes of the terms of `_pair`."""
    with np.errstate(invalid="ignore"):
        return float(np.sum(np.abs(_widen(first) * _widen(second))))
