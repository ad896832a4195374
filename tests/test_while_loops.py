"""while_loop and fori_loop: values, steps, examples that end at different steps, reverse mode, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from control_checks import assert_same, by_run, operations_of, staged
from hypothesis import given
from hypothesis import strategies as st

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.core.primitive import registered_primitives
from fgrad.errors import DtypeError, NotDifferentiableError, ShapeError, TracerConversionError, TreeError

X = fg.asarray([1.0, 2.0, 3.0])
SINGLE = X.astype("float32")
WHILE = next(primitive for primitive in registered_primitives() if primitive.name == "while")


def root(a, max_steps=None):
    """The square root, by Newton's iteration."""
    return fg.while_loop(lambda x: abs(x * x - a) > 1e-13 * a, lambda x: (x + a / x) / 2, a, max_steps)


def collatz(n):
    """How many steps lead from n to 1."""
    body = lambda c: (fg.cond(c[0] % 2 == 0, lambda: c[0] // 2, lambda: 3 * c[0] + 1), c[1] + 1)
    return fg.while_loop(lambda c: c[0] != 1, body, (n, 0))[1]


# Values.


@by_run
@given(n=st.integers(1, 60))
def test_a_while_loop_is_a_loop(run, n):
    steps, value = 0, n
    while value != 1:
        value = value // 2 if value % 2 == 0 else 3 * value + 1
        steps += 1
    assert_same(run(collatz)(n), steps)
    assert_same(run(collatz)(np.int32(n)), steps)


@by_run
def test_the_carry_is_any_tree(run):
    def body(state):
        key, draw = fg.random.split(state["key"])
        return {"key": key, "sum": state["sum"] + fg.random.uniform(draw), "rest": [state["rest"][0] * 2, None]}

    start = lambda: {"key": fg.random.key(3), "sum": 0, "rest": [np.ones(2), None]}
    expected = fg.tree.map(lambda leaf: fg.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, start())
    while float(expected["sum"]) < 2:
        expected = body(expected)
    assert_same(run(lambda state: fg.while_loop(lambda s: s["sum"] < 2, body, state))(start()), expected)


@by_run
def test_the_condition_is_asked_before_the_first_step(run):
    def fail(x):
        return fg.asarray([x, x])[7]

    if run is not staged:
        assert_same(fg.while_loop(lambda x: x < 0, fail, X[0]), X[0])
    assert_same(run(lambda x: fg.while_loop(lambda x: x < 0, lambda x: x / 0, x))(X[0]), X[0])


@by_run
@pytest.mark.parametrize("max_steps", [0, 1, 3, 9])
def test_max_steps_ends_the_loop(run, max_steps):
    f = run(lambda x: fg.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, c[1] * 2), (0, x), max_steps))
    steps = min(max_steps, 5)
    assert_same(f(X), (steps, 2**steps * X))
    assert_same(run(fg.vmap(lambda x: f(x)[1]))(X), 2**steps * X)


# Python numbers in the carry.


@by_run
@pytest.mark.parametrize("start", [1.0, 100.0])
def test_a_number_becomes_what_the_body_makes_of_it_also_without_a_step(run, start):
    f = run(lambda x: fg.while_loop(lambda c: c < 50, lambda c: c * 2 + x, start))
    expected = {1.0: 63.0, 100.0: 100.0}[start]
    assert_same(f(np.float32(1)), fg.asarray(expected, "float32"))
    assert_same(
        run(lambda x: fg.while_loop(lambda c: c < 50, lambda c: c * 2, start))(0), 64.0 if start == 1 else start
    )
    assert_same(run(lambda x: fg.fori_loop(0, x, lambda i, c: c + SINGLE[0], 0.0))(0), fg.asarray(0.0, "float32"))


def test_a_body_that_asks_for_values_may_take_no_step():
    halve = lambda n: n // 2 if n % 2 == 0 else 3 * n + 1
    assert [fg.while_loop(lambda n: n != 1, halve, n) for n in (6, 1)] == [1, 1]
    assert fg.fori_loop(0, 0, lambda i, n: halve(n), 5) == 5


