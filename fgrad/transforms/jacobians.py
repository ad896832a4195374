"""Jacobians and Hessians: jacrev, jacfwd, jacobian, hessian, hessian_matrix, and products with the Hessian (hvp)."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar, overload

import attrs
import numpy as np

from fgrad.core.batching import BatchTrace, BatchTracer, open_batch
from fgrad.core.dual import open_dual
from fgrad.core.errors import NotDifferentiableError, ShapeError, at_user_line
from fgrad.core.key import Key
from fgrad.core.primal import is_inexact_value
from fgrad.core.pytree import Structure, flatten, flatten_with_path, unflatten
from fgrad.core.reuse import alternatives
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.tensor import Tensor, adopt
from fgrad.ops.indexing import getitem
from fgrad.ops.joining import concatenate
from fgrad.ops.ravel import ravel_tree
from fgrad.ops.shaping import permute_dims
from fgrad.ops.structure import convert, repeat_over_examples, reshape_to
from fgrad.transforms.argnums import INTEGERS, Argnums, choose, require_argnums, require_complex, with_arguments
from fgrad.transforms.calling import describe, leaf_paths, parameter_name, require_function
from fgrad.transforms.forward import as_arguments, call_on_duals, jvp, tangent_or_zeros
from fgrad.transforms.pullback import Pullback
from fgrad.transforms.reverse import run_on_tape, value_and_gradient_of

__all__ = ["hessian", "hessian_matrix", "hvp", "jacfwd", "jacobian", "jacrev"]

P = ParamSpec("P")
A = TypeVar("A")


def jacrev(
    function: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    holomorphic: bool = False,
) -> Callable[P, Any]:
    """The Jacobian by reverse mode, one row for each element of the output: for functions of few outputs.

    J[i, j] = d out_i / d x_j. The function runs once, and one backward walk takes the rows of the identity matrix of
    all outputs as a batch (by `vmap`), at the cost of as many gradients as there are output elements.

    Args:
        function: returns a pytree of real numbers and arrays (with `has_aux` a pair of that and anything else).
        argnums: which positional arguments to differentiate by; a tuple gives a tuple, inside each output's part.
        has_aux: the function returns ``(out, aux)``; the result is then ``(jacobian, aux)``.
        chunk_size: how many rows to compute at once; None computes all. The memory of the backward walk grows with
            it; 1 takes one row after the other, without `vmap`.
        holomorphic: the function is holomorphic in the chosen arguments; all of them, and all results, are complex,
            and so are the derivatives. That it is holomorphic is not checked.

    Returns:
        A function of the same arguments. Its result has the structure of the output, and in the place of each leaf
        the structure of the argument; the Jacobian of an output of shape s by a leaf of shape t has the shape
        ``s + t``, and the dtype that the two promote to.

    Raises:
        NotDifferentiableError: a leaf of the argument is an integer, a boolean or a key, or one of the output is, or
            is complex; with `holomorphic`, one of them is not complex. The message has the path.

    >>> import fgrad as fg
    >>> fg.jacrev(lambda x: fg.stack([x[0] * x[1], x[1] ** 2]))(fg.asarray([2.0, 3.0]))
    Tensor([[3., 2.],
            [0., 6.]], dtype=float64)
    """
    require_function(function, "jacrev")
    require_argnums(argnums, "jacrev")
    return functools.wraps(function)(
        _reverse(_Call(function, argnums, has_aux, _require_chunk_size(chunk_size), "jacrev", holomorphic=holomorphic))
    )


def jacfwd(
    function: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    holomorphic: bool = False,
) -> Callable[P, Any]:
    """The Jacobian by forward mode, one column for each element of the argument: for functions of few inputs.

    J[i, j] = d out_i / d x_j, as `jacrev` gives it, to rounding. The function runs once, and every operation pushes
    the columns of the identity matrix of all inputs along as a batch (by `vmap`). Nothing is recorded: the memory is
    that of the function times the number of columns.

    Args:
        function: returns a pytree of numbers and arrays (with `has_aux` a pair of that and anything else).
        argnums: which positional arguments to differentiate by; a tuple gives a tuple, inside each output's part.
        has_aux: the function returns ``(out, aux)``; the result is then ``(jacobian, aux)``.
        chunk_size: how many columns to compute at once, running the function once for each chunk; None computes all
            in one run. 1 takes one column after the other, without `vmap`.
        holomorphic: as for `jacrev`.

    Returns:
        As `jacrev`. Without `holomorphic` outputs may be complex here, but arguments may not.

    Raises:
        NotDifferentiableError: a leaf of the argument is an integer, a boolean, a key or complex, or one of the
            output is an integer, a boolean or a key; with `holomorphic`, one of them is not complex. The message has
            the path.

    >>> import fgrad as fg
    >>> fg.jacfwd(lambda t: {"x": fg.cos(t), "y": fg.sin(t)})(0.0)
    {'x': Tensor(-0., dtype=float64), 'y': Tensor(1., dtype=float64)}
    """
    require_function(function, "jacfwd")
    require_argnums(argnums, "jacfwd")
    return functools.wraps(function)(
        _forward(_Call(function, argnums, has_aux, _require_chunk_size(chunk_size), "jacfwd", holomorphic=holomorphic))
    )


def jacobian(
    function: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    holomorphic: bool = False,
) -> Callable[P, Any]:
    """The Jacobian by whichever mode is cheaper: reverse when there are no more output than input elements.

    The function runs once as under `vjp`, which tells the number of output elements. With more outputs than inputs,
    or complex ones, it runs a second time, in forward mode. Arguments, results and errors are those of `jacrev` and
    `jacfwd`, which each run one mode alone.

    >>> import fgrad as fg
    >>> fg.jacobian(lambda x: x**2)(fg.asarray([1.0, 2.0]))
    Tensor([[2., 0.],
            [0., 4.]], dtype=float64)
    """
    require_function(function, "jacobian")
    require_argnums(argnums, "jacobian")
    return functools.wraps(function)(
        _cheaper(
            _Call(function, argnums, has_aux, _require_chunk_size(chunk_size), "jacobian", holomorphic=holomorphic)
        )
    )


def hessian(
    function: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    holomorphic: bool = False,
) -> Callable[P, Any]:
    """The second derivatives, H[i, j] = d^2 f / dx_i dx_j, by forward mode over reverse mode.

    It is ``jacfwd(jacrev(f))``: the gradient is computed once, and its operations push the columns of the identity
    matrix along as a batch.

    Args:
        function: returns a pytree of real numbers and arrays, mostly one scalar (with `has_aux` a pair of that and
            anything else).
        argnums: which positional arguments to differentiate by, twice.
        has_aux: the function returns ``(out, aux)``; the result is then ``(hessian, aux)``.
        chunk_size: how many columns to compute at once; see `jacfwd`.
        holomorphic: as for `jacrev`.

    Returns:
        A function of the same arguments. Its result has the structure of the output, in each leaf's place that of the
        argument, and in each of its leaves' places again: for shapes s, t and u the shape ``s + t + u``. For one dense
        matrix whatever the structure, see `hessian_matrix`.

    Raises:
        NotDifferentiableError: as `jacrev` and `jacfwd`.

    >>> import fgrad as fg
    >>> fg.hessian(lambda x: x[0] ** 2 * x[1])(fg.asarray([1.0, 3.0]))
    Tensor([[6., 2.],
            [2., 0.]], dtype=float64)
    """
    require_function(function, "hessian")
    require_argnums(argnums, "hessian")
    call = _Call(function, argnums, has_aux, _require_chunk_size(chunk_size), "hessian", holomorphic=holomorphic)
    inner = _reverse(attrs.evolve(call, chunk_size=None))
    return functools.wraps(function)(_forward(attrs.evolve(call, function=inner, named=function)))


@overload
def hessian_matrix(
    function: Callable[P, tuple[Any, A]],
    argnums: Argnums = 0,
    *,
    has_aux: Literal[True],
    chunk_size: int | None = None,
) -> Callable[P, tuple[Tensor, A]]: ...
@overload
def hessian_matrix(
    function: Callable[P, tuple[Any, A]], argnums: Argnums, has_aux: Literal[True], *, chunk_size: int | None = None
) -> Callable[P, tuple[Tensor, A]]: ...
@overload
def hessian_matrix(
    function: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: Literal[False] = False,
    *,
    chunk_size: int | None = None,
) -> Callable[P, Tensor]: ...
def hessian_matrix(
    function: Callable[P, Any], argnums: Argnums = 0, has_aux: bool = False, *, chunk_size: int | None = None
) -> Callable[P, Any]:
    """The Hessian of a scalar function as one matrix, whatever the structure of the argument.

    Rows and columns are the elements of the chosen argument (of the tuple of them, when `argnums` is a tuple) in the
    order in which `fgrad.tree.ravel` lines them up, in the dtype that they promote to.

    Args:
        function: returns a scalar, or (with `has_aux`) a pair of a scalar and anything else.
        argnums: which positional arguments to differentiate by.
        has_aux: the function returns ``(loss, aux)``; the result is then ``(matrix, aux)``.
        chunk_size: how many columns to compute at once; see `jacfwd`.

    Returns:
        A function of the same arguments that returns a matrix of shape (n, n), for n elements.

    Raises:
        NotDifferentiableError: as `grad`, and for a complex leaf; `hessian` is the function for several outputs.

    >>> import fgrad as fg
    >>> fg.hessian_matrix(lambda p: p["a"] ** 2 * fg.sum(p["b"]))({"a": 3.0, "b": fg.asarray([1.0, 2.0])})
    Tensor([[6., 6., 6.],
            [6., 0., 0.],
            [6., 0., 0.]], dtype=float64)
    """
    require_function(function, "hessian_matrix")
    require_argnums(argnums, "hessian_matrix")
    size = _require_chunk_size(chunk_size)

    @functools.wraps(function)
    def matrix(*args: P.args, **kwargs: P.kwargs) -> Any:
        positions, primals, structure = choose(function, argnums, args, "hessian_matrix", "Hessian")
        vector, restore = ravel_tree(unflatten(structure, primals))
        if vector.dtype.kind == "c":
            _refuse_complex(function, positions, args)
        call = with_arguments(function, args, kwargs, positions)
        gradient = value_and_gradient_of(
            lambda flat: call(*restore(flat)), 0, has_aux=has_aux, transform="hessian_matrix"
        )

        def gradient_first(flat: Any) -> Any:
            value, gradients = gradient(flat)
            return (gradients, value[1]) if has_aux else gradients

        return _forward(_Call(gradient_first, 0, has_aux, size, "hessian_matrix", function))(vector)

    return matrix


def _refuse_complex(function: Callable[..., Any], positions: list[int], args: tuple[Any, ...]) -> None:
    for position in positions:
        for path, leaf in flatten_with_path(args[position])[0]:
            aval = shape_dtype_of(leaf)
            if aval.dtype.kind == "c":
                message = (
                    f"hessian_matrix differentiates by real arguments; {parameter_name(function, position)}{path} is "
                    f"{aval}: pass the real and the imaginary part"
                )
                raise NotDifferentiableError(at_user_line(message))


def hvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The product of the Hessian of a scalar function with a vector, H v, without the Hessian.

    Forward mode over reverse mode, ``jvp(grad(function), primals, tangents)[1]``, at the cost of a few gradients
    (B. A. Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6, 1994).

    Args:
        function: returns a scalar; it is differentiated by all of its arguments.
        primals: a tuple (or list) of the arguments: pytrees of floating-point numbers and arrays.
        tangents: a tuple of as many directions of the same structures, shapes and dtypes; None stands for a zero.

    Returns:
        For one primal a pytree like it. For several a tuple of pytrees like them, the product with the whole Hessian,
        mixed derivatives included: entry i is the sum over j of d^2 f / dx_i dx_j v_j.

    Raises:
        NotDifferentiableError: as `grad`. TreeError, ShapeError, DtypeError: a tangent does not fit its primal.

    >>> import fgrad as fg
    >>> fg.hvp(lambda x: x[0] ** 2 * x[1], (fg.asarray([1.0, 3.0]),), (fg.asarray([1.0, 0.0]),))
    Tensor([6., 2.], dtype=float64)
    """
    require_function(function, "hvp", ", (x,), (v,)")
    arguments = as_arguments(primals, "primals", "hvp")
    directions = as_arguments(tangents, "tangents", "hvp")
    argnums = 0 if len(arguments) == 1 else tuple(range(len(arguments)))
    gradient = value_and_gradient_of(function, argnums, has_aux=False, transform="hvp")
    return jvp(lambda *args: gradient(*args)[1], arguments, directions)[1]


