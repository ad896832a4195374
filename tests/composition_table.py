"""Functions of a vector, and compositions of transforms with what each should give: the grid of test_compositions.py.

What a composition should give is computed from values of the function alone, by differences and loops.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

import fgrad as fg
from fgrad import nn

X = np.array([0.7, -1.3, 0.4, 1.9])
XS = np.array([X, [-0.6, 0.8, 1.5, -0.9], [1.1, 0.35, -1.6, 0.5]])
V = np.array([0.5, -1.0, 0.8, 0.3])
VS = np.array([V, [1.0, 0.25, -0.5, 0.75], [-0.3, 0.9, 0.1, -0.6]])
SCALES = np.array([0.8, 1.25])
U = np.array([0.6, -1.4, 0.9])


@attrs.frozen(eq=False)
class Function:
    """A function of a vector of 4 elements to a scalar.

    `values` says that it needs values in Python (an ``if``, a ``while``), which only grad and jvp give it; `modes`
    are those in which it is differentiable.
    """

    name: str
    f: Callable[[Any], Any]
    values: bool = False
    modes: tuple[str, ...] = ("fwd", "rev")

    def __str__(self) -> str:
        return self.name


# Functions.

W = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
TARGET = np.array([0.3, -0.2])


def network(x):
    hidden = fg.tanh(fg.reshape(x, (2, 2)) @ W[:2] + W[3])
    return fg.mean((hidden @ W[:3, :1] - TARGET[:, None]) ** 2)


def indexing(x):
    y = x.at[1].set(x[0] ** 2).at[2:].add(x[:2] * x[3])
    return fg.sum(y[[0, 2, 2, -1]] * x[::-1]) + fg.take(x, fg.asarray([3, 0]))[0] * x[1]


def untaken_branch(x):
    with np.errstate(all="ignore"):
        singular = fg.log(x) / fg.sqrt(x)  # NaN wherever x < 0
        return fg.sum(fg.where(x > 0, singular, x**2))


def tree_loss(tree):
    scaled = {"a": {"w": tree["w"] * 2.0}, "b": [fg.sin(tree["b"]), None]}
    return fg.sum(scaled["a"]["w"] ** 2 * scaled["b"][0])


def trees(x):
    return tree_loss({"w": x[:2], "b": x[2:]})


def python_loop(x):
    carry = x[0]
    for position in range(1, 4):
        carry = fg.sin(carry) * x[position] + carry**2 * 0.1
    return carry


def python_while(x):
    value, count = fg.sum(x * x), 0
    while value > 0.5:
        value, count = value * 0.7, count + 1
    return value * (1.0 + count * fg.sum(x))


def python_if(x):
    return fg.sum(x**3) if fg.sum(x) > 0 else fg.sum(x * x)


def random_keys(x):
    first, second = fg.random.split(fg.random.key(7), 2)
    noise = fg.random.normal(first, (4,), "float64")
    drawn = fg.random.uniform(second, (4,), "float64", x - 3.0, x * x + 1.0)
    return fg.sum(noise * x**2) + fg.sum(drawn * x)


def joining(x):
    rows = fg.stack([x, fg.roll(x, 1), fg.flip(x)])
    padded = fg.pad(fg.concatenate([x[:1], x]), (1, 2), mode="constant")
    return fg.sum(rows[0] * rows[1] * rows[2]) + fg.sum(padded[:-1] * padded[1:])


def order(x):
    smallest_first = fg.take_along_axis(x, fg.argsort(x))
    return fg.sum(smallest_first * np.arange(1.0, 5.0)) * fg.max(x) + fg.prod(x)


# Rules of one's own: the function's derivative is the true one, found in another way.


@fg.custom_jvp
def own_tanh(x):
    return fg.tanh(x)


@own_tanh.defjvp
def _(primals, tangents):
    (x,), (v,) = primals, tangents
    out = own_tanh(x)
    return out, v * (1.0 - out * out)


@fg.custom_vjp
def own_product(x, y):
    return x * y


own_product.defvjp(lambda x, y: (x * y, (x, y)), lambda residuals, u: (u * residuals[1], u * residuals[0]))


def step(carry, x):
    carry = fg.sin(carry) * x + 0.2 * carry
    return carry, carry * x


def scanned(x):
    last, ys = fg.scan(step, x[0], x[1:])
    return last * fg.sum(ys)


def scan_of_checkpoints(x):
    last, ys = fg.scan(fg.checkpoint(step), x[0], x[1:])
    return last * fg.sum(ys)


def staged_step(carry, x):
    """A step whose own pieces are staged: branches, a loop, rules of one's own."""
    carry = fg.cond(x > 0, lambda c: own_tanh(c) * x, lambda c: c * c - x, carry)
    inner = fg.fori_loop(0, 2, lambda i, c: c * 0.5 + fg.sin(c) * (i + 1), carry)
    return carry + inner, own_tanh(inner)


