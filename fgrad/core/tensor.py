"""Tensor, the base of everything that holds or stands for an array, and ConcreteTensor, which holds one."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, NoReturn, Self, TypeAlias, cast

import attrs
import numpy as np

from fgrad.core.errors import DtypeError, ShapeError, TracerConversionError, at_user_line, with_article
from fgrad.core.methods import TensorMethods, operations
from fgrad.core.protocols import dispatch_function, dispatch_ufunc
from fgrad.core.shape import PYTHON_NUMBERS, Shape, ShapeDtype

__all__ = ["DEVICE", "NUMERIC", "ArrayLike", "ConcreteTensor", "Tensor", "adopt", "to_tensor"]

# The array API's name of the only device.
DEVICE = "cpu"

_ARRAY_API_VERSIONS = (None, "2021.12", "2022.12", "2023.12", "2024.12")

# NumPy 2.0 knows only the older kind of DLPack capsule.
_NUMPY_FLAGS_READ_ONLY = np.lib.NumpyVersion(np.__version__) >= "2.1.0"


class Tensor(TensorMethods):
    """An immutable array whose operations can be differentiated.

    ``fg.Tensor(data, dtype=None)`` builds one from numbers, nested lists or an array, exactly as `fgrad.array` does.
    Whatever a transform passes to a function is a Tensor too, so ``isinstance(x, fg.Tensor)`` holds inside and
    outside of transforms.

    >>> import fgrad as fg
    >>> fg.Tensor([1.0, 2.0])
    Tensor([1., 2.], dtype=float64)
    """

    __slots__ = ()
    __array_priority__ = 1000.0

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:  # noqa: PYI034 - the base builds a concrete tensor
        """A concrete tensor of the data; see the class."""
        # Python then calls __init__ of what it got, with the arguments for the base: so the records that derive from it
        # have none (attrs writes it as __attrs_init__).
        if cls is Tensor:
            built: Tensor = operations.array(*args, **kwargs)
            return built
        return object.__new__(cls)

    # What each kind of tensor answers for itself.

    @property
    def shape(self) -> Shape:
        """The length of each axis."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        raise NotImplementedError

    @property
    def weak(self) -> bool:
        """Whether this stands for a Python number, which promotes as one (NEP 50)."""
        return False

    def _read(self, action: str, *, drops_gradient: bool) -> Any:
        """The concrete array, for an `action` such as ``float(x)``; raises where there is none to give.

        An action drops the gradient when what it returns could carry on the computation: a tracer refuses it then.
        """
        raise NotImplementedError

    # What follows from that.

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return ShapeDtype(self.shape, self.dtype).size

    @property
    def itemsize(self) -> int:
        """The bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self.size * self.dtype.itemsize

    def __bool__(self) -> bool:
        return bool(self._read("bool(x)", drops_gradient=False))

    def __int__(self) -> int:
        return int(self._read("int(x)", drops_gradient=False))

    def __index__(self) -> int:
        return np.asarray(self._read("an index", drops_gradient=False)).__index__()

    def __float__(self) -> float:
        return float(self._read("float(x)", drops_gradient=True))

    def __complex__(self) -> complex:
        return complex(self._read("complex(x)", drops_gradient=True))

    def item(self, *index: int) -> bool | int | float | complex:
        """The only element (or the one at `index`) as a Python number."""
        return cast("float", np.asarray(self._read("x.item()", drops_gradient=True)).item(*index))

    def tobytes(self, order: Any = "C") -> bytes:
        """The bytes of the elements in row-major order, or in column-major order for ``order="F"``."""
        return np.asarray(self._read("x.tobytes()", drops_gradient=True)).tobytes(order)

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return np.asarray(self._read("x.tolist()", drops_gradient=True)).tolist()

    def numpy(self) -> np.ndarray[Any, Any]:
        """The elements as a read-only NumPy array, without a copy."""
        return lock(np.asarray(self._read("x.numpy()", drops_gradient=True)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = np.asarray(self._read("np.asarray(x)", drops_gradient=True))
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                message = f"a Tensor of dtype {array.dtype} cannot be seen as {np.dtype(dtype)} without a copy"
                raise ValueError(message)
            return array.astype(dtype)
        return array.copy() if copy else lock(array)

    def __buffer__(self, flags: int) -> memoryview:
        array: Any = lock(np.asarray(self._read("memoryview(x)", drops_gradient=True)))
        return memoryview(array)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        array = np.asarray(self._read("DLPack", drops_gradient=True))
        return export_dlpack(lock(array), stream, max_version, dl_device, copy)

    def __dlpack_device__(self) -> tuple[Any, int]:
        device: tuple[Any, int] = np.asarray(self._read("DLPack", drops_gradient=True)).__dlpack_device__()
        return device

    def __array_namespace__(self, /, *, api_version: str | None = None) -> ModuleType:
        if api_version not in _ARRAY_API_VERSIONS:
            versions = ", ".join(version for version in _ARRAY_API_VERSIONS if version is not None)
            message = f"there is no version {api_version!r} of the array API in fgrad, only {versions}"
            raise ShapeError(at_user_line(message))
        return sys.modules[__name__.partition(".")[0]]

    @property
    def device(self) -> str:
        """The device that holds the elements: always "cpu"."""
        return DEVICE

    def to_device(self, device: Any, /, *, stream: Any = None) -> Self:
        """The tensor itself, since there is no device but "cpu".

        Raises:
            ShapeError: for any other device, or a stream, which none of a CPU's operations has.
        """
        if device != DEVICE or stream is not None:
            message = f"there is one device, {DEVICE!r}, without streams: no {device!r} with stream {stream!r}"
            raise ShapeError(at_user_line(message))
        return self

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return dispatch_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return dispatch_function(function, args, kwargs)

    def __repr__(self) -> str:
        return describe_array(np.asarray(self._read("repr(x)", drops_gradient=False)))

    def __str__(self) -> str:
        return str(self._read("str(x)", drops_gradient=False))

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        array = np.asarray(self._read("format(x)", drops_gradient=False))
        if array.ndim:
            message = f"a format such as {spec!r} needs a tensor of shape (), and this one has shape {array.shape}"
            raise TypeError(message)
        return format(array.item(), spec)

    def __round__(self, ndigits: int | None = None) -> Tensor:
        return operations.round_number(self, ndigits) if self.weak else self.round(ndigits or 0)

    def __copy__(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self

    def __reduce__(self) -> Any:
        return _from_pickle, (lock(np.asarray(self._read("pickle", drops_gradient=True))),)


ArrayLike: TypeAlias = (
    "Tensor | np.ndarray[Any, Any] | np.generic | bool | int | float | complex | list[Any] | tuple[Any, ...]"
)


@attrs.frozen(eq=False, repr=False, str=False, init=False)
class ConcreteTensor(Tensor):
    """A tensor over one NumPy array that nothing else can write to."""

    _array: np.ndarray[Any, Any]

    @property
    def shape(self) -> Shape:
        """The length of each axis."""
        shape: Shape = self._array.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        dtype: np.dtype[Any] = self._array.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._array.size

    def _read(self, action: str, *, drops_gradient: bool) -> Any:
        return self._array


_new = object.__new__
_set_array = ConcreteTensor._array.__set__  # type: ignore[attr-defined]


# What counts as a number or an array; a tuple, because isinstance with a union builds it anew at every call.
NUMERIC = (Tensor, np.ndarray, np.generic, bool, int, float, complex)


def adopt(array: np.ndarray[Any, Any]) -> ConcreteTensor:
    """A tensor over an array that the library itself made and that no one else can write to."""
    tensor = _new(ConcreteTensor)
    _set_array(tensor, array)
    return tensor


def lock(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A read-only view to hand out; ``setflags(write=True)`` on it raises, because its owner is read-only too."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner.setflags(write=False)
        owner = owner.base
    return array.view()


def is_read_only(array: np.ndarray[Any, Any]) -> bool:
    """Whether neither this array nor any owner of its memory can be written to."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return owner is None or isinstance(owner, bytes)


