"""cond and switch: what runs, what is staged, what their operands and results may be, and how they refuse others."""

from __future__ import annotations

import threading

import attrs
import numpy as np
import pytest
from control_checks import assert_same, by_run, operations_of

import fgrad as fg
from fgrad.core.bind import bind, staging
from fgrad.core.primitive import registered_primitives
from fgrad.errors import DtypeError, EscapedTracerError, ShapeError, TracerConversionError, TreeError

X = fg.asarray([1.0, 2.0, 3.0])
SINGLE = X.astype("float32")
COND = next(primitive for primitive in registered_primitives() if primitive.name == "cond")


# What runs.


def test_the_branch_that_is_taken_is_called_once_and_the_other_never():
    calls = []
    double = lambda x: calls.append("double") or 2 * x
    halve = lambda x: calls.append("halve") or x / 2
    assert fg.cond(True, double, halve, 3.0) == 6.0
    assert fg.grad(lambda x: fg.cond(x > 5, double, halve, x))(3.0).item() == 0.5
    assert calls == ["double", "halve"]
    fg.make_graph(lambda x: fg.cond(x > 5, double, halve, x))(3.0)
    assert calls == ["double", "halve", "halve", "double"]


def test_the_primal_result_under_grad_and_jvp_has_a_value():
    def f(x):
        y = fg.cond(x > 0, lambda: x * x, lambda: -x)
        return y * 2 if y > 1 else y

    assert fg.grad(f)(3.0).item() == 12.0
    assert fg.jvp(f, (0.5,), (1.0,))[1].item() == 1.0


@by_run
@pytest.mark.parametrize("predicate", [True, np.True_, np.asarray(True), fg.asarray(True)])
def test_a_predicate_is_any_boolean(run, predicate):
    assert_same(run(lambda p: fg.cond(p, lambda: X, lambda: -X))(predicate), X)


@by_run
def test_operands_and_results_are_pytrees_with_keys_and_numbers(run):
    key = fg.random.key(7)
    tree = {"a": (X, None), "b": [2 * X], "key": key}

    def other(tree, number):
        return {"a": (tree["b"][0], None), "b": [tree["a"][0]], "key": fg.random.fold_in(tree["key"], 1)}, number + 1

    f = run(lambda p, tree, number: fg.cond(p, other, lambda *operands: operands, tree, number))
    assert_same(f(False, tree, 4), (tree, 4))
    swapped = {"a": (2 * X, None), "b": [X], "key": fg.random.fold_in(key, 1)}
    assert_same(f(True, tree, 4), (swapped, 5))


@by_run
def test_arrays_come_as_tensors_and_numbers_stay_numbers(run):
    def branch(array, number):
        assert isinstance(array, fg.Tensor)
        return np.ones(2), number * 2

    array, number = run(lambda p: fg.cond(p, branch, branch, np.zeros(3), 1.5))(True)
    assert isinstance(array, fg.Tensor)
    assert (type(number), number) == (float, 3.0)


@by_run
def test_no_operands_and_no_results(run):
    assert run(lambda p: fg.cond(p, lambda: None, lambda: None))(True) is None
    assert run(lambda p: fg.cond(p, lambda: ((), {}), lambda: ((), {})))(True) == ((), {})


def test_plain_python_control_flow_on_values_works_under_grad_and_jvp():
    def f(x):
        y = x
        for k in range(3):
            y = y / 2 + k if y > 2 else y * x
        while y < 50:
            y = y * y
        return y

    x, step = 1.7, 1e-5
    gradient = fg.grad(f)(x)
    difference = (f(x + step) - f(x - step)) / (2 * step)
    np.testing.assert_allclose(gradient, difference, rtol=1e-8)
    np.testing.assert_allclose(fg.jvp(f, (x,), (1.0,))[1], gradient, rtol=1e-12)
    np.testing.assert_allclose(fg.grad(fg.grad(f))(x), fg.jvp(fg.grad(f), (x,), (1.0,))[1], rtol=1e-12)
    np.testing.assert_allclose(fg.hessian(f)(x), fg.grad(fg.grad(f))(x), rtol=1e-12)


# switch.


@by_run
@pytest.mark.parametrize(("index", "taken"), [(-7, 0), (-1, 0), (0, 0), (1, 1), (2, 2), (3, 2), (10**6, 2)])
@pytest.mark.parametrize("kind", [int, np.int8, fg.asarray])
def test_the_index_of_switch_is_clamped(run, index, taken, kind):
    index = min(max(index, -128), 127) if kind is np.int8 else index
    branches = [lambda x: x, lambda x: 10 * x, lambda x: 100 * x]
    assert_same(run(lambda i: fg.switch(i, branches, X))(kind(index)), 10**taken * X)


