"""The operators and methods that every Tensor has; each calls the operation that fgrad.ops put into `operations`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, Self

from fgrad.core.errors import ImmutableError, at_user_line
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

    def astype(self, dtype: Any, *, copy: bool = True) -> Self:
        """See `fgrad.astype`."""
        return operations.astype(self, dtype, copy=copy)

    def reshape(self, *shape: Any) -> Self:
        """See `fgrad.reshape`; takes ``x.reshape(2, 3)`` as well as ``x.reshape((2, 3))``."""
        return operations.reshape(self, shape[0] if len(shape) == 1 else shape)

    def ravel(self) -> Self:
        """See `fgrad.ravel`."""
        return operations.ravel(self)

    def flatten(self) -> Self:
        """See `fgrad.ravel`."""
        return operations.ravel(self)

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

    def take(self, indices: Any, axis: int | None = None) -> Self:
        """See `fgrad.take`."""
        return operations.take(self, indices, axis)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self:
        """See `fgrad.trace`."""
        return operations.trace(self, offset, axis1, axis2)

    def dot(self, other: Any) -> Self:
        """See `fgrad.dot`."""
        return operations.dot(self, other)

    def clip(self, min: Any = None, max: Any = None) -> Self:  # noqa: A002 - NumPy's names
        """See `fgrad.clip`."""
        return operations.clip(self, min, max)

    def round(self, decimals: int = 0) -> Self:
        """See `fgrad.round`."""
        return operations.round(self, decimals)

    def sum(self, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Self:
        """See `fgrad.sum`."""
        return operations.sum(self, axis, dtype, keepdims=keepdims)

    def prod(self, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Self:
        """See `fgrad.prod`."""
        return operations.prod(self, axis, dtype, keepdims=keepdims)

    def mean(self, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Self:
        """See `fgrad.mean`."""
        return operations.mean(self, axis, dtype, keepdims=keepdims)

    def var(self, axis: Any = None, dtype: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Self:
        """See `fgrad.var`."""
        return operations.var(self, axis, dtype, ddof=ddof, keepdims=keepdims)

    def std(self, axis: Any = None, dtype: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Self:
        """See `fgrad.std`."""
        return operations.std(self, axis, dtype, ddof=ddof, keepdims=keepdims)

    def max(self, axis: Any = None, *, keepdims: bool = False) -> Self:
        """See `fgrad.max`."""
        return operations.max(self, axis, keepdims=keepdims)

    def min(self, axis: Any = None, *, keepdims: bool = False) -> Self:
        """See `fgrad.min`."""
        return operations.min(self, axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, *, keepdims: bool = False) -> Self:
        """See `fgrad.argmax`."""
        return operations.argmax(self, axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, *, keepdims: bool = False) -> Self:
        """See `fgrad.argmin`."""
        return operations.argmin(self, axis, keepdims=keepdims)

    def argsort(self, axis: int | None = -1, *, stable: bool = True) -> Self:
        """See `fgrad.argsort`."""
        return operations.argsort(self, axis, stable=stable)

    def any(self, axis: Any = None, *, keepdims: bool = False) -> Self:
        """See `fgrad.any`."""
        return operations.any(self, axis, keepdims=keepdims)

    def all(self, axis: Any = None, *, keepdims: bool = False) -> Self:
        """See `fgrad.all`."""
        return operations.all(self, axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None, dtype: Any = None) -> Self:
        """See `fgrad.cumsum`."""
        return operations.cumsum(self, axis, dtype)
