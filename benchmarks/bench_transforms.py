"""Gradients, per-example gradients and Hessians beside HIPS autograd, PyTorch and JAX (un-jitted), as ratios of times.

All libraries take turns within a round in one process, one thread each, and a ratio is formed from the neighbours of
one round, so that a machine that changes its speed changes both. Peers are measured where they can be imported;
``--peers-python PATH`` runs the script with an interpreter that has them.
"""

import argparse
import functools
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before NumPy and the peers load: one thread for each library.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import attrs  # noqa: E402 - after the settings above
import numpy as np  # noqa: E402 - after the settings above

CHECKOUT = Path(__file__).resolve().parents[1]

Run = Callable[[], Any]


@attrs.frozen
class Library:
    """A library as the cases see it: its NumPy-like namespace and its transforms."""

    name: str
    np: Any
    grad: Callable[..., Any]
    hessian: Callable[..., Any] | None
    vmap: Callable[..., Any] | None
    array: Callable[[np.ndarray[Any, Any]], Any]
    logsumexp: Callable[[Any], Any]
    wait: Callable[[Any], Any] = lambda result: result


@attrs.frozen
class Case:
    """Something to compute, by each library that can, and how many times quicker than each peer it has to be."""

    name: str
    build: Callable[[Library], Run]
    targets: dict[str, float]
    rtol: float = 1e-4
    few: bool = False


# Small arrays: eager gradients, where the machinery is what costs.


def logistic_loss(lib: Library, w: Any, x: Any, y: Any) -> Any:
    """The mean log-likelihood of a logistic regression."""
    z = lib.np.matmul(x, w)
    return lib.np.mean(lib.np.log(1.0 + lib.np.exp(-y * z))) + 0.01 * lib.np.sum(w * w)


def rosenbrock(lib: Library, x: Any) -> Any:
    """Rosenbrock's function of n variables."""
    return lib.np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def tanh_network(lib: Library, x: Any, weights: list[Any]) -> Any:
    """A scalar out of a vector through tanh layers."""
    h = x
    for w in weights:
        h = lib.np.tanh(lib.np.matmul(w, h))
    return lib.np.sum(h * h)


def pendulum_energy(lib: Library, x: Any) -> Any:
    """Elementwise arithmetic and trigonometry on a vector."""
    y = lib.np.sin(x) * x + lib.np.exp(-x) / (1.0 + x * x)
    return lib.np.sum(y * lib.np.sqrt(x + 1.0) - lib.np.cos(y))


def numbers(*shape: int, dtype: Any = np.float64, seed: int = 0) -> np.ndarray[Any, Any]:
    """Numbers between 0.1 and 0.9."""
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape).astype(dtype)


def gradient_of(loss: Callable[..., Any], *arrays: np.ndarray[Any, Any]) -> Callable[[Library], Run]:
    """The gradient of a loss by its first array."""

    def build(lib: Library) -> Run:
        first, *rest = map(lib.array, arrays)
        gradient = lib.grad(lambda x: loss(lib, x, *rest))
        return functools.partial(gradient, first)

    return build


def network_gradient(lib: Library) -> Run:
    """The gradient of the tanh network by its input, three layers of 10."""
    weights = [lib.array(numbers(10, 10, seed=seed)) for seed in range(3)]
    gradient = lib.grad(lambda x: tanh_network(lib, x, weights))
    return functools.partial(gradient, lib.array(numbers(10)))


SMALL = {"HIPS autograd": 2.0, "PyTorch": 1.0}
FAST = {"JAX, un-jitted": 5.0, "torch.func": 1.0}


# Per-example gradients and Hessians.


def classifier_loss(lib: Library, params: Any, x: Any, label: Any) -> Any:
    """The cross-entropy of one example under a network of 784, 100 and 10 units."""
    w1, b1, w2, b2 = params
    h = lib.np.matmul(x, w1) + b1
    h = lib.np.maximum(h, lib.np.zeros_like(h))
    logits = lib.np.matmul(h, w2) + b2
    return lib.logsumexp(logits) - lib.np.sum(logits * label)