def everything_in_scan(x):
    last, ys = fg.scan(staged_step, x[0], x[1:])
    return last + fg.sum(ys * x[1:])


def settled(x):
    """A loop whose number of steps depends on the values."""
    closer = lambda state: (state[0] + 1, state[1] * 0.6 + 0.1 * fg.sin(state[1]))
    _, last = fg.while_loop(lambda s: fg.sum(s[1] ** 2) > 0.4, closer, (0, x), max_steps=12)
    return fg.sum(last**3) + fg.sum(x * x)


def switched(x):
    index = fg.astype(fg.sum(fg.astype(x > 0, "int64")), "int64") - 1
    return fg.switch(index, [lambda x: fg.sum(x**3), lambda x: fg.sum(fg.sin(x) * x), fg.prod], x)


def guarded_branch(x):
    """cond with a branch that is NaN where it is not taken."""
    with np.errstate(all="ignore"):
        return fg.cond(x[0] > 0, lambda x: fg.log(x[0]) * x[1], lambda x: fg.sqrt(-x[0]) * x[2], x) + fg.sum(x * x)


def captured(x):
    """Branches and steps that close over values of the functions around them."""
    w = fg.sin(x)
    body = lambda carry, y: (carry * y + fg.sum(w) * x[1], fg.cond(y > 0, lambda: w[0] * y, lambda: carry * x[2]))
    last, ys = fg.scan(body, 1.0, w[:3])
    return last + fg.sum(ys)


