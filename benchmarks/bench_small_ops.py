"""What one operation on 10-element float32 vectors costs, untraced and differentiated, as a multiple of np.add.

Every sample of a case is taken right after a sample of np.add, and all cases take turns within a round, so that a
machine that changes its speed changes both. PyTorch (CPU, one thread) and HIPS autograd run in the same process where
they can be imported; ``--peers-python PATH`` runs the script with an interpreter that has them.
"""

import argparse
import functools
import importlib.util
import os
import statistics
import subprocess
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np

CHECKOUT = Path(__file__).resolve().parents[1]
TARGETS = {"untraced": 4.5, "chain": 18.0}
UNTRACED = ("add(x, y)", "x + y", "x * 1.5")
LENGTH = 40
BASE_SECONDS, CASE_SECONDS = 0.0005, 0.002


@attrs.frozen
class Case:
    """One statement to time; its time is divided by the operations it runs."""

    group: str
    name: str
    library: str
    timer: timeit.Timer
    operations: int = 1


@attrs.frozen
class Ratios:
    """The quartiles of a case's time per operation over np.add's, and the median time in microseconds."""

    low: float
    median: float
    high: float
    microseconds: float


# The chains: 40 operations each, from a vector x that is differentiated by and a constant vector c.


def binary_chain(np: Any, x: Any, c: Any) -> Any:
    """Operators between the traced vector and a constant one."""
    h = x
    for _ in range(LENGTH // 4):
        h = ((h + c) * c - c) / c
    return h


def number_chain(np: Any, x: Any, c: Any) -> Any:
    """Operators between the traced vector and Python numbers."""
    h = x
    for _ in range(LENGTH // 4):
        h = ((h * 1.5 + 0.25) / 1.5) - 0.125
    return h


def both_chain(np: Any, x: Any, c: Any) -> Any:
    """Operators both of whose operands are traced: two cotangents each."""
    h = x
    for _ in range(LENGTH // 4):
        h = ((h + x) * x - x) * x
    return h


def unary_chain(np: Any, x: Any, c: Any) -> Any:
    """Functions of one argument."""
    h = x
    for _ in range(LENGTH // 4):
        h = np.exp(-np.tanh(np.sin(h)))
    return h


def mixed_chain(np: Any, x: Any, c: Any) -> Any:
    """Functions and operators in turn, with constants, numbers and the traced vector itself."""
    h = x
    for _ in range(LENGTH // 8):
        h = np.sin(h * c) + x
        h = np.exp(-h) * 0.5
        h = np.tanh(h - c)
    return h


CHAINS = (binary_chain, number_chain, both_chain, unary_chain, mixed_chain)


def vectors() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The two vectors that every library works on."""
    numbers = np.random.default_rng(0)
    return numbers.uniform(0.5, 0.9, (2, 10)).astype(np.float32)


def chain_cases(library: str, gradient: Callable[[Callable[..., Any]], Callable[[], Any]]) -> list[Case]:
    """One case a chain, and a check that its gradient is a float32 vector that agrees with the other libraries'."""
    cases = []
    for chain in CHAINS:
        run = gradient(chain)
        found = np.asarray(run())
        assert found.dtype == np.float32, (library, chain.__name__, found.dtype)
        expected = reference_gradient(chain)
        np.testing.assert_allclose(found, expected, rtol=2e-4, err_msg=f"{library} {chain.__name__}")
        timer = timeit.Timer("run()", globals={"run": run})
        cases.append(Case("chain", chain.__name__.removesuffix("_chain"), library, timer, LENGTH))
    return cases


@functools.cache
def reference_gradient(chain: Callable[..., Any]) -> np.ndarray[Any, Any]:
    """The gradient by complex steps: Im f(x + ih) / h, exact to rounding for the analytic chains."""
    x, c = vectors().astype(np.float64)
    return np.imag(chain(np, x + 1e-30j, c)) / 1e-30


def untraced_cases(library: str, statements: tuple[str, ...], **names: Any) -> list[Case]:
    """One case a statement."""
    return [Case("untraced", statement, library, timeit.Timer(statement, globals=names)) for statement in statements]


def fgrad_cases() -> list[Case]:
    """fgrad: tensors, and fg.grad of the sum of each chain."""
    import fgrad as fg

    x, c = map(fg.asarray, vectors())

    def gradient(chain: Callable[..., Any]) -> Callable[[], Any]:
        return functools.partial(fg.grad(lambda x: fg.sum(chain(fg, x, c))), x)

    return untraced_cases("fgrad", UNTRACED, add=fg.add, x=x, y=c) + chain_cases("fgrad", gradient)


def torch_cases() -> list[Case]:
    """PyTorch on one thread: torch.autograd.grad, which is its quickest way to one gradient."""
    import torch

    torch.set_num_threads(1)
    x, c = map(torch.from_numpy, vectors())
    leaf = x.clone().requires_grad_()

    def gradient(chain: Callable[..., Any]) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(chain(torch, leaf, c).sum(), leaf)[0]

    return untraced_cases("PyTorch", UNTRACED, add=torch.add, x=x, y=c) + chain_cases("PyTorch", gradient)


def autograd_cases() -> list[Case]:
    """HIPS autograd: its NumPy functions. Its untraced values are arrays, whose operators are NumPy's own work."""
    import autograd
    import autograd.numpy as anp

    x, c = vectors()

    def gradient(chain: Callable[..., Any]) -> Callable[[], Any]:
        return functools.partial(autograd.grad(lambda x: anp.sum(chain(anp, x, c))), x)

    return untraced_cases("HIPS autograd", UNTRACED[:1], add=anp.add, x=x, y=c) + chain_cases("HIPS autograd", gradient)


PEERS = {"torch": ("PyTorch", torch_cases), "autograd": ("HIPS autograd", autograd_cases)}


def repetitions(timer: timeit.Timer, seconds: float) -> int:
    """How many runs take about as long as `seconds`."""
    timer.timeit(20)
    quickest = min(timer.repeat(5, 20)) / 20
    return max(1, round(seconds / quickest))


def measure(cases: list[Case], rounds: int) -> tuple[dict[Case, Ratios], float]:
    """Ratios by case, and np.add's own median in microseconds."""
    x, y = vectors()
    base = timeit.Timer("add(x, y)", globals={"add": np.add, "x": x, "y": y})
    base_count = repetitions(base, BASE_SECONDS)
    counts = {case: repetitions(case.timer, CASE_SECONDS) for case in cases}
    ratios: dict[Case, list[float]] = {case: [] for case in cases}
    times: dict[Case, list[float]] = {case: [] for case in cases}
    bases: list[float] = []
    for _ in range(rounds):
        for case in cases:
            before = base.timeit(base_count) / base_count
            own = case.timer.timeit(counts[case]) / counts[case] / case.operations
            after = base.timeit(base_count) / base_count
            bases += [before, after]
            times[case].append(own)
            ratios[case].append(2 * own / (before + after))
    summary = {
        case: Ratios(*statistics.quantiles(ratios[case], n=4), statistics.median(times[case]) * 1e6) for case in cases
    }
    return summary, statistics.median(bases) * 1e6


def report(summary: dict[Case, Ratios], base: float) -> None:
    """Prints one row a case, and whether fgrad keeps its target and is ahead of every peer that was measured."""
    libraries = list(dict.fromkeys(case.library for case in summary))
    print(f"np.add on float32[10]: {base:.3f} µs. Time per operation over np.add's: median [quartiles], then µs\n")
    print(f"{'':20}" + "".join(f"{library:>28}" for library in libraries))
    for group, target in TARGETS.items():
        for name in dict.fromkeys(case.name for case in summary if case.group == group):
            row = {case.library: found for case, found in summary.items() if (case.group, case.name) == (group, name)}
            own = row["fgrad"].median
            verdict = f"  at most {target:g}: {'yes' if own <= target else 'NO'}"
            if len(row) > 1:
                ahead = own < min(found.median for library, found in row.items() if library != "fgrad")
                verdict += f", ahead: {'yes' if ahead else 'NO'}"
            cells = [_cell(row.get(library)) for library in libraries]
            print(f"{group + ' ' + name:20}" + "".join(f"{cell:>28}" for cell in cells) + verdict)


def _cell(found: Ratios | None) -> str:
    if found is None:
        return "-"
    return f"{found.median:.1f} [{found.low:.1f} {found.high:.1f}] {found.microseconds:6.2f}"


def main() -> None:
    """Measures, prints, and reruns under another interpreter when asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--peers-python", metavar="PATH", help="an interpreter with torch, autograd, numpy and attrs")
    parser.add_argument("--no-peers", action="store_true", help="measure fgrad alone")
    options = parser.parse_args()
    if options.peers_python:
        command = [options.peers_python, __file__, f"--rounds={options.rounds}"]
        sys.exit(subprocess.run(command, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, check=False).returncode)
    cases = fgrad_cases()
    missing = []
    for module, (library, make_cases) in PEERS.items():
        if options.no_peers or importlib.util.find_spec(module) is None:
            missing.append(library)
        else:
            cases += make_cases()
    report(*measure(cases, options.rounds))
    if missing:
        way = "" if options.no_peers else "; --peers-python names an interpreter that has torch and autograd"
        print(f"\nnot measured: {', '.join(missing)}{way}")


if __name__ == "__main__":
    main()
