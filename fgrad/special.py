"""Special functions with SciPy's names: error functions, the gamma family, Bessel and logistic functions, entropies."""

from __future__ import annotations

from fgrad.ops.bessel import i0, i0e, i1, i1e
from fgrad.ops.entropy import (
    entr,
    expit,
    kl_div,
    log_expit,
    log_softmax,
    logit,
    rel_entr,
    softmax,
    softplus,
    xlog1py,
    xlogy,
)
from fgrad.ops.exponential import expm1, log1p
from fgrad.ops.gamma_functions import beta, betaln, digamma, gamma, gammaln, polygamma
from fgrad.ops.moments import logsumexp
from fgrad.ops.special import erf, erfc, erfinv, log_ndtr, ndtr, ndtri

__all__ = [
    "beta",
    "betaln",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfinv",
    "expit",
    "expm1",
    "gamma",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "kl_div",
    "log1p",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "ndtri",
    "polygamma",
    "rel_entr",
    "softmax",
    "softplus",
    "xlog1py",
    "xlogy",
]