@by_run
def test_a_number_counts_without_changing_the_precision_of_others(run):
    f = lambda x: fg.while_loop(lambda c: c[1] < 100, lambda c: (c[0] + 1, c[1] * x * c[0]), (1, x))
    xs = fg.asarray([2.0, 3.0, 50.0], "float32")
    assert_same([run(f)(x)[0] for x in xs], [5, 4, 2])
    values = fg.asarray([768.0, 486.0, 2500.0], "float32")
    assert_same(fg.stack([run(f)(x)[1] for x in xs]), values)
    assert_same(run(fg.vmap(f))(xs), (fg.asarray([5, 4, 2]), values))
    assert_same(fg.vmap(fg.make_graph(f)(xs[0]).__call__)(xs), (fg.asarray([5, 4, 2]), values))
    floating = lambda x: fg.while_loop(lambda c: c[0] * c[1] < 50, lambda c: (c[0] * 1.5, c[1] * x), (1.0, x))
    found = run(fg.vmap(floating))(xs)
    assert_same(found[1].dtype == np.float32, True)
    np.testing.assert_allclose(found[0], [float(floating(x)[0]) for x in xs])


OPERATORS = [
    lambda i: -i,
    lambda i: +i,
    lambda i: abs(i - 3),
    lambda i: 3 - i * 2,
    lambda i: i / 4,
    lambda i: (i + 1) // 2,
    lambda i: i % 3,
    lambda i: i**2,
    lambda i: (i & 3) | (i ^ 5),
    lambda i: (i << 2) >> 1,
    lambda i: i > 1,
    lambda i: (i <= 2) != (i == 1),
]


@by_run
@pytest.mark.parametrize("function", OPERATORS)
def test_a_number_of_each_example_has_the_operators_of_python(run, function):
    f = lambda n, x: fg.while_loop(
        lambda c: c[0] < n, lambda c: (c[0] + 1, function(c[0]), c[1] * x), (0, function(0), x)
    )
    lengths = fg.asarray([1, 4, 2])
    expected = [f(n, SINGLE) for n in (1, 4, 2)]
    assert {part[2].dtype for part in expected} == {np.dtype("float32")}
    stacked = fg.tree.map(lambda *leaves: fg.stack(leaves), *expected)
    assert_same(run(fg.vmap(f, in_axes=(0, None)))(lengths, SINGLE), stacked, rtol=1e-6)


# Examples that end at different steps.


@by_run
def test_examples_that_are_done_keep_their_values(run):
    numbers = fg.arange(1, 28)
    assert_same(run(fg.vmap(collatz))(numbers), fg.asarray([collatz(int(n)) for n in range(1, 28)]))
    assert_same(run(fg.vmap(fg.vmap(collatz)))(fg.reshape(numbers, (9, 3)))[2], run(fg.vmap(collatz))(numbers[6:9]))
    assert fg.vmap(collatz)(numbers[:0]).shape == (0,)


def test_what_is_computed_for_examples_that_are_done_gives_no_warning():
    # At the end of each loop the next step would divide by zero.
    f = lambda n: fg.while_loop(lambda c: c[0] > 0, lambda c: (c[0] - 1, c[1] + 1 / c[0]), (n, 0.0))[1]
    harmonic = [0.0, 1.0, 1.5, 11 / 6]
    np.testing.assert_allclose(fg.vmap(f)(fg.asarray([0.0, 1.0, 2.0, 3.0])), harmonic)
    np.testing.assert_allclose(fg.vmap(fg.make_graph(f)(fg.asarray(1.0)).__call__)(fg.arange(4.0)), harmonic)


@by_run
def test_the_condition_may_differ_by_what_it_closes_over(run):
    f = lambda limit, x: fg.while_loop(lambda y: y < limit, lambda y: y * 2, x)
    limits = fg.asarray([1.0, 5.0, 20.0])
    assert_same(run(fg.vmap(f, in_axes=(0, None)))(limits, 1.5), fg.asarray([1.5, 6.0, 24.0]))
    assert_same(run(fg.vmap(f))(limits, X), fg.asarray([1.0, 8.0, 24.0]))
    # Where no example ends before the others, values are batched and the condition is not.
    counted = lambda x: fg.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] + x, c[2] * 2), (0, 0.0, 1.0))
    assert_same(run(fg.vmap(counted, out_axes=(None, 0, None)))(X), (3, 3 * X, 8.0))


# Reverse mode.


def test_reverse_mode_goes_through_a_loop_in_python():
    np.testing.assert_allclose(fg.grad(root)(2.0), 0.5 / np.sqrt(2), rtol=1e-12)
    np.testing.assert_allclose(fg.grad(fg.grad(root))(2.0), -0.25 * 2**-1.5, rtol=1e-9)
    values = fg.asarray([2.0, 3.0, 400.0])
    expected = 0.5 / np.sqrt(np.asarray(values))
    np.testing.assert_allclose(fg.vmap(fg.grad(root))(values), expected, rtol=1e-12)
    np.testing.assert_allclose(fg.grad(lambda a: fg.sum(fg.vmap(root)(a)))(values), expected, rtol=1e-12)
    # A batch of a graph is a loop in Python too where the condition has values.
    graph = fg.make_graph(root)(fg.asarray(2.0))
    np.testing.assert_allclose(fg.grad(lambda a: fg.sum(fg.vmap(graph.__call__)(a)))(values), expected, rtol=1e-12)


