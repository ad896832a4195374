"""What the tests of operations share: comparisons of results, tangents and cotangents, and the check of vmap."""

from __future__ import annotations

import contextlib
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, settings
from operation_row import Row
from operation_table import ROWS

import fgrad as fg
import fgrad.ops.blocks
from fgrad.core.primitive import Primitive, registered_primitives
from fgrad.core.shape import shape_dtype_of

by_row = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
SMOOTH = [row for row in ROWS if row.smooth is not None]
by_smooth_row = pytest.mark.parametrize("row", SMOOTH, ids=[row.name for row in SMOOTH])
ROW_OF = {name: row for row in ROWS for name in row.primitives}
PRIMITIVES = [primitive for primitive in registered_primitives() if primitive.name in ROW_OF]


def share_of_examples(share):
    """Settings for so large a part of the profile's examples: five of them in ci are 250 in nightly."""
    return settings(max_examples=max(1, round(settings.default.max_examples * share)))


def quietly(function, *args):
    """Calls a function whose arguments may be outside of its domain; the values are what is compared."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return function(*args)


def leaves_of(result):
    return [np.asarray(leaf) for leaf in fg.tree.leaves(result)]


def assert_equal_bits(found, expected):
    for x, y in zip(leaves_of(found), leaves_of(expected), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_array_equal(x, y)


def real_bytes(dtype):
    return dtype.type(0).real.dtype.itemsize if dtype.kind in "fc" else 8


def assert_close(found, expected, tolerances):
    """Equal forms, and values apart by no more than the tolerance for their dtype; integers are equal."""
    for x, y in zip(leaves_of(found), leaves_of(expected), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        rtol = tolerances.get(real_bytes(y.dtype), 0.0) if y.dtype.kind in "fc" else 0.0
        if rtol:
            np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)
        else:
            np.testing.assert_array_equal(x, y)


def on_operands(row, call):
    """The function of a call's operands alone."""
    return lambda *operands: call.apply(row.function, list(operands))


def is_inexact(leaf):
    return shape_dtype_of(leaf).dtype.kind in "fc"


def ones_for(tree):
    """A tangent or cotangent of ones for the leaves that have one."""
    return fg.tree.map(lambda leaf: fg.ones_like(leaf) if is_inexact(leaf) else None, tree)


def pull_back_ones(f):
    def pull_back(*operands):
        out, pullback = fg.vjp(f, *operands)
        return pullback(ones_for(out))

    return pull_back


def push_forward_ones(f):
    def push_forward(*operands):
        return fg.jvp(f, operands, tuple(ones_for(list(operands))))[1]

    return push_forward


@contextlib.contextmanager
def every_array_is_large() -> Iterator[None]:
    """Lowers the limits of what is done for large arrays alone: blocks, memory used again, values given up."""
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("fgrad.") and "MANY_ELEMENTS" in vars(module):
                patch.setattr(module, "MANY_ELEMENTS", 1)
        patch.setattr(fgrad.ops.blocks, "_BLOCK", 2)
        yield


# Rules that are wrong on purpose.


@contextlib.contextmanager
def replaced(primitive: Primitive, **rules: Any) -> Iterator[None]:
    """Gives a primitive, which is frozen, other rules for the length of a test."""
    before = {name: getattr(primitive, name) for name in rules}
    for name, rule in rules.items():
        object.__setattr__(primitive, name, rule)
    try:
        yield
    finally:
        for name, rule in before.items():
            object.__setattr__(primitive, name, rule)


def finds_failure(calls: Any, check: Callable[[Any], None], examples: int = 30) -> bool:
    """Whether some of the first calls fails a check, by an assertion or because shapes do not fit."""

    def fails(call):
        try:
            check(call)
        except (AssertionError, ValueError):
            return True
        return False

    quick = settings(max_examples=examples, database=None, phases=[Phase.generate])
    find(calls, fails, settings=quick, random=random.Random(0))
    return True


# vmap against a loop.

SIZE = 3
# Vectorised loops of NumPy may round the last bits otherwise, as their lengths and strides differ.
ROUNDING = {2: 4e-3, 4: 1e-6, 8: 1e-14}


def examples_of(row: Row, operand: np.ndarray, seed: int, *, stacked: bool = False) -> np.ndarray:
    """Different operands of the same shape and dtype, valid where this one is, stacked along the first axis.

    An operand that is stacked itself is varied part by part.
    """
    if stacked:
        return np.stack([examples_of(row, part, seed + 7 * k) for k, part in enumerate(operand)], 1)
    generator = np.random.default_rng(seed)
    return np.stack([operand, *[row.vary(operand, k, generator) for k in range(1, SIZE)]])


def batch_of(row: Row, operands: Sequence[np.ndarray], batched: Sequence[bool]) -> list[np.ndarray]:
    """The operands, those that are batched as stacks of examples."""
    return [
        examples_of(row, x, seed) if own else x for seed, (x, own) in enumerate(zip(operands, batched, strict=True))
    ]


def check_vmap(
    row: Row,
    function: Callable[..., Any],
    batches: Sequence[np.ndarray],
    batched: Sequence[bool],
    axes: Sequence[int] | None = None,
) -> None:
    """Compares vmap over some operands, along these axes of the batches, with a loop over the examples."""
    axes = [0] * len(batches) if axes is None else axes
    expected = [
        function(*[batch[k] if own else batch for batch, own in zip(batches, batched, strict=True)])
        for k in range(SIZE)
    ]
    triples = list(zip(batches, batched, axes, strict=True))
    moved = [np.moveaxis(batch, 0, axis) if own else batch for batch, own, axis in triples]
    found = fg.vmap(function, tuple(axis if own else None for _, own, axis in triples))(*moved)
    assert fg.tree.structure(found) == fg.tree.structure(expected[0])
    stacked = [np.stack(parts) for parts in zip(*map(leaves_of, expected), strict=True)]
    assert_close(found, stacked, row.rtol or ({} if row.exact else ROUNDING))


def check_vmap_each_and_all(row, function, operands):
    """Compares vmap over each operand alone, and over all of them, with loops."""
    count = len(operands)
    masks = [[place == one for place in range(count)] for one in range(count)]
    for batched in [*masks, *([[True] * count] if count > 1 else [])]:
        check_vmap(row, function, batch_of(row, operands, batched), batched)