def test_switch_under_vmap_selects_for_each_example():
    branches = (fg.sin, fg.cos, lambda x: x * x)
    index = fg.asarray([-1, 0, 1, 2, 9])
    xs = fg.linspace(0.1, 0.9, 5)
    f = lambda i, x: fg.switch(i, branches, x)
    expected = [np.sin(0.1), np.sin(0.3), np.cos(0.5), 0.7**2, 0.9**2]
    np.testing.assert_allclose(fg.vmap(f)(index, xs), expected)
    np.testing.assert_allclose(fg.vmap(f, in_axes=(0, None))(index, xs[2])[1:3], [np.sin(0.5), np.cos(0.5)])
    gradients = fg.vmap(fg.grad(f, 1))(index, xs)
    np.testing.assert_allclose(gradients, [np.cos(0.1), np.cos(0.3), -np.sin(0.5), 1.4, 1.8])
    # One index for all examples: one branch for all.
    np.testing.assert_allclose(fg.vmap(f, in_axes=(None, 0))(1, xs), np.cos(np.asarray(xs)))


def test_a_switch_of_one_branch_is_its_branch():
    graph = fg.make_graph(lambda i, x: fg.switch(i, [fg.sin], x))(3, 1.0)
    assert operations_of(graph) == ["sin"]


# Graphs.


def test_what_the_branches_close_over_are_operands():
    graph = fg.make_graph(lambda w, x: fg.cond(x[0] > 0, lambda: w * x, lambda: fg.sin(x)))(2.0, X)
    assert operations_of(graph) == ["getitem", "greater", "cond"]
    equation = graph.equations[-1]
    (_, branches) = next(param for param in equation.params if param[0] == "branches")
    # The branch for False comes first; it does not use w, and takes it all the same.
    assert [operations_of(branch) for branch in branches] == [["sin"], ["multiply"]]
    assert [[str(v.aval) for v in branch.inputs] for branch in branches] == [["float64[3]", "float64*[]"]] * 2
    assert [str(operand.aval) for operand in equation.operands] == ["bool[]", "float64[3]", "float64*[]"]
    assert all(branch.captured == 0 for branch in branches)
    graph.check()
    text = str(graph)
    assert text.count("graph(a: ") == 3
    assert "branches=({ graph(" in text
    assert "        c: float64[3] = sin(a)" in text
    hash(equation.params)


def test_nothing_is_carried_out_in_a_staged_branch():
    huge = fg.broadcast_to(fg.asarray(1.0), (10**6, 10**6))
    graph = fg.make_graph(lambda p, x: fg.cond(p, lambda: fg.sum(fg.exp(x), 1), lambda: fg.zeros(10**6)))(True, huge)
    assert graph.outputs[0].aval == fg.ShapeDtype((10**6,), np.dtype("float64"))


def test_branches_of_a_concrete_predicate_are_staged_inside_a_staged_function():
    graph = fg.make_graph(lambda x: fg.cond(True, lambda: x, lambda: fg.zeros(3)))(X)
    assert operations_of(graph) == ["cond"]
    assert_same(graph(X), X)


def test_reverse_mode_saves_as_many_residuals_as_the_branch_with_most_needs():
    def f(x, p):
        many = lambda: fg.sum(fg.sin(fg.exp(x)) * fg.tanh(x))
        few = lambda: fg.sum(fg.exp(x))
        return fg.cond(p, many, few)

    def saved(f):
        graph = fg.make_graph(fg.grad(f))(X, True)
        return len(graph.equations[0].results) - 1

    both = saved(f)
    assert both == saved(lambda x, p: fg.cond(p, lambda: fg.sum(fg.sin(fg.exp(x)) * fg.tanh(x)), lambda: 0.0))
    assert saved(lambda x, p: fg.cond(p, lambda: fg.sum(x * x), lambda: fg.sum(fg.square(x)))) == 0


def test_check_looks_into_branches():
    graph = fg.make_graph(lambda p, x: fg.cond(p, lambda: fg.sin(x), lambda: x))(True, X)
    (equation,) = graph.equations
    params = dict(equation.params)
    bad = attrs.evolve(params["branches"][1], inputs=())
    broken = attrs.evolve(equation, params=(("branches", (params["branches"][0], bad)),))
    with pytest.raises(ShapeError, match="not defined before"):
        attrs.evolve(graph, equations=(broken,)).check()