FUNCTIONS = [
    Function("elementwise", lambda x: fg.sum(fg.sin(x) * fg.exp(-(x**2)) + fg.arctan(x) / (1.0 + x * x))),
    Function("reductions", lambda x: fg.max(x) * fg.mean(x) + fg.var(x) + fg.std(x) + fg.logsumexp(x)),
    Function("network", network),
    Function("indexing", indexing),
    Function("untaken branch", untaken_branch),
    Function("cumsum", lambda x: fg.sum(fg.cumsum(x) ** 2 * x)),
    Function("softmax", lambda x: fg.sum(fg.exp(x - fg.logsumexp(x)) * fg.arange(4.0)) * fg.sum(x)),
    Function("cross entropy", lambda x: nn.softmax_cross_entropy(x[None] * 2.0, fg.asarray([2]))[0] * x[1]),
    Function("random keys", random_keys),
    Function("trees", trees),
    Function("python loop", python_loop),
    Function("python while", python_while, values=True),
    Function("python if", python_if, values=True),
    Function("joining", joining),
    Function("order", order),
    Function("einsum", lambda x: fg.einsum("i,ij,j->", x, fg.outer(x, x[:3]), x[:3] ** 2)),
    Function("matrix", lambda x: fg.trace(x.reshape(2, 2) @ x.reshape(2, 2).T @ fg.triu(x.reshape(2, 2)))),
    Function("powers", lambda x: fg.sum((x * x + 0.5) ** x) + fg.prod(x)),
    Function("custom_jvp", lambda x: fg.sum(own_tanh(x) * x)),
    Function("custom_vjp", lambda x: fg.sum(own_product(x, fg.sin(x))), modes=("rev",)),
    Function("checkpoint", lambda x: fg.checkpoint(network)(fg.checkpoint(fg.sin)(x))),
    Function("scan", scanned),
    Function("checkpoint in scan", scan_of_checkpoints),
    Function("scan in checkpoint", fg.checkpoint(scanned)),
    Function("everything in scan", everything_in_scan),
    Function("everything in scan in checkpoint", fg.checkpoint(everything_in_scan)),
    Function("custom_vjp in scan in checkpoint", fg.checkpoint(
        lambda x: fg.scan(lambda c, y: (own_product(c, y) + fg.sin(c), None), x[0], x[1:])[0]
    ), modes=("rev",)),
    Function("while", settled),
    Function("while in checkpoint", fg.checkpoint(settled)),
    Function("cond", guarded_branch),
    Function("cond in checkpoint", fg.checkpoint(guarded_branch)),
    Function("switch", switched),
    Function("captures", captured),
    Function("captures in checkpoint", fg.checkpoint(captured)),
    Function("map", lambda x: fg.sum(fg.map(lambda y: fg.sin(y) * x, x) ** 2)),
    Function("associative_scan", lambda x: fg.sum(fg.associative_scan(fg.multiply, 1.0 + x * x) * x)),
    Function("gradient inside", lambda x: fg.sum(fg.grad(lambda y: fg.sum(fg.sin(y) * x * y))(x) ** 2)),
    Function("jvp inside", lambda x: fg.jvp(lambda y: fg.sum(fg.exp(y * x)), (x * 0.5,), (x * x,))[1]),
    Function("vmap inside", lambda x: fg.sum(fg.vmap(lambda y: fg.sin(y * x) * y)(x[:3]) ** 2)),
]  # fmt: skip


# The oracle.


class Oracle:
    """Derivatives of a function by differences of its values, kept for the points where they were asked for.

    The formulas have errors of order h**4 (Fornberg, Generation of finite difference formulas on arbitrarily spaced
    grids, Math. Comp. 51, 1988, table 1).
    """

    def __init__(self, f):
        self.f = f
        self.kept = {}

    def value(self, x):
        return float(self.f(fg.asarray(x)))

    def gradient(self, x):
        return self.keep("gradient", x, lambda: np.array([self.first(x, v) for v in np.eye(x.size)]))

    def hessian(self, x):
        return self.keep("hessian", x, lambda: self.compute_hessian(x))

    def compute_hessian(self, x):
        """By the second derivatives along u + v and u - v, whose difference is 4 u^T H v."""
        units = np.eye(x.size)
        found = np.diag([self.second(x, v) for v in units])
        for i, j in itertools.combinations(range(x.size), 2):
            both = self.second(x, units[i] + units[j]) - self.second(x, units[i] - units[j])
            found[i, j] = found[j, i] = both / 4
        return found

    def first(self, x, v):
        return self.along(x, v, [1 / 12, -2 / 3, 0, 2 / 3, -1 / 12], 2.0**-9)

    def second(self, x, v):
        return self.along(x, v, [-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12], 2.0**-9) / 2.0**-9

    def third(self, x, v):
        return self.along(x, v, [1 / 8, -1, 13 / 8, 0, -13 / 8, 1, -1 / 8], 2.0**-7) / 2.0**-14

    def along(self, x, v, weights, h):
        """The sum of weighted values of f(x + t v) at steps of h around t = 0, divided by h."""
        half = len(weights) // 2
        return sum(w * self.value_at(x + k * h * v) for k, w in enumerate(weights, -half) if w) / h

    def value_at(self, x):
        return self.keep("value", x, lambda: self.value(x))

    def keep(self, what, x, compute):
        place = (what, x.tobytes())
        if place not in self.kept:
            self.kept[place] = compute()
        return self.kept[place]


# Compositions: (what f becomes, what that is by the oracle).

COMPOSITIONS: dict[str, Composition] = {}


