"""Rows of the operation table for matrix decompositions.

Eigenvectors and singular vectors are determined up to phases, so the rows with derivatives are of functions of them
that do not depend on these; the rows of the public functions compare values with NumPy's.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from operation_row import CLOSE, Row, arrays, call, dtypes, shrunk, smooth_arrays, with_shape

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.ops.conditioning import inverse_or_nan_p
from fgrad.ops.eigen import nearest_order_p, reciprocal_gaps_p

STACKS = st.sampled_from([(), (2,)])
SHAPES = st.sampled_from([(2, 2), (3, 2), (2, 3), (3, 1)])
NUMPY_SHAPES = st.sampled_from([(2, 2), (3, 2), (2, 3), (0, 2), (2, 0), (2, 3, 3), (0, 2, 2)])
SQUARE_SHAPES = st.sampled_from([(2, 2), (3, 3), (1, 1), (0, 0), (2, 2, 2), (0, 2, 2)])


def well_conditioned(seed, shape, dtype):
    """A matrix whose singular values, and whose eigenvalues, lie apart from each other and from 0."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(-0.4, 0.4, shape)
    if dtype.kind == "c":
        x = x + 1j * generator.uniform(-0.4, 0.4, shape)
    places = np.arange(min(shape[-2:]))
    x[..., places, places] += np.asarray([1.0, 3.0, 5.5])[places]
    # Cut off, the smallest entry of the diagonal would be 0.
    return (np.rint(2 * x) if dtype.kind in "iu" else x).astype(dtype)


def matrices(shapes, kinds=None):
    chosen = st.sampled_from([np.dtype(float), np.dtype(complex)]) if kinds is None else dtypes(kinds)
    shapes = st.tuples(STACKS, shapes).map(lambda pair: pair[0] + pair[1])
    return st.builds(well_conditioned, st.integers(0, 2**16), shapes, chosen)


SQUARE = st.sampled_from([(2, 2), (3, 3)])


def bent(operand, number, generator):
    """Another matrix, and no multiple of this one, whose condition number would be the same."""
    return operand + number * np.tri(*operand.shape[-2:], dtype=operand.dtype)


def adjoint(x):
    return fg.conj(x.mT)


def weights(x):
    return np.arange(1, x.shape[-1] + 1, dtype=x.real.dtype)


def weighted(x):
    """A matrix of the columns of x that does not depend on their phases."""
    return (x * weights(x)) @ adjoint(x)


def free_eigh(a, lower):
    values, vectors = fg.linalg.eigh((a + adjoint(a)) * 0.5, lower)
    return values, weighted(vectors)


def free_eigvalsh(a, lower):
    return fg.linalg.eigvalsh((a + adjoint(a)) * 0.5, lower)


def free_eig(a):
    """Functions of all eigenvalues, whose order may change from one matrix to the next."""
    values, vectors = fg.linalg.eig(a)
    return fg.sum(values**2, axis=-1), (vectors * fg.exp(values * 0.25)[..., None, :]) @ adjoint(vectors)


def free_eigvals(a):
    values = fg.linalg.eigvals(a)
    return [fg.sum(values**power, axis=-1) for power in (1, 2, 3)]


def free_svd(a, full_matrices):
    u, s, vh = fg.linalg.svd(a, full_matrices)
    k = s.shape[-1]
    first, rest = u[..., :k], u[..., k:]
    return s, weighted(first), (first * weights(first)) @ vh[..., :k, :], rest @ adjoint(rest)


def free_qr(a, mode):
    q, r = fg.linalg.qr(a, mode)
    k = min(a.shape[-2:])
    rest = q[..., k:]
    return q[..., :k], r, rest @ adjoint(rest)


def free_hermitian_svd(a):
    u, s, vh = fg.linalg.svd((a + adjoint(a)) * 0.5, hermitian=True)
    return s, weighted(u), u @ vh


def always_complex(function):
    def convert(a):
        found = function(a)
        parts = [part.astype(np.result_type(part, np.complex64)) for part in fg.tree.leaves(found)]
        return parts[0] if isinstance(found, np.ndarray) else tuple(parts)

    return convert


def of_primitive(primitive):
    return lambda *operands, **params: bind(primitive, *operands, **params)


def reciprocals_of_gaps(w, sums):
    other = np.swapaxes(w[..., None], -1, -2) if sums else -np.swapaxes(w[..., None], -1, -2)
    gaps = w[..., None] + other if sums else -(w[..., None] + other)
    return np.divide(1, gaps, out=np.zeros_like(gaps), where=gaps != 0)


