"""Hypothesis strategies for shapes, dtypes, arrays, tensors and pytrees; the one file that needs hypothesis."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import attrs
import numpy as np

from fgrad.core.shape import Shape
from fgrad.core.tensor import Tensor, to_tensor

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:
    message = "fgrad.testing.strategies needs hypothesis: pip install fgrad[test]"
    raise ImportError(message, name="hypothesis") from error

__all__ = [
    "arrays",
    "axes",
    "broadcastable_shapes",
    "complex_dtypes",
    "dtypes",
    "float_dtypes",
    "integer_dtypes",
    "pytrees",
    "separated_arrays",
    "shapes",
    "tensors",
]

DTypes: TypeAlias = "st.SearchStrategy[np.dtype[Any]]"
T = TypeVar("T")


def shapes(*, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> st.SearchStrategy[Shape]:
    """Shapes, among them () and, unless `min_side` forbids it, shapes of no elements.

    >>> import fgrad as fg
    >>> from hypothesis import given
    >>> from fgrad.testing import strategies
    >>> @given(strategies.shapes(max_dims=2))
    ... def test_zeros(shape):
    ...     assert fg.zeros(shape).ndim <= 2
    >>> test_zeros()
    """
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def broadcastable_shapes(
    count: int, *, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 3
) -> st.SearchStrategy[tuple[Shape, ...]]:
    """Tuples of `count` shapes that broadcast together, of different ranks and with axes of length 0 and 1 among them.

    >>> import fgrad as fg
    >>> from hypothesis import given
    >>> from fgrad.testing import strategies
    >>> @given(strategies.broadcastable_shapes(2))
    ... def test_addition_broadcasts(drawn):
    ...     assert (fg.ones(drawn[0]) + fg.ones(drawn[1])).shape == np.broadcast_shapes(*drawn)
    >>> test_addition_broadcasts()
    """
    drawn = hnp.mutually_broadcastable_shapes(
        num_shapes=count, min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side
    )
    return drawn.map(lambda found: tuple(found.input_shapes))


def float_dtypes() -> DTypes:
    """float64 and float32."""
    return st.sampled_from([np.dtype(np.float64), np.dtype(np.float32)])


def complex_dtypes() -> DTypes:
    """complex128 and complex64."""
    return st.sampled_from([np.dtype(np.complex128), np.dtype(np.complex64)])


def integer_dtypes() -> DTypes:
    """Signed and unsigned integers of every size."""
    return st.sampled_from(
        [np.dtype(name) for name in ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64")]
    )


def dtypes() -> DTypes:
    """Every dtype that fgrad works in: floating point, complex, integer and boolean."""
    return float_dtypes() | complex_dtypes() | integer_dtypes() | st.just(np.dtype(bool))


def arrays(
    dtype: Any = None, shape: Any = None, *, min_value: float = -4.0, max_value: float = 4.0
) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """NumPy arrays whose elements lie between two bounds, multiples of 1/16 with repetitions and zeros among them.

    Bounded and coarse elements keep sums and products finite and, in float64, mostly exact. Complex arrays draw both
    parts; unsigned integers start at 0 at the earliest; booleans are drawn as such.

    Args:
        dtype: a dtype or a strategy of dtypes; by default float64 or float32.
        shape: a shape or a strategy of shapes; by default `shapes()`.
        min_value: the smallest element.
        max_value: the largest element.

    >>> import fgrad as fg
    >>> from hypothesis import given
    >>> from fgrad.testing import strategies
    >>> @given(strategies.arrays("float32", (2, 3), min_value=0.0))
    ... def test_roots(array):
    ...     assert np.array_equal(np.sqrt(array), fg.sqrt(array))
    >>> test_roots()
    """

    def of(kind: np.dtype[Any]) -> st.SearchStrategy[np.ndarray[Any, Any]]:
        return hnp.arrays(kind, shapes() if shape is None else shape, elements=_elements(kind, min_value, max_value))

    return _strategy(float_dtypes() if dtype is None else dtype, np.dtype).flatmap(of)


def tensors(
    dtype: Any = None, shape: Any = None, *, min_value: float = -4.0, max_value: float = 4.0
) -> st.SearchStrategy[Tensor]:
    """Tensors; the arguments are those of `arrays`.

    >>> import fgrad as fg
    >>> from hypothesis import given
    >>> from fgrad.testing import strategies
    >>> @given(strategies.tensors(strategies.complex_dtypes()))
    ... def test_conjugation_is_its_own_inverse(tensor):
    ...     assert fg.tree.equal(fg.conj(fg.conj(tensor)), tensor)
    >>> test_conjugation_is_its_own_inverse()
    """
    return arrays(dtype, shape, min_value=min_value, max_value=max_value).map(to_tensor)


def separated_arrays(
    shape: Any = None, *, min_value: float = -2.0, max_value: float = 2.0, dtype: Any = np.float64
) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """Arrays without ties or zeros, for checks of derivatives: elements keep their distance from each other and from 0.

    The elements are a random permutation of points spread evenly over the range, each moved by up to a quarter of the
    spacing; none is nearer to 0 than a quarter of the spacing. Functions such as max, sort and abs are smooth there.

    >>> import fgrad as fg
    >>> from hypothesis import given
    >>> from fgrad.testing import strategies
    >>> @given(strategies.separated_arrays(strategies.shapes(min_side=1)))
    ... def test_max(array):
    ...     fg.testing.check_grads(fg.max, (array,))
    >>> test_max()
    """

    def build(drawn: tuple[Shape, int, np.dtype[Any]]) -> np.ndarray[Any, Any]:
        lengths, seed, kind = drawn
        size = int(np.prod(lengths, dtype=int))
        generator = np.random.Generator(np.random.PCG64(seed))
        spacing = (max_value - min_value) / (size + 1)
        points = min_value + spacing * (np.arange(size) + 1 + generator.uniform(-0.25, 0.25, size))
        near = np.abs(points) < spacing / 4
        points = np.where(near, np.copysign(spacing / 4, points), points)
        return np.asarray(generator.permutation(points).reshape(lengths), kind)

    lengths = _strategy(shapes() if shape is None else shape, tuple)
    return st.tuples(lengths, st.integers(0, 2**32 - 1), _strategy(dtype, np.dtype)).map(build)


def axes(ndim: int, *, several: bool = True) -> st.SearchStrategy[int | tuple[int, ...] | None]:
    """What ``axis=`` accepts for an array of `ndim` axes: None, an axis counted from either end, and tuples of axes.

    >>> import fgrad as fg
    >>> from hypothesis import given
    >>> from fgrad.testing import strategies
    >>> @given(strategies.axes(2))
    ... def test_sum(axis):
    ...     assert np.array_equal(fg.sum(fg.ones((2, 3)), axis), np.sum(np.ones((2, 3)), axis))
    >>> test_sum()
    """
    drawn: st.SearchStrategy[int | tuple[int, ...] | None] = st.none()
    if ndim:
        drawn |= st.integers(-ndim, ndim - 1)
    if several:
        chosen = st.lists(st.integers(-ndim, ndim - 1), max_size=ndim, unique_by=lambda axis: axis % ndim)
        drawn |= chosen.map(tuple) if ndim else st.just(())
    return drawn


Pair = collections.namedtuple("Pair", ["first", "second"])  # noqa: PYI024 - any namedtuple does


@attrs.frozen
class Record:
    """A record with a static field, as it occurs in pytrees."""

    value: Any
    name: str = attrs.field(default="record", metadata={"static": True})


def pytrees(leaves: st.SearchStrategy[Any] | None = None, *, max_leaves: int = 6) -> st.SearchStrategy[Any]:
    """Pytrees of every kind of node: dicts, lists, tuples, namedtuples, attrs records, None.

    Args:
        leaves: the leaves; by default small `tensors`.
        max_leaves: roughly the largest number of leaves.

    >>> import fgrad as fg
    >>> from hypothesis import given
    >>> from fgrad.testing import strategies
    >>> @given(strategies.pytrees())
    ... def test_flatten_and_back(tree):
    ...     leaves, structure = fg.tree.flatten(tree)
    ...     assert fg.tree.equal(fg.tree.unflatten(structure, leaves), tree)
    >>> test_flatten_and_back()
    """
    small = tensors(shape=shapes(max_dims=2, max_side=2)) if leaves is None else leaves

    def extend(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(
            st.dictionaries(st.sampled_from(["a", "b", "c"]), children, max_size=3),
            st.lists(children, max_size=3),
            st.lists(children, max_size=3).map(tuple),
            st.builds(Pair, children, children),
            st.builds(Record, children, st.sampled_from(["record", "other"])),
        )

    return st.recursive(small | st.none(), extend, max_leaves=max_leaves)


def _elements(dtype: np.dtype[Any], low: float, high: float) -> st.SearchStrategy[Any]:
    if dtype.kind == "b":
        return st.booleans()
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return st.integers(max(int(np.ceil(low)), int(info.min)), min(int(np.floor(high)), int(info.max)))
    real = st.integers(int(np.ceil(low * 16)), int(np.floor(high * 16))).map(lambda sixteenths: sixteenths / 16)
    return st.builds(complex, real, real) if dtype.kind == "c" else real


def _strategy(value: Any, build: Callable[[Any], T]) -> st.SearchStrategy[T]:
    """A strategy as it is; a single value as a strategy that draws it."""
    return value if isinstance(value, st.SearchStrategy) else st.just(build(value))