def per_example_gradients(lib: Library) -> Run:
    """vmap of grad over 64 examples, in float32."""
    assert lib.vmap is not None
    shapes = ((784, 100), (100,), (100, 10), (10,))
    params = tuple(
        lib.array((numbers(*shape, seed=seed) - 0.5).astype(np.float32) / 10) for seed, shape in enumerate(shapes)
    )
    x = lib.array(numbers(64, 784, dtype=np.float32, seed=9))
    labels = lib.array(np.eye(10, dtype=np.float32)[np.arange(64) % 10])
    gradients = lib.vmap(lib.grad(lambda p, x, y: classifier_loss(lib, p, x, y)), in_axes=(None, 0, 0))
    return functools.partial(gradients, params, x, labels)


def hessian_of(loss: Callable[..., Any], *arrays: np.ndarray[Any, Any]) -> Callable[[Library], Run]:
    """The Hessian of a scalar function of its first array."""

    def build(lib: Library) -> Run:
        assert lib.hessian is not None
        first, *rest = map(lib.array, arrays)
        return functools.partial(lib.hessian(lambda x: loss(lib, x, *rest)), first)

    return build


def network_hessian(lib: Library) -> Run:
    """The Hessian of the tanh network by its input, three layers of 20."""
    assert lib.hessian is not None
    weights = [lib.array(numbers(20, 20, seed=seed) / 5) for seed in range(3)]
    return functools.partial(lib.hessian(lambda x: tanh_network(lib, x, weights)), lib.array(numbers(20)))


CASES = [
    Case(
        "gradient, logistic regression (20, 5)",
        gradient_of(logistic_loss, numbers(5), numbers(20, 5), numbers(20)),
        SMALL,
    ),
    Case("gradient, Rosenbrock of 10", gradient_of(rosenbrock, numbers(10)), SMALL),
    Case("gradient, elementwise on 10", gradient_of(pendulum_energy, numbers(10)), SMALL),
    Case("gradient, tanh layers of 10", network_gradient, SMALL),
    Case("per-example gradients, 784-100-10, batch 64", per_example_gradients, FAST, few=True),
    Case("Hessian, Rosenbrock of 20", hessian_of(rosenbrock, numbers(20)), FAST),
    Case("Hessian, elementwise on 20", hessian_of(pendulum_energy, numbers(20)), FAST),
    Case("Hessian, tanh layers of 20", network_hessian, FAST),
    Case(
        "gradient, elementwise on 10,000,000",
        gradient_of(pendulum_energy, numbers(10_000_000)),
        {"HIPS autograd": 1.0},
        few=True,
    ),
    Case(
        "gradient, Rosenbrock of 10,000,000",
        gradient_of(rosenbrock, numbers(10_000_000)),
        {"HIPS autograd": 1.0},
        few=True,
    ),
]


# The libraries.


def fgrad_library() -> Library:
    """fgrad."""
    import fgrad as fg

    return Library("fgrad", fg, fg.grad, fg.hessian, fg.vmap, fg.asarray, fg.logsumexp)


def autograd_library() -> Library:
    """HIPS autograd, which has no vmap."""
    import autograd
    import autograd.numpy as anp

    return Library(
        "HIPS autograd", anp, autograd.grad, None, None, lambda array: array, lambda x: anp.log(anp.sum(anp.exp(x)))
    )