@attrs.frozen(eq=False)
class Composition:
    """Transforms around a function: what they give, and what they should.

    `modes` are those that f is differentiated by; `values` says that f sees values in Python.
    """

    found: Callable[[Any], Any]
    expected: Callable[[Oracle], Any]
    modes: tuple[str, ...]
    values: bool = False
    tolerance: float = 1e-6

    def suits(self, function: Function) -> bool:
        """Whether the function can be composed in this way."""
        return set(self.modes) <= set(function.modes) and (self.values or not function.values)


def add(name, found, expected, modes, **options):
    COMPOSITIONS[name] = Composition(found, expected, modes, **options)


def pull(f):
    """The gradient by vjp."""
    return lambda x: fg.vjp(f, x)[1](1.0)[0]


def push(f, v):
    """The derivative along v, a scalar function of x."""
    return lambda x: fg.jvp(f, (x,), (v,))[1]


def along(f, v, w=None):
    """The derivative of grad f along v."""
    return lambda x: fg.jvp(fg.grad(f), (x,), (v,))[1]


def loss_over(f):
    """f of every row, as one loss with different weights."""
    return lambda xs: fg.sum(fg.vmap(f)(xs) * U)


def rows(oracle, derivative, xs=XS):
    return np.array([derivative(oracle, x) for x in xs])


REV, FWD, BOTH = ("rev",), ("fwd",), ("fwd", "rev")

gradients = lambda oracle: rows(oracle, Oracle.gradient)
along_v = lambda oracle: oracle.hessian(X) @ V

