"""What a row of the operation table is, and the strategies that its rows draw their arguments from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import fgrad as fg
from fgrad.testing import strategies

# Dtypes by letter: what a row lists for each operand. h stands beside f where half precision is evaluated exactly.
DTYPES = {
    "b": ["bool"],
    "i": ["int64", "int32", "int8"],
    "u": ["uint8", "uint64"],
    "v": ["uint8"],  # every signed dtype has a common integer dtype with it
    "f": ["float64", "float32"],
    "h": ["float16"],
    "c": ["complex128", "complex64"],
}


class Constant:
    """An array among the arguments that no transform may trace, since the shape of the result depends on it.

    A plain class, and so a leaf of pytrees: a record would be a node.
    """

    def __init__(self, value: np.ndarray) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Constant({self.value!r})"


@attrs.frozen(eq=False)
class Call:
    """The arguments of one call. NumPy arrays in `args` are operands; everything else is passed as it is."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = attrs.field(factory=dict)

    @property
    def operands(self) -> list[np.ndarray]:
        """The arrays among the arguments, in order."""
        return [leaf for leaf in fg.tree.leaves(self.args) if isinstance(leaf, np.ndarray)]

    def apply(self, function: Callable[..., Any], operands: list[Any] | None = None) -> Any:
        """The function of these arguments, with others in the places of the operands where they are given."""
        remaining = iter(self.operands if operands is None else operands)
        leaves, structure = fg.tree.flatten(self.args)
        filled = [next(remaining) if isinstance(leaf, np.ndarray) else _constant(leaf) for leaf in leaves]
        return function(*fg.tree.unflatten(structure, filled), **self.kwargs)

    def on_tensors(self, function: Callable[..., Any]) -> Any:
        """The function of these arguments, with tensors in the places of the operands."""
        return self.apply(function, [fg.asarray(operand) for operand in self.operands])


def _constant(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, Constant) else leaf


Calls = SearchStrategy[Call]