def test_the_rule_of_the_primitive_checks_its_operands():
    graph = fg.make_graph(fg.sin)(X)
    with pytest.raises(ShapeError, match=r"\[cond\] on bool\*\[\] and float32\[3\]: the operands are not what the"):
        fg.make_graph(lambda x: bind(COND, True, x, branches=(graph, graph)))(SINGLE)
    with pytest.raises(DtypeError, match="must be a single boolean or integer"):
        fg.make_graph(lambda x: bind(COND, 1.0, x, branches=(graph, graph)))(X)
    other = fg.make_graph(fg.sum)(X)
    with pytest.raises(ShapeError, match="the branches return different types"):
        fg.make_graph(lambda x: bind(COND, True, x, branches=(graph, other)))(X)


# Python numbers.


@by_run
def test_a_python_number_takes_on_the_dtype_of_the_other_branch(run):
    f = lambda x: fg.cond(x > 2, lambda: x, lambda: 0) * fg.asarray([1.0], "float32")
    for x in (np.float32(3), np.float32(1)):
        assert run(f)(x).dtype == np.float32
    assert_same(run(lambda x: fg.cond(x > 2, lambda: 1, lambda: 2))(3.0), 1)
    graph = fg.make_graph(lambda x: fg.cond(x > 2, lambda: 1, lambda: 0.5))(3.0)
    assert_same([graph(3.0), graph(1.0)], [1.0, 0.5])
    graph = fg.make_graph(lambda x, n: fg.cond(x > 2, lambda: n > 3, lambda: 1j))(3.0, 4)
    assert_same([graph(3.0, 4), graph(3.0, 2), graph(1.0, 4)], [1 + 0j, 0j, 1j])


def test_numbers_stay_numbers_for_each_example():
    f = lambda p: fg.cond(p, lambda: 1.5, lambda: 2.5) * fg.asarray([1.0], "float32")
    found = fg.vmap(f)(fg.asarray([True, False]))
    assert_same(found, fg.asarray([[1.5], [2.5]], "float32"))


def test_the_gradient_of_a_number_is_float64():
    f = lambda w, x: fg.cond(x[0] > 0, lambda: fg.sum(w * x), lambda: fg.sum(x))
    for g in (fg.grad(f), fg.make_graph(fg.grad(f))(2.0, SINGLE), fg.grad(lambda w, x: fg.make_graph(f)(2.0, x)(w, x))):
        assert_same(g(2.0, SINGLE), fg.asarray(6.0))


# Derivatives of what is not taken.


SINGULAR = {
    "log": (fg.log, lambda x: 1 / x),
    "sqrt": (fg.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "power": (lambda x: x**0.5, lambda x: 0.5 / np.sqrt(x)),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2),
    "quotient": (lambda x: fg.sin(x) / x, lambda x: (x * np.cos(x) - np.sin(x)) / x**2),
    "norm": (lambda x: fg.sqrt(x * x) / x**3, lambda x: -2 / x**3),
}
EDGES = fg.asarray([0.25, -1.0, 0.0, 4.0, 2.0])


@pytest.mark.parametrize("name", SINGULAR)
def test_under_vmap_the_branch_not_taken_adds_nothing(name):
    function, derivative = SINGULAR[name]
    f = lambda x: fg.cond(x > 0, function, lambda x: 3 * x, x)
    taken = np.asarray(EDGES > 0)
    expected = np.where(taken, derivative(np.where(taken, EDGES, 1.0)), 3.0)

    def check(f):
        np.testing.assert_allclose(fg.vmap(fg.grad(f))(EDGES), expected, rtol=1e-12)
        np.testing.assert_allclose(fg.grad(lambda xs: fg.sum(fg.vmap(f)(xs)))(EDGES), expected, rtol=1e-12)
        tangents = fg.vmap(lambda x: fg.jvp(f, (x,), (fg.asarray(1.0),))[1])(EDGES)
        np.testing.assert_allclose(tangents, expected, rtol=1e-12)

    check(f)
    check(fg.make_graph(f)(fg.asarray(1.0)).__call__)
    with np.errstate(all="ignore"):  # a graph computes both branches for all examples
        per_example = fg.make_graph(fg.vmap(fg.grad(f)))(EDGES)
        np.testing.assert_allclose(per_example(EDGES), expected, rtol=1e-12)
        of_sum = fg.make_graph(fg.grad(lambda xs: fg.sum(fg.vmap(f)(xs))))(EDGES)
        np.testing.assert_allclose(of_sum(EDGES), expected, rtol=1e-12)
        nested = fg.vmap(fg.vmap(fg.grad(f)))(fg.stack([EDGES, EDGES[::-1]]))
        np.testing.assert_allclose(nested, [expected, expected[::-1]], rtol=1e-12)


