"""What every function with a counterpart in NumPy costs over it, untraced, on small arrays.

Each function of fgrad that NumPy's protocols lead to takes turns with NumPy's function, on the first arguments of a
list that NumPy accepts: vectors of 10 elements, 3 x 3 matrices, integers, booleans. What is shown is the difference of
the medians in microseconds, for those above the target, and how many are below. The target of 3 microseconds is meant
for a machine on which np.add of 10 elements takes 0.34 microseconds, and grows with that time.
"""

import argparse
import statistics
import timeit
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

import fgrad as fg
from fgrad.core.late import load_late_modules
from fgrad.core.protocols import FUNCTION_COUNTERPARTS, UFUNC_COUNTERPARTS

TARGET, REFERENCE = 3.0, 0.34
SECONDS = 0.0004

VECTOR = np.linspace(0.1, 0.9, 10)
OTHER = np.linspace(1.9, 1.1, 10)
MATRIX = np.array([[2.0, 0.5, 0.1], [0.5, 3.0, 0.2], [0.1, 0.2, 1.5]])
INTEGERS = np.arange(1, 11)
BOOLEANS = INTEGERS % 3 == 0
for array in (VECTOR, OTHER, MATRIX, INTEGERS, BOOLEANS):
    array.setflags(write=False)  # some of NumPy's functions write into their argument, and are not compared