def test_forward_mode_needs_no_number_of_steps():
    tangent = lambda a: fg.jvp(root, (a,), (fg.asarray(1.0),))[1]
    values = fg.asarray([2.0, 3.0, 400.0])
    expected = 0.5 / np.sqrt(np.asarray(values))
    for f in (
        fg.vmap(tangent),
        fg.make_graph(fg.vmap(tangent))(values),
        fg.vmap(fg.make_graph(tangent)(values[0]).__call__),
    ):
        np.testing.assert_allclose(f(values), expected, rtol=1e-12)
    np.testing.assert_allclose(staged(fg.jacfwd(fg.jacfwd(root)))(fg.asarray(2.0)), -0.25 * 2**-1.5, rtol=1e-9)
    _, linear_map = fg.linearize(fg.make_graph(root)(fg.asarray(2.0)).__call__, fg.asarray(2.0))
    np.testing.assert_allclose(linear_map(fg.asarray(2.0)), 1 / np.sqrt(2), rtol=1e-12)
    # What the primal result decides in Python, it decides under jvp of a graph.
    graph = fg.make_graph(root)(fg.asarray(2.0))
    sign = lambda a: graph(a) if graph(a) > 1 else -graph(a)
    np.testing.assert_allclose(fg.jvp(sign, (fg.asarray(0.25),), (fg.asarray(1.0),))[1], -1.0, rtol=1e-12)


@pytest.mark.parametrize(
    "derivative",
    [
        fg.make_graph(fg.grad(root)),
        lambda a: fg.grad(fg.make_graph(root)(a).__call__)(a),
        fg.grad(fg.checkpoint(root)),
        fg.make_graph(fg.grad(lambda a: fg.scan(lambda c, _: (root(c), None), a, length=2)[0])),
        lambda a: fg.vmap(fg.make_graph(fg.grad(root)))(fg.ones(2)),
    ],
)
def test_reverse_mode_through_a_staged_loop_asks_for_max_steps(derivative):
    message = (
        r"\[while_loop\] reverse mode cannot go.*Give it max_steps=, write fg\.fori_loop.*fg\.scan, or call it outs"
    )
    with pytest.raises(NotDifferentiableError, match=message) as caught:
        derivative(2.0)
    assert __file__ in str(caught.value)


@pytest.mark.parametrize("max_steps", [8, 30])
def test_reverse_mode_through_a_bounded_staged_loop(max_steps):
    f = lambda a: root(a, max_steps)
    a = fg.asarray(2.0)
    np.testing.assert_allclose(staged(fg.grad(f))(a), 0.5 / np.sqrt(2), rtol=1e-12)
    np.testing.assert_allclose(fg.grad(fg.checkpoint(f))(a), 0.5 / np.sqrt(2), rtol=1e-12)
    np.testing.assert_allclose(staged(fg.grad(fg.grad(f)))(a), -0.25 * 2**-1.5, rtol=1e-9)
    graph = fg.make_graph(fg.grad(f))(a)
    assert operations_of(graph).count("scan") == 2
    assert operations_of(fg.make_graph(f)(a)) == ["while"]


def test_an_end_that_comes_too_early_is_differentiated_as_it_is():
    f = lambda x: fg.while_loop(lambda y: y < 100, lambda y: y * y, x, max_steps=2)
    assert staged(f)(3.0) == 81.0
    assert staged(fg.grad(f))(3.0).item() == fg.grad(f)(3.0).item() == 108.0


def test_what_only_the_condition_reads_has_no_gradient():
    f = lambda limit, x: x * fg.while_loop(lambda n: n < limit, lambda n: n + 1, 0)
    assert_same(staged(fg.grad(f, (0, 1)))(2.5, 4.0), (fg.asarray(0.0), fg.asarray(3.0)))
    graph = fg.make_graph(f)(2.5, 4.0)
    assert_same(fg.grad(graph.__call__, (0, 1))(2.5, 4.0), (fg.asarray(0.0), fg.asarray(3.0)))
    assert_same(fg.jvp(graph.__call__, (2.5, 4.0), (1.0, None)), (12.0, fg.asarray(0.0)))


# fori_loop.


