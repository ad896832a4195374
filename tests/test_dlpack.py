"""DLPack: memory that goes to other libraries and comes from them, without a copy where nobody can write to it."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import DtypeError, TracerConversionError

NEWER = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
needs_flag = pytest.mark.skipif(not NEWER, reason="NumPy 2.0 knows only DLPack capsules without a read-only flag")


@needs_flag
def test_dlpack_out_shares_read_only_memory():
    tensor = fg.asarray([1.0, 2.0]) * 2
    array = np.from_dlpack(tensor)
    assert np.shares_memory(array, np.asarray(tensor))
    assert not array.flags.writeable
    assert "versioned" in repr(tensor.__dlpack__(max_version=(1, 0)))
    assert tensor.__dlpack_device__() == (1, 0)


@needs_flag
def test_dlpack_in_shares_what_is_flagged_as_read_only():
    array = np.arange(3.0)
    array.setflags(write=False)
    tensor = fg.from_dlpack(array)
    assert np.shares_memory(np.asarray(tensor), array)
    assert np.shares_memory(np.asarray(fg.from_dlpack(array, copy=False)), array)
    assert not np.shares_memory(np.asarray(fg.from_dlpack(array, copy=True)), array)
    with pytest.raises(ValueError, match="WRITEABLE"):
        np.asarray(tensor).setflags(write=True)


def test_dlpack_in_copies_what_could_be_written_to():
    array = np.arange(3.0)
    tensor = fg.from_dlpack(array)
    array[0] = 9.0
    assert np.asarray(tensor).tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(BufferError, match="not flagged as read-only"):
        fg.from_dlpack(array, copy=False)
    assert fg.from_dlpack(tensor) is tensor


def test_dlpack_in_copies_a_read_only_view_of_what_can_be_written_to():
    array = np.arange(3.0)
    view = array[:2]
    view.setflags(write=False)
    tensor = fg.from_dlpack(view)
    array[0] = 9.0
    assert np.asarray(tensor).tolist() == [0.0, 1.0]
    with pytest.raises(BufferError, match="a view of an array that is not"):
        fg.from_dlpack(view, copy=False)


class OldProducer:
    """An array of a library that knows only DLPack before version 1."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_dlpack_in_copies_what_has_no_flag():
    array = np.arange(3.0)
    tensor = fg.from_dlpack(OldProducer(array))
    array[0] = 9.0
    assert np.asarray(tensor).tolist() == [0.0, 1.0, 2.0]


def test_dlpack_out_copies_for_those_who_know_no_flag():
    tensor = fg.asarray([1.0, 2.0])
    array = np.from_dlpack(OldProducer(tensor))
    assert array.tolist() == [1.0, 2.0]
    assert not np.shares_memory(array, np.asarray(tensor))
    with pytest.raises(BufferError, match=r"max_version=\(1, 0\)"):
        tensor.__dlpack__(copy=False)
    with pytest.raises(BufferError, match=r"not to device \(2, 0\)"):
        tensor.__dlpack__(dl_device=(2, 0))


def test_dlpack_errors_say_what_is_wrong():
    with pytest.raises(DtypeError, match=r"not a list; see fg\.asarray"):
        fg.from_dlpack([1.0])
    with pytest.raises(TracerConversionError, match="DLPack on a value that grad is tracing"):
        fg.grad(lambda x: float(np.from_dlpack(x)[0]))(fg.ones(1))
    assert np.asarray(fg.grad(lambda x: fg.sum(fg.from_dlpack(x) ** 2))(fg.ones(1))).tolist() == [2.0]


def test_dlpack_with_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    tensor = fg.asarray([1.0, 2.0, 3.0])
    theirs = torch.from_dlpack(tensor)
    assert theirs.tolist() == [1.0, 2.0, 3.0]
    assert theirs.data_ptr() == np.asarray(tensor).ctypes.data
    source = torch.arange(3.0)
    ours = fg.from_dlpack(source)
    source[0] = 9.0
    assert ours.dtype == np.float32
    assert np.asarray(ours).tolist() == [0.0, 1.0, 2.0]
