"""What the Python array API standard asks of a namespace about itself: its devices, its dtypes and what it can do."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from fgrad.core.errors import DtypeError, at_user_line
from fgrad.core.tensor import DEVICE
from fgrad.ops.arguments import check_device

__all__ = ["ArrayNamespaceInfo", "__array_namespace_info__"]

_KINDS = {
    "bool": ("bool",),
    "signed integer": ("int8", "int16", "int32", "int64"),
    "unsigned integer": ("uint8", "uint16", "uint32", "uint64"),
    "real floating": ("float32", "float64"),
    "complex floating": ("complex64", "complex128"),
}
_KINDS["integral"] = _KINDS["signed integer"] + _KINDS["unsigned integer"]
_KINDS["numeric"] = _KINDS["integral"] + _KINDS["real floating"] + _KINDS["complex floating"]
_EVERY = _KINDS["bool"] + _KINDS["numeric"]

_MAX_DIMENSIONS = 64  # NumPy's NPY_MAXDIMS


@attrs.frozen
class ArrayNamespaceInfo:
    """The inspection functions of the Python array API standard, section "Inspection".

    >>> import fgrad as fg
    >>> fg.__array_namespace_info__().default_device()
    'cpu'
    """

    def capabilities(self) -> dict[str, bool | int | None]:
        """What may depend on the library: boolean masks as indices, shapes that depend on values, numbers of axes.

        Both are there for values that are known; while a function is staged or batched, they raise and say why.
        """
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": _MAX_DIMENSIONS}

    def default_device(self) -> str:
        """The device of every tensor."""
        return DEVICE

    def devices(self) -> list[str]:
        """The devices that there are."""
        return [DEVICE]

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype[Any]]:
        """The dtypes that creation functions choose, by kind.

        Raises:
            ShapeError: for a device that does not exist.
        """
        check_device(device, "default_dtypes")
        return {
            "real floating": np.dtype(np.float64),
            "complex floating": np.dtype(np.complex128),
            "integral": np.dtype(np.int_),
            "indexing": np.dtype(np.intp),
        }

    def dtypes(self, *, device: Any = None, kind: str | tuple[str, ...] | None = None) -> dict[str, np.dtype[Any]]:
        """The standard's dtypes by name: all of them, or those of a kind or of one of several kinds.

        float16 works too; the standard does not know it.

        Raises:
            ShapeError: for a device that does not exist.
            DtypeError: for a kind that the standard does not know.
        """
        check_device(device, "dtypes")
        if kind is None:
            names = _EVERY
        else:
            kinds = kind if isinstance(kind, tuple) else (kind,)
            unknown = [one for one in kinds if one not in _KINDS]
            if unknown:
                message = f"[dtypes] {unknown[0]!r} is not a kind of dtype; there are {', '.join(_KINDS)}"
                raise DtypeError(at_user_line(message))
            wanted = {name for one in kinds for name in _KINDS[one]}
            names = tuple([name for name in _EVERY if name in wanted])
        return {name: np.dtype(name) for name in names}


def __array_namespace_info__() -> ArrayNamespaceInfo:  # noqa: N807 - the standard's name
    """The namespace of the standard's inspection functions.

    >>> import fgrad as fg
    >>> sorted(fg.__array_namespace_info__().dtypes(kind="real floating"))
    ['float32', 'float64']
    """
    return ArrayNamespaceInfo()
