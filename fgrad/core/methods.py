"""The operators and methods that every Tensor has; each calls the operation that fgrad.ops put into `operations`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, Self

from fgrad.core.errors import ImmutableError, at_user_line, refuse_out
from fgrad.core.late import load_late_modules


class Operations:
    """The operations behind Tensor's operators and methods, by name; `fgrad.ops` fills it, on import."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        load_late_modules()
        operation: Callable[..., Any] = object.__getattribute__(self, name)
        return operation

    if TYPE_CHECKING:

        def __setattr__(self, name: str, value: Callable[..., Any]) -> None: ...


operations = Operations()


def _refuse_out(name: str, out: Any) -> None:
    if out is not None:
        refuse_out(f"x.{name}")


def _refuse_change(name: str, way_out: str) -> NoReturn:
    message = f"tensors are immutable, and x.{name}() changes an array in place; use {way_out}, which leaves x as it is"
    raise ImmutableError(at_user_line(message))


class TensorMethods:
    """Operators and method forms, the same for every kind of Tensor; the functions of one name document them."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def shape(self) -> tuple[int, ...]:
            """The length of each axis."""

    # Arithmetic operators. Python numbers stay weak here, as they do in plain Python.

    def __add__(self, other: Any) -> Self:
        return operations.add(self, other)

    def __radd__(self, other: Any) -> Self:
        return operations.add(other, self)

    def __sub__(self, other: Any) -> Self:
        return operations.subtract(self, other)

    def __rsub__(self, other: Any) -> Self:
        return operations.subtract(other, self)

    def __mul__(self, other: Any) -> Self:
        return operations.multiply(self, other)

    def __rmul__(self, other: Any) -> Self:
        return operations.multiply(other, self)

    def __truediv__(self, other: Any) -> Self:
        return operations.divide(self, other)

    def __rtruediv__(self, other: Any) -> Self:
        return operations.divide(other, self)

    def __floordiv__(self, other: Any) -> Self:
        return operations.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Self:
        return operations.floor_divide(other, self)

    def __mod__(self, other: Any) -> Self:
        return operations.remainder(self, other)

    def __rmod__(self, other: Any) -> Self:
        return operations.remainder(other, self)

    def __divmod__(self, other: Any) -> tuple[Self, Self]:
        return operations.floor_divide(self, other), operations.remainder(self, other)

    def __rdivmod__(self, other: Any) -> tuple[Self, Self]:
        return operations.floor_divide(other, self), operations.remainder(other, self)

    def __pow__(self, other: Any) -> Self:
        return operations.power(self, other)

    def __rpow__(self, other: Any) -> Self:
        return operations.power(other, self)

    def __matmul__(self, other: Any) -> Self:
        return operations.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Self:
        return operations.matmul(other, self)

    def __neg__(self) -> Self:
        return operations.negative(self)

    def __pos__(self) -> Self:
        return operations.positive(self)

    def __abs__(self) -> Self:
        return operations.abs(self)

    # Comparison, logical and bitwise operators.

    def __eq__(self, other: object) -> Self:  # type: ignore[override]
        return operations.equal(self, other)

    def __ne__(self, other: object) -> Self:  # type: ignore[override]
        return operations.not_equal(self, other)

    def __lt__(self, other: Any) -> Self:
        return operations.less(self, other)

    def __le__(self, other: Any) -> Self:
        return operations.less_equal(self, other)

    def __gt__(self, other: Any) -> Self:
        return operations.greater(self, other)

    def __ge__(self, other: Any) -> Self:
        return operations.greater_equal(self, other)

    def __hash__(self) -> int:
        message = (
            "a Tensor cannot be hashed, because == on tensors is elementwise; compare trees with fg.tree.equal, or "
            "use a Python number (t.item()) as the key"
        )
        raise TypeError(message)

    def __and__(self, other: Any) -> Self:
        return operations.bitwise_and(self, other)

    def __rand__(self, other: Any) -> Self:
        return operations.bitwise_and(other, self)

    def __or__(self, other: Any) -> Self:
        return operations.bitwise_or(self, other)

    def __ror__(self, other: Any) -> Self:
        return operations.bitwise_or(other, self)

    def __xor__(self, other: Any) -> Self:
        return operations.bitwise_xor(self, other)

    def __rxor__(self, other: Any) -> Self:
        return operations.bitwise_xor(other, self)

    def __lshift__(self, other: Any) -> Self:
        return operations.left_shift(self, other)

    def __rlshift__(self, other: Any) -> Self:
        return operations.left_shift(other, self)

    def __rshift__(self, other: Any) -> Self:
        return operations.right_shift(self, other)

    def __rrshift__(self, other: Any) -> Self:
        return operations.right_shift(other, self)

    def __invert__(self) -> Self:
        return operations.bitwise_not(self)

    # Indexing and iteration.

    def __getitem__(self, index: Any) -> Self:
        return operations.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        message = "tensors are immutable: `x[i] = v` is written `x = x.at[i].set(v)`, which returns a new tensor"
        raise ImmutableError(at_user_line(message))

    def __delitem__(self, index: Any) -> NoReturn:
        message = "tensors are immutable: select what to keep, for example x[mask], instead of `del x[i]`"
        raise ImmutableError(at_user_line(message))

    def __iter__(self) -> Iterator[Self]:
        if not self.shape:
            message = "a tensor of shape () cannot be iterated over"
            raise TypeError(message)
        return (self[position] for position in range(self.shape[0]))

    def __len__(self) -> int:
        if not self.shape:
            message = "a tensor of shape () has no len()"
            raise TypeError(message)
        return self.shape[0]

    def __contains__(self, value: Any) -> bool:
        return bool(operations.any(operations.equal(self, value)))

    @property
    def at(self) -> Any:
        """``x.at[index].set(v)``, ``.add``, ``.multiply``, ``.min``, ``.max``: a new tensor with entries changed."""
        return operations.at(self)

    # Method forms, in NumPy's spelling.

    @property
    def T(self) -> Self:  # noqa: N802 - NumPy's name
        """The tensor with its axes reversed."""
        return operations.transpose(self)

    @property
    def mT(self) -> Self:  # noqa: N802 - NumPy's name
        """The tensor with its last two axes exchanged."""
        return operations.matrix_transpose(self)

    @property
    def real(self) -> Self:
        """The real part."""
        return operations.real(self)

    @property
    def imag(self) -> Self:
        """The imaginary part."""
        return operations.imag(self)

    def conj(self) -> Self:
        """See `fgrad.conj`."""
        return operations.conj(self)

    def conjugate(self) -> Self:
        """See `fgrad.conj`."""
        return operations.conj(self)

    def astype(self, dtype: Any, *, copy: bool = True) -> Self:
        """See `fgrad.astype`."""
        return operations.astype(self, dtype, copy=copy)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Self:
        """See `fgrad.reshape`; takes ``x.reshape(2, 3)`` as well as ``x.reshape((2, 3))``."""
        return operations.reshape(self, shape[0] if len(shape) == 1 else shape, order)

    def ravel(self, order: str = "C") -> Self:
        """See `fgrad.ravel`."""
        return operations.ravel(self, order)

    def flatten(self, order: str = "C") -> Self:
        """See `fgrad.ravel`."""
        return operations.ravel(self, order)

    def copy(self, order: str = "C") -> Self:
        """The tensor itself: it is immutable, and needs no copy."""
        return self

    def transpose(self, *axes: Any) -> Self:
        """See `fgrad.transpose`; takes ``x.transpose(1, 0)`` as well as ``x.transpose((1, 0))``."""
        if not axes:
            return operations.transpose(self)
        return operations.transpose(self, axes[0] if len(axes) == 1 else axes)

    def swapaxes(self, axis1: int, axis2: int) -> Self:
        """See `fgrad.swapaxes`."""
        return operations.swapaxes(self, axis1, axis2)

    def squeeze(self, axis: Any = None) -> Self:
        """See `fgrad.squeeze`."""
        return operations.squeeze(self, axis)

    def repeat(self, repeats: Any, axis: int | None = None) -> Self:
        """See `fgrad.repeat`."""
        return operations.repeat(self, repeats, axis)

    def take(self, indices: Any, axis: int | None = None, out: None = None, mode: str = "raise") -> Self:
        """See `fgrad.take`."""
        _refuse_out("take", out)
        return operations.take(self, indices, axis, mode=mode)

    def compress(self, condition: Any, axis: int | None = None, out: None = None) -> Self:
        """See `fgrad.compress`."""
        _refuse_out("compress", out)
        return operations.compress(condition, self, axis)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self:
        """See `fgrad.diagonal`."""
        return operations.diagonal(self, offset, axis1, axis2)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None) -> Self:
        """See `fgrad.trace`."""
        _refuse_out("trace", out)
        return operations.trace(self, offset, axis1, axis2, dtype)

    def dot(self, other: Any, out: None = None) -> Self:
        """See `fgrad.dot`."""
        _refuse_out("dot", out)
        return operations.dot(self, other)

    def clip(self, min: Any = None, max: Any = None, out: None = None) -> Self:  # noqa: A002 - NumPy's names
        """See `fgrad.clip`."""
        _refuse_out("clip", out)
        return operations.clip(self, min, max)

    def round(self, decimals: int = 0, out: None = None) -> Self:
        """See `fgrad.round`."""
        _refuse_out("round", out)
        return operations.round(self, decimals)

    def sum(
        self,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = None,
    ) -> Self:
        """See `fgrad.sum`."""
        _refuse_out("sum", out)
        return operations.sum(self, axis, dtype, keepdims=keepdims, initial=initial, where=where)

    def prod(
        self,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = None,
    ) -> Self:
        """See `fgrad.prod`."""
        _refuse_out("prod", out)
        return operations.prod(self, axis, dtype, keepdims=keepdims, initial=initial, where=where)

    def mean(
        self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False, *, where: Any = None
    ) -> Self:
        """See `fgrad.mean`."""
        _refuse_out("mean", out)
        return operations.mean(self, axis, dtype, keepdims=keepdims, where=where)

    def var(
        self,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        ddof: float = 0,
        keepdims: bool = False,
        **options: Any,
    ) -> Self:
        """See `fgrad.var`, which says what ``where=``, ``mean=`` and ``correction=`` are."""
        _refuse_out("var", out)
        return operations.var(self, axis, dtype, ddof=ddof, keepdims=keepdims, **options)

    def std(
        self,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        ddof: float = 0,
        keepdims: bool = False,
        **options: Any,
    ) -> Self:
        """See `fgrad.std`, which says what ``where=``, ``mean=`` and ``correction=`` are."""
        _refuse_out("std", out)
        return operations.std(self, axis, dtype, ddof=ddof, keepdims=keepdims, **options)

    def max(
        self, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = None
    ) -> Self:
        """See `fgrad.max`."""
        _refuse_out("max", out)
        return operations.max(self, axis, keepdims=keepdims, initial=initial, where=where)

    def min(
        self, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = None
    ) -> Self:
        """See `fgrad.min`."""
        _refuse_out("min", out)
        return operations.min(self, axis, keepdims=keepdims, initial=initial, where=where)

    def argmax(self, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Self:
        """See `fgrad.argmax`."""
        _refuse_out("argmax", out)
        return operations.argmax(self, axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Self:
        """See `fgrad.argmin`."""
        _refuse_out("argmin", out)
        return operations.argmin(self, axis, keepdims=keepdims)

    def argsort(self, axis: int | None = -1, *, stable: bool = True) -> Self:
        """See `fgrad.argsort`."""
        return operations.argsort(self, axis, stable=stable)

    def any(self, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = None) -> Self:
        """See `fgrad.any`."""
        _refuse_out("any", out)
        return operations.any(self, axis, keepdims=keepdims, where=where)

    def all(self, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = None) -> Self:
        """See `fgrad.all`."""
        _refuse_out("all", out)
        return operations.all(self, axis, keepdims=keepdims, where=where)

    def cumsum(self, axis: int | None = None, dtype: Any = None, out: None = None) -> Self:
        """See `fgrad.cumsum`."""
        _refuse_out("cumsum", out)
        return operations.cumsum(self, axis, dtype)

    def cumprod(self, axis: int | None = None, dtype: Any = None, out: None = None) -> Self:
        """See `fgrad.cumprod`."""
        _refuse_out("cumprod", out)
        return operations.cumprod(self, axis, dtype)

    def argpartition(self, kth: Any, axis: int | None = -1, kind: str = "introselect", order: None = None) -> Self:
        """See `fgrad.argpartition`."""
        return operations.argpartition(self, kth, axis, kind)

    def searchsorted(self, v: Any, side: str = "left", sorter: Any = None) -> Self:
        """See `fgrad.searchsorted`."""
        return operations.searchsorted(self, v, side, sorter)

    def nonzero(self) -> tuple[Self, ...]:
        """See `fgrad.nonzero`."""
        return operations.nonzero(self)

    # The methods by which an ndarray changes itself, or shows its memory as something else.

    def sort(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises ImmutableError, which names `fgrad.sort`."""
        _refuse_change("sort", "fg.sort(x)")

    def partition(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises ImmutableError, which names `fgrad.partition`."""
        _refuse_change("partition", "fg.partition(x, kth)")

    def fill(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises ImmutableError, which names `fgrad.full_like`."""
        _refuse_change("fill", "fg.full_like(x, value)")

    def put(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises ImmutableError, which names ``x.at``."""
        _refuse_change("put", "x.ravel().at[indices].set(values)")

    def resize(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises ImmutableError, which names `fgrad.reshape`."""
        _refuse_change("resize", "x.reshape(shape)")

    def setflags(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises ImmutableError, which names `fgrad.Tensor.numpy`."""
        _refuse_change("setflags", "x.numpy().copy() for an ndarray that can be written to")

    def view(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises ImmutableError, which names `fgrad.astype`."""
        _refuse_change("view", "x.astype(dtype) for other numbers, or x.numpy().view(dtype) for the bytes")
