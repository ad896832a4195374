"""NumPy's functions on tensors: the whole operation table through numpy, every keyword, and ndarray's methods."""

from __future__ import annotations

import inspect
import io
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operation_checks import assert_close, assert_equal_bits, is_inexact, pull_back_ones, quietly, share_of_examples
from operation_table import ROWS

import fgrad as fg
from fgrad.core.bind import Tracer
from fgrad.core.late import load_late_modules
from fgrad.core.numpy_calls import WITHOUT_MEANING, plan_call
from fgrad.core.protocols import FUNCTION_COUNTERPARTS, UFUNC_COUNTERPARTS
from fgrad.errors import DtypeError, ImmutableError, ShapeError, TracerConversionError

load_late_modules()

X = np.array([[0.5, -0.25, 0.75], [0.1, 0.9, -0.6]])
T = fg.asarray(X)


def while_tracing(action, x=X):
    results = []
    fg.grad(lambda t: (results.append(action(t)), fg.sum(t))[1])(x)
    return results[0]


# The table through NumPy.

# NumPy calls these only for `like=`.
BY_LIKE = {
    *(np.arange, np.array, np.asanyarray, np.asarray, np.ascontiguousarray),
    *(np.empty, np.eye, np.full, np.identity, np.ones, np.zeros),
}
PAIRS = [
    (row, numpy_function)
    for row in ROWS
    for numpy_function in {
        *[f for f, g in {**FUNCTION_COUNTERPARTS, **UFUNC_COUNTERPARTS}.items() if g is row.function],
        *([row.counterpart] if row.counterpart is not None else []),
    }
    if numpy_function not in BY_LIKE
]
PAIRS.sort(key=lambda pair: (pair[0].name, pair[1].__name__))


def parameters_of(numpy_function):
    try:
        return inspect.signature(numpy_function).parameters
    except ValueError:
        return {}


def taken_by(numpy_function, call):
    """Whether NumPy's function has the call's keywords; fgrad's may have more."""
    if isinstance(numpy_function, np.ufunc):
        return not call.kwargs
    if not parameters_of(numpy_function):
        return not call.kwargs
    try:
        inspect.signature(numpy_function).bind(*call.args, **call.kwargs)
    except TypeError:
        return False
    return True


# NumPy's signature gives their argument a name, and its dispatcher takes it by position alone.
POSITIONAL = {"unique_all", "unique_counts", "unique_inverse", "unique_values", "reshape"}


def by_name(numpy_function):
    """The function, called with NumPy's names for its arguments wherever it takes them by name."""
    named_alone = isinstance(numpy_function, np.ufunc) or numpy_function.__name__ in POSITIONAL
    parameters = [] if named_alone else list(parameters_of(numpy_function).values())

    def call_by_name(*args, **kwargs):
        named = {}
        while len(args) <= len(parameters) and args:
            last = parameters[len(args) - 1]
            if last.kind is not last.POSITIONAL_OR_KEYWORD or last.name in kwargs:
                break
            named[last.name] = args[-1]
            args = args[:-1]
        return numpy_function(*args, **named, **kwargs)

    return call_by_name


@pytest.mark.parametrize(("row", "numpy_function"), PAIRS, ids=[f"{row.name}-{f.__name__}" for row, f in PAIRS])
@share_of_examples(2 / 15)
@given(data=st.data())
def test_the_table_through_numpy(row, numpy_function, data):
    call = data.draw(row.calls)
    if not call.operands or not taken_by(numpy_function, call):
        return
    expected = quietly(call.on_tensors, row.function)
    found = quietly(call.on_tensors, numpy_function)
    assert_equal_bits(found, expected)
    assert list(map(type, fg.tree.leaves(found))) == list(map(type, fg.tree.leaves(expected)))
    assert_equal_bits(quietly(call.on_tensors, by_name(numpy_function)), expected)
    if row.smooth is None or not row.staged:
        return
    smooth = data.draw(row.smooth)
    if not taken_by(numpy_function, smooth) or not smooth.operands or not all(map(is_inexact, smooth.operands)):
        return
    by_numpy = quietly(pull_back_ones(lambda *xs: smooth.apply(numpy_function, list(xs))), *smooth.operands)
    own = quietly(pull_back_ones(lambda *xs: smooth.apply(row.function, list(xs))), *smooth.operands)
    assert_close(by_numpy, own, {})