def varied(operand: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """Another array like the operand: its elements, nearer to 0 and in another order."""
    return generator.permuted(shrunk(operand, number, generator).ravel()).reshape(operand.shape)


def shrunk(operand: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """Another array like the operand: its elements nearer to 0, in the same order; booleans the other way round."""
    if operand.dtype.kind == "b":
        return operand ^ (number % 2 == 1 and operand.size == 1)
    with np.errstate(invalid="ignore"):  # complex infinities
        scaled = operand * (1 - number / 4)
    return np.asarray(np.trunc(scaled) if operand.dtype.kind in "iu" else scaled, operand.dtype)


def thinned(operand: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """The operand with zeros in the places of some elements, and ones in those of some zeros."""
    drawn = generator.integers(0, 3, operand.shape)
    return np.where(drawn == 0, 0, np.where((drawn == 1) & (operand == 0), 1, operand)).astype(operand.dtype)


def other_keys(operand: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """The words of another key; other operands in another order."""
    return operand + np.uint64(number) if operand.dtype == np.uint64 else reordered(operand, number, generator)


def reordered(operand: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """The operand's elements in another order."""
    return generator.permuted(operand.ravel()).reshape(operand.shape)


@attrs.frozen(eq=False, repr=False)
class Row:
    """One operation: its public function (or a function that binds the primitive), and how it is tested.

    Attributes:
        name: the name of the public function, or of the primitive.
        function: the function of fgrad.
        calls: valid arguments of every kind.
        reference: the function of NumPy or SciPy that it must agree with; None where `calls` has nothing to compare.
        smooth: arguments of float64 (or complex128) that are away from kinks; None where no derivative exists.
        primitives: the primitives that this row is the row of.
        counterpart: the function of NumPy that runs this operation when it meets a tensor.
        rtol: how far values may be from the reference, by the bytes of one real number; 0 is equality.
        staged: the function can be staged (its result does not depend on values in Python).
        mixed: the operands may have different dtypes.
        eps: the step of the differences, where the default leaves the domain.
        modes: the modes in which it is differentiable.
        vary: ``vary(operand, number, generator)``: another valid operand of the same shape and dtype, for vmap.
        exact: under vmap it gives the same bits as without.
        unbatched: why vmap over an operand cannot work; empty where it can.
    """

    name: str
    function: Callable[..., Any]
    calls: Calls
    reference: Callable[..., Any] | None = None
    smooth: Calls | None = None
    primitives: tuple[str, ...] = ()
    counterpart: Callable[..., Any] | None = None
    rtol: dict[int, float] = attrs.field(factory=dict)
    staged: bool = True
    mixed: bool = True
    eps: float | None = None
    modes: tuple[str, ...] = ("fwd", "rev")
    vary: Callable[[np.ndarray, int, np.random.Generator], np.ndarray] = varied
    exact: bool = False
    unbatched: str = ""

    def __repr__(self) -> str:
        return f"<row {self.name}>"


# Rounding in another order than NumPy's, by the bytes of one real number.
CLOSE = {2: 2e-2, 4: 2e-5, 8: 1e-12}
ULPS = {2: 2e-3, 4: 3e-7, 8: 1e-15}


def dtypes(kinds: str) -> SearchStrategy[np.dtype]:
    """Dtypes of the kinds that the letters stand for, the first of them most simply."""
    return st.sampled_from([np.dtype(name) for kind in kinds for name in DTYPES[kind]])


def arrays(kinds: str, shape: Any = None, low: float = -4.0, high: float = 4.0) -> SearchStrategy[np.ndarray]:
    """Arrays of these kinds of dtype."""
    return strategies.arrays(dtypes(kinds), shape, min_value=low, max_value=high)


def special_arrays(kinds: str) -> SearchStrategy[np.ndarray]:
    """Arrays of floating point or complex numbers with NaN and infinities among them."""

    def put(array: np.ndarray) -> np.ndarray:
        flat = array.ravel()
        flat[1::4], flat[2::8], flat[6::8] = np.nan, np.inf, -np.inf
        return flat.reshape(array.shape)

    return arrays(kinds, strategies.shapes(min_dims=1, min_side=2)).map(put)


def smooth_arrays(shape: Any = None, low: float = -2.0, high: float = 2.0) -> SearchStrategy[np.ndarray]:
    """Arrays of float64 without ties and zeros."""
    return strategies.separated_arrays(shape, min_value=low, max_value=high)


def complex_arrays(shape: Any = None, low: float = -2.0, high: float = 2.0) -> SearchStrategy[np.ndarray]:
    """Arrays of complex128 whose real parts lie between the bounds, without ties and zeros in either part."""

    def join(pair: tuple[np.ndarray, int]) -> np.ndarray:
        real, seed = pair
        generator = np.random.default_rng(seed)
        imaginary = generator.permutation(np.linspace(0.2, 0.9, real.size)).reshape(real.shape)
        return np.asarray(real + 1j * imaginary * generator.choice([-1.0, 1.0], real.shape))

    return st.tuples(smooth_arrays(shape, low, high), st.integers(0, 2**32 - 1)).map(join)


def call(*args: Any, **kwargs: Any) -> Calls:
    """Calls whose arguments are drawn where they are strategies, and otherwise as they stand."""
    positional = st.tuples(*[_strategy(value) for value in args])
    return st.builds(Call, positional, st.fixed_dictionaries({name: _strategy(v) for name, v in kwargs.items()}))


def optional(required: Calls, **kwargs: Any) -> Calls:
    """The calls, with any of these keyword arguments besides."""
    options = st.fixed_dictionaries({}, optional={name: _strategy(value) for name, value in kwargs.items()})
    return st.builds(lambda one, more: Call(one.args, one.kwargs | more), required, options)


def _strategy(value: Any) -> SearchStrategy[Any]:
    return value if isinstance(value, SearchStrategy) else st.just(value)


def with_shape(build: Callable[[tuple[int, ...]], Calls], **limits: int) -> Calls:
    """Calls that depend on the shape of the first operand."""
    return strategies.shapes(**limits).flatmap(build)


def with_broadcast_shapes(build: Callable[..., Calls], count: int = 2) -> Calls:
    """Calls that depend on shapes which broadcast together."""
    return strategies.broadcastable_shapes(count).flatmap(lambda shapes: build(*shapes))


# Families of rows.


def unary(
    name: str,
    kinds: str,
    *,
    low: float = -4.0,
    high: float = 4.0,
    smooth: tuple[float, float] | None = None,
    reference: Callable[..., Any] | None = None,
    holomorphic: bool = False,
    rtol: dict[int, float] | None = None,
    function: Callable[..., Any] | None = None,
    vary: Callable[..., np.ndarray] = varied,
) -> Row:
    """The row of a function of one operand, elementwise; derivatives are checked between the bounds of `smooth`."""
    numpy_function = getattr(np, name, None) if reference is None else reference
    points = None
    if smooth is not None:
        points = call(smooth_arrays(None, *smooth))
        if holomorphic:
            points |= call(complex_arrays(None, *smooth))
    return Row(
        name,
        getattr(fg, name) if function is None else function,
        call(arrays(kinds, None, low, high)),
        numpy_function,
        points,
        (name,),
        numpy_function if isinstance(numpy_function, np.ufunc) and reference is None else None,
        rtol or {},
        vary=vary,
    )


def binary(
    name: str,
    kinds: str,
    *,
    bounds: tuple[float, float] = (-4.0, 4.0),
    right_bounds: tuple[float, float] | None = None,
    smooth: tuple[tuple[float, float], tuple[float, float]] | None = None,
    complex_smooth: bool = True,
    reference: Callable[..., Any] | None = None,
    rtol: dict[int, float] | None = None,
    numbers: bool = True,
    vary: Callable[..., np.ndarray] = varied,
) -> Row:
    """The row of a function of two operands with broadcasting; operands may be Python numbers."""
    numpy_function = getattr(np, name, None) if reference is None else reference
    right_bounds = right_bounds or bounds
    both = with_broadcast_shapes(lambda x, y: call(arrays(kinds, x, *bounds), arrays(kinds, y, *right_bounds)))
    if numbers:
        number = st.sampled_from([2, 1] + ([2.5, 0.5] if "f" in kinds else []))
        both |= call(arrays(kinds, None, *bounds), number) | call(number, arrays(kinds, None, *right_bounds))
    points = None
    if smooth is not None:
        left, right = smooth
        points = with_broadcast_shapes(lambda x, y: call(smooth_arrays(x, *left), smooth_arrays(y, *right)))
        if "c" in kinds and complex_smooth:
            points |= with_broadcast_shapes(lambda x, y: call(complex_arrays(x, *left), complex_arrays(y, *right)))
            points |= with_broadcast_shapes(lambda x, y: call(complex_arrays(x, *left), smooth_arrays(y, *right)))
    return Row(
        name,
        getattr(fg, name),
        both,
        numpy_function,
        points,
        (name,),
        numpy_function if reference is None else None,
        rtol or {},
        vary=vary,
    )


def over_axes(
    operands: Callable[[Any], SearchStrategy[np.ndarray]],
    *,
    several: bool = True,
    min_dims: int = 0,
    min_side: int = 0,
    keepdims: bool = True,
    **options: Any,
) -> Calls:
    """Calls of a reduction: an operand, ``axis=`` in every form, and other options."""

    def build(shape: tuple[int, ...]) -> Calls:
        named = {name: option(shape) if callable(option) else option for name, option in options.items()}
        if keepdims:
            named["keepdims"] = st.booleans()
        return optional(call(operands(shape)), axis=strategies.axes(len(shape), several=several), **named)

    return with_shape(build, min_dims=min_dims, min_side=min_side)
