"""Threads: eight at once compute different derivatives, and each gets its own, however often they are switched."""

from __future__ import annotations

import math
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fgrad as fg
from fgrad.core.bind import next_level, staging

THREADS = 8
ROUNDS = 60


@pytest.fixture(params=[None, 1e-6], ids=["switching as usual", "switching all the time"], autouse=True)
def switch_interval(request):
    before = sys.getswitchinterval()
    if request.param is not None:
        sys.setswitchinterval(request.param)
    yield
    sys.setswitchinterval(before)


def at_once(work, count=THREADS):
    """Runs ``work(number)`` in so many threads that start together; gives the results, or raises the first error."""
    barrier = threading.Barrier(count)

    def run(number):
        barrier.wait(30)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


# Each case: a function of a parameter k that computes something by transforms, and what it should be.

X = np.linspace(0.1, 1.0, 5)
XS = np.stack([X, X + 0.5, X - 0.5])


def gradient(k):
    return fg.grad(lambda x: fg.sum(fg.sin(x * k) + x**3))(X), k * np.cos(X * k) + 3 * X**2


def pullback(k):
    out, pull_back = fg.vjp(lambda x: fg.exp(x * k), X)
    return pull_back(out)[0], k * np.exp(2 * k * X)


def forward(k):
    return fg.jvp(lambda x: fg.cos(k * x), (X,), (X,))[1], -k * X * np.sin(k * X)


def linear_map(k):
    _, apply = fg.linearize(lambda x: x**2 * k, X)
    return apply(np.ones(5)) + apply(X), 2 * k * X + 2 * k * X**2


def batch(k):
    return fg.vmap(lambda x, w: fg.sum(x * w) * k, in_axes=(0, None))(XS, X), XS @ X * k


def per_example_gradients(k):
    return fg.vmap(fg.grad(lambda x: fg.sum(fg.tanh(x * k))))(XS), k / np.cosh(XS * k) ** 2


def nested(k):
    second = fg.grad(fg.grad(lambda x: fg.sin(x * k) + x**3))(0.5)
    mixed = fg.grad(lambda x: x * fg.jvp(lambda y: x * y * k, (2.0,), (1.0,))[1])(3.0)
    return fg.stack([second, mixed]), np.array([-k * k * math.sin(0.5 * k) + 3.0, 6.0 * k])


def hessian(k):
    return fg.hessian(lambda x: fg.sum(x**3) * k)(X), np.diag(6 * k * X)


def graph(k):
    made = fg.make_graph(lambda x: x * k + fg.ones(5))(X)
    assert len(made.equations) == 3
    return made(X), X * k + 1


def graph_of_gradient(k):
    made = fg.make_graph(fg.grad(lambda x: fg.sum(fg.exp(x * k))))(X)
    made.check()
    return made(X), k * np.exp(X * k)


def scan(k):
    def body(carry, x):
        carry = fg.sin(carry) * x + k
        return carry, carry

    def by_hand(start):
        value, slope, slopes = start, 1.0, []
        for x in X:
            value, slope = math.sin(value) * x + k, math.cos(value) * x * slope
            slopes.append(slope)
        return sum(slopes)

    return fg.grad(lambda start: fg.sum(fg.scan(body, start, fg.asarray(X))[1]))(0.3), by_hand(0.3)


def staged_scan(k):
    double = lambda start: fg.scan(lambda carry, x: (carry * x + k, None), start, fg.asarray(X))[0]
    made = fg.make_graph(fg.value_and_grad(double))(0.3)
    expected = 0.3
    for x in X:
        expected = expected * x + k
    return fg.stack(made(0.3)), np.array([expected, np.prod(X)])


def checkpointed(k):
    block = fg.checkpoint(lambda x: fg.sin(fg.exp(-x) * k))
    return fg.grad(lambda x: fg.sum(block(x)))(X), -np.cos(np.exp(-X) * k) * np.exp(-X) * k


def branches(k):
    f = lambda x: fg.cond(x > k / 10, lambda x: x**2, lambda x: -x, x)
    return fg.vmap(fg.grad(f))(X), np.where(k / 10 < X, 2 * X, -1.0)


