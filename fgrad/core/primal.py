"""What the tracers of grad and jvp have in common: they carry a primal, whose shape, dtype and values they show."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgrad.core.bind import Trace, Tracer, raise_escaped
from fgrad.core.shape import PYTHON_NUMBERS, Shape, shape_dtype_of
from fgrad.core.tensor import ConcreteTensor, adopt, describe_array, refuse_conversion

__all__ = ["PrimalTracer", "is_inexact_value", "lower", "zeros_for"]


class PrimalTracer(Tracer):
    """A tracer whose `primal`, of a lower level or concrete, is the value; the record that derives from it has more."""

    __slots__ = ()
    primal: Any

    @property
    def shape(self) -> Shape:
        """The length of each axis."""
        return () if type(self.primal) in PYTHON_NUMBERS else self.primal.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        primal = self.primal
        return shape_dtype_of(primal).dtype if type(primal) in PYTHON_NUMBERS else primal.dtype

    @property
    def weak(self) -> bool:
        """Whether this stands for a Python number."""
        primal = self.primal
        return type(primal) is not ConcreteTensor and (type(primal) in PYTHON_NUMBERS or primal.weak)

    def _read(self, action: str, *, drops_gradient: bool) -> Any:
        self._trace.require_open()
        if drops_gradient:
            # NumPy asks so for the parts of a list too: np.array([x, y]), np.sum([x, y]).
            stack = ", fg.stack([x, y]) where NumPy got a list" if action == "np.asarray(x)" else ""
            way_out = (
                f"would drop its gradient. Use fgrad's function of the same name (np.sin(x), fg.sum(x), x.sum() keep "
                f"it){stack}, or say that the value is a constant: fg.stop_gradient(x)"
            )
            refuse_conversion(action, self._trace.transform, way_out)
        if type(self.primal) in PYTHON_NUMBERS:
            return self.primal
        return self.primal._read(action, drops_gradient=False)

    def __repr__(self) -> str:
        transform = self._trace.transform
        if self._trace.closed:
            return f"Tensor(of a finished {transform} call)"
        if isinstance(self.primal, Tracer):
            return f"{repr(self.primal)[:-1]}, traced by {transform})"
        return describe_array(np.asarray(self._read("repr(x)", drops_gradient=False)), f", traced by {transform}")

    def __str__(self) -> str:
        if self._trace.closed:
            return repr(self)
        return str(self.primal) if isinstance(self.primal, Tracer) else super().__str__()


def lower(trace: Trace, value: Any) -> Any:
    """What a value inside the transform is outside of it: the primal of this trace's tracers.

    Raises:
        EscapedTracerError: for a tracer of a transform that has finished, inside this one or before it.
    """
    if isinstance(value, Tracer):
        if value._trace is trace:
            return value.primal  # type: ignore[attr-defined]
        if value._trace.closed or value._trace.level > trace.level:
            raise_escaped(value._trace)
    return value


def zeros_for(primal: Any) -> ConcreteTensor:
    """The zero tangent or cotangent of a primal."""
    aval = shape_dtype_of(primal)
    return adopt(np.zeros(aval.shape, aval.dtype))


def is_inexact_value(value: Any) -> bool:
    """Whether a leaf is of floating point or complex, so that it can have a tangent."""
    if type(value) in PYTHON_NUMBERS:
        return type(value) in _INEXACT_NUMBERS
    dtype = getattr(value, "dtype", None)
    return dtype is not None and dtype.kind in "fc"


_INEXACT_NUMBERS = (float, complex)
