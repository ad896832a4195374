"""Control flow under every transform and every nesting of them, against the same functions in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from control_checks import assert_same, eager, staged

import fgrad as fg

# Each function of x, of shape (3,), and of a number w that it closes over or not; each plain one is written in Python.


def branches(w, x):
    return fg.cond(x[0] > 0, lambda y: fg.sum(fg.sin(y * w)), lambda y: fg.sum(y**3) / w, x)


def branches_plain(w, x):
    return fg.sum(fg.sin(x * w)) if x[0] > 0 else fg.sum(x**3) / w


def singular(w, x):
    # The branch that is not taken is infinite or NaN, as are its derivatives.
    return fg.cond(x[0] > 0, lambda: fg.log(x[0]) * w + fg.sqrt(x[0]) / x[0], lambda: x[0] * w * fg.sum(x))


def singular_plain(w, x):
    return fg.log(x[0]) * w + fg.sqrt(x[0]) / x[0] if x[0] > 0 else x[0] * w * fg.sum(x)


def cases(w, x):
    index = fg.floor(x[1] * 2).astype("int64")
    return fg.switch(index, [lambda: fg.sum(x) * w, lambda: fg.sin(x[2] * w), lambda: fg.prod(x) + w**2])


def cases_plain(w, x):
    index = min(max(int(fg.stop_gradient(x[1] * 2).item() // 1), 0), 2)
    return [lambda: fg.sum(x) * w, lambda: fg.sin(x[2] * w), lambda: fg.prod(x) + w**2][index]()


def recurrence(w, x):
    def step(carry, row):
        count, h = carry
        h = fg.tanh(h * w + row)
        return (count + 1, h), {"h": h * count, "row": row * w}

    (count, h), ys = fg.scan(step, (0, 0.5), x, reverse=True)
    return fg.sum(ys["h"] * ys["row"]) + h * count


def recurrence_plain(w, x):
    count, h, total = 0, 0.5, 0.0
    for k in reversed(range(3)):
        h = fg.tanh(h * w + x[k])
        total = total + h * count * (x[k] * w)
        count = count + 1
    return total + h * count


def counted(w, x):
    return fg.sum(fg.fori_loop(1, 4, lambda i, y: fg.sin(y * w) + x * i, x))


def counted_plain(w, x):
    y = x
    for i in range(1, 4):
        y = fg.sin(y * w) + x * i
    return fg.sum(y)


def bounded(w, x):
    def body(carry):
        i, y = carry
        return i + 1, y * w + x[1] / i

    return fg.while_loop(lambda carry: carry[1] < 4.0, body, (1, x[0] ** 2), max_steps=12)[1] * x[2]


def bounded_plain(w, x):
    i, y = 1, x[0] ** 2
    while y < 4.0 and i <= 12:
        i, y = i + 1, y * w + x[1] / i
    return y * x[2]


def mapped(w, x):
    return fg.sum(fg.map(lambda row: fg.exp(row * w) * row, x) * x)


def mapped_in_batches(w, x):
    return fg.sum(fg.map(lambda row: fg.exp(row * w) * row, x, batch_size=2) * x)


def mapped_plain(w, x):
    return fg.sum(fg.exp(x * w) * x * x)


def partial_results(w, x):
    # y[k] = w y[k - 1] + sin(x[k]), as a scan of affine maps.
    join = lambda a, b: (b[0] * a[0], b[0] * a[1] + b[1])
    _, y = fg.associative_scan(join, (fg.full((3,), w), fg.sin(x)))
    return fg.sum(y * x)


def partial_results_plain(w, x):
    y, total = 0.0, 0.0
    for k in range(3):
        y = w * y + fg.sin(x[k])
        total = total + y * x[k]
    return total


def nested(w, x):
    @fg.checkpoint
    def step(c, row):
        inner = lambda: fg.fori_loop(0, 2, lambda i, d: d * w + c + i, row)
        c = fg.cond(row > 0.3, lambda: fg.sin(c * w) + row, inner)
        return c, c * w

    c, ys = fg.scan(step, 0.3, x)
    return c + fg.sum(ys)


def nested_plain(w, x):
    c, total = 0.3, 0.0
    for k in range(3):
        row = x[k]
        if row > 0.3:
            c = fg.sin(c * w) + row
        else:
            d = row
            for i in range(2):
                d = d * w + c + i
            c = d
        total = total + c * w
    return c + total


@fg.custom_jvp
def by_tangents(x):
    return fg.sin(x)


by_tangents.defjvp(lambda primals, tangents: (by_tangents(*primals), fg.cos(primals[0]) * tangents[0]))


def with_custom_rule(w, x):
    return fg.scan(lambda c, row: (by_tangents(c * w) * row + c, None), 1.0, x)[0]


def with_custom_rule_plain(w, x):
    c = 1.0
    for k in range(3):
        c = fg.sin(c * w) * x[k] + c
    return c


FUNCTIONS = [
    (branches, branches_plain),
    (singular, singular_plain),
    (cases, cases_plain),
    (recurrence, recurrence_plain),
    (counted, counted_plain),
    (bounded, bounded_plain),
    (mapped, mapped_plain),
    (mapped_in_batches, mapped_plain),
    (partial_results, partial_results_plain),
    (nested, nested_plain),
    (with_custom_rule, with_custom_rule_plain),
]

W = fg.asarray(1.3)
X = fg.asarray([0.7, 0.6, -0.4])
# Examples that take different branches and different numbers of steps; 0 is on the edge of a branch.
XS = fg.asarray([[0.7, 0.6, -0.4], [-0.8, 1.2, 0.9], [0.0, -0.3, 0.5], [1.9, 0.2, 0.1]])
V = fg.asarray([0.4, -1.0, 0.3])


def as_it_is(f):
    return f


def both(f):
    return lambda w, x: fg.vjp(f, w, x)[1](fg.asarray(1.0))


def gradient(f):
    return fg.grad(f, 1)


def along(f):
    return lambda w, x: fg.jvp(f, (w, x), (fg.asarray(1.0), V))[1]


def squared_gradient(f):
    return lambda w, x: fg.sum(fg.grad(f, 1)(w, x) ** 2)


def over_examples(f):
    """The sum over a batch, by vmap or (for a function in plain Python) by a loop."""
    if f.__name__.endswith("_plain"):
        return lambda w, xs: sum(f(w, xs[k]) for k in range(len(xs)))
    return lambda w, xs: fg.sum(fg.vmap(f, in_axes=(None, 0))(w, xs))


def each_example(f, derivative):
    if f.__name__.endswith("_plain"):
        parts = lambda w, xs: [derivative(f)(w, xs[k]) for k in range(len(xs))]
        return lambda w, xs: fg.tree.map(lambda *leaves: fg.stack(leaves), *parts(w, xs))
    return fg.vmap(derivative(f), in_axes=(None, 0))


ON_ONE = {
    "value": as_it_is,
    "vjp": both,
    "jvp": along,
    "reverse over reverse": lambda f: both(squared_gradient(f)),
    "forward over reverse": lambda f: along(squared_gradient(f)),
    "reverse over forward": lambda f: both(along(f)),
    "forward over forward": lambda f: along(along(f)),
    "jacfwd of grad": lambda f: fg.jacfwd(gradient(f), 1),
    "linearize": lambda f: lambda w, x: fg.linearize(f, w, x)[1](fg.asarray(1.0), V),
}
ON_BATCH = {
    "vmap": lambda f: each_example(f, as_it_is),
    "vmap of vjp": lambda f: each_example(f, both),
    "vmap of jvp": lambda f: each_example(f, along),
    "vjp of vmap": lambda f: both(over_examples(f)),
    "jvp of vmap of grad": lambda f: (
        lambda w, xs: fg.jvp(lambda w: each_example(f, gradient)(w, xs), (w,), (fg.asarray(1.0),))[1]
    ),
    "hessian of vmap": lambda f: fg.hessian(over_examples(f), 1),
}

by_function = pytest.mark.parametrize(("f", "plain"), FUNCTIONS, ids=[f.__name__ for f, _ in FUNCTIONS])


@by_function
@pytest.mark.parametrize("name", ON_ONE)
@pytest.mark.parametrize("run", [eager, staged])
def test_control_flow_is_plain_python(run, name, f, plain):
    transform = ON_ONE[name]
    assert_same(run(transform(f))(W, X), transform(plain)(W, X))


@by_function
@pytest.mark.parametrize("name", ON_BATCH)
@pytest.mark.parametrize("run", [eager, staged])
def test_control_flow_under_vmap_is_a_loop(run, name, f, plain):
    transform = ON_BATCH[name]
    # A graph has no branch to leave out: it computes both and selects, and NumPy warns about the values not selected.
    with np.errstate(all="ignore" if run is staged else None):
        assert_same(run(transform(f))(W, XS), transform(plain)(W, XS))


@by_function
@pytest.mark.parametrize("name", ON_ONE)
def test_transforms_of_graphs(name, f, plain):
    transform = ON_ONE[name]
    graph = fg.make_graph(f)(W, X)
    assert_same(transform(graph.__call__)(W, X), transform(plain)(W, X))


@by_function
@pytest.mark.parametrize("name", ["vmap", "vmap of vjp", "vmap of jvp"])
def test_batches_of_graphs(name, f, plain):
    graph = fg.make_graph(f)(W, X)
    assert_same(ON_BATCH[name](graph.__call__)(W, XS), ON_BATCH[name](plain)(W, XS))


@by_function
def test_vmap_over_what_is_closed_over(f, plain):
    ws = fg.asarray([1.3, 0.9, 1.1])
    found = fg.vmap(both(f), in_axes=(0, None))(ws, X)
    parts = [both(plain)(ws[k], X) for k in range(3)]
    assert_same(found, fg.tree.map(lambda *leaves: fg.stack(leaves), *parts))


@by_function
@pytest.mark.parametrize("through_graph", [False, True])
def test_pullbacks_leave_vmap(f, plain, through_graph):
    g = fg.make_graph(f)(W, X).__call__ if through_graph else f
    pullbacks = fg.vmap(lambda x: fg.vjp(g, W, x)[1])(XS)
    found = fg.vmap(lambda pullback, u: pullback(u))(pullbacks, fg.ones(4))
    parts = [both(plain)(W, x) for x in XS]
    assert_same(found, fg.tree.map(lambda *leaves: fg.stack(leaves), *parts))


# Directions that are Python numbers, or stand for them: the graphs of derivatives take arrays.

OF_NUMBERS = {
    "branches": lambda x: fg.cond(x > 0, fg.sin, fg.cos, x),
    "number carried": lambda x: fg.scan(lambda c, _: (c * 0.5, c), x, length=3)[0] + fg.sin(x),
    "bounded": lambda x: fg.while_loop(lambda c: c < 3.0, lambda c: c + fg.exp(x), x, max_steps=4),
    "checkpointed": fg.checkpoint(fg.sin),
}


@pytest.mark.parametrize("run", [eager, staged])
@pytest.mark.parametrize("f", OF_NUMBERS.values(), ids=OF_NUMBERS)
def test_directions_of_numbers(f, run):
    pushed = lambda x, v: fg.jvp(f, (x,), (v,))[1]
    mapped = lambda x, v: fg.linearize(f, x)[1](v)
    pulled = lambda x, u: fg.vjp(f, x)[1](u)[0]
    expected = 2.0 * fg.grad(f)(0.7)
    for apply in (pushed, mapped, pulled):
        assert_same(run(apply)(0.7, 2.0), expected)
        assert_same(run(lambda x, apply=apply: apply(x, 2 * x / 0.7))(0.7), expected)
        assert_same(fg.jvp(lambda v, apply=apply: apply(0.7, v), (2.0,), (1.0,))[0], expected)


def test_direction_of_a_number_in_single_precision():
    f = lambda x, v: fg.jvp(fg.sin, (x,), (v,))[1]
    x = fg.asarray(0.0, dtype="float32")
    assert_same(staged(f)(x, 2.0), f(x, 2.0))
    with pytest.raises(fg.errors.DtypeError, match="has dtype complex128, and primals"):
        f(x, 2j)