def shuffled(values):
    return st.permutations(range(4)).map(lambda order: values[..., list(order)])


UPLO = st.sampled_from("LU")
BOTH = st.booleans()
MODES = st.sampled_from(["reduced", "complete"])
NORMS = st.sampled_from([None, 2, -2, 1, -1, np.inf, -np.inf, "fro", "nuc"])
KINDS = "fc"


def named(name, calls, *, reference=None, counterpart=None, rtol=None, primitives=()):
    function = getattr(np.linalg, name)
    return Row(
        f"fg.linalg.{name}",
        getattr(fg.linalg, name),
        calls,
        reference or function,
        primitives=primitives,
        counterpart=counterpart or function,
        rtol=CLOSE if rtol is None else rtol,
    )


def drawn(shapes, kinds="fci"):
    return shapes.flatmap(lambda shape: arrays(kinds, shape))


def free(name, function, shapes, *options, primitives=()):
    return Row(
        name,
        function,
        call(matrices(shapes, KINDS), *options),
        None,
        call(matrices(shapes), *options),
        primitives,
        rtol=CLOSE,
        vary=shrunk,
    )


DECOMPOSITION_ROWS = [
    # Values, of any matrices.
    named("eigh", call(drawn(SQUARE_SHAPES), UPLO)),
    named("eigvalsh", call(drawn(SQUARE_SHAPES), UPLO)),
    named("eig", call(drawn(SQUARE_SHAPES)), reference=always_complex(np.linalg.eig)),
    named("eigvals", call(drawn(SQUARE_SHAPES)), reference=always_complex(np.linalg.eigvals)),
    named("qr", call(drawn(NUMPY_SHAPES), st.sampled_from(["reduced", "complete", "r"]))),
    named("svd", call(drawn(NUMPY_SHAPES), BOTH, BOTH)),
    named("svdvals", call(drawn(NUMPY_SHAPES))),
    named("matrix_rank", call(drawn(NUMPY_SHAPES), st.sampled_from([None, 1.0])), primitives=("matrix_rank",)),
    Row(
        "fg.linalg.cond",
        fg.linalg.cond,
        call(matrices(SQUARE, "fci"), NORMS),
        np.linalg.cond,
        call(matrices(SQUARE), NORMS),
        ("condition_number",),
        np.linalg.cond,
        rtol={4: 1e-4, 8: 1e-11},
        vary=bent,
    ),
    # Derivatives, of what does not depend on phases.
    free("eigh", free_eigh, SQUARE, UPLO, primitives=("eigh",)),
    free("eigvalsh", free_eigvalsh, SQUARE, UPLO, primitives=("eigvalsh",)),
    free("eig", free_eig, SQUARE, primitives=("eig",)),
    free("eigvals", free_eigvals, SQUARE, primitives=("eigvals",)),
    free("svd", free_svd, SHAPES, BOTH, primitives=("svd",)),
    free("svdvals", fg.linalg.svdvals, SHAPES, primitives=("svdvals",)),
    free("svd of Hermitian matrices", free_hermitian_svd, SQUARE),
    free("qr", free_qr, SHAPES, MODES, primitives=("qr",)),
    free("qr_triangle", lambda a: fg.linalg.qr(a, "r"), SHAPES, primitives=("qr_triangle",)),
    # What the rules are made of.
    Row(
        "reciprocal_gaps",
        of_primitive(reciprocal_gaps_p),
        with_shape(lambda s: call(smooth_arrays(s, 0.5, 4.0), sums=BOTH), min_dims=1, max_dims=2, max_side=3),
        reciprocals_of_gaps,
        with_shape(lambda s: call(smooth_arrays(s, 0.5, 4.0), sums=BOTH), min_dims=1, max_dims=2, max_side=3),
        ("reciprocal_gaps",),
        rtol=CLOSE,
        vary=shrunk,
        eps=2.0**-12,
    ),
    Row(
        "nearest_order",
        of_primitive(nearest_order_p),
        smooth_arrays((2, 4)).flatmap(lambda values: call(st.just(values), shuffled(values))),
        lambda values, others: np.argmin(np.abs(values[..., :, None] - others[..., None, :]), -1),
        primitives=("nearest_order",),
        vary=shrunk,
    ),
    Row(
        "inverse_or_nan",
        of_primitive(inverse_or_nan_p),
        call(matrices(SQUARE, KINDS)),
        np.linalg.inv,
        call(matrices(SQUARE)),
        ("inverse_or_nan",),
        rtol=CLOSE,
        vary=shrunk,
    ),
]