@by_run
@given(lower=st.integers(-3, 3), upper=st.integers(-3, 5))
def test_a_fori_loop_is_a_loop(run, lower, upper):
    f = lambda lower, upper, x: fg.fori_loop(lower, upper, lambda i, c: (c[0] * 0.5 + i, c[1] + 1), (x, 0))
    y, count = SINGLE, 0
    for i in range(lower, upper):
        y, count = y * 0.5 + i, count + 1
    assert_same(run(lambda x: f(lower, upper, x))(SINGLE), (y, count))
    assert_same(run(f)(lower, upper, SINGLE), (y, count))
    assert_same(run(lambda n, x: f(lower, n, x))(fg.asarray(upper), SINGLE), (y, count))


@by_run
def test_the_counter_is_what_lower_is(run):
    kinds = []

    def body(i, total):
        kinds.append((i.dtype, i.weak) if isinstance(i, fg.Tensor) else type(i))
        return total + i

    assert_same(run(lambda: fg.fori_loop(0, 3, body, 0))(), 3)
    assert_same(run(lambda: fg.fori_loop(np.int8(0), 3, body, 0))(), fg.asarray(3, "int8"))
    assert_same(run(lambda: fg.fori_loop(0, fg.asarray(3), body, 0))(), 3)
    # A counter that ended below its end would start again from 0.
    total = lambda lower, upper: fg.fori_loop(lower, upper, lambda i, c: c + i, fg.asarray(0))
    assert_same(run(total)(fg.asarray(250, "uint8"), fg.asarray(260)), fg.asarray(sum(range(250, 260))))
    assert_same(run(lambda: total(np.uint8(250), 255))(), fg.asarray(sum(range(250, 255)), "int64"))
    if run is staged:
        assert set(kinds) == {(np.dtype("int64"), True), (np.dtype("int8"), False)}
    else:
        assert set(kinds) == {int, (np.dtype("int8"), False)}