def test_under_vmap_a_branch_runs_for_the_examples_that_take_it():
    def f(x):
        return fg.cond(x > 0, lambda: fg.sum(fg.outer(fg.ones(3) * x, fg.ones(2))), lambda: x)

    trace = fg.show_tape(lambda xs: fg.sum(fg.vmap(f)(xs)))(EDGES)
    sizes = {record.result.shape[0] for record in trace if record.operation == "multiply"}
    assert sizes == {3}
    # Where all examples take one branch, nothing is picked out.
    trace = fg.show_tape(lambda xs: fg.sum(fg.vmap(f)(xs)))(EDGES[3:])
    assert "getitem" not in [record.operation for record in trace]
    assert fg.vmap(f)(EDGES[:0]).shape == (0,)


# What does not fit.


@by_run
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fg.cond(1.0, fg.sin, fg.cos, X), DtypeError, r"the predicate is float64\*\[\].*compare it.*x > 0"),
        (lambda: fg.cond(X[0], fg.sin, fg.cos, X), DtypeError, r"\[cond\] the predicate is float64\[\]"),
        (lambda: fg.cond(1, fg.sin, fg.cos, X), DtypeError, r"the predicate is int64\*\[\].*x != 0"),
        (lambda: fg.cond(X > 0, fg.sin, fg.cos, X), ShapeError, r"has shape \(3,\).*fg\.all or fg\.any.*fg\.vmap"),
        (lambda: fg.cond("yes", fg.sin, fg.cos, X), DtypeError, r"the predicate is a str"),
        (lambda: fg.cond(None, fg.sin, fg.cos, X), DtypeError, r"the predicate is None"),
        (lambda: fg.cond(True, X, fg.cos, X), TypeError, r"true_fun is float64\[3\], not a function: fg\.cond\(pred"),
        (lambda: fg.cond(True, fg.sin, 1, X), TypeError, r"false_fun is an int, not a function"),
        (lambda: fg.cond(True, id, id, {"a": "text"}), DtypeError, r"operands\[0\]\['a'\] is a str"),
        (lambda: fg.cond(True, lambda: "text", lambda: X), DtypeError, r"the result of true_fun is a str"),
        (lambda: fg.switch(1.0, [fg.sin], X), DtypeError, r"the index is float64\*\[\], and it must be an integer"),
        (lambda: fg.switch(True, [fg.sin], X), DtypeError, r"must be an integer; fg\.cond decides by a boolean"),
        (lambda: fg.switch(fg.asarray([1]), [fg.sin], X), ShapeError, r"\[switch\] the index has shape \(1,\)"),
        (lambda: fg.switch(0, [], X), ShapeError, "needs at least one branch"),
        (lambda: fg.switch(0, fg.sin, X), TypeError, "branches is a function, not a list of functions"),
        (lambda: fg.switch(0, [fg.sin, None], X), TypeError, r"branches\[1\] is None, not a function"),
    ],
)
def test_what_cond_and_switch_refuse(run, call, error, message):
    with pytest.raises(error, match=message) as caught:
        run(call)()
    assert error is TypeError or __file__ in str(caught.value)