def test_the_table_reaches_numpy():
    assert len({f for _, f in PAIRS}) > 150


# Keyword arguments.

# Options of NumPy's functions that no counterpart has, and why; a call with one raises and names it.
REFUSED = {
    "array(ndmin=)": "met only with like=; new axes are x[None]",
    "array(ndmax=)": "met only with like=",
}


def test_every_option_of_numpy_is_known_or_refused_by_name():
    unknown = []
    for numpy_function, counterpart in FUNCTION_COUNTERPARTS.items():
        plan = plan_call(numpy_function, counterpart)
        if plan.signature is None:
            continue
        for name, one in plan.signature.parameters.items():
            variadic = one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
            if not variadic and name not in plan.places and name != "out" and name not in WITHOUT_MEANING:
                unknown.append(f"{numpy_function.__name__}({name}=)")
    assert set(unknown) <= set(REFUSED)


OPTIONS = [
    lambda x: np.sum(a=x, axis=1, keepdims=True),
    lambda x: np.sum(x, 0, None, None, True),
    lambda x: np.sum(x, initial=2.0, where=X > 0),
    lambda x: np.mean(x, 0, "f4", None, True),
    lambda x: np.var(x, 0, None, None, 1, True),
    lambda x: np.std(x, axis=1, mean=np.mean(X, axis=1, keepdims=True)),
    lambda x: np.var(x, correction=1),
    lambda x: np.max(x, 0, None, True),
    lambda x: np.argmax(a=x, axis=1, keepdims=True),
    lambda x: np.take(a=x, indices=[1, 9], axis=1, mode="clip"),
    lambda x: np.take(x, [-1, 7], 1, None, "wrap"),
    lambda x: np.reshape(x, (3, 2), order="F"),
    lambda x: np.reshape(x, shape=(3, 2), copy=True) if hasattr(np, "unstack") else np.reshape(x, (3, 2)),
    lambda x: np.ravel(x, order="F"),
    lambda x: np.ravel(x, "C"),
    lambda x: np.zeros_like(x, order="F", subok=False),
    lambda x: np.ones_like(x, "i4", "K", True, (2, 2)),
    lambda x: np.full_like(x, 3, dtype="f4", shape=4),
    lambda x: np.clip(x, 0, 0.5, None),
    lambda x: np.clip(a=x, a_min=-0.1, a_max=None),
    lambda x: np.clip(x, min=-0.1, max=0.2),
    lambda x: np.isclose(x, x + 0.1, 0.1, 0.1, True),
    lambda x: np.round(a=x, decimals=1),
    lambda x: np.around(x, 1),
    lambda x: np.broadcast_to(array=x, shape=(4, 2, 3), subok=True),
    lambda x: np.concatenate([x, x], axis=None, dtype="f4", casting="same_kind"),
    lambda x: np.stack(arrays=[x, x], axis=1, dtype="f4"),
    lambda x: np.hstack([x, x], dtype="f4"),
    lambda x: np.vstack([x, x], dtype="i4", casting="unsafe"),
    lambda x: np.einsum("ij->j", x, optimize=True),
    lambda x: np.einsum(x, [0, 1], x, [0, 1], [0]),
    lambda x: np.tensordot(x, X, axes=((1,), (1,))),
    lambda x: np.roll(x, (1, 2), axis=(0, 1)),
    lambda x: np.repeat(x, [1, 0, 2], axis=1),
    lambda x: np.atleast_2d(x, x[0])[1],
    lambda x: np.trace(x, offset=1, dtype="f4"),
    lambda x: np.add(x, X, dtype="f4"),
    lambda x: np.equal(x, 0.5, dtype=bool),
    lambda x: np.add(x, X, dtype="i4", casting="unsafe"),
    lambda x: np.sqrt(x + 1, where=True, order="K", subok=True),
    lambda x: np.add.reduce(x, 1, None, None, True),
    np.add.accumulate,
    lambda x: np.multiply.outer(x, x[0]),
    lambda x: np.linspace(x[0], 2.0, num=4),
    np.copy,
    *[
        lambda x, mode=mode, options=options: np.pad(array=x, pad_width=((1, 0), (2, 5)), mode=mode, **options)
        for mode, options in [
            ("constant", {"constant_values": ((1, 2), (3, 4))}),
            ("edge", {}),
            ("linear_ramp", {"end_values": (5, -4)}),
            ("maximum", {"stat_length": 2}),
            ("mean", {"stat_length": (1, 2)}),
            ("median", {}),
            ("minimum", {}),
            ("reflect", {}),
            ("reflect", {"reflect_type": "odd"}),
            ("symmetric", {"reflect_type": "odd"}),
            ("symmetric", {"reflect_type": "even"}),
            ("wrap", {}),
        ]
    ],
]


