"""Tensors as values: building, reading, showing, copying, comparing, and refusing to change."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys

import attrs
import numpy as np
import pytest
from hypothesis import given

import fgrad as fg
from fgrad.core.tensor import ConcreteTensor
from fgrad.errors import DtypeError, ImmutableError
from fgrad.testing import strategies

# Building.


@pytest.mark.parametrize("build", [fg.asarray, fg.array, fg.Tensor])
@pytest.mark.parametrize(
    "data",
    [
        3,
        3.5,
        True,
        2j,
        [1, 2.5],
        [[1, 2], [3, 4]],
        (1.0, 2.0),
        range(3),
        [],
        np.arange(3),
        np.float32(2.5),
        np.ones((2, 0)),
        np.array(5),
        memoryview(np.arange(3.0)),
    ],
)
def test_tensors_are_built_as_numpy_builds_arrays(build, data):
    tensor = build(data)
    expected = np.asarray(data)
    assert isinstance(tensor, fg.Tensor)
    assert type(tensor) is ConcreteTensor
    assert (tensor.shape, tensor.dtype) == (expected.shape, expected.dtype)
    assert (tensor.ndim, tensor.size, tensor.nbytes) == (expected.ndim, expected.size, expected.nbytes)
    assert tensor.itemsize == expected.itemsize
    np.testing.assert_array_equal(np.asarray(tensor), expected)


@pytest.mark.parametrize("build", [fg.asarray, fg.array, fg.Tensor])
def test_a_dtype_can_be_asked_for(build):
    for dtype in ("float32", np.float32, np.dtype("float32")):
        assert build([1, 2], dtype=dtype).dtype == "float32"
    assert build(fg.asarray([1.5]), dtype=int).dtype == "int64"


@pytest.mark.parametrize("build", [fg.asarray, fg.array, fg.Tensor])
def test_building_from_a_tensor_keeps_its_gradient(build):
    tensor = fg.asarray([1.0, 2.0])
    assert build(tensor) is tensor
    assert float(fg.grad(lambda x: build(x) * build(x))(3.0)) == 6.0
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(build(x) * 2.0))(tensor), [2.0, 2.0])
    assert fg.make_graph(build)(tensor).outputs[0].aval.shape == (2,)


@pytest.mark.parametrize("build", [fg.asarray, fg.array, fg.Tensor, fg.sin, lambda x: fg.asarray(1.0) + x, fg.sum])
@pytest.mark.parametrize("data", ["text", b"bytes", ["a", "b"], [object()], {"a": 1}, {1.0}, None, object(), print])
def test_what_holds_no_numbers_is_refused(build, data):
    with pytest.raises(TypeError):
        build(data)


@pytest.mark.parametrize(
    "data", ["text", ["a"], object(), np.array(["a"]), np.array([None]), np.array("2024", "M8[D]")]
)
def test_the_refusal_names_the_type_and_the_line(data):
    with pytest.raises(DtypeError, match=r"str|object|list|datetime64|<U1") as caught:
        fg.asarray(data)
    assert __file__ in str(caught.value)


def test_ragged_lists_are_refused():
    with pytest.raises(ValueError, match="parts have different shapes"):
        fg.asarray([[1.0], [1.0, 2.0]])


def test_nested_lists_of_tensors():
    x = fg.asarray([1.0, 2.0])
    np.testing.assert_array_equal(fg.asarray([x, x * 2]), [[1.0, 2.0], [2.0, 4.0]])
    gradient = fg.grad(lambda a: fg.sum(fg.asarray([[a, 2.0], [1.0, a * a]]) ** 2))(3.0)
    assert float(gradient) == 2 * 3 + 4 * 27


# Immutability of what is stored.


@pytest.mark.parametrize("build", [fg.asarray, fg.array, fg.Tensor])
def test_a_writable_array_is_copied(build):
    array = np.arange(6.0).reshape(2, 3)
    tensors = [build(array), build(array[0]), build(array.T), build(array[:, ::2])]
    before = [np.array(tensor) for tensor in tensors]
    array[:] = -1.0
    for tensor, expected in zip(tensors, before, strict=True):
        np.testing.assert_array_equal(tensor, expected)


def test_a_read_only_view_of_a_writable_array_is_copied():
    array = np.arange(3.0)
    view = array[:]
    view.setflags(write=False)
    tensor = fg.asarray(view)
    array[:] = -1.0
    np.testing.assert_array_equal(tensor, [0.0, 1.0, 2.0])


def test_a_view_of_writable_memory_that_is_no_array_is_copied():
    memory = bytearray(24)
    tensors = [fg.asarray(np.frombuffer(memory)), fg.asarray(memoryview(memory).cast("d"))]
    locked = np.frombuffer(memory)
    locked.setflags(write=False)
    tensors.append(fg.asarray(locked))
    memory[:8] = b"12345678"
    for tensor in tensors:
        np.testing.assert_array_equal(tensor, np.zeros(3))


def test_a_read_only_array_is_not_copied():
    array = np.arange(3.0)
    array.setflags(write=False)
    assert np.shares_memory(np.asarray(fg.asarray(array)), array)
    assert np.shares_memory(np.asarray(fg.asarray(array[1:])), array)
    assert not np.shares_memory(np.asarray(fg.array(array)), array)


def test_subclasses_of_ndarray_are_read_as_arrays():
    class Special(np.ndarray):
        pass

    array = np.arange(3.0).view(Special)
    tensor = fg.asarray(array)
    array[:] = -1.0
    np.testing.assert_array_equal(tensor, [0.0, 1.0, 2.0])
    assert type(np.asarray(tensor)) is np.ndarray


EXPORTS = {
    "np.asarray": np.asarray,
    "numpy": lambda t: t.numpy(),
    "__array__": lambda t: t.__array__(),
    "np.asarray with dtype": lambda t: np.asarray(t, t.dtype),
    "copy=False": lambda t: (
        np.asarray(t, copy=False) if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else np.asarray(t)
    ),
    "slice": lambda t: np.asarray(t[:1]),
    "iteration": lambda t: np.asarray(next(iter(t))),
    "T": lambda t: np.asarray(t.T),
    "real": lambda t: np.asarray(t.real),
    "reshape": lambda t: np.asarray(t.reshape(-1)),
    "copy": lambda t: np.asarray(copy.copy(t)),
    "deepcopy": lambda t: np.asarray(copy.deepcopy(t)),
    "pickle": lambda t: np.asarray(pickle.loads(pickle.dumps(t))),
    "broadcast_to": lambda t: np.asarray(fg.broadcast_to(t, (100, 100, *t.shape))),
}


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize(
    "tensor",
    [
        fg.asarray(np.arange(6.0).reshape(2, 3)),
        fg.asarray([[1.0, 2.0], [3.0, 4.0]]) * 2,
        fg.arange(6.0).reshape(2, 3).T,
        fg.ones((2, 2)),
        fg.broadcast_to(fg.asarray([1.0, 2.0]), (3000, 2)),
    ],
    ids=["asarray", "product", "view", "ones", "broadcast"],
)
def test_what_a_user_gets_out_cannot_be_written_to(name, tensor):
    before = np.array(tensor)
    array = EXPORTS[name](tensor)
    assert isinstance(array, np.ndarray)
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 0
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.setflags(write=True)
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    np.testing.assert_array_equal(tensor, before)


def test_copies_that_a_user_asks_for_are_their_own():
    tensor = fg.asarray([1.0, 2.0])
    for array in (np.array(tensor), np.asarray(tensor, "float32"), np.asarray(tensor).copy()):
        array[:] = -1.0
    np.testing.assert_array_equal(tensor, [1.0, 2.0])


def test_a_conversion_that_may_not_copy_raises():
    with pytest.raises(ValueError, match="without a copy"):
        fg.asarray([1.0]).__array__("float32", copy=False)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="memoryview reads __buffer__ from Python 3.12 on (PEP 688)")
def test_a_memoryview_is_read_only():
    view = memoryview(fg.asarray([1.0, 2.0]))
    assert view.readonly
    with pytest.raises(TypeError):
        view[0] = 5.0


def test_what_goes_out_through_dlpack_is_read_only():
    """NumPy before 2.1 cannot say in this protocol that memory is read-only, and gets a copy."""
    tensor = fg.asarray([1.0, 2.0]) * 2
    array = np.from_dlpack(tensor)
    if np.lib.NumpyVersion(np.__version__) < "2.1.0":
        assert not np.shares_memory(array, np.asarray(tensor))
        return
    assert np.shares_memory(array, np.asarray(tensor))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 5.0
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.setflags(write=True)


def test_tensors_refuse_to_change():
    x = fg.asarray([1.0, 2.0])
    with pytest.raises(ImmutableError, match=r"x = x\.at\[i\]\.set\(v\)") as caught:
        x[0] = 1
    assert "x[0] = 1" in str(caught.value)
    with pytest.raises(ImmutableError, match="immutable"):
        del x[0]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        x._array = np.zeros(2)
    for name in ("shape", "dtype", "T", "anything"):
        with pytest.raises(AttributeError):
            setattr(x, name, (2, 1))


# Reading.


def test_python_conversions():
    assert float(fg.asarray(2.5)) == 2.5
    assert int(fg.asarray(2.5)) == 2
    assert complex(fg.asarray(2.5)) == 2.5 + 0j
    assert bool(fg.asarray([True]))
    assert not fg.asarray(0.0)
    assert [10, 20, 30][fg.asarray(1)] == 20
    assert list(range(fg.asarray(3))) == [0, 1, 2]
    assert fg.asarray([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]
    assert fg.asarray(2.5).item() == 2.5
    assert fg.asarray([1.0, 2.0]).item(1) == 2.0
    assert type(fg.asarray([1]).item()) is int


def test_conversions_that_numpy_refuses_raise():
    several = fg.asarray([1.0, 2.0])
    for convert in (float, int, bool, lambda t: t.item()):
        with pytest.raises((TypeError, ValueError)):
            convert(several)
    with pytest.raises(TypeError):
        [1, 2][fg.asarray(1.0)]


def test_length_iteration_and_membership():
    x = fg.asarray([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    rows = list(x)
    assert [isinstance(row, fg.Tensor) for row in rows] == [True, True]
    np.testing.assert_array_equal(rows[1], [3.0, 4.0])
    assert 3.0 in x
    assert 5.0 not in x
    for read in (len, iter, list):
        with pytest.raises(TypeError, match=r"shape \(\)"):
            read(fg.asarray(1.0))


def test_repr_and_format():
    assert repr(fg.asarray([1.0, 2.0])) == "Tensor([1., 2.], dtype=float64)"
    assert repr(fg.asarray(np.zeros((0, 3), "float32"))) == "Tensor([], shape=(0, 3), dtype=float32)"
    assert repr(fg.asarray(True)) == "Tensor(True, dtype=bool)"
    assert str(fg.asarray([1.0, 2.0])) == "[1. 2.]"
    assert f"{fg.asarray(3.14159):.2f}" == "3.14"
    assert f"{fg.asarray(7):03d}" == "007"
    assert f"{fg.asarray([1.0])}" == "[1.]"
    with pytest.raises(TypeError, match=r"shape \(\), and this one has shape \(2,\)"):
        f"{fg.asarray([1.0, 2.0]):.2f}"


def test_rounding():
    np.testing.assert_array_equal(round(fg.asarray([1.26, 2.5]), 1), [1.3, 2.5])
    assert float(round(fg.asarray(2.6))) == 3.0


# Hashing, comparing, copying.


def test_a_tensor_is_unhashable_and_says_why():
    with pytest.raises(TypeError, match=r"== on tensors is elementwise.*fg\.tree\.equal"):
        hash(fg.asarray(1.0))
    with pytest.raises(TypeError, match="cannot be hashed"):
        {fg.asarray(1.0)}
    with pytest.raises(TypeError, match="cannot be hashed"):
        {fg.asarray(1.0): 1}


def test_equality_is_elementwise():
    x = fg.asarray([1.0, 2.0])
    np.testing.assert_array_equal(x == [1.0, 3.0], [True, False])
    np.testing.assert_array_equal(x != np.array([1.0, 3.0]), [False, True])
    assert isinstance(x == x, fg.Tensor)
    assert (x == "text") is False
    assert (x != None) is True  # noqa: E711 - the comparison is what is tested


@given(strategies.tensors(strategies.dtypes()))
def test_copies_and_pickles_are_equal(tensor):
    for other in (copy.copy(tensor), copy.deepcopy(tensor), pickle.loads(pickle.dumps(tensor))):
        assert type(other) is ConcreteTensor
        assert fg.tree.equal(other, tensor)
    assert copy.copy(tensor) is tensor
    assert copy.deepcopy({"a": [tensor]})["a"][0] is tensor


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol(protocol):
    tensor = fg.asarray([[1.0, 2.0]]).T
    assert fg.tree.equal(pickle.loads(pickle.dumps(tensor, protocol)), tensor)


def test_a_pickled_view_holds_no_more_than_itself():
    tensor = fg.asarray(np.zeros(100_000))[:2]
    assert len(pickle.dumps(tensor)) < 1000


def test_operators_with_strangers_leave_python_to_try_the_other_side():
    class Stranger:
        def __radd__(self, other):
            return "radd"

        def __rmatmul__(self, other):
            return "rmatmul"

    assert fg.asarray(1.0) + Stranger() == "radd"
    assert fg.asarray([1.0]) @ Stranger() == "rmatmul"
    with pytest.raises(TypeError):
        fg.asarray(1.0) + object()


def test_isinstance_holds_inside_and_outside_of_transforms():
    assert isinstance(fg.asarray(1.0), fg.Tensor)
    seen = []
    fg.grad(lambda x: seen.append(isinstance(x, fg.Tensor)) or x)(1.0)
    fg.make_graph(lambda x: seen.append(isinstance(x, fg.Tensor)) or x)(1.0)
    assert seen == [True, True]


def test_methods_are_documented():
    for name, member in inspect.getmembers(fg.Tensor):
        if not name.startswith("_"):
            assert member.__doc__, name


# Numbers that are given with a dtype.


def test_numbers_go_to_a_dtype_without_losing_digits_on_the_way():
    large = [2**53 + 1, 2**63 + 1]
    np.testing.assert_array_equal(fg.asarray(large, dtype="uint64"), np.array(large, "uint64"))
    np.testing.assert_array_equal(fg.Tensor([0, 2**64 - 1], dtype="uint64"), np.array([0, 2**64 - 1], "uint64"))
    assert float(fg.asarray(2**100, dtype=float)) == float(2**100)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fg.asarray(300, dtype="int8"),
        lambda: fg.array([-1], dtype="uint8"),
        lambda: fg.asarray([1], dtype="int8").at[0].set(300),
        lambda: fg.asarray([1], dtype="int8").at[0].max(300),
        lambda: fg.max(fg.asarray([1], dtype="int8"), initial=300),
    ],
)
def test_integers_that_do_not_fit_raise_as_in_numpy(make):
    with pytest.raises(OverflowError, match="out of bounds for"):
        make()


@pytest.mark.parametrize("dtype", [object, str, "m8[s]", "no dtype"])
@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: fg.zeros(2, dtype),
        lambda dtype: fg.full(2, 1.0, dtype),
        lambda dtype: fg.asarray([1.0], dtype),
        lambda dtype: fg.asarray([1.0]).astype(dtype),
        lambda dtype: fg.sum(fg.ones(2), dtype=dtype),
        lambda dtype: fg.concatenate([fg.ones(2)], dtype=dtype),
        lambda dtype: fg.eye(2, dtype=dtype),
    ],
)
def test_a_tensor_has_no_dtype_without_numbers(make, dtype):
    with pytest.raises(DtypeError, match="dtype"):
        make(dtype)


def test_complex_numbers_do_not_become_real_ones():
    with pytest.raises(DtypeError, match=r"complex numbers do not fit dtype float64; take fg\.real"):
        fg.asarray([1 + 2j], dtype=float)


def test_asarray_without_a_copy_keeps_the_dtype():
    x = fg.ones(2)
    assert fg.asarray(x, copy=False) is x
    with pytest.raises(ValueError, match="would have to copy"):
        fg.asarray(x, dtype="int8", copy=False)


def test_the_transpose_of_a_vector_as_a_matrix_is_refused_by_its_own_name():
    for transpose in (lambda x: x.mT, fg.matrix_transpose, np.linalg.matrix_transpose):
        with pytest.raises(fg.errors.ShapeError, match=r"\[matrix_transpose\] a matrix has at least .* shape \(3,\)\n"):
            transpose(fg.ones(3))
