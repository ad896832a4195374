"""scan and map: values, carries, graphs, what reverse mode saves, and how they refuse what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from control_checks import assert_same, by_run, operations_of, staged
from hypothesis import given
from hypothesis import strategies as st

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.core.primitive import registered_primitives
from fgrad.errors import DtypeError, ShapeError, TracerConversionError, TreeError
from fgrad.testing import check_grads

X = fg.asarray([1.0, 2.0, 3.0])
SINGLE = X.astype("float32")
SCAN = next(primitive for primitive in registered_primitives() if primitive.name == "scan")


def scan_equations(graph):
    return [equation for equation in graph.equations if equation.primitive is SCAN]


# Values.


@by_run
@given(length=st.integers(0, 4), reverse=st.booleans(), seed=st.integers(0, 99))
def test_a_scan_is_a_loop(run, length, reverse, seed):
    generator = np.random.default_rng(seed)
    xs = {"a": generator.normal(size=(length, 2)), "b": generator.integers(0, 5, length)}
    init = (generator.normal(size=2), np.float32(1.5), 3)

    def step(carry, x):
        h, scale, count = carry
        h = fg.tanh(h + x["a"]) * scale
        return (h, scale / 2, count + 1), {"h": h, "sum": fg.sum(h) * x["b"], "count": count}

    h, scale, count = init
    outputs = [None] * length
    for k in reversed(range(length)) if reverse else range(length):
        h = np.tanh(h + xs["a"][k]) * scale
        outputs[k] = {"h": h, "sum": np.sum(h) * xs["b"][k], "count": count}
        scale, count = scale / 2, count + 1
    expected = {
        "h": np.reshape([y["h"] for y in outputs], (length, 2)),
        "sum": np.asarray([y["sum"] for y in outputs], float),
        "count": np.asarray([y["count"] for y in outputs], int),
    }
    found = run(lambda init, xs: fg.scan(step, init, xs, reverse=reverse))(init, xs)
    assert_same(found, ((fg.asarray(h), fg.asarray(scale), count), fg.tree.map(fg.asarray, expected)))


@by_run
def test_a_scan_without_arrays_takes_its_length(run):
    f = run(lambda x: fg.scan(lambda c, none: (c * 2, (c, none)), x, length=3))
    assert_same(f(X), (8 * X, (fg.stack([X, 2 * X, 4 * X]), None)))
    assert_same(run(lambda x: fg.scan(lambda c, _: (c, c), x, None, 0))(X), (X, fg.zeros((0, 3))))
    assert_same(run(lambda x: fg.scan(lambda c, x: (c, x), None, x, length=3))(X), (None, X))
    assert run(lambda: fg.scan(lambda c, _: (c, None), (), length=2))() == ((), None)


@by_run
def test_lists_are_trees_and_arrays_come_as_tensors(run):
    def step(carry, row):
        assert isinstance(carry, fg.Tensor)
        assert all(isinstance(part, fg.Tensor) for part in row)
        return carry + row[0] @ row[1], [np.ones(2), carry]

    rows = np.arange(6.0).reshape(2, 3)
    found = run(lambda rows: fg.scan(step, np.zeros(()), [rows, rows + 1]))(rows)
    total = (rows * (rows + 1)).sum(1)
    assert_same(found, (fg.asarray(total.sum()), [fg.ones((2, 2)), fg.asarray([0.0, total[0]])]))


def test_what_a_caller_writes_into_an_array_later_changes_nothing():
    xs, init = np.ones((2, 3)), np.zeros(3)
    out = fg.scan(lambda c, x: (x, c), init, xs)
    by_graph = fg.make_graph(lambda c, xs: fg.scan(lambda c, x: (x, c), c, xs))(init, xs)(init, xs)
    xs[:], init[:] = 7.0, 7.0
    for last, ys in (out, by_graph):
        assert_same((last, ys), (fg.ones(3), fg.asarray([[0.0] * 3, [1.0] * 3])))


@by_run
def test_keys_are_carried_scanned_and_collected(run):
    def carried(key):
        def step(key, _):
            key, draw = fg.random.split(key)
            return key, (fg.random.normal(draw, (2,)), draw)

        return fg.scan(step, key, length=3)

    key, draws, keys = fg.random.key(3), [], []
    last, (found, collected) = run(carried)(fg.random.key(3))
    for _ in range(3):
        key, draw = fg.random.split(key)
        keys.append(draw)
        draws.append(fg.random.normal(draw, (2,)))
    assert_same((last, found), (key, fg.stack(draws)))
    assert_same(collected.words, fg.stack([draw.words for draw in keys]))

    scanned = run(lambda key: fg.scan(lambda c, key: (c, fg.random.bits(key)), 0, fg.random.split(key, 4))[1])
    assert_same(
        scanned(fg.random.key(5)), fg.stack([fg.random.bits(key) for key in fg.random.split(fg.random.key(5), 4)])
    )


# Python numbers in the carry.


@by_run
def test_a_number_becomes_what_the_body_makes_of_it(run):
    total = run(lambda xs: fg.scan(lambda c, x: (c + x, c), 0, xs))
    assert_same(total(X), (fg.asarray(6.0), fg.asarray([0.0, 1.0, 3.0])))
    assert_same(total(SINGLE), (fg.asarray(6.0, "float32"), fg.asarray([0.0, 1.0, 3.0], "float32")))
    assert_same(total(SINGLE[:0]), (fg.asarray(0.0, "float32"), fg.zeros(0, "float32")))
    # One number waits for another: the first becomes float32 when the second has.
    chained = run(lambda xs: fg.scan(lambda c, x: ((c[1], c[0] + x), c), (0, 0.5), xs))
    expected = ([0.0, 0.5, 1.0], [0.5, 1.0, 2.5])
    assert_same(chained(SINGLE)[1], tuple(fg.asarray(y, "float32") for y in expected))


@by_run
def test_a_number_that_stays_one_is_one_at_the_end(run):
    count, scaled = run(lambda xs: fg.scan(lambda c, x: (c + 1, x * c), 0, xs))(SINGLE)
    assert_same((count, scaled), (3, fg.asarray([0.0, 2.0, 6.0], "float32")))
    weight, scaled = run(lambda xs: fg.scan(lambda c, x: (c / 2, x * c), 1, xs))(SINGLE)
    assert_same((weight, scaled), (0.125, fg.asarray([1.0, 1.0, 0.75], "float32")))


@by_run
def test_a_number_for_an_array_that_the_carry_holds_takes_its_dtype(run):
    last, ys = run(lambda c, xs: fg.scan(lambda c, x: (0, c), c, xs))(np.float32(2.5), X)
    assert_same((last, ys), (fg.asarray(0, "float32"), fg.asarray([2.5, 0, 0], "float32")))


def test_the_first_step_is_taken_again_where_a_number_changes():
    seen = []
    fg.scan(lambda c, x: (seen.append(type(c)) or c + x, None), 0, X)
    assert [kind is int for kind in seen] == [True, False, False, False]
    seen.clear()
    fg.scan(lambda c, x: (seen.append(type(c)) or c + 1, None), 0, X)
    assert seen == [int] * 3


# Derivatives (all nestings are in test_control_compositions.py).


@by_run
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
def test_derivatives_by_carry_arrays_and_what_is_closed_over(run, dtype):
    xs = fg.asarray(np.linspace(-1, 1, 6).reshape(3, 2), dtype)
    w = fg.asarray([[0.5, -0.3], [0.2, 0.7]], dtype)

    def f(w, init, xs):
        return fg.scan(lambda h, x: (fg.tanh(h @ w + x), h * x), init, xs)

    check_grads(run(f), (w, xs[0], xs))


def test_cotangents_of_integers_are_none_and_of_numbers_float64():
    def f(c, n, xs):
        return fg.scan(lambda carry, x: ((carry[0] * x, carry[1] + 1), carry[0]), (c, n), xs)[0][0]

    for g in (f, fg.make_graph(f)(2.0, 0, SINGLE)):
        out, pullback = fg.vjp(g, 2.0, 0, SINGLE)
        of_c, of_n, of_xs = pullback(fg.ones_like(out))
        assert_same((of_c, of_xs), (fg.asarray(6.0), fg.asarray([12.0, 6.0, 4.0], "float32")))
        assert of_n is None


def test_reverse_mode_stacks_only_what_it_does_not_have():
    def f(w, b, xs):
        def step(h, x):
            return fg.tanh(h @ w + x * b), None

        return fg.sum(fg.scan(step, fg.zeros(3), xs)[0])

    graph = fg.make_graph(fg.grad(f, (0, 1, 2)))(fg.eye(3), X, fg.ones((7, 3)))
    forward, backward = scan_equations(graph)
    # The carry, and of each step tanh's output and its input h; w, b and xs are read where they are.
    assert [str(result.aval) for result in forward.results] == ["float64[3]", "float64[7,3]", "float64[7,3]"]
    inputs = set(graph.inputs)
    assert len(inputs.intersection(backward.operands)) == 3
    assert dict(backward.params)["reverse"] is True
    # An unused y has a cotangent of zeros, which is not an array as long as the loop: there are x, c and exp(c).
    graph = fg.make_graph(fg.grad(lambda x: fg.scan(lambda c, x: (c * x, fg.exp(c)), 1.0, x)[0]))(fg.ones(7))
    _, backward = scan_equations(graph)
    assert sum(operand.aval.shape == (7,) for operand in backward.operands) == 3


def test_the_loop_is_one_operation_of_a_graph_however_long():
    f = lambda w, xs: fg.sum(fg.scan(lambda c, x: (fg.sin(c * w) + x, c), 0.0, xs)[1])
    for g, w in [(f, 1.0), (fg.grad(f), 1.0), (fg.grad(fg.grad(f)), 1.0), (fg.vmap(f, in_axes=(0, None)), fg.ones(3))]:
        short, long = (fg.make_graph(g)(w, fg.ones(n)) for n in (2, 500))
        assert operations_of(short) == operations_of(long)
        long.check()


def test_eager_reverse_mode_takes_arrays_apart_once():
    tape = fg.show_tape(lambda xs: fg.scan(lambda c, x: (c + x, x), 0.0, xs)[1])(fg.ones(50))
    names = [record.operation for record in tape]
    assert names.count("unstack_rows") == names.count("stack_rows") == 1
    assert "getitem" not in names


def test_outputs_that_do_not_depend_on_the_input_have_no_derivative():
    constant = lambda x: fg.scan(lambda c, row: (fg.stop_gradient(c * row), fg.floor(row)), 1.0, x)
    for f in (constant, fg.make_graph(constant)(X)):
        assert_same(fg.jvp(f, (X,), (X,))[1], (fg.asarray(0.0), fg.zeros(3)))
        out, pullback = fg.vjp(f, X)
        assert_same(pullback(fg.tree.map(fg.ones_like, out)), (fg.zeros(3),))


# Graphs.


def test_what_a_body_closes_over_are_constants_of_the_loop():
    graph = fg.make_graph(lambda w, xs: fg.scan(lambda c, x: (c * w + x, None), 0.0, xs)[0])(fg.asarray(2.0), X)
    (equation,) = graph.equations
    params = dict(equation.params)
    assert [str(operand.aval) for operand in equation.operands] == ["float64[]", "float64[]", "float64[3]"]
    assert {name: params[name] for name in ("consts", "carry", "length", "reverse")} == {
        "consts": 1,
        "carry": 1,
        "length": 3,
        "reverse": False,
    }
    assert operations_of(params["body"]) == ["multiply", "add"]
    graph.check()
    hash(equation.params)
    assert "body={ graph(a: float64[], b: float64[], c: float64[]):" in str(graph)
    assert graph(fg.asarray(2.0), X).item() == 11.0


def test_loops_over_constants_are_written_down_too():
    graph = fg.make_graph(lambda: fg.scan(lambda c, x: (c + x, None), 0.0, X)[0])()
    assert operations_of(graph) == ["scan"]
    assert graph().item() == 6.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": 2}, "must have length 2 along their first axis"),
        ({"body": fg.make_graph(lambda w, c, x: (c > 0, x))(*[fg.ones(())] * 3)}, "does not return the carry as it"),
        ({"body": fg.make_graph(lambda a, b, c: (a, b))(1.0, 1.0, 1.0)}, "the operands are not what the body takes"),
    ],
)
def test_the_rule_of_the_primitive_checks_its_operands(change, message):
    body = fg.make_graph(lambda w, c, x: (c * w, x))(fg.ones(()), fg.ones(()), fg.ones(()))
    params = {"body": body, "consts": 1, "carry": 1, "length": 3, "reverse": False}
    one = fg.ones(())
    fg.make_graph(lambda xs: bind(SCAN, one, one, xs, **params))(X).check()
    with pytest.raises(ShapeError, match=message):
        fg.make_graph(lambda xs: bind(SCAN, one, one, xs, **{**params, **change}))(X)


# vmap.


@by_run
def test_only_what_differs_between_examples_is_batched(run):
    def f(w, xs):
        return fg.scan(lambda c, x: ((c[0] * w, c[1] + x), (c[0], c[1], x)), (1.0, 0.0), xs)

    ws = fg.asarray([1.0, 2.0])
    (power, total), (powers, totals, rows) = run(fg.vmap(f, in_axes=(0, None), out_axes=((0, None), (0, None, None))))(
        ws, X
    )
    assert_same(power, ws**3)
    assert_same(total, fg.asarray(6.0))
    assert_same(powers, fg.stack([ws**k for k in range(3)], 1))
    assert_same((totals, rows), (fg.asarray([0.0, 1.0, 3.0]), X))


def test_vmap_of_a_graph_finds_the_carries_that_become_batched():
    # The second carry becomes batched by the first, in the second step.
    f = lambda x, xs: fg.scan(lambda c, row: ((c[0] * row, c[1] + c[0], c[2] + 1), c[1]), (x, 0.0, 0), xs)
    xs = fg.asarray([2.0, 3.0])
    graph = fg.make_graph(f)(fg.asarray(1.0), X)
    found = fg.vmap(graph.__call__, in_axes=(0, None), out_axes=((0, 0, None), 0))(xs, X)
    expected = [f(x, X) for x in xs]
    stacked = fg.tree.map(lambda *leaves: fg.stack(leaves), *[((a, b), y) for (a, b, _), y in expected])
    assert_same(((found[0][0], found[0][1]), found[1]), stacked)
    assert found[0][2] == 3


# What does not fit.

STEPS = {
    "dtype": (
        lambda c, x: ({"h": c["h"] * fg.asarray(2.0)}, None),
        DtypeError,
        r"carry\['h'\] goes in as float32\[3\] and comes out as float64\[3\]; to keep float32, .*\.astype\('float32'\)",
    ),
    "shape": (
        lambda c, x: ({"h": c["h"][:2]}, None),
        ShapeError,
        r"carry\['h'\] goes in as float32\[3\] and comes out",
    ),
    "keys": (
        lambda c, x: ({"g": c["h"]}, None),
        TreeError,
        r"carry has the keys \['g'\] and should have the keys \['h'",
    ),
    "a tree for a leaf": (
        lambda c, x: ({"h": (c["h"],)}, None),
        TreeError,
        r"carry\['h'\] is a tuple of 1 where a num",
    ),
    "None for a leaf": (
        lambda c, x: ({"h": None}, None),
        TreeError,
        r"carry\['h'\] is None where a number or an array",
    ),
    "a list": (lambda c, x: ([c["h"]], None), TreeError, r"carry is a list where a dict is expected"),
    "a key": (lambda c, x: ({"h": fg.random.key(0)}, None), TreeError, r"carry\['h'\] is a random key where a number"),
    "text": (lambda c, x: ({"h": "text"}, None), DtypeError, r"the body's carry\['h'\] is a str"),
    "text as y": (lambda c, x: (c, ["text"]), DtypeError, r"y\[0\] is a str"),
    "no pair": (lambda c, x: c, TreeError, r"f must return a pair \(carry, y\), and it returned a dict"),
    "a triple": (lambda c, x: (c, x, x), TreeError, r"must return a pair \(carry, y\), and it returned a tuple of 3"),
}


@by_run
@pytest.mark.parametrize("name", STEPS)
def test_the_carry_must_stay_as_it_is(run, name):
    step, error, message = STEPS[name]
    with pytest.raises(error, match=message) as caught:
        run(lambda x: fg.scan(step, {"h": x}, X))(SINGLE)
    assert str(caught.value).startswith("[scan] ")
    assert __file__ in str(caught.value)


@by_run
@pytest.mark.parametrize(
    ("init", "message"),
    [
        (
            fg.asarray(0),
            r"carry goes in as int64\[\] and comes out as float64\[\]; to keep int64.* start the loop with fl",
        ),
        (np.float32(0), r"carry goes in as float32\[\] and comes out as float64\[\]; to keep float32"),
        (True, None),
    ],
)
def test_an_array_in_the_carry_keeps_its_dtype(run, init, message):
    f = run(lambda x: fg.scan(lambda c, row: (c + row, None), init, x)[0])
    if message is None:
        assert_same(f(X), fg.asarray(7.0))
        return
    with pytest.raises(DtypeError, match=message):
        f(X)


@by_run
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: fg.scan(lambda c, x: (c, x), 0, {"a": X, "b": X[:2], "c": X}),
            ShapeError,
            r"different numbers of steps: xs\['b'\] has 2, xs\['a'\] has 3, xs\['c'\] has 3",
        ),
        (lambda: fg.scan(lambda c, x: (c, x), 0, [X], length=5), ShapeError, r"xs\[0\] has 3; length is 5"),
        (
            lambda: fg.scan(lambda c, x: (c, x), 0, [X, 1.0]),
            ShapeError,
            r"xs\[1\] is a float, and scan goes along the f",
        ),
        (
            lambda: fg.scan(lambda c, x: (c, x), 0, X[0]),
            ShapeError,
            r"xs is float64\[\], and scan goes along the first",
        ),
        (
            lambda: fg.scan(lambda c, x: (c, x), 0),
            ShapeError,
            r"nothing tells the number of steps: give xs, or length=",
        ),
        (lambda: fg.scan(lambda c, x: (c, x), 0, length=-1), ShapeError, "length is -1"),
        (lambda: fg.scan(X, 0, X), TypeError, r"\[scan\] f is float64\[3\], not a function: fg\.scan\(f, init, xs\)"),
        (lambda: fg.scan(lambda c, x: (c, x), "text", X), DtypeError, r"\[scan\] init is a str"),
        (lambda: fg.scan(lambda c, x: (c, x), 0, {"a": "text"}), DtypeError, r"xs\['a'\] is a str"),
        (lambda: fg.map(None, X), TypeError, r"\[map\] f is None, not a function"),
        (lambda: fg.map(fg.sin, ()), ShapeError, r"\[map\] xs holds no array"),
        (lambda: fg.map(fg.sin, (X, X[:1])), ShapeError, r"\[map\] the arrays of xs have different numbers of steps"),
        (lambda: fg.map(fg.sin, X, batch_size=0), ShapeError, "batch_size is 0, and it must be at least 1"),
        (lambda: fg.map(lambda x: "text", X), DtypeError, r"\[map\] y is a str"),
        (lambda: fg.map(lambda x: ["text"], X, batch_size=2), DtypeError, r"\[map\] f\(x\)\[0\] is a str"),
    ],
)
def test_what_scan_and_map_refuse(run, call, error, message):
    with pytest.raises(error, match=message):
        run(call)()


def test_eager_results_must_stack():
    for y, error, message in [
        (lambda k: X[:k], ShapeError, r"y is float64\[0\] at the first step and float64\[1\] at step 1"),
        (lambda k: X if k else SINGLE, DtypeError, r"y is float32\[3\] at the first step and float64\[3\] at step 1"),
        (lambda k: [X] * k, TreeError, "step 1 returns a y of another structure than the first step: y has 1 entries"),
    ]:
        with pytest.raises(error, match=message):
            fg.scan(lambda k, _, y=y: (k + 1, y(k)), 0, length=3)
    # Numbers and arrays may take turns.
    assert_same(fg.scan(lambda k, _: (k + 1, fg.asarray(k) if k else 0), 0, length=2)[1], fg.asarray([0, 1]))


def test_a_body_that_asks_for_values_works_eagerly_and_says_so_when_staged():
    # The number stays one in the first step, and becomes an array in the second.
    f = lambda x: fg.scan(lambda c, row: (c + row if row > 1.5 else c, None), 0.0, x)[0]
    assert fg.grad(f)(X).tolist() == [0.0, 1.0, 1.0]
    with pytest.raises(TracerConversionError, match=r"bool\(x\) on a value that scan is tracing.*fg\.cond"):
        fg.make_graph(f)(X)


# map.


@by_run
@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 7, 8])
def test_map_is_vmap(run, batch_size):
    w = fg.asarray([0.5, 2.0])
    xs = {"x": fg.asarray(np.linspace(-1, 1, 14).reshape(7, 2)), "n": fg.arange(7)}

    def f(row):
        return {"y": fg.tanh(row["x"] @ w) * row["n"], "same": 1.5, "pair": (row["x"], row["n"] + 1)}

    g = lambda w, xs: fg.map(f, xs, batch_size)
    expected = {**fg.vmap(f)(xs), "same": fg.full((7,), 1.5)}
    assert_same(run(g)(w, xs), expected)
    loss = lambda w, x: fg.sum(fg.map(lambda x: fg.tanh(x @ w), x, batch_size) ** 2)
    plain = lambda w, x: fg.sum(fg.tanh(x @ w) ** 2)
    assert_same(run(fg.grad(loss, (0, 1)))(w, xs["x"]), fg.grad(plain, (0, 1))(w, xs["x"]))
    assert_same(run(fg.vmap(loss))(fg.stack([w, -w]), fg.stack([xs["x"]] * 2)), fg.stack([plain(w, xs["x"])] * 2))


@by_run
@pytest.mark.parametrize("batch_size", [None, 2])
def test_map_over_keys_and_over_nothing(run, batch_size):
    keys = lambda: fg.random.split(fg.random.key(1), 5)
    found = run(lambda keys: fg.map(lambda key: (fg.random.bits(key, (2,)), key), keys, batch_size))(keys())
    assert_same(found, fg.vmap(lambda key: (fg.random.bits(key, (2,)), key))(keys()))
    none = run(lambda x: fg.map(lambda row: (row * 2, 1), x, batch_size))(fg.zeros((0, 3), "float32"))
    assert_same(none, (fg.zeros((0, 3), "float32"), fg.zeros(0, "int64")))


def test_a_staged_map_has_one_body():
    graph = fg.make_graph(lambda x: fg.map(lambda row: fg.sin(row) * 2, x))(fg.ones((50, 2)))
    assert operations_of(graph) == ["scan"]
    graph = staged(lambda x: fg.map(lambda row: fg.sin(row) * 2, x, batch_size=8))
    assert_same(graph(fg.ones((50, 2))), 2 * fg.sin(fg.ones((50, 2))))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda x: fg.scan(lambda c, x: (c, x), 0, length=2.0),
            r"\[scan\] length is a float, and it must be an integer",
        ),
        (lambda x: fg.map(fg.sin, x, batch_size="2"), r"\[map\] batch_size is a str, and it must be an integer"),
        (
            lambda x: fg.while_loop(lambda c: c < 1.0, fg.sin, 2.0, max_steps=x),
            r"\[while_loop\] max_steps is float64\[3",
        ),
    ],
)
def test_numbers_of_steps_are_integers(call, text):
    with pytest.raises(fg.errors.DtypeError, match=text + r"(.|\n)*\n  at .*test_loops\.py:"):
        call(X)


def test_products_are_kept_from_what_an_example_does_not_take_by_a_selection():
    matrix = np.array([[1.0, 2.0], [3.0, 4.0]])

    def f(w, x):
        inside = fg.where(x > 0, x, 1.0)
        return fg.cond(x[0] > 0, lambda: fg.sum((matrix * w) @ fg.log(inside)), lambda: fg.sum(x) * w)

    total = lambda w, xs: fg.sum(fg.vmap(f, in_axes=(None, 0))(w, xs))
    args = fg.asarray(1.0), fg.asarray([[1.0, 2.0], [-1.0, 0.0]])
    expected = fg.grad(total, argnums=(0, 1))(*args)
    assert_same(fg.grad(fg.make_graph(total)(*args), argnums=(0, 1))(*args), expected)
