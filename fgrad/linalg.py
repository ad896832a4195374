"""Linear algebra: the names of ``numpy.linalg`` and of the array API's ``linalg`` extension."""

from fgrad.ops.conditioning import cond, matrix_rank
from fgrad.ops.contractions import matmul, tensordot, vecdot
from fgrad.ops.decompositions import QRResult, SVDResult, qr, svd, svdvals
from fgrad.ops.determinants import SlogdetResult, det, slogdet
from fgrad.ops.eigen import EighResult, EigResult, eig, eigh, eigvals, eigvalsh
from fgrad.ops.least_squares import lstsq, pinv
from fgrad.ops.linear_systems import (
    cho_solve,
    cholesky,
    inv,
    solve,
    solve_triangular,
    tensorinv,
    tensorsolve,
)
from fgrad.ops.matrix_functions import expm, matrix_power
from fgrad.ops.matrix_products import block_diag, multi_dot
from fgrad.ops.matrix_products import matrix_diagonal as diagonal
from fgrad.ops.matrix_products import matrix_trace as trace
from fgrad.ops.matrix_products import outer_of_vectors as outer
from fgrad.ops.matrix_products import vector_cross as cross
from fgrad.ops.norms import matrix_norm, norm, vector_norm
from fgrad.ops.shaping import matrix_transpose

__all__ = [
    "EigResult",
    "EighResult",
    "QRResult",
    "SVDResult",
    "SlogdetResult",
    "block_diag",
    "cho_solve",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "expm",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]