# The first of these that NumPy's function takes are its arguments.
ARGUMENTS: list[tuple[Any, ...]] = [
    (VECTOR,),
    (VECTOR, OTHER),
    (INTEGERS, INTEGERS),
    (INTEGERS,),
    (BOOLEANS, VECTOR),
    (BOOLEANS, VECTOR, OTHER),
    (MATRIX,),
    (MATRIX, MATRIX),
    ([VECTOR, OTHER],),
    (VECTOR, 2),
    (VECTOR, (2, 5)),
    (VECTOR, 0, 0),
    (MATRIX, 0, 1),
    (VECTOR, OTHER, OTHER),
    (VECTOR, INTEGERS % 3, 0),
    (np.linspace(0.0, 1.0, 10), VECTOR, VECTOR),
    ("ij,jk->ik", MATRIX, MATRIX),
    (2, VECTOR),
]
LISTS = ([VECTOR, OTHER],)
# Functions for which another choice is the usual one.
USUAL: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("stack", "hstack", "vstack", "dstack", "column_stack", "concatenate", "concat", "block"), LISTS),
    **dict.fromkeys(("zeros", "ones", "empty"), ((3, 4),)),
    **dict.fromkeys(("eye", "identity", "arange"), (3,)),
    "full": ((3, 4), 1.0),
    "unravel_index": (INTEGERS, (4, 5)),
    "lexsort": ([VECTOR, OTHER],),
    "multi_dot": ([MATRIX, MATRIX, MATRIX],),
    "roll": (VECTOR, 2),
    "einsum": ("ij,jk->ik", MATRIX, MATRIX),
    "tensordot": (MATRIX, MATRIX, 1),
    "percentile": (VECTOR, 30.0),
    "nanpercentile": (VECTOR, 30.0),
    "expand_dims": (VECTOR, 0),
    "broadcast_to": (VECTOR, (3, 10)),
    "full_like": (VECTOR, 2.0),
    "fftfreq": (8,),
    "rfftfreq": (8,),
    "rollaxis": (MATRIX, 1),
    "delete": (VECTOR, 3),
    "insert": (VECTOR, 3, 1.0),
    "choose": (INTEGERS % 2, [VECTOR, OTHER]),
    "select": ([BOOLEANS, ~BOOLEANS], [VECTOR, OTHER]),
    "resize": (VECTOR, (3, 5)),
    "astype": (VECTOR, np.float32),
    "isin": (INTEGERS, INTEGERS),
    "interp": (OTHER, VECTOR, OTHER),
    "searchsorted": (VECTOR, OTHER),
    "digitize": (VECTOR, OTHER),
    "compress": (BOOLEANS, VECTOR),
    "extract": (BOOLEANS, VECTOR),
    "apply_along_axis": (np.sum, 0, MATRIX),
    "matrix_power": (MATRIX, 3),
    "diff": (VECTOR,),
    "take": (VECTOR, INTEGERS % 3),
    "repeat": (VECTOR, 2),
    "tile": (VECTOR, 2),
    "partition": (VECTOR, 3),
    "argpartition": (VECTOR, 3),
    **dict.fromkeys(("split", "array_split", "hsplit"), (VECTOR, 2)),
    "vsplit": (np.eye(4), 2),
    "dsplit": (np.ones((2, 2, 4)), 2),
    "histogram": (VECTOR,),
    "apply_over_axes": (np.sum, MATRIX, 0),
    "can_cast": (np.float32, np.float64),
    "piecewise": (VECTOR, [BOOLEANS, ~BOOLEANS], [np.sin, np.cos]),
    "ravel_multi_index": ((INTEGERS % 3, INTEGERS % 4), (3, 4)),
    "tensorinv": (np.eye(4).reshape(4, 2, 2), 1),
    "tensorsolve": (np.eye(4).reshape(2, 2, 4), MATRIX[:2, :2]),
}
# Options that lead another way.
COMPLEX = VECTOR + 1j * OTHER
VARIANTS: list[tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    ("np.linalg.tensordot", np.linalg.tensordot, (MATRIX, MATRIX), {"axes": 1}),
    ("np.linalg.svd, hermitian", np.linalg.svd, (MATRIX, True, True, True), {}),
    ("np.linalg.svd, values", np.linalg.svd, (MATRIX,), {"compute_uv": False}),
    ("np.linalg.cond, p=1", np.linalg.cond, (MATRIX, 1), {}),
    ("np.linalg.cond, fro", np.linalg.cond, (MATRIX, "fro"), {}),
    ("np.linalg.norm, nuc", np.linalg.norm, (MATRIX, "nuc"), {}),
    ("np.linalg.norm, axis", np.linalg.norm, (MATRIX,), {"axis": 0}),
    ("np.linalg.qr, complete", np.linalg.qr, (MATRIX, "complete"), {}),
    ("np.linalg.pinv, hermitian", np.linalg.pinv, (MATRIX,), {"hermitian": True}),
    ("np.linalg.multi_dot of four", np.linalg.multi_dot, ([MATRIX] * 4,), {}),
    ("np.bincount, weights", np.bincount, (INTEGERS, VECTOR), {}),
    ("np.histogram, density", np.histogram, (VECTOR, 3), {"density": True}),
    ("np.histogram, weights", np.histogram, (VECTOR, 3), {"weights": OTHER}),
    ("np.angle of complex", np.angle, (COMPLEX,), {}),
    ("np.nan_to_num of complex", np.nan_to_num, (COMPLEX,), {}),
    ("np.isclose of complex", np.isclose, (COMPLEX, COMPLEX), {}),
    ("np.sum, keyword", np.sum, (), {"a": VECTOR}),
    ("np.sum, axis", np.sum, (MATRIX,), {"axis": 1, "keepdims": True}),
    ("np.mean, where", np.mean, (VECTOR,), {"where": BOOLEANS}),
    ("np.var, mean", np.var, (VECTOR,), {"mean": np.array([0.5])}),
    ("np.add, dtype", np.add, (VECTOR, OTHER), {"dtype": np.float32}),
    ("np.clip, numbers", np.clip, (VECTOR, 0.2, 0.5), {}),
    ("np.where of one", np.where, (BOOLEANS,), {}),
    ("np.unique, counts", np.unique, (INTEGERS,), {"return_counts": True}),
    ("np.median, axis", np.median, (MATRIX,), {"axis": 0}),
    ("np.quantile of several", np.quantile, (VECTOR, [0.25, 0.75]), {}),
    ("np.einsum, trace", np.einsum, ("ii", MATRIX), {}),
    ("np.einsum of three", np.einsum, ("ij,jk,kl->il", MATRIX, MATRIX, MATRIX), {}),
    ("np.tensordot, axes", np.tensordot, (MATRIX, MATRIX, ((0,), (1,))), {}),
    ("np.pad, reflect", np.pad, (VECTOR, 2), {"mode": "reflect"}),
    ("np.interp, left", np.interp, (OTHER, VECTOR, OTHER), {"left": 0.0}),
    ("np.gradient of a matrix", np.gradient, (MATRIX,), {}),
    ("np.gradient by places", np.gradient, (VECTOR, VECTOR), {}),
    ("np.cov of a matrix", np.cov, (MATRIX,), {}),
    ("np.average, weights", np.average, (VECTOR,), {"weights": OTHER}),
    ("np.fft.fft2", np.fft.fft2, (MATRIX,), {}),
    ("np.fft.fft, n", np.fft.fft, (VECTOR, 16), {}),
    ("np.asarray of numbers", np.asarray, ([1.0, 2.0, 3.0],), {}),
]
# What writes files is left out.
LEFT_OUT = frozenset(("save", "savez", "savez_compressed", "savetxt"))


@attrs.frozen
class Case:
    """A function of NumPy and fgrad's, on arguments that both take."""

    name: str
    ours: timeit.Timer
    theirs: timeit.Timer