@pytest.mark.parametrize("function", OPTIONS, ids=map(str, range(len(OPTIONS))))
def test_options_mean_what_numpy_means(function):
    expected, found = function(X), function(T)
    assert isinstance(found, fg.Tensor)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-6 if found.dtype == "f4" else 1e-13, atol=1e-15)
    if found.dtype.kind == "f" and not isinstance(found, Tracer):
        assert isinstance(while_tracing(function), fg.Tensor)


PADDINGS = [
    ("linear_ramp", {"end_values": (120, 2.7)}),
    ("median", {"stat_length": 2}),
    ("mean", {"stat_length": 2}),
    ("reflect", {"reflect_type": "odd"}),
]


@pytest.mark.parametrize(
    ("padding", "dtype"),
    [
        *itertools.product(PADDINGS, ["uint8", "int8", "int32", "float32", "float64", "complex64"]),
        *[(padding, "bool") for padding in PADDINGS if padding[0] != "reflect"],  # booleans cannot be subtracted
    ],
)
def test_traced_padding_gives_the_bits_of_numpy(padding, dtype):
    mode, options = padding
    x = np.array([0, 100, 3, 7]).astype(dtype)
    pad = lambda x: fg.pad(x, (5, 9), mode, **options)
    np.testing.assert_array_equal(fg.make_graph(pad)(x)(x), np.pad(x, (5, 9), mode, **options), strict=True)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32"])
@pytest.mark.parametrize("mode", ["mean", "median", "linear_ramp", "maximum"])
def test_padding_rounds_as_numpy_does(mode, dtype):
    x = np.array([[7, 2, 5, 9], [1, 8, 3, 3]], dtype)
    found = np.pad(fg.asarray(x), 3, mode)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.pad(x, 3, mode))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: np.sum(t, out=np.zeros(())), ImmutableError, r"np\.sum\(out=\.\.\.\)"),
        (lambda t: np.sum(t, None, None, np.zeros(())), ImmutableError, r"np\.sum\(out=\.\.\.\)"),
        (lambda t: np.zeros_like(t, device="gpu"), (ValueError, TypeError), "gpu"),
        (lambda t: np.clip(t, 0, 1, casting="no"), TracerConversionError, r"np\.clip with casting="),
        (lambda t: np.matmul(t, t, axes=[1, 2, 3]), TracerConversionError, r"np\.matmul with axes="),
        (lambda t: np.maximum.reduce(t, dtype="f4"), TracerConversionError, r"np\.maximum\.reduce with dtype="),
        (lambda t: np.add(t, t, dtype="i4"), TypeError, "Cannot cast"),
        (lambda t: np.concatenate([t, t], dtype="i4"), TypeError, "casting='same_kind'"),
        (lambda t: np.pad(t, 1, "edge", constant_values=1), ValueError, "'edge' has no option constant_values"),
        (lambda t: np.reshape(t, (3, 2), order="B"), ValueError, r"\[reshape\] order"),
    ],
)
def test_what_is_refused_names_the_option(call, error, message):
    with pytest.raises(error, match=message):
        call(T)


# Facts, conversions and mutators.