add("graph", lambda f: fg.make_graph(f)(fg.asarray(X))(X), lambda o: o.value(X), ())
add("vmap", lambda f: fg.vmap(f)(XS), lambda o: rows(o, Oracle.value), ())
add("map", lambda f: fg.map(f, fg.asarray(XS)), lambda o: rows(o, Oracle.value), (), values=True)
add("grad", lambda f: fg.grad(f)(X), lambda o: o.gradient(X), REV, values=True)
add("jvp", lambda f: push(f, V)(X), lambda o: o.gradient(X) @ V, FWD, values=True)
add("vmap of grad", lambda f: fg.vmap(fg.grad(f))(XS), gradients, REV)
add("vmap of grad along axis 1", lambda f: fg.vmap(fg.grad(f), 1, 1)(XS.T), lambda o: gradients(o).T, REV)
add("grad of vmap", lambda f: fg.grad(loss_over(f))(XS), lambda o: gradients(o) * U[:, None], REV)
add("jvp of vmap", lambda f: fg.jvp(fg.vmap(f), (XS,), (VS,))[1], lambda o: np.sum(gradients(o) * VS, 1), FWD)
add("map of grad", lambda f: fg.map(fg.grad(f), fg.asarray(XS)), gradients, REV, values=True)
add(
    "jvp of vmap of grad",
    lambda f: fg.jvp(fg.vmap(fg.grad(f)), (XS,), (VS,))[1],
    lambda o: np.einsum("kij,kj->ki", rows(o, Oracle.hessian), VS),
    BOTH,
)
add(
    "hessian of vmap",
    lambda f: fg.hessian(lambda x: fg.vmap(lambda s: f(x * s))(SCALES))(X),
    lambda o: np.array([s * s * o.hessian(X * s) for s in SCALES]),
    BOTH,
)
add("vmap of hessian", lambda f: fg.vmap(fg.hessian(f))(XS[:2]), lambda o: rows(o, Oracle.hessian, XS[:2]), BOTH)
add("jacfwd of grad", lambda f: fg.jacfwd(fg.grad(f))(X), lambda o: o.hessian(X), BOTH, values=False)
add("jacrev of grad", lambda f: fg.jacrev(fg.grad(f))(X), lambda o: o.hessian(X), REV)
add("jacrev of jvp", lambda f: fg.jacrev(push(f, V))(X), along_v, BOTH)
add("grad of jvp", lambda f: fg.grad(push(f, V))(X), along_v, BOTH, values=True)
add("jvp of grad", lambda f: along(f, V)(X), along_v, BOTH, values=True)
add("grad of grad", lambda f: fg.grad(lambda x: fg.vdot(fg.grad(f)(x), V))(X), along_v, REV, values=True)
add("vjp of vjp", lambda f: fg.vjp(pull(f), X)[1](V)[0], along_v, REV, values=True)
add("jvp of jvp", lambda f: push(push(f, V), VS[1])(X), lambda o: VS[1] @ along_v(o), FWD, values=True)
add("linearize of grad", lambda f: fg.linearize(fg.grad(f), X)[1](V), along_v, BOTH, values=True)
add("grad of linearize", lambda f: fg.grad(lambda x: fg.linearize(f, x)[1](V))(X), along_v, BOTH, values=True)
add("hvp", lambda f: fg.hvp(f, (X,), (V,)), along_v, BOTH, values=True)
add("vmap of hvp", lambda f: fg.vmap(lambda v: fg.hvp(f, (X,), (v,)))(VS), lambda o: VS @ o.hessian(X), BOTH)
add(
    "vjp of vmap of jvp",
    lambda f: fg.vjp(lambda x: fg.vmap(lambda v: push(f, v)(x))(VS), X)[1](U)[0],
    lambda o: o.hessian(X) @ VS.T @ U,
    BOTH,
)
add(
    "vmap of a pullback",
    lambda f: fg.vmap(lambda u: fg.vjp(f, X)[1](u)[0])(U),
    lambda o: np.outer(U, o.gradient(X)),
    REV,
)
add(
    "nested vmap over different arguments",
    lambda f: fg.vmap(fg.vmap(lambda x, s: f(x * s), (0, None)), (None, 0))(XS, SCALES),
    lambda o: np.array([[o.value(x * s) for x in XS] for s in SCALES]),
    (),
)
add(
    "nested vmap of grad over different axes",
    lambda f: fg.vmap(fg.vmap(fg.grad(lambda x, s: f(x * s)), (1, None), 1), (None, 0))(XS.T, SCALES),
    lambda o: np.array([[s * o.gradient(x * s) for x in XS] for s in SCALES]).transpose(0, 2, 1),
    REV,
)
add("grad of checkpoint", lambda f: fg.grad(fg.checkpoint(f))(X), lambda o: o.gradient(X), REV)
add("vmap of grad of checkpoint", lambda f: fg.vmap(fg.grad(fg.checkpoint(f)))(XS), gradients, REV)
add("jvp of grad of checkpoint", lambda f: along(fg.checkpoint(f), V)(X), along_v, BOTH)
add(
    "grad of checkpoint of vmap",
    lambda f: fg.grad(fg.checkpoint(loss_over(f)))(XS),
    lambda o: gradients(o) * U[:, None],
    REV,
)
add("graph of vmap of grad", lambda f: fg.make_graph(fg.vmap(fg.grad(f)))(fg.asarray(XS))(XS), gradients, REV)
add("graph of jvp of grad", lambda f: fg.make_graph(along(f, V))(fg.asarray(X))(X), along_v, BOTH)
add("vmap of a graph of grad", lambda f: fg.vmap(fg.make_graph(fg.grad(f))(fg.asarray(X)))(XS), gradients, REV)
add("grad of a graph", lambda f: fg.grad(fg.make_graph(f)(fg.asarray(X)))(X), lambda o: o.gradient(X), REV)


def summed_by_scan(f):
    return lambda x: fg.scan(lambda total, s: (total + s * f(x * s), None), 0.0, fg.asarray(SCALES))[0]


def scan_gradient(oracle, x=X):
    return sum(s * s * oracle.gradient(x * s) for s in SCALES)