def _require_chunk_size(chunk_size: Any) -> int | None:
    if chunk_size is None:
        return None
    if isinstance(chunk_size, bool) or not hasattr(chunk_size, "__index__"):
        message = f"chunk_size is {describe(chunk_size)}; it is a number of rows or columns, or None for all at once"
        raise TypeError(at_user_line(message))
    size = operator.index(chunk_size)
    if size < 1:
        message = f"chunk_size is {size}; it is a number of rows or columns, at least 1, or None for all at once"
        raise ShapeError(at_user_line(message))
    return size


@attrs.frozen
class _Call:
    """What a transform of this file was given, and the names for its messages."""

    function: Callable[..., Any]
    argnums: Argnums
    has_aux: bool
    chunk_size: int | None
    transform: str
    named: Callable[..., Any] | None = None
    holomorphic: bool = False

    def at(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Point:
        """The function of the chosen arguments alone, and their leaves."""
        named = self.named or self.function
        derivative = "Hessian" if self.transform.startswith("hessian") else "Jacobian"
        positions, primals, structure = choose(named, self.argnums, args, self.transform, derivative)
        if self.holomorphic:
            require_complex(named, positions, args, self.transform)
        return _Point(self, with_arguments(self.function, args, kwargs, positions), positions, primals, structure)


@attrs.frozen(eq=False)
class _Point:
    """Where the derivative is taken: a function of the chosen arguments alone, and the leaves of their tuple."""

    call: _Call
    function: Callable[..., Any]
    positions: list[int]
    primals: list[Any]
    structure: Structure

    @property
    def avals(self) -> list[ShapeDtype]:
        """The shapes and dtypes of the leaves."""
        return [shape_dtype_of(primal) for primal in self.primals]

    @property
    def argument_structure(self) -> Structure:
        """The structure that each output's derivative has."""
        return self.structure.children[0] if isinstance(self.call.argnums, INTEGERS) else self.structure

    def path(self, place: int) -> str:
        """The name of the parameter that a leaf belongs to and its path there."""
        named = self.call.named or self.call.function
        paths = [
            parameter_name(named, position) + path
            for position, child in zip(self.positions, self.structure.children, strict=True)
            for path in leaf_paths(child)
        ]
        return paths[place]

    def result(self, blocks: list[list[Any]], out_structure: Structure, aux: Any) -> Any:
        """The tree of trees, given for each leaf of the output its derivatives by the leaves of the argument."""
        inner = self.argument_structure
        tree = unflatten(out_structure, [unflatten(inner, row) for row in blocks])
        return (tree, aux) if self.call.has_aux else tree


def _reverse(call: _Call) -> Callable[..., Any]:
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        point = call.at(args, kwargs)
        pullback, aux = _run_on_tape(point)
        return _pull_rows(point, pullback, aux)

    return jacobian_of


def _forward(call: _Call) -> Callable[..., Any]:
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        return _push_columns(call.at(args, kwargs))

    return jacobian_of


def _cheaper(call: _Call) -> Callable[..., Any]:
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        point = call.at(args, kwargs)
        # Keys that the function consumes in both runs are consumed once.
        with alternatives() as one_of:
            with one_of():
                pullback, aux = _run_on_tape(point)
            if is_reverse(pullback, point):
                return _pull_rows(point, pullback, aux)
            with one_of():
                return _push_columns(point)

    def is_reverse(pullback: Pullback, point: _Point) -> bool:
        outs, ins = [aval for aval in pullback.ends.out_avals if aval is not None], point.avals
        fewer_outputs = sum(aval.size for aval in outs) <= sum(aval.size for aval in ins)
        complex_input = any(aval.dtype.kind == "c" for aval in ins)
        complex_output = any(aval.dtype.kind == "c" for aval in outs)
        if call.holomorphic:
            return fewer_outputs
        return complex_input or (fewer_outputs and not complex_output)

    return jacobian_of


def _run_on_tape(point: _Point) -> tuple[Pullback, Any]:
    call = point.call
    out, pullback, aux = run_on_tape(
        point.function, point.primals, point.structure, has_aux=call.has_aux, transform=call.transform
    )
    for position, (leaf, aval) in enumerate(zip(flatten(out)[0], pullback.ends.out_avals, strict=True)):
        if aval is None:
            _refuse_output(call.transform, pullback.ends.out_structure, position, leaf)
    return pullback, aux


def _refuse_output(transform: str, structure: Structure, position: int, leaf: Any) -> None:
    path = leaf_paths(structure)[position]
    kind = "a random key" if isinstance(leaf, Key) else describe(leaf)
    message = (
        f"{transform} needs a function that returns floating-point numbers; its result{path} is {kind}, whose "
        f"derivative is zero or undefined everywhere. What is extra beside the result is returned with has_aux=True"
    )
    raise NotDifferentiableError(at_user_line(message))


def _require_complex_results(call: _Call, structure: Structure, outs: list[ShapeDtype]) -> None:
    for place, aval in enumerate(outs):
        if aval.dtype.kind != "c":
            message = (
                f"{call.transform} with holomorphic=True needs a function of complex results; its result"
                f"{leaf_paths(structure)[place]} is {aval}. A function from complex to real numbers is not holomorphic"
            )
            raise NotDifferentiableError(at_user_line(message))


def _pull_rows(point: _Point, pullback: Pullback, aux: Any) -> Any:
    call, ins, outs = point.call, point.avals, [aval for aval in pullback.ends.out_avals if aval is not None]
    if call.holomorphic:
        _require_complex_results(call, pullback.ends.out_structure, outs)
    for place, aval in enumerate(outs):
        if aval.dtype.kind == "c" and not call.holomorphic:
            path = leaf_paths(pullback.ends.out_structure)[place]
            message = (
                f"{call.transform} needs a function of real results; its result{path} is {aval}. Take fg.real(...) and "
                f"fg.imag(...) of it, write holomorphic=True if the function is holomorphic, or use fg.jacfwd, by real "
                f"arguments, which gives complex derivatives"
            )
            raise NotDifferentiableError(at_user_line(message))
    rows = _over_basis(pullback.pull, outs, call.chunk_size)
    spans = _spans(outs)
    blocks = [
        [_block(_part(row, span, spans), out, into) for row, into in zip(rows, ins, strict=True)]
        for out, span in zip(outs, spans, strict=True)
    ]
    return point.result(blocks, pullback.ends.out_structure, aux)


def _push_columns(point: _Point) -> Any:
    call, ins = point.call, point.avals
    for place, aval in enumerate(ins):
        if aval.dtype.kind == "c" and not call.holomorphic:
            message = (
                f"{call.transform} differentiates by real arguments; {point.path(place)} is {aval}. Use fg.jacrev, "
                f"which gives the gradient of each real result, write holomorphic=True if the function is holomorphic, "
                f"or pass the real and the imaginary part"
            )
            raise NotDifferentiableError(at_user_line(message))
    found: dict[str, Any] = {}

    def push(tangents: list[Any]) -> list[Any]:
        trace = open_dual(call.transform)
        out, found["aux"] = call_on_duals(
            trace, point.function, point.primals, point.structure, tangents, has_aux=call.has_aux
        )
        leaves, found["structure"] = flatten(out)
        for place, leaf in enumerate(leaves):
            if not is_inexact_value(leaf):
                _refuse_output(call.transform, found["structure"], place, leaf)
        found["avals"] = [shape_dtype_of(leaf) for leaf in leaves]
        return [tangent_or_zeros(trace, leaf) for leaf in leaves]

    columns = _over_basis(push, ins, call.chunk_size)
    if call.holomorphic:
        _require_complex_results(call, found["structure"], found["avals"])
    spans = _spans(ins)
    blocks = [
        [_block(_rows_last(_part(column, span, spans), out), out, into) for into, span in zip(ins, spans, strict=True)]
        for column, out in zip(columns, found["avals"], strict=True)
    ]
    return point.result(blocks, found["structure"], found["aux"])


def _over_basis(
    linear_map: Callable[[list[Any]], list[Any]], avals: list[ShapeDtype], chunk_size: int | None
) -> list[Any]:
    """A linear map, on lists of leaves of these types, of each vector of the standard basis, stacked along axis 0.

    Of a space of one dimension the only result is given as it is.
    """
    total = sum(aval.size for aval in avals)
    if total == 0:
        return [adopt(np.zeros((0, *leaf.shape), leaf.dtype)) for leaf in linear_map([None] * len(avals))]
    if total == 1 and len(avals) == 1:
        return linear_map([adopt(np.ones(avals[0].shape, avals[0].dtype))])
    size = total if chunk_size is None else chunk_size
    chunks = []
    # Keys that a function consumes anew for each chunk are consumed once.
    with alternatives() as one_of:
        for first in range(0, total, size):
            with one_of():
                chunks.append(_over_rows(linear_map, avals, first, min(first + size, total)))
    return chunks[0] if len(chunks) == 1 else [concatenate(parts) for parts in zip(*chunks, strict=True)]


def _over_rows(
    linear_map: Callable[[list[Any]], list[Any]], avals: list[ShapeDtype], first: int, last: int
) -> list[Any]:
    basis = [_basis_rows(aval, span, first, last) for aval, span in zip(avals, _spans(avals), strict=True)]
    count = last - first
    if count == 1:
        single = [None if rows is None else reshape_to(rows, rows.shape[1:]) for rows in basis]
        return [reshape_to(leaf, (1, *leaf.shape)) for leaf in linear_map(single)]
    trace = open_batch(count)
    try:
        results = linear_map([None if rows is None else trace.new_input(rows) for rows in basis])
    finally:
        trace.closed = True
    return [_leave(trace, leaf) for leaf in results]


def _leave(trace: BatchTrace, value: Any) -> Any:
    own = isinstance(value, BatchTracer) and value._trace is trace
    return value.batch if own else repeat_over_examples(value, trace.size)


def _spans(avals: list[ShapeDtype]) -> list[tuple[int, int]]:
    # Where each leaf's elements begin and end among those of all.
    return list(itertools.pairwise([0, *itertools.accumulate([aval.size for aval in avals])]))


def _basis_rows(aval: ShapeDtype, span: tuple[int, int], first: int, last: int) -> Tensor | None:
    # This leaf's part of the rows first to last of the identity matrix of all leaves; None where it is zero.
    low, high = max(span[0], first), min(span[1], last)
    if low >= high:
        return None
    rows = np.zeros((last - first, aval.size), aval.dtype)
    rows[np.arange(low - first, high - first), np.arange(low - span[0], high - span[0])] = 1
    return adopt(rows.reshape(last - first, *aval.shape))


def _part(stacked: Any, span: tuple[int, int], spans: list[tuple[int, int]]) -> Any:
    return stacked if len(spans) == 1 else getitem(stacked, slice(*span))


def _rows_last(columns: Any, out: ShapeDtype) -> Any:
    rank = len(columns.shape)
    return columns if rank in (1, len(out.shape)) else permute_dims(columns, (*range(1, rank), 0))


def _block(part: Any, out: ShapeDtype, into: ShapeDtype) -> Any:
    # The derivatives of one leaf by another: rows are the output's elements, and the rest is the argument's.
    shape = (*out.shape, *into.shape)
    block = part if part.shape == shape else reshape_to(part, shape)
    dtype = np.result_type(out.dtype, into.dtype)
    return block if block.dtype == dtype else convert(block, dtype)