@by_run
def test_the_counter_indexes_and_sets(run):
    f = lambda x: fg.fori_loop(0, 3, lambda i, out: out.at[2 - i].set(x[i] * i), fg.zeros(3))
    assert_same(run(f)(X), fg.asarray([6.0, 2.0, 0.0]))
    assert_same(run(fg.jacobian(f))(X), fg.asarray([[0.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    assert_same(run(fg.vmap(f))(fg.stack([X, -X])), fg.asarray([[6.0, 2.0, 0.0], [-6.0, -2.0, 0.0]]))


def test_known_bounds_make_a_scan_and_others_a_while_loop():
    f = lambda n, x: fg.fori_loop(0, n, lambda i, y: fg.sin(y) * i, x)
    assert operations_of(fg.make_graph(lambda x: f(4, x))(X)) == ["scan"]
    assert operations_of(fg.make_graph(lambda x: f(fg.asarray(4), x))(X)) == ["scan"]
    assert operations_of(fg.make_graph(f)(4, X)) == ["while"]
    expected = fg.grad(lambda x: f(4, x))(1.0)
    assert_same(staged(fg.grad(lambda x: f(4, x)))(1.0), expected)
    with pytest.raises(NotDifferentiableError, match="fori_loop with Python integers as bounds"):
        fg.make_graph(fg.grad(f, 1))(4, 1.0)


@by_run
def test_bounds_may_differ_between_examples(run):
    f = lambda n, x: fg.fori_loop(0, n, lambda i, y: y * x + i, x)
    bounds, xs = fg.asarray([0, 1, 3]), fg.asarray([2.0, 3.0, 0.5], "float32")
    expected = fg.stack([f(int(n), x) for n, x in zip(bounds, xs, strict=True)])
    assert_same(run(fg.vmap(f))(bounds, xs), expected)
    gradients = fg.stack([fg.grad(lambda x, n=n: f(int(n), x))(x) for n, x in zip(bounds, xs, strict=True)])
    assert_same(fg.vmap(fg.grad(f, 1))(bounds, xs), gradients)


# Graphs.


def test_what_the_functions_close_over_are_constants():
    graph = fg.make_graph(lambda a, b, x: fg.while_loop(lambda y: y < a, lambda y: y * b, x))(100.0, 2.0, 3.0)
    (equation,) = graph.equations
    params = dict(equation.params)
    assert (params["cond_consts"], params["body_consts"], params["max_steps"]) == (1, 1, None)
    assert operations_of(params["cond"]) == ["less"]
    assert operations_of(params["body"]) == ["multiply"]
    assert equation.operands == graph.inputs
    graph.check()
    hash(equation.params)
    text = str(graph)
    assert text.count("graph(a: ") == 3
    assert_same(graph(100.0, 2.0, 3.0), 192.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body": fg.make_graph(lambda x: x > 0)(fg.ones(()))}, "the body does not return the carry as it takes it"),
        ({"cond": fg.make_graph(fg.sin)(fg.ones(()))}, "the condition does not return a single boolean"),
        ({"body_consts": 1}, "the operands are not what the condition and the body take"),
    ],
)
def test_the_rule_of_the_primitive_checks_its_operands(change, message):
    cond, body = fg.make_graph(lambda x: x < 9)(fg.ones(())), fg.make_graph(lambda x: x * 2)(fg.ones(()))
    params = {"cond": cond, "body": body, "cond_consts": 0, "body_consts": 0, "max_steps": None}
    assert fg.make_graph(lambda x: bind(WHILE, x, **params)[0])(fg.ones(()))(fg.ones(())).item() == 16.0
    with pytest.raises(ShapeError, match=message):
        fg.make_graph(lambda x: bind(WHILE, x, **{**params, **change}))(fg.ones(()))


# What does not fit.


@by_run
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x: fg.while_loop(lambda c: c[0], lambda c: c, x),
            DtypeError,
            r"the condition is float32\[\].*compare it",
        ),
        (
            lambda x: fg.while_loop(lambda c: c > 0, lambda c: c, x),
            ShapeError,
            r"the condition has shape \(3,\).*fg\.any",
        ),
        (lambda x: fg.while_loop(lambda c: (True,), lambda c: c, x), DtypeError, r"the condition is a tuple of 1"),
        (
            lambda x: fg.while_loop(True, lambda c: c, x),
            TypeError,
            r"cond_fun is a bool, not a function: fg\.while_loop",
        ),
        (lambda x: fg.while_loop(lambda c: True, x, x), TypeError, r"body_fun is float32\[3\], not a function"),
        (lambda x: fg.while_loop(lambda c: True, lambda c: c, [x, "text"]), DtypeError, r"init_val\[1\] is a str"),
        (lambda x: fg.while_loop(lambda c: True, lambda c: c, x, max_steps=-1), ShapeError, "max_steps is -1"),
        (
            lambda x: fg.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * X), (0, x)),
            DtypeError,
            r"\[while_loop\] the carry.*carry\[1\] goes in as float32\[3\] and comes out as float64\[3\]; to keep",
        ),
        (
            lambda x: fg.while_loop(lambda c: c[0][0] < 3, lambda c: c[0], (x,)),
            TreeError,
            r"\[while_loop\] the carry.*: carry is a single value where a tuple is expected",
        ),
        (
            lambda x: fg.fori_loop(0, 3, lambda i, c: {"h": c["h"] * X}, {"h": x}),
            DtypeError,
            r"\[fori_loop\] the carry.*: carry\['h'\] goes in as float32\[3\] and comes out as float64\[3\]",
        ),
        (
            lambda x: fg.fori_loop(0, 3, lambda i, c: (c["h"],), {"h": x}),
            TreeError,
            r"\[fori_loop\] the carry.*: carry is a tuple where a dict is expected",
        ),
        (
            lambda x: fg.fori_loop(0.0, 3, lambda i, c: c, x),
            DtypeError,
            r"lower is float64\*\[\], and it must be an int",
        ),
        (lambda x: fg.fori_loop(0, x, lambda i, c: c, x), ShapeError, r"upper has shape \(3,\)"),
        (lambda x: fg.fori_loop(np.uint8(250), 300, lambda i, c: c, x), DtypeError, r"uint8\[\] and upper 300"),
        (lambda x: fg.fori_loop(np.uint64(0), fg.asarray(3), lambda i, c: c, x), DtypeError, r"lower is uint64"),
        (lambda x: fg.fori_loop(0, True, lambda i, c: c, x), DtypeError, r"upper is bool\*\[\]"),
        (lambda x: fg.fori_loop(0, 3, 1, x), TypeError, r"body_fun is an int, not a function: fg\.fori_loop\(lower"),
    ],
)
def test_what_loops_refuse(run, call, error, message):
    with pytest.raises(error, match=message) as caught:
        run(call)(SINGLE)
    assert error is TypeError or __file__ in str(caught.value)


def test_values_asked_for_in_a_staged_loop():
    with pytest.raises(TracerConversionError, match="while_loop is tracing"):
        fg.make_graph(lambda x: fg.while_loop(lambda c: c < 3, lambda c: c + 1 if c > 1 else c + 2, x))(0.0)
    with pytest.raises(TracerConversionError, match=r"fg\.while_loop"):
        fg.vmap(lambda x: [x for _ in iter(lambda: bool(x > 0), False)])(X)
