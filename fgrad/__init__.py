"""fgrad: functional, immutable automatic differentiation in pure Python on NumPy and attrs.

>>> import fgrad as fg
>>> fg.grad(lambda x: fg.sum(fg.sin(x) ** 2))(fg.asarray([0.0, 0.5]))
Tensor([0.        , 0.84147098], dtype=float64)

Transforms and array functions stand in one flat namespace; `fgrad.tree`, `fgrad.random` and `fgrad.errors` are
namespaces of their own. `fgrad.random`, `fgrad.nn`, `fgrad.optim`, `fgrad.data`, `fgrad.training` and `fgrad.testing`
load when first used, and so do some of the transforms.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fgrad import errors, tree
from fgrad.core.graph import Graph
from fgrad.core.late import late_modules as _late_modules
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arithmetic import (
    abs,
    absolute,
    add,
    conj,
    conjugate,
    divide,
    divide_no_nan,
    floor_divide,
    imag,
    mod,
    multiply,
    multiply_no_nan,
    negative,
    positive,
    real,
    reciprocal,
    remainder,
    sign,
    square,
    subtract,
    true_divide,
)
from fgrad.ops.contractions import diagonal, dot, inner, matmul, outer, tensordot, trace, vdot, vecdot
from fgrad.ops.creation import (
    arange,
    array,
    asarray,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    identity,
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from fgrad.ops.exponential import exp, exp2, expm1, log, log1p, log2, log10, pow, power, sqrt
from fgrad.ops.indexing import one_hot, repeat, take, take_along_axis
from fgrad.ops.joining import array_split, concat, concatenate, hstack, pad, split, stack, vstack
from fgrad.ops.logic import (
    allclose,
    array_equal,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    ceil,
    equal,
    floor,
    greater,
    greater_equal,
    invert,
    isclose,
    isfinite,
    isinf,
    isnan,
    left_shift,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    right_shift,
    rint,
    round,
    trunc,
)
from fgrad.ops.moments import logsumexp, mean, std, var
from fgrad.ops.products import prod
from fgrad.ops.reductions import all, amax, amin, any, argmax, argmin, cumsum, max, min, sum
from fgrad.ops.selection import clip, maximum, minimum, relu, where
from fgrad.ops.shaping import (
    astype,
    atleast_1d,
    atleast_2d,
    broadcast_arrays,
    broadcast_to,
    expand_dims,
    flip,
    matrix_transpose,
    moveaxis,
    ndim,
    permute_dims,
    ravel,
    reshape,
    roll,
    shape,
    size,
    squeeze,
    swapaxes,
    tile,
    transpose,
    tril,
    triu,
)
from fgrad.ops.structure import stop_gradient
from fgrad.ops.trigonometric import arccos, arccosh, arcsin, arcsinh, arctan, arctanh, cos, cosh, sin, sinh, tan, tanh
from fgrad.transforms.reverse import grad, value_and_grad, vjp

if TYPE_CHECKING:
    from fgrad import data, nn, optim, random, testing, training
    from fgrad._saving import load, save
    from fgrad.core.graph_rules import vjp_graph
    from fgrad.ops.associative import associative_scan
    from fgrad.ops.control_flow import cond, switch
    from fgrad.ops.einstein import einsum
    from fgrad.ops.loops import fori_loop, while_loop
    from fgrad.ops.scans import map, scan
    from fgrad.ops.sorting import argsort, searchsorted
    from fgrad.transforms.checkpoint import checkpoint
    from fgrad.transforms.custom_jvp import custom_jvp
    from fgrad.transforms.custom_vjp import custom_vjp
    from fgrad.transforms.find_nan import find_nan
    from fgrad.transforms.forward import jvp, linearize
    from fgrad.transforms.graphs import eval_shape, make_graph
    from fgrad.transforms.jacobians import hessian, hessian_matrix, hvp, jacfwd, jacobian, jacrev
    from fgrad.transforms.nan_report import NanReport
    from fgrad.transforms.show_tape import show_tape
    from fgrad.transforms.vmap import vmap

__version__ = "0.1.0"

_LAZY = ("data", "nn", "optim", "random", "testing", "training")
# What loads when it is first used: names of this face by the module that has them.
_LATER = {
    "fgrad._saving": ("load", "save"),
    "fgrad.core.graph_rules": ("vjp_graph",),
    "fgrad.ops.associative": ("associative_scan",),
    "fgrad.ops.control_flow": ("cond", "switch"),
    "fgrad.ops.einstein": ("einsum",),
    "fgrad.ops.loops": ("fori_loop", "while_loop"),
    "fgrad.ops.scans": ("map", "scan"),
    "fgrad.ops.sorting": ("argsort", "searchsorted"),
    "fgrad.transforms.checkpoint": ("checkpoint",),
    "fgrad.transforms.custom_jvp": ("custom_jvp",),
    "fgrad.transforms.custom_vjp": ("custom_vjp",),
    "fgrad.transforms.find_nan": ("find_nan",),
    "fgrad.transforms.forward": ("jvp", "linearize"),
    "fgrad.transforms.graphs": ("eval_shape", "make_graph"),
    "fgrad.transforms.jacobians": ("hessian", "hessian_matrix", "hvp", "jacfwd", "jacobian", "jacrev"),
    "fgrad.transforms.nan_report": ("NanReport",),
    "fgrad.transforms.show_tape": ("show_tape",),
    "fgrad.transforms.vmap": ("vmap",),
}
_HOMES = {name: module for module, names in _LATER.items() for name in names}
_late_modules.extend([*_LATER, "fgrad.ops.ravel"])

newaxis = None
pi = 3.141592653589793
e = 2.718281828459045
inf = float("inf")
nan = float("nan")

__all__ = [
    "ArrayLike",
    "Graph",
    "NanReport",
    "ShapeDtype",
    "Tensor",
    "abs",
    "absolute",
    "add",
    "all",
    "allclose",
    "amax",
    "amin",
    "any",
    "arange",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "argmax",
    "argmin",
    "argsort",
    "array",
    "array_equal",
    "array_split",
    "asarray",
    "associative_scan",
    "astype",
    "atleast_1d",
    "atleast_2d",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "broadcast_arrays",
    "broadcast_to",
    "ceil",
    "checkpoint",
    "clip",
    "concat",
    "concatenate",
    "cond",
    "conj",
    "conjugate",
    "cos",
    "cosh",
    "cumsum",
    "custom_jvp",
    "custom_vjp",
    "data",
    "diagonal",
    "divide",
    "divide_no_nan",
    "dot",
    "e",
    "einsum",
    "empty",
    "empty_like",
    "equal",
    "errors",
    "eval_shape",
    "exp",
    "exp2",
    "expand_dims",
    "expm1",
    "eye",
    "find_nan",
    "flip",
    "floor",
    "floor_divide",
    "fori_loop",
    "full",
    "full_like",
    "grad",
    "greater",
    "greater_equal",
    "hessian",
    "hessian_matrix",
    "hstack",
    "hvp",
    "identity",
    "imag",
    "inf",
    "inner",
    "invert",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "left_shift",
    "less",
    "less_equal",
    "linearize",
    "linspace",
    "load",
    "log",
    "log10",
    "log1p",
    "log2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "make_graph",
    "map",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mod",
    "moveaxis",
    "multiply",
    "multiply_no_nan",
    "nan",
    "ndim",
    "negative",
    "newaxis",
    "nn",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "optim",
    "outer",
    "pad",
    "permute_dims",
    "pi",
    "positive",
    "pow",
    "power",
    "prod",
    "random",
    "ravel",
    "real",
    "reciprocal",
    "relu",
    "remainder",
    "repeat",
    "reshape",
    "right_shift",
    "rint",
    "roll",
    "round",
    "save",
    "scan",
    "searchsorted",
    "shape",
    "show_tape",
    "sign",
    "sin",
    "sinh",
    "size",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "stop_gradient",
    "subtract",
    "sum",
    "swapaxes",
    "switch",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tensordot",
    "testing",
    "tile",
    "trace",
    "training",
    "transpose",
    "tree",
    "tril",
    "triu",
    "true_divide",
    "trunc",
    "value_and_grad",
    "var",
    "vdot",
    "vecdot",
    "vjp",
    "vjp_graph",
    "vmap",
    "vstack",
    "where",
    "while_loop",
    "zeros",
    "zeros_like",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"fgrad.{name}")
    if name in _HOMES:
        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value
    message = f"module 'fgrad' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