def test_numpy_functions_that_return_facts():
    assert np.shape(T) == (2, 3)
    assert (np.ndim(T), np.size(T), np.size(T, 1)) == (2, 6, 3)
    assert (np.size(T, (0, -1)), np.size(T, axis=())) == (6, 1)
    with pytest.raises(ShapeError, match=r"\[size\] axis \(0, 0\) names an axis twice"):
        np.size(T, (0, 0))
    assert (np.iscomplexobj(T), np.isrealobj(T)) == (False, True)
    assert np.result_type(T, np.float32) == np.float64
    assert np.can_cast(np.float32, T.dtype)
    assert np.min_scalar_type(T) == np.float64
    assert np.min_scalar_type(fg.asarray(3)) == np.uint8
    assert np.common_type(T, fg.asarray([1], "float32")) is np.float64
    assert np.may_share_memory(T, T)
    assert not np.shares_memory(T, T + 0)
    assert np.array_equal(T, X)
    assert np.array_equiv(T, fg.stack([T, T]))
    assert not np.array_equiv(T, X[:, :2])
    assert np.array2string(T[0]) == np.array2string(X[0])
    assert np.array_str(T) == np.array_str(X)
    assert np.array_repr(T, precision=2) == np.array_repr(X, precision=2)
    assert np.copy(T) is T
    assert type(np.asanyarray(T)) is np.ndarray
    assert isinstance(np.zeros(2, like=T), fg.Tensor)
    assert isinstance(np.asarray([1.0, 2.0], like=T), fg.Tensor)
    np.testing.assert_allclose(T, T)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        np.testing.assert_allclose(T, T + 1)


SAVERS = {
    "save": np.save,
    "savez": lambda file, t: np.savez(file, a=t),
    "savetxt": np.savetxt,
}


@pytest.mark.parametrize("name", SAVERS)
def test_saving_works_on_values_and_refuses_tracers(name):
    file = io.BytesIO()
    SAVERS[name](file, T)
    file.seek(0)
    loaded = np.loadtxt(file) if name == "savetxt" else np.load(file)
    np.testing.assert_array_equal(loaded["a"] if name == "savez" else loaded, X)
    with pytest.raises(TracerConversionError, match=rf"np\.{name}.*fg\.stop_gradient"):
        while_tracing(lambda t: SAVERS[name](io.BytesIO(), t))


@pytest.mark.parametrize(
    "mutate",
    [
        lambda t: np.copyto(t, 1.0),
        lambda t: np.put(t, [0], 1.0),
        lambda t: np.place(t, t > 0, 1.0),
        lambda t: np.fill_diagonal(t, 1.0),
        lambda t: np.put_along_axis(t, np.zeros((2, 1), int), 1.0, 1),
        lambda t: np.putmask(t, t > 0, 1.0),
        lambda t: np.add.at(t, [0], 1.0),
    ],
)
@pytest.mark.parametrize("concrete", [True, False])
def test_numpy_functions_that_change_an_array_name_the_alternative(mutate, concrete):
    with pytest.raises(ImmutableError, match=r"\.at\["):
        mutate(T) if concrete else while_tracing(mutate)


def writes_into_out(function):
    if isinstance(function, np.ufunc):
        return True
    try:
        return "out" in inspect.signature(function).parameters
    except ValueError:
        return False  # written in C, before NumPy 2.4


WITH_OUT = {
    counterpart
    for function, counterpart in [*UFUNC_COUNTERPARTS.items(), *FUNCTION_COUNTERPARTS.items()]
    if writes_into_out(function)
}


@pytest.mark.parametrize(
    "function", sorted(WITH_OUT, key=lambda f: (f.__module__, f.__name__)), ids=lambda f: f.__name__
)
def test_functions_that_write_into_out_in_numpy_name_the_alternative(function):
    parameters = inspect.signature(function).parameters.values()
    operands = [T for one in parameters if one.default is one.empty and one.kind is not one.VAR_POSITIONAL]
    with pytest.raises(ImmutableError, match=rf"fg\..*{function.__name__}\(out=.*use the result that it returns"):
        function(*operands, out=np.empty(3))


# Methods.

# Methods of ndarray that a Tensor does not have: they change bytes, write files or belong to ndarray's own machinery.
NOT_METHODS = {"byteswap", "choose", "dump", "dumps", "getfield", "setfield", "tofile"}


def test_every_method_of_ndarray_is_there_or_refused():
    methods = {name for name in dir(np.ndarray) if name[0] != "_" and callable(getattr(np.ndarray, name))}
    methods -= {"newbyteorder", "ptp", "itemset", "tostring"}  # those that NumPy 2 has taken out
    assert {name for name in methods if not hasattr(T, name)} == NOT_METHODS & methods, sorted(methods)