def to_tensor(value: Any, dtype: Any = None) -> Tensor:
    """The value as a Tensor; a Tensor is returned as it is, and an array is copied unless it is read-only.

    Raises:
        DtypeError: when the value does not hold numbers.
    """
    if isinstance(value, Tensor):
        return value
    array = value if type(value) is np.ndarray else as_numeric_array(value)
    if dtype is not None and array.dtype != dtype:
        array = array.astype(dtype)
    elif array is value and not is_read_only(array):
        array = array.copy()
    elif array.base is not None and not is_read_only(array):
        array = array.copy()
    if array.dtype.kind not in "biufc":
        message = f"a Tensor holds booleans, integers, floats or complex numbers, not dtype {array.dtype}"
        raise DtypeError(at_user_line(message))
    return adopt(array)


def as_value(value: Any) -> Any:
    """What has a dtype, or is a Python number, as it is; a list of numbers as a Tensor."""
    return value if type(value) in _VALUES or hasattr(value, "dtype") else to_tensor(value)


_VALUES = frozenset((ConcreteTensor, *PYTHON_NUMBERS))


def as_numeric_array(value: Any) -> np.ndarray[Any, Any]:
    """np.asarray for whatever a user may pass where an array is expected, with an error that names its type.

    Raises:
        DtypeError: when the value does not hold numbers.
        ShapeError: when nested sequences are ragged.
        TracerConversionError: when a list or tuple holds tracers.
    """
    if isinstance(value, list | tuple):
        array = _join(value)
    elif type(value) in PYTHON_NUMBERS or isinstance(value, np.ndarray | np.generic | range):
        array = np.asarray(value)
    elif isinstance(value, memoryview) or hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        array = np.asarray(value)
    elif isinstance(value, bytes | bytearray | str) or not (hasattr(value, "__len__") or hasattr(value, "__buffer__")):
        message = f"{with_article(type(value))} is not an array, a number or a nested list of numbers: {value!r:.80}"
        raise DtypeError(at_user_line(message))
    else:
        array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        message = f"{with_article(type(value))} of dtype {array.dtype} does not hold numbers: {value!r:.80}"
        raise DtypeError(at_user_line(message))
    return array


