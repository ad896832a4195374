"""DLPack: arrays of other libraries as tensors, without a copy where nobody can write to them."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from fgrad.core.errors import DtypeError, at_user_line, with_article
from fgrad.core.tensor import Tensor, adopt, is_read_only
from fgrad.ops.arguments import check_device

__all__ = ["from_dlpack"]


@attrs.frozen
class _Source:
    """Hands NumPy the capsule of another library's array, and keeps what is told of it in `capsules`."""

    array: Any
    capsules: list[str]

    def __dlpack__(self, **options: Any) -> Any:
        capsule = self.array.__dlpack__(**options)
        self.capsules.append(repr(capsule))
        return capsule

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """The array of another library as a Tensor, by way of DLPack.

    No copy is made of memory that its owner flags as read-only, as NumPy does for read-only arrays; a Tensor is
    returned as it is. All other memory is copied, PyTorch's always, and so is a read-only view of a NumPy array that
    can be written to: its owner could write to it, and a Tensor never changes. In the other direction every library
    that asks for DLPack 1 sees a Tensor's memory without a copy, flagged as read-only.

    Args:
        x: an object with ``__dlpack__`` and ``__dlpack_device__``.
        device: None or "cpu"; with "cpu", an array on another device is copied over if its library does that.
        copy: True for a copy in any case; False to raise where one is needed.

    Raises:
        BufferError: when ``copy=False`` and a copy is needed, or the array is on a device that NumPy cannot read.
        DtypeError: when x is no such object, or has a dtype that NumPy does not have.
        ShapeError: for another device than "cpu".

    >>> import fgrad as fg
    >>> import numpy as np
    >>> fg.from_dlpack(np.asarray([1.0, 2.0]))
    Tensor([1., 2.], dtype=float64)
    """
    check_device(device, "from_dlpack")
    if isinstance(x, Tensor):
        return x
    if not hasattr(x, "__dlpack__"):
        message = f"[from_dlpack] takes an object with a method __dlpack__, not {with_article(type(x))}; see fg.asarray"
        raise DtypeError(at_user_line(message))
    array, flagged = _import(x, device)
    # NumPy flags a view that is read-only, whatever its owner is.
    if flagged and not array.flags.writeable and not copy and (not isinstance(x, np.ndarray) or is_read_only(x)):
        return adopt(array)
    if copy is False:
        message = (
            "[from_dlpack] copy=False, but the memory is not flagged as read-only, or is seen through a view of an "
            "array that is not, so its owner could change it under the Tensor; leave copy= away to have it copied"
        )
        raise BufferError(at_user_line(message))
    return adopt(np.array(array))


def _import(x: Any, device: Any) -> tuple[np.ndarray[Any, Any], bool]:
    """The array that NumPy sees, and whether its capsule is of the kind that has a flag for read-only memory."""
    capsules: list[str] = []
    options = {} if device is None or np.lib.NumpyVersion(np.__version__) < "2.1.0" else {"device": device}
    try:
        array: np.ndarray[Any, Any] = np.from_dlpack(_Source(x, capsules), **options)
    except (BufferError, RuntimeError, ValueError) as error:
        message = f"[from_dlpack] NumPy cannot read this {type(x).__name__}: {error}"
        raise (DtypeError if "dtype" in str(error) else BufferError)(at_user_line(message)) from None
    return array, "_versioned" in capsules[-1]
