"""Rows of the operation table for linear systems, least squares, determinants and functions of matrices."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from operation_row import CLOSE, Row, arrays, call, complex_arrays, optional, smooth_arrays
from operation_table_shapes import PRIMITIVES
from scipy import linalg

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.testing import strategies

SIDE = st.integers(0, 3)
KINDS = "fci"
SOME = st.integers(1, 3)
STACKS = strategies.shapes(max_dims=1, max_side=2)


def well_conditioned(operand, shift=0.0):
    """The matrices, with enough on their diagonal to be far from singular; integers stay integers."""
    return np.asarray(operand + (2 * max(operand.shape[-2:]) + shift) * np.eye(*operand.shape[-2:]), operand.dtype)


def moved_rows(operand, number, generator):
    """Other operands of the same shape: scaled, integers with their diagonal enlarged."""
    if operand.dtype.kind in "fc":
        return np.asarray(operand * (1 - number / 4), operand.dtype)
    square = operand.ndim > 1 and operand.shape[-1] == operand.shape[-2]
    return np.asarray(operand + number * np.eye(operand.shape[-1]), operand.dtype) if square else operand


def square(operand, side=SIDE, stacks=STACKS):
    return st.tuples(stacks, side).flatmap(lambda d: call(operand((*d[0], d[1], d[1])).map(well_conditioned)))


def plain(shape):
    return arrays(KINDS, shape, -1, 1)


def smooth(shape):
    return smooth_arrays(shape, -1, 1)


def smooth_complex(shape):
    return complex_arrays(shape, -1, 1)


def systems(operand, right=None):
    """A matrix or a stack with a vector, a matrix or a stack that broadcasts with it."""
    right = right or operand
    return st.tuples(strategies.broadcastable_shapes(2, max_dims=1, max_side=2), SIDE, st.integers(0, 2)).flatmap(
        lambda d: st.sampled_from([(d[1],), (*d[0][1], d[1], d[2])]).flatmap(
            lambda shape: call(operand((*d[0][0], d[1], d[1])).map(well_conditioned), right(shape))
        )
    )


def everywhere(calls):
    return calls(smooth) | calls(smooth_complex)


def _triangular(a, b, trans=0, lower=False, unit_diagonal=False):
    matrix = np.tril(a) if lower else np.triu(a)
    if unit_diagonal:
        matrix = matrix - matrix * np.eye(a.shape[-1], dtype=a.dtype) + np.eye(a.shape[-1], dtype=a.dtype)
    if trans:
        matrix = matrix.mT if trans == "T" else matrix.conj().mT
    return np.linalg.solve(matrix, b)


def triangular(operand):
    return optional(
        systems(operand), trans=st.sampled_from(["T", "C"]), lower=st.booleans(), unit_diagonal=st.booleans()
    )


def _hermitian(x):
    return x @ x.conj().mT + np.eye(x.shape[-1], dtype=x.dtype)


def positive_definite(operand):
    return optional(
        st.tuples(STACKS, SIDE).flatmap(lambda d: call(operand((*d[0], d[1], d[1])).map(_hermitian))),
        upper=st.booleans(),
    )


def _factor_of(x, **options):
    """The factor of a Hermitian matrix that is a function of any matrix."""
    return fg.linalg.cholesky((x + fg.conj(x).mT) * 0.5, **options)


def rectangular(operand):
    return st.tuples(STACKS, SOME, SOME).flatmap(lambda d: call(operand((*d[0], d[1], d[2])).map(well_conditioned)))


def least_squares(operand):
    return st.tuples(SOME, SOME, st.sampled_from([(), (2,)])).flatmap(
        lambda d: call(operand((d[0], d[1])).map(well_conditioned), operand((d[0], *d[2])))
    )


def _solution(a, b):
    return fg.linalg.lstsq(a, b, numpy_resid=False)


def _cho_solve(c, b, lower):
    return fg.linalg.cho_solve((c, lower), b)


def factors(operand):
    return st.tuples(SOME, st.booleans()).flatmap(
        lambda d: call(operand((d[0], d[0])).map(well_conditioned), operand((d[0], 2)), d[1])
    )


def _cho_reference(c, b, lower):
    factor = np.tril(c) if lower else np.triu(c)
    adjoint = factor.conj().T
    return np.linalg.solve(factor @ adjoint if lower else adjoint @ factor, b)


def _row(name, calls, primitives=(), *, function=None, reference=None, rtol=CLOSE, points=None, **options):
    """The row of a function of fg.linalg that is NumPy's of the same name unless a reference is given."""
    numpy_function = getattr(np.linalg, name) if reference is None else None
    return Row(
        f"linalg.{name}",
        getattr(fg.linalg, name) if function is None else function,
        calls(plain),
        numpy_function or reference,
        everywhere(calls) if points is None else points,
        primitives,
        numpy_function,
        rtol,
        vary=moved_rows,
        **options,
    )


def directions(count, lowest, highest=3):
    """Square matrices with directions of the same shape; the matrices may be singular."""

    def build(operand):
        return st.integers(lowest, highest).flatmap(lambda n: call(*[operand((n, n))] * (count + 1)))

    return build


def _minors(x, direction):
    """The derivative of the cofactors along a direction, from their definition."""
    out = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        minor, along = (np.delete(np.delete(y, place[0], 0), place[1], 1) for y in (x, direction))
        for column in range(minor.shape[1]):
            replaced = minor.copy()
            replaced[:, column] = along[:, column]
            out[place] += (-1) ** sum(place) * np.linalg.det(replaced)
    return out