@pytest.mark.parametrize(
    "action",
    [
        lambda x: x.sum(0, None, None, True),
        lambda x: x.sum(initial=2.0, where=X > 0),
        lambda x: x.prod(axis=1, initial=2.0),
        lambda x: x.mean(axis=0, where=X > -0.3),
        lambda x: x.var(0, None, None, 1, True),
        lambda x: x.std(axis=1, mean=np.mean(X, 1, keepdims=True)),
        lambda x: x.max(0, None, True),
        lambda x: x.min(axis=0, initial=0.0, where=X > 0),
        lambda x: x.any(axis=0, where=X > 0),
        lambda x: x.all(axis=0, keepdims=True),
        lambda x: x.take([0, 5], 1, mode="clip"),
        lambda x: x.reshape(3, 2, order="F"),
        lambda x: x.ravel("F"),
        lambda x: x.flatten(order="F"),
        lambda x: x.trace(0, 0, 1, "f4"),
        lambda x: x.cumprod(1),
        lambda x: x.searchsorted(0.3) if x.ndim == 1 else x[0][:1].searchsorted([0.3, 0.7], side="right"),
        lambda x: x.nonzero()[1],
    ],
)
def test_methods_take_numpys_arguments(action):
    expected = np.asarray(action(X))
    found = action(T)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-6 if found.dtype == "f4" else 1e-14)


@pytest.mark.parametrize("name", ["sort", "partition", "fill", "put", "resize", "setflags", "view"])
def test_methods_that_would_change_the_tensor_name_the_alternative(name):
    with pytest.raises(ImmutableError, match=rf"x\.{name}\(\) changes an array in place; use"):
        getattr(T, name)(0)


@pytest.mark.parametrize(
    "name", ["sum", "prod", "mean", "var", "std", "max", "min", "argmax", "any", "cumsum", "round"]
)
def test_methods_refuse_out(name):
    with pytest.raises(ImmutableError, match=rf"x\.{name}\(out=\.\.\.\)"):
        getattr(T, name)(out=np.zeros(()))


def test_bytes_of_a_tensor():
    assert T.tobytes() == X.tobytes()
    assert T.tobytes("F") == X.tobytes("F")
    with pytest.raises(TracerConversionError, match="tobytes"):
        while_tracing(lambda t: t.tobytes())


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.add(x, x, casting="same_kind"),
        lambda x: np.add(x, 1, dtype=None),
        lambda x: np.sin(x, casting="unsafe"),
        lambda x: np.add(x, 1.7, dtype=int, casting="unsafe"),
        lambda x: np.power(x, 2.7, dtype=np.int64, casting="unsafe"),
        lambda x: np.multiply(x, 2, dtype="f4"),
    ],
)
def test_options_that_choose_the_loop_of_a_ufunc(call):
    array = np.array([1.25, 2.5])
    found, expected = call(fg.asarray(array)), call(array)
    assert (type(found), found.dtype) == (type(fg.ones(1)), expected.dtype)
    np.testing.assert_array_equal(found, expected)


def test_no_gradient_is_lost_through_a_dtype_of_objects():
    with pytest.raises(DtypeError, match="not dtype object"):
        fg.grad(lambda x: fg.sum(np.multiply(x, x, dtype=object)))(fg.ones(2))


def test_parameters_that_only_numpy_has_are_unknown_traced_or_not():
    for call in (lambda x: fg.tile(A=x, reps=2), lambda x: fg.ptp(x, None, None)):
        with pytest.raises(TypeError, match="argument"):
            call(fg.ones(2))
        with pytest.raises(TypeError, match="argument"):
            while_tracing(call)


def test_tolerances_may_be_arrays_or_traced():
    x, y = np.array([1.0, 2.0]), np.array([1.0, 2.1])
    np.testing.assert_array_equal(np.isclose(fg.asarray(x), y, rtol=[0.0, 0.1]), np.isclose(x, y, rtol=[0.0, 0.1]))
    assert fg.allclose(fg.asarray(x), y, rtol=fg.asarray(0.1))
    assert float(fg.grad(lambda w: fg.sum(1.0 * np.isclose(x, y, rtol=w)))(0.7)) == 0.0
    ranks = np.linalg.matrix_rank(fg.asarray(np.diag([1.0, 2.0, 3.0])), tol=[0.5, 1.5])
    np.testing.assert_array_equal(ranks, [3, 2])