BRANCHES = {
    "structures": (
        lambda: (X, X),
        lambda: {"a": X},
        TreeError,
        r"false_fun returns \{'a': \*\}, and true_fun returns \(\*, \*\); the result is a tuple where a dict is expect",
    ),
    "paths": (
        lambda: {"h": X, "k": X},
        lambda: {"h": (X,), "k": X},
        TreeError,
        r"the result\['h'\] is a single value where a tuple is expected",
    ),
    "a tree for a leaf": (
        lambda: {"h": (X,), "k": X},
        lambda: {"h": X, "k": X},
        TreeError,
        r"the result\['h'\] is a tuple of 1 where a number or an array is expected",
    ),
    "a key": (
        lambda: [X, fg.random.key(0)],
        lambda: [X, X],
        TreeError,
        r"true_fun returns \[\*, key\]; the result\[1\] is a random key where a number or an array is expected",
    ),
    "shapes": (
        lambda: {"h": X[:2]},
        lambda: {"h": X},
        ShapeError,
        r"at \['h'\]: false_fun returns float64\[3\], true_fun returns float64\[2\]",
    ),
    "dtypes": (
        lambda: X,
        lambda: SINGLE,
        DtypeError,
        r"dtypes: false_fun returns float32\[3\], true_fun returns float64\[3\]; convert one with astype",
    ),
    "a number that does not fit": (
        lambda: 0.5,
        lambda: fg.asarray(1),
        DtypeError,
        r"false_fun returns int64\[\], true_fun returns float64\*\[\]",
    ),
    "a number for an array": (lambda: 0.0, lambda: X, ShapeError, r"float64\[3\], true_fun returns float64\*\[\]"),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_staged_branches_must_return_the_same_types(name):
    true_fun, false_fun, error, message = BRANCHES[name]
    with pytest.raises(error, match=message) as caught:
        fg.make_graph(lambda p: fg.cond(p, true_fun, false_fun))(True)
    assert __file__ in str(caught.value)
    with pytest.raises(error, match=message):
        fg.vmap(lambda p: fg.cond(p, true_fun, false_fun))(fg.asarray([True, False]))
    fg.cond(True, true_fun, false_fun)
    with pytest.raises(error, match=r"\[switch\] the branches must.*branches\[1\] returns"):
        fg.make_graph(lambda p: fg.switch(p, [false_fun, true_fun]))(1)


def test_an_if_in_a_staged_branch_says_what_to_do():
    with pytest.raises(TracerConversionError, match=r"bool\(x\) on a value that cond is tracing.*fg\.cond"):
        fg.make_graph(lambda x: fg.cond(x > 0, lambda y: y if y > 1 else -y, lambda y: y, x))(1.0)


def test_a_value_of_a_branch_does_not_leave_it():
    seen = []
    fg.make_graph(lambda x: fg.cond(x > 0, lambda: seen.append(x * 2) or x, lambda: x))(1.0)
    with pytest.raises(EscapedTracerError, match="finished cond call"):
        seen[0] + 1
    with pytest.raises(EscapedTracerError):
        fg.make_graph(lambda x: [fg.cond(x > 0, lambda: seen.append(x * 2) or x, lambda: x), seen[-1]])(1.0)


def test_an_error_in_a_branch_leaves_nothing_open():
    def fail():
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fg.make_graph(lambda x: fg.cond(x > 0, fail, lambda: x))(1.0)
        assert staging.trace is None
        assert staging.run == 0
    assert fg.cond(True, lambda: 1, fail) == 1


def test_threads_stage_apart():
    results, errors = {}, []
    start = threading.Barrier(4)

    def work(number):
        try:
            start.wait()
            for _ in range(5):
                f = lambda x: fg.cond(
                    x > 0, lambda: x**number, lambda: fg.scan(lambda c, _: (c * x, None), x, length=2)[0]
                )
                results[number] = [fg.make_graph(fg.grad(f))(1.0)(value).item() for value in (2.0, -2.0)]
        except BaseException as error:  # noqa: BLE001 - what fails in a thread is to fail the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert results == {n: [n * 2.0 ** (n - 1), 12.0] for n in range(1, 5)}


@by_run
def test_an_index_beyond_int64_is_one_past_the_end(run):
    choose = lambda index: fg.switch(index, [lambda: 0.0, lambda: 1.0])
    index = fg.asarray([2**63 + 5, 0], "uint64")
    assert_same(run(fg.vmap(choose))(index), fg.asarray([1.0, 0.0]))
    assert_same(run(choose)(index[0]), 1.0)


def test_messages_speak_of_keys_and_not_of_their_words():
    key, split = fg.random.key, fg.random.split
    with pytest.raises(ShapeError, match=r"carry goes in as key\[\] and comes out as key\[2\]"):
        fg.scan(lambda c, _: (split(c), None), key(0), length=2)
    with pytest.raises(ShapeError, match=r"false_fun returns key\[3\], true_fun returns key\[\]"):
        fg.make_graph(lambda x, k: fg.cond(x > 0, lambda: k, lambda: split(k, 3)))(1.0, key(0))
    lengths = iter((2, 3))
    with pytest.raises(ShapeError, match=r"y is key\[2\] at the first step and key\[3\] at step 1"):
        fg.scan(lambda c, _: (c, split(key(0), next(lengths))), 0, length=2)