def torch_library() -> Library:
    """PyTorch: torch.autograd.grad, which is its quickest way to one gradient."""
    import torch

    torch.set_num_threads(1)

    def grad(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def gradient(x: Any) -> Any:
            leaf = x.detach().requires_grad_()
            return torch.autograd.grad(function(leaf), leaf)[0]

        return gradient

    return Library("PyTorch", torch, grad, None, None, torch.from_numpy, lambda x: torch.logsumexp(x, -1))


def torch_func_library() -> Library:
    """PyTorch's transforms of functions."""
    import torch

    torch.set_num_threads(1)
    return Library(
        "torch.func",
        torch,
        torch.func.grad,
        torch.func.hessian,
        lambda function, in_axes: torch.func.vmap(function, in_dims=in_axes),
        torch.from_numpy,
        lambda x: torch.logsumexp(x, -1),
    )


def jax_library() -> Library:
    """JAX without jit: what a user of its transforms waits for before compiling."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return Library(
        "JAX, un-jitted",
        jax.numpy,
        jax.grad,
        jax.hessian,
        jax.vmap,
        jax.numpy.asarray,
        jax.nn.logsumexp,
        jax.block_until_ready,
    )


PEERS = {
    "HIPS autograd": ("autograd", autograd_library),
    "PyTorch": ("torch", torch_library),
    "torch.func": ("torch", torch_func_library),
    "JAX, un-jitted": ("jax", jax_library),
}


def leaves(result: Any) -> list[np.ndarray[Any, Any]]:
    """The arrays of a result."""
    return [np.asarray(part) for part in result] if isinstance(result, tuple) else [np.asarray(result)]


def measure(case: Case, libraries: list[Library], rounds: int) -> dict[str, list[float]]:
    """Seconds of every library in every round; before that, all results are compared."""
    runs = {lib.name: (case.build(lib), lib.wait) for lib in libraries}
    expected: list[np.ndarray[Any, Any]] | None = None
    for name, (run, wait) in runs.items():
        found = leaves(wait(run()))
        expected = expected or found
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=case.rtol, atol=1e-5, err_msg=f"{case.name}, {name}")
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    counts = dict.fromkeys(runs, 1)
    if not case.few:
        for name, (run, wait) in runs.items():
            start = time.perf_counter()
            wait(run())
            counts[name] = max(1, round(0.01 / (time.perf_counter() - start)))
    for _ in range(max(11, rounds // 2) if case.few else rounds):
        for name, (run, wait) in runs.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                wait(run())
            seconds[name].append((time.perf_counter() - start) / counts[name])
    return seconds


def report(case: Case, seconds: dict[str, list[float]]) -> None:
    """Prints the time of fgrad, and by how many times it is quicker than each peer."""
    own = seconds["fgrad"]
    line = f"{case.name:45} {statistics.median(own) * 1e3:10.3f} ms"
    for name, target in case.targets.items():
        if name not in seconds:
            continue
        low, median, high = statistics.quantiles([b / a for a, b in zip(own, seconds[name], strict=True)], n=4)
        verdict = "yes" if median >= target else "NO"
        line += f"   {name} {median:.2f}x [{low:.2f} {high:.2f}], at least {target:g}: {verdict}"
    print(line, flush=True)


def main() -> None:
    """Measures, prints, and reruns under another interpreter when asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--only", default="", help="measure the cases whose name contains this")
    parser.add_argument("--peers-python", metavar="PATH", help="an interpreter with torch, jax, autograd, numpy, attrs")
    parser.add_argument("--no-peers", action="store_true", help="measure fgrad alone")
    options = parser.parse_args()
    if options.peers_python:
        command = [options.peers_python, __file__, f"--rounds={options.rounds}", f"--only={options.only}"]
        sys.exit(subprocess.run(command, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, check=False).returncode)
    missing = [name for name, (module, _) in PEERS.items() if options.no_peers or not importlib.util.find_spec(module)]
    peers = {name: make() for name, (_, make) in PEERS.items() if name not in missing}
    print("The time of fgrad, and each peer's time over it: median [quartiles]\n")
    for case in CASES:
        if options.only in case.name:
            libraries = [fgrad_library(), *[lib for name, lib in peers.items() if name in case.targets]]
            report(case, measure(case, libraries, options.rounds))
    if missing:
        way = "" if options.no_peers else "; --peers-python names an interpreter that has them"
        print(f"\nnot measured: {', '.join(missing)}{way}")


if __name__ == "__main__":
    main()