def _join(values: list[Any] | tuple[Any, ...]) -> np.ndarray[Any, Any]:
    # Of the error its class alone: its traceback leads to this frame, and would keep the values of every caller alive.
    reason: type[Exception] = TypeError
    try:
        array = np.asarray(values)
        if array.dtype.kind != "O":
            return array
    except (ValueError, TypeError) as error:
        reason = type(error)
    kind = type(values).__name__
    if kind == "tuple" and len(values) == 2 and isinstance(values[0], Tensor) and isinstance(values[1], dict | tuple):
        message = (
            f"a pair of a Tensor and {with_article(type(values[1]))} is not an array; if a module's apply returned it, "
            f"it is (y, state): write `y, state = module.apply(params, state, x)` and use y"
        )
        raise DtypeError(at_user_line(message))
    if issubclass(reason, TracerConversionError):
        message = (
            f"a {kind} of values that a transform is tracing is not an array yet; make one of it with fg.asarray(...) "
            f"or fg.stack(...), which keep the gradient"
        )
        raise TracerConversionError(at_user_line(message))
    if issubclass(reason, ValueError):
        message = f"a {kind} whose parts have different shapes is not an array: {values!r:.80}"
        raise ShapeError(at_user_line(message))
    message = f"a {kind} is an array only if it holds numbers or arrays: {values!r:.80}"
    raise DtypeError(at_user_line(message))


def export_dlpack(array: np.ndarray[Any, Any], stream: Any, max_version: Any, dl_device: Any, copy: bool | None) -> Any:
    """The DLPack capsule of a read-only array: without a copy where the taker knows DLPack 1, which has a flag for it.

    Raises:
        BufferError: for another device than the CPU, and for a taker that knows no such flag but wants no copy.
    """
    if dl_device is not None and tuple(dl_device) != tuple(array.__dlpack_device__()):
        message = f"a Tensor is exported to the CPU, which DLPack calls (1, 0), and not to device {tuple(dl_device)}"
        raise BufferError(at_user_line(message))
    if max_version is not None and max_version[0] >= 1 and _NUMPY_FLAGS_READ_ONLY:
        return (array.copy() if copy else array).__dlpack__(stream=stream, max_version=max_version)
    if copy is False:
        message = (
            "a Tensor is immutable, and a DLPack capsule older than version 1 cannot say so: it is a copy, "
            "which copy=False refuses; ask for max_version=(1, 0)"
        )
        raise BufferError(at_user_line(message))
    return array.copy().__dlpack__(stream=stream)


def describe_array(array: np.ndarray[Any, Any], note: str = "") -> str:
    """What repr shows: ``Tensor([1., 2.], dtype=float64)``."""
    body = np.array2string(array, separator=", ", prefix="Tensor(")
    if array.size == 0:
        body = f"[], shape={array.shape}"
    return f"Tensor({body}, dtype={array.dtype}{note})"


def refuse_conversion(action: str, transform: str, way_out: str) -> NoReturn:
    """Raises the error for an action that needs numbers which a tracer does not give away."""
    message = f"{action} on a value that {transform} is tracing {way_out}"
    raise TracerConversionError(at_user_line(message))


def index_hint(action: str) -> str:
    """What to add where NumPy may have asked for the value in order to index an array of its own by it."""
    if action not in ("np.asarray(x)", "an index"):
        return ""
    return ". To index an ndarray by it, make that a Tensor: fg.asarray(array)[i]"


def _from_pickle(array: np.ndarray[Any, Any]) -> Tensor:
    return adopt(np.array(array))