def _block_exponential(x, direction):
    """The upper right block of the exponential of [[X, D], [0, X]]."""
    size = len(x)
    return linalg.expm(np.block([[x, direction], [np.zeros_like(x), x]]))[:size, size:]


FLOATS = lambda s: strategies.arrays(st.sampled_from([np.dtype("float64")]), s, min_value=-2, max_value=2)

SYSTEM_ROWS: list[Row] = [
    _row("solve", systems, ("solve",)),
    _row("inv", square, ("inv",)),
    _row("solve_triangular", triangular, ("solve_triangular",), reference=_triangular),
    _row("cho_solve", factors, function=_cho_solve, reference=_cho_reference, rtol={4: 2e-4, 8: 1e-11}),
    # Only one triangle is read, while the derivative is that among Hermitian matrices: it is checked there.
    Row(
        "linalg.cholesky",
        fg.linalg.cholesky,
        positive_definite(plain),
        np.linalg.cholesky,
        counterpart=np.linalg.cholesky,
        rtol=CLOSE,
        vary=moved_rows,
    ),
    Row(
        "linalg.cholesky of a Hermitian part",
        _factor_of,
        positive_definite(smooth) | positive_definite(smooth_complex),
        lambda x, **options: np.linalg.cholesky((x + x.conj().mT) / 2, **options),
        positive_definite(smooth) | positive_definite(smooth_complex),
        ("cholesky",),
        rtol=CLOSE,
        vary=moved_rows,
    ),
    _row(
        "tensorsolve",
        lambda operand: (
            call(operand((4, 4)).map(lambda x: well_conditioned(x).reshape(2, 2, 4)), operand((2, 2)))
            | call(
                operand((2, 2)).map(lambda x: well_conditioned(x).T),
                operand((2,)),
                axes=(0,),
            )
        ),
    ),
    _row(
        "tensorinv",
        lambda operand: (
            call(operand((4, 4)).map(lambda x: well_conditioned(x).reshape(2, 2, 4)))
            | call(operand((4, 4)).map(lambda x: well_conditioned(x).reshape(4, 2, 2)), ind=1)
        ),
    ),
    _row("pinv", lambda o: optional(rectangular(o), rcond=st.sampled_from([1e-9])), ("pinv",)),
    Row(
        "linalg.pinv with a cut-off for each",
        fg.linalg.pinv,
        call(plain((2, 3, 2)).map(well_conditioned), strategies.arrays("float64", (2,), min_value=0, max_value=1e-3)),
        np.linalg.pinv,
        rtol=CLOSE,
        vary=moved_rows,
    ),
    Row(
        "linalg.lstsq",
        fg.linalg.lstsq,
        least_squares(plain),
        np.linalg.lstsq,
        counterpart=np.linalg.lstsq,
        rtol=CLOSE,
        staged=False,
        vary=moved_rows,
        unbatched="the residuals are empty where the rank is deficient",
    ),
    Row(
        "linalg.lstsq with residuals of full shape",
        _solution,
        least_squares(plain),
        np.linalg.lstsq,
        everywhere(least_squares),
        ("lstsq",),
        rtol=CLOSE,
        vary=moved_rows,
    ),
    _row("det", square, ("det",), points=directions(0, 0)(smooth) | directions(0, 0)(smooth_complex)),
    Row(
        "determinant_derivative",
        lambda x, *along: bind(PRIMITIVES["determinant_derivative"], x, *along),
        directions(1, 1)(FLOATS),
        _minors,
        directions(1, 2)(smooth) | directions(1, 2)(smooth_complex),
        ("determinant_derivative",),
        rtol=CLOSE,
        mixed=False,
        vary=moved_rows,
    ),
    _row("slogdet", square, ("slogdet",)),
    Row(
        "inverse_or_infinity",
        lambda x: bind(PRIMITIVES["inverse_or_infinity"], x),
        square(plain),
        np.linalg.inv,
        everywhere(square),
        ("inverse_or_infinity",),
        rtol=CLOSE,
        vary=moved_rows,
    ),
    _row(
        "matrix_power",
        lambda o: st.tuples(square(o, SOME), st.integers(-2, 3)).map(lambda d: type(d[0])((*d[0].args, d[1]))),
        rtol={4: 2e-4, 8: 1e-11},
    ),
    Row(
        "linalg.expm",
        fg.linalg.expm,
        st.tuples(STACKS, SOME).flatmap(lambda d: call(arrays(KINDS, (*d[0], d[1], d[1]), -2, 2))),
        # SciPy gives a matrix of one zero back in its own dtype.
        lambda x: linalg.expm(x if x.dtype.kind in "fc" else x.astype(float)),
        st.tuples(STACKS, SOME).flatmap(
            lambda d: call(smooth((*d[0], d[1], d[1]))) | call(smooth_complex((*d[0], d[1], d[1])))
        ),
        (),
        rtol=CLOSE,
        vary=moved_rows,
    ),
    Row(
        "linalg.expm along directions",
        lambda x, *along: bind(PRIMITIVES["expm"], x, *along),
        directions(1, 1)(FLOATS),
        _block_exponential,
        directions(1, 1, 2)(smooth),
        ("expm",),
        rtol=CLOSE,
        mixed=False,
        vary=moved_rows,
    ),
]