def as_tensors(value: Any) -> Any:
    """The arguments with tensors in the places of arrays."""
    if isinstance(value, np.ndarray):
        return fg.asarray(value)
    return type(value)(map(as_tensors, value)) if isinstance(value, list | tuple) else value


def make_case(numpy_function: Callable[..., Any], function: Callable[..., Any]) -> Case | None:
    """The case of a function on the first arguments that NumPy's takes; None where none of them fit."""
    usual = USUAL.get(numpy_function.__name__)
    for args in ARGUMENTS if usual is None else [usual]:
        tensors = tuple([as_tensors(value) for value in args])
        try:
            numpy_function(*args)
            function(*tensors)
        except Exception:  # noqa: BLE001 - arguments that do not fit fail in any way
            continue
        ours = timeit.Timer(lambda f=function, a=tensors: f(*a))
        theirs = timeit.Timer(lambda f=numpy_function, a=args: f(*a))
        return Case(full_name(numpy_function), ours, theirs)
    return None


def full_name(numpy_function: Callable[..., Any]) -> str:
    """The name that a user writes."""
    inner = (getattr(numpy_function, "__module__", None) or "").removeprefix("numpy").strip(".")
    return ".".join(filter(None, ("np", inner, numpy_function.__name__)))


def variant_cases(only: str) -> Iterator[tuple[str, Case]]:
    """Calls with options, through fgrad; where NumPy's signature is another, through NumPy's protocol."""
    for name, function, args, keywords in VARIANTS:
        if only in name:
            tensors = [as_tensors(value) for value in args]
            named = {key: as_tensors(value) for key, value in keywords.items()}
            through_numpy = name in {"np.sum, keyword", "np.add, dtype"}
            table: dict[Any, Any] = {**UFUNC_COUNTERPARTS, **FUNCTION_COUNTERPARTS}
            counterpart = function if through_numpy else table[function]
            ours = timeit.Timer(lambda f=counterpart, a=tensors, k=named: f(*a, **k))
            theirs = timeit.Timer(lambda f=function, a=args, k=keywords: f(*a, **k))
            yield name, Case(name, ours, theirs)


def all_cases(only: str) -> Iterator[tuple[str, Case | None]]:
    """Every counterpart with its case."""
    load_late_modules()
    for function, counterpart in [*UFUNC_COUNTERPARTS.items(), *FUNCTION_COUNTERPARTS.items()]:
        if only in function.__name__ and function.__name__ not in LEFT_OUT:
            yield full_name(function), make_case(function, counterpart)
    yield from variant_cases(only)


def microseconds(timer: timeit.Timer, number: int) -> float:
    """The time of one call."""
    return timer.timeit(number) / number * 1e6


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="functions whose name contains this")
    parser.add_argument("--all", action="store_true", help="show those below the target too")
    parser.add_argument("--peers-python", metavar="PATH", help="taken and not used: the only peer here is NumPy")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    found = dict(all_cases(options.only))
    cases = [case for case in found.values() if case is not None]
    base = timeit.Timer(lambda: np.add(VECTOR, OTHER))
    numbers = [max(1, int(SECONDS * 1e6 / microseconds(case.theirs, 5))) for case in cases]
    times: list[list[tuple[float, float]]] = [[] for _ in cases]
    bases = []
    for _ in range(options.rounds):
        bases.append(microseconds(base, 1000))
        for case, number, samples in zip(cases, numbers, times, strict=True):
            samples.append((microseconds(case.theirs, number), microseconds(case.ours, number)))
    target = TARGET * max(1.0, statistics.median(bases) / REFERENCE)
    rows = []
    for case, samples in zip(cases, times, strict=True):
        theirs, ours = (statistics.median(column) for column in zip(*samples, strict=True))
        rows.append((statistics.median([b - a for a, b in samples]), theirs, ours, case.name))
    rows.sort(reverse=True)
    print(f"np.add: {statistics.median(bases):.2f} µs here, so the target is {target:.1f} µs over NumPy\n")
    print(f"{'':34} {'NumPy':>8} {'fgrad':>8} {'over':>8}   µs, medians of {options.rounds} rounds")
    for over, theirs, ours, name in rows:
        if options.all or over > target:
            print(f"{name:34} {theirs:8.2f} {ours:8.2f} {over:8.2f}")
    slow = sum(row[0] > target for row in rows)
    print(f"\n{len(rows)} functions measured, {len(rows) - slow} within the target, {slow} above it")
    missing = sorted(name for name, case in found.items() if case is None)
    print(f"not measured, since none of the arguments fit: {', '.join(missing) or 'none'}")


if __name__ == "__main__":
    main()