def random_numbers(k):
    keys = fg.random.split(fg.random.key(int(k)), 3)
    draws = fg.vmap(lambda key: fg.random.normal(key, (2,), "float64"))(keys)
    return draws, np.stack(
        [fg.random.normal(key, (2,), "float64") for key in fg.random.split(fg.random.key(int(k)), 3)]
    )


CASES = [
    gradient, pullback, forward, linear_map, batch, per_example_gradients, nested, hessian, graph, graph_of_gradient,
    scan, staged_scan, checkpointed, branches, random_numbers,
]  # fmt: skip


def require_right(case, k):
    found, expected = case(k)
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-10, atol=1e-12, err_msg=case.__name__)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_eight_threads_compute_the_same_of_different_functions(case):
    at_once(lambda number: [require_right(case, 1.0 + number + turn / 7) for turn in range(ROUNDS // 5)])
    assert staging.trace is None


def test_eight_threads_compute_different_derivatives():
    """Every thread goes through all cases, each from another one on, so that different transforms are open at once."""

    def work(number):
        for turn in range(ROUNDS):
            require_right(CASES[(number * 2 + turn) % len(CASES)], 1.0 + number + turn / 7)
        return staging.trace

    assert at_once(work) == [None] * THREADS


def test_threads_inside_a_transform():
    """A function that computes in threads, under every transform: a tracer may be used in any of them, at once."""

    def part(x, k):
        total = fg.sin(x * k) * fg.grad(lambda y: y * y * k)(1.5)
        for _ in range(30):
            total = total + x * k - x
        return total

    def f(x):
        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(lambda k: part(x, k), [1.0, 2.0, 3.0, 4.0]))
        return sum(parts[1:], parts[0])

    expected = sum(3.0 * k * k * math.cos(0.4 * k) + 30 * (k - 1) for k in (1.0, 2.0, 3.0, 4.0))
    for _ in range(ROUNDS // 5):
        assert float(fg.grad(f)(0.4)) == pytest.approx(expected, rel=1e-12)
        assert float(fg.jvp(f, (0.4,), (1.0,))[1]) == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(fg.vmap(fg.grad(f))(np.full(3, 0.4)), expected, rtol=1e-12)
        graph = fg.make_graph(f)(0.4)
        graph.check()
        assert float(fg.grad(graph)(0.4)) == pytest.approx(expected, rel=1e-12)


def test_one_pullback_in_many_threads():
    _, pull_back = fg.vjp(lambda x: fg.sin(x) * fg.exp(x), X)
    _, apply = fg.linearize(lambda x: fg.sin(x) * fg.exp(x), X)
    made = fg.make_graph(lambda x: fg.sin(x) * fg.exp(x))(X)
    slope = (np.sin(X) + np.cos(X)) * np.exp(X)

    def work(number):
        for turn in range(ROUNDS):
            scale = number + turn + 1.0
            np.testing.assert_allclose(pull_back(np.full(5, scale))[0], slope * scale, rtol=1e-12)
            np.testing.assert_allclose(apply(np.full(5, scale)), slope * scale, rtol=1e-12)
            np.testing.assert_allclose(made(X / scale), np.sin(X / scale) * np.exp(X / scale), rtol=1e-12)

    at_once(work)


def test_levels_are_unique():
    levels = [level for part in at_once(lambda number: [next_level() for _ in range(500)]) for level in part]
    assert len(set(levels)) == len(levels) == 500 * THREADS


def test_an_exception_in_one_thread_leaves_the_others_right():
    class StopError(Exception):
        pass

    def fail(x):
        raise StopError

    def work(number):
        for turn in range(ROUNDS // 5):
            if number % 2:
                with pytest.raises(StopError):
                    fg.grad(lambda x: fg.make_graph(lambda y: fail(x * y))(1.0))(1.0)
            else:
                require_right(CASES[turn % len(CASES)], 2.0 + number)

    at_once(work)
    assert staging.trace is None


@pytest.mark.skipif(not hasattr(sys, "_is_gil_enabled"), reason="this Python always has the global lock")
def test_importing_fgrad_leaves_the_global_lock_off():
    import sysconfig

    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert not sys._is_gil_enabled()
