"""Nothing is ever mutated: a property of every operation, of every transform, and of what a user can get out."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operation_row import Call, Constant
from operation_table import ROWS

import fgrad as fg
from fgrad.testing import strategies

by_row = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])


def quietly(function, *args):
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return function(*args)


def tensors_of(tree):
    return [leaf for leaf in fg.tree.leaves(tree) if isinstance(leaf, fg.Tensor)]


def arrays_of(call):
    """Every array that a call passes, operands and others."""
    leaves = fg.tree.leaves((call.args, call.kwargs))
    return [
        leaf.value if isinstance(leaf, Constant) else leaf for leaf in leaves if isinstance(leaf, np.ndarray | Constant)
    ]


def fresh(call):
    """The call with arrays of its own, all of them writable."""

    def copied(leaf):
        if isinstance(leaf, Constant):
            return Constant(leaf.value.copy())
        return leaf.copy() if isinstance(leaf, np.ndarray) else leaf

    return Call(fg.tree.map(copied, call.args), fg.tree.map(copied, call.kwargs))


def spoil(array):
    """Writes other values into every element."""
    array[...] = ~array if array.dtype.kind == "b" else array + 1


def assert_unchanged(results, before):
    for tensor, expected in zip(tensors_of(results), before, strict=True):
        np.testing.assert_array_equal(np.asarray(tensor), expected)


@by_row
@given(data=st.data())
def test_results_share_no_writable_memory_with_arguments_or_the_outside(row, data):
    call = fresh(data.draw(row.calls))
    given_arrays = [array.copy() for array in arrays_of(call)]
    results = quietly(call.apply, row.function)
    for array, expected in zip(arrays_of(call), given_arrays, strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.flags.writeable
    before = [np.array(tensor) for tensor in tensors_of(results)]
    for array in arrays_of(call):
        spoil(array)
    assert_unchanged(results, before)
    for tensor in tensors_of(results):
        for array in exported(tensor):
            assert not array.flags.writeable
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.setflags(write=True)


def exported(tensor):
    """What a user can get out of a tensor, besides copies."""
    yield np.asarray(tensor)
    yield tensor.numpy()
    yield np.asarray(tensor[...])
    yield np.asarray(tensor.T)
    yield np.asarray(copy.copy(tensor))
    yield np.asarray(pickle.loads(pickle.dumps(tensor)))
    if tensor.shape and tensor.shape[0]:
        yield np.asarray(next(iter(tensor)))


@by_row
@given(data=st.data())
def test_operands_that_are_tensors_do_not_change(row, data):
    call = fresh(data.draw(row.calls))
    operands = [fg.asarray(operand) for operand in call.operands]
    results = quietly(call.apply, row.function, operands)
    for tensor, expected in zip(operands, call.operands, strict=True):
        np.testing.assert_array_equal(np.asarray(tensor), expected)
    for array in call.operands:
        spoil(array)
    again = quietly(call.apply, row.function, operands)
    assert [np.asarray(x).tobytes() for x in tensors_of(again)] == [
        np.asarray(x).tobytes() for x in tensors_of(results)
    ]


SMOOTH = [row for row in ROWS if row.smooth is not None]


@pytest.mark.parametrize("row", SMOOTH, ids=[row.name for row in SMOOTH])
@given(data=st.data())
def test_pullbacks_share_no_memory_with_what_goes_in(row, data):
    """Arguments and cotangents that are overwritten later change neither the value nor a later call of the pullback."""
    call = fresh(data.draw(row.smooth))
    operands = call.operands
    out, pullback = fg.vjp(lambda *operands: call.apply(row.function, list(operands)), *operands)
    cotangent = fg.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype) if leaf.dtype.kind in "fc" else None, out)
    found = pullback(cotangent)
    before = [np.array(tensor) for tensor in tensors_of((out, found))]
    ones = fg.tree.map(np.copy, cotangent)
    for array in (*operands, *fg.tree.leaves(cotangent)):
        spoil(array)
    assert_unchanged((out, found), before)
    assert_unchanged((out, pullback(ones)), before)


@given(strategies.pytrees(strategies.arrays("float64")), st.booleans())
def test_transforms_leave_their_arguments_alone(tree, list_again):
    before = fg.tree.map(np.copy, tree)
    leaves = fg.tree.leaves(tree)
    gradient = fg.grad(lambda tree: sum((fg.sum(leaf * leaf) for leaf in fg.tree.leaves(tree)), 0.0))(tree)
    fg.make_graph(lambda tree: tree)(tree)
    assert fg.tree.equal(tree, before)
    assert all(x is y for x, y in zip(fg.tree.leaves(tree), leaves, strict=True))
    for array in leaves:
        spoil(array)
    assert fg.tree.equal(gradient, fg.tree.map(lambda x: 2 * x, before))


def test_views_of_one_tensor_stay_as_they_are():
    buffer = np.arange(12.0).reshape(3, 4)
    x = fg.asarray(buffer)
    views = [
        x[1:],
        x.T,
        x.reshape(4, 3),
        x[:, ::-1],
        fg.broadcast_to(x, (100, 3, 4)),
        fg.flip(x),
        x.real,
        fg.diagonal(x),
    ]
    before = [np.array(view) for view in views]
    buffer[:] = -1.0
    updated = x.at[1].set(100.0).at[0].add(5.0)
    assert_unchanged(views, before)
    np.testing.assert_array_equal(updated[2], [8.0, 9.0, 10.0, 11.0])
    np.testing.assert_array_equal(x[1], [4.0, 5.0, 6.0, 7.0])


def test_arrays_that_were_handed_out_stay_read_only_after_further_use():
    x = fg.asarray([1.0, 2.0]) * 2
    array = np.asarray(x)
    y = x + 1
    z = fg.grad(lambda t: fg.sum(t * t))(x)
    assert not array.flags.writeable
    np.testing.assert_array_equal(array, [2.0, 4.0])
    np.testing.assert_array_equal(y, [3.0, 5.0])
    np.testing.assert_array_equal(z, [4.0, 8.0])


def test_a_read_only_array_of_a_user_may_be_shared():
    array = np.arange(3.0)
    array.setflags(write=False)
    assert np.shares_memory(np.asarray(fg.asarray(array)), array)
    assert np.shares_memory(np.asarray(fg.reshape(array, (3, 1))), array)


def test_the_words_of_a_key_are_read_only():
    key = fg.random.key(5)
    assert not np.asarray(key.words).flags.writeable
    with pytest.raises(AttributeError):
        key.words = fg.random.key(6).words


@pytest.mark.parametrize(
    "call",
    [
        lambda t: fg.quantile(t, 0.3, overwrite_input=True),
        lambda t: np.percentile(t, 30, overwrite_input=True),
        lambda t: fg.nan_to_num(t, copy=False),
        lambda t: fg.nan_to_num(t, False),
        lambda t: np.nan_to_num(t, copy=False),
    ],
)
def test_options_by_which_numpy_writes_into_its_argument_leave_a_tensor_as_it_is(call):
    numbers = [3.0, 1.0, np.nan, 2.0]
    tensor = fg.add(fg.asarray(numbers), 0.0)  # its array is the library's own, and not read-only yet
    call(tensor)
    np.testing.assert_array_equal(tensor, numbers)


def test_pickles_out_of_band_are_read_only():
    tensor = fg.add(fg.asarray([3.0, 1.0]), 0.0)
    buffers = []
    dumped = pickle.dumps(tensor, protocol=5, buffer_callback=buffers.append)
    assert all(memoryview(buffer).readonly for buffer in buffers)
    np.testing.assert_array_equal(pickle.loads(dumped, buffers=buffers), tensor)