add("grad of scan", lambda f: fg.grad(summed_by_scan(f))(X), scan_gradient, REV, values=True)
add("grad of a staged scan", lambda f: fg.grad(fg.checkpoint(summed_by_scan(f)))(X), scan_gradient, REV)
add("grad of scan of checkpoint", lambda f: fg.grad(summed_by_scan(fg.checkpoint(f)))(X), scan_gradient, REV)
add(
    "vmap of grad of scan of checkpoint",
    lambda f: fg.vmap(fg.grad(summed_by_scan(fg.checkpoint(f))))(XS),
    lambda o: rows(o, scan_gradient),
    REV,
)
add(
    "jvp of grad of a staged scan",
    lambda f: along(fg.checkpoint(summed_by_scan(f)), V)(X),
    lambda o: sum(s**3 * o.hessian(X * s) @ V for s in SCALES),
    BOTH,
)
add(
    "scan of grad",
    lambda f: fg.scan(lambda c, x: (c, fg.grad(f)(x)), 0.0, fg.asarray(XS))[1],
    gradients,
    REV,
    values=True,
)
add(
    "vmap of grad of cond",
    lambda f: fg.vmap(fg.grad(lambda x, p: fg.cond(p, f, lambda x: fg.sum(x * x), x)))(
        XS, np.array([True, False, True])
    ),
    lambda o: np.array([o.gradient(XS[0]), 2 * XS[1], o.gradient(XS[2])]),
    REV,
)


def repeated(f):
    """n f(x) by a loop of n steps."""
    return lambda x, n: fg.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] + f(x)), (0, 0.0), max_steps=4)[1]


COUNTS = np.array([0, 3, 2])
add("vmap of while", lambda f: fg.vmap(repeated(f))(XS, COUNTS), lambda o: COUNTS * rows(o, Oracle.value), ())
add(
    "vmap of grad of while",
    lambda f: fg.vmap(fg.grad(repeated(f)))(XS, COUNTS),
    lambda o: COUNTS[:, None] * gradients(o),
    REV,
)
add(
    "jvp of vmap of while",
    lambda f: fg.jvp(lambda xs: fg.vmap(repeated(f))(xs, COUNTS), (XS,), (VS,))[1],
    lambda o: COUNTS * np.sum(gradients(o) * VS, 1),
    FWD,
)


def with_own_jvp(f):
    g = fg.custom_jvp(f)
    g.defjvp(lambda primals, tangents: fg.jvp(f, primals, tangents))
    return g


def with_own_vjp(f):
    g = fg.custom_vjp(f)
    g.defvjp(lambda x: (f(x), x), lambda x, u: (fg.vjp(f, x)[1](u)[0],))
    return g


add("vmap of grad of custom_jvp", lambda f: fg.vmap(fg.grad(with_own_jvp(f)))(XS), gradients, BOTH)
add("jvp of grad of custom_jvp", lambda f: along(with_own_jvp(f), V)(X), along_v, BOTH)
add(
    "grad of vmap of custom_vjp",
    lambda f: fg.grad(loss_over(with_own_vjp(f)))(XS),
    lambda o: gradients(o) * U[:, None],
    REV,
)
add("grad of grad of custom_vjp", lambda f: fg.vjp(fg.grad(with_own_vjp(f)), X)[1](V)[0], along_v, REV)
add(
    "grad of a staged scan of custom_vjp",
    lambda f: fg.grad(fg.checkpoint(summed_by_scan(with_own_vjp(f))))(X),
    scan_gradient,
    REV,
)


def line(f):
    return lambda t: f(X + t * V)


third = lambda oracle: oracle.third(X, V)
add(
    "grad of jvp of grad", lambda f: fg.grad(push(fg.grad(line(f)), 1.0))(0.0), third, BOTH, values=True, tolerance=1e-4
)
add(
    "jvp of grad of jvp",
    lambda f: push(fg.grad(push(line(f), 1.0)), 1.0)(0.0),
    third,
    BOTH,
    values=True,
    tolerance=1e-4,
)
add("grad of grad of grad", lambda f: fg.grad(fg.grad(fg.grad(line(f))))(0.0), third, REV, values=True, tolerance=1e-4)
add(
    "vmap of grad of jvp of grad",
    lambda f: fg.vmap(fg.grad(push(fg.grad(line(f)), 1.0)))(np.zeros(2)),
    lambda o: np.full(2, third(o)),
    BOTH,
    tolerance=1e-4,
)
