"""The Python array API standard 2024.12: the namespace, its inspection, dtypes and values, and the public suite."""

from __future__ import annotations

import inspect
import operator
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import DtypeError, ImmutableError, ShapeError

SUITE = os.environ.get("ARRAY_API_TESTS")
SKIPS = Path(__file__).parent / "array_api_skips.txt"

# The names of the standard by its table of contents, each with the keywords that its signature has.
ELEMENTWISE = """abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or
    bitwise_right_shift bitwise_xor ceil conj copysign cos cosh divide equal exp expm1 floor floor_divide greater
    greater_equal hypot imag isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not
    logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive pow real reciprocal remainder
    round sign signbit sin sinh square sqrt subtract tan tanh trunc"""
FUNCTIONS = {
    **dict.fromkeys(ELEMENTWISE.split(), ""),
    "clip": "min max",
    # Creation.
    "arange": "stop step dtype device",
    "asarray": "dtype device copy",
    "empty": "shape dtype device",
    "empty_like": "dtype device",
    "eye": "k dtype device",
    "from_dlpack": "device copy",
    "full": "shape fill_value dtype device",
    "full_like": "fill_value dtype device",
    "linspace": "num dtype device endpoint",
    "meshgrid": "indexing",
    "ones": "shape dtype device",
    "ones_like": "dtype device",
    "tril": "k",
    "triu": "k",
    "zeros": "shape dtype device",
    "zeros_like": "dtype device",
    # Data types.
    "astype": "copy device",
    "can_cast": "",
    "finfo": "",
    "iinfo": "",
    "isdtype": "dtype kind",
    "result_type": "",
    # Indexing, searching, sets, sorting.
    "take": "axis",
    "take_along_axis": "axis",
    "argmax": "axis keepdims",
    "argmin": "axis keepdims",
    "count_nonzero": "axis keepdims",
    "nonzero": "",
    "searchsorted": "side sorter",
    "where": "",
    "unique_all": "",
    "unique_counts": "",
    "unique_inverse": "",
    "unique_values": "",
    "argsort": "axis descending stable",
    "sort": "axis descending stable",
    # Linear algebra.
    "matmul": "",
    "matrix_transpose": "",
    "tensordot": "axes",
    "vecdot": "axis",
    # Manipulation.
    "broadcast_arrays": "",
    "broadcast_to": "shape",
    "concat": "axis",
    "expand_dims": "axis",
    "flip": "axis",
    "moveaxis": "",
    "permute_dims": "axes",
    "repeat": "axis",
    "reshape": "shape copy",
    "roll": "shift axis",
    "squeeze": "axis",
    "stack": "axis",
    "tile": "",
    "unstack": "axis",
    # Statistics and utilities.
    "cumulative_prod": "axis dtype include_initial",
    "cumulative_sum": "axis dtype include_initial",
    "max": "axis keepdims",
    "mean": "axis keepdims",
    "min": "axis keepdims",
    "prod": "axis dtype keepdims",
    "std": "axis correction keepdims",
    "sum": "axis dtype keepdims",
    "var": "axis correction keepdims",
    "all": "axis keepdims",
    "any": "axis keepdims",
    "diff": "axis n prepend append",
    # The linalg extension.
    "linalg.cholesky": "upper",
    "linalg.cross": "axis",
    "linalg.det": "",
    "linalg.diagonal": "offset",
    "linalg.eigh": "",
    "linalg.eigvalsh": "",
    "linalg.inv": "",
    "linalg.matmul": "",
    "linalg.matrix_norm": "keepdims ord",
    "linalg.matrix_power": "",
    "linalg.matrix_rank": "rtol",
    "linalg.matrix_transpose": "",
    "linalg.outer": "",
    "linalg.pinv": "rtol",
    "linalg.qr": "mode",
    "linalg.slogdet": "",
    "linalg.solve": "",
    "linalg.svd": "full_matrices",
    "linalg.svdvals": "",
    "linalg.tensordot": "axes",
    "linalg.trace": "offset dtype",
    "linalg.vecdot": "axis",
    "linalg.vector_norm": "axis keepdims ord",
    # The fft extension.
    **dict.fromkeys(["fft.fft", "fft.ifft", "fft.rfft", "fft.irfft", "fft.hfft", "fft.ihfft"], "n axis norm"),
    **dict.fromkeys(["fft.fftn", "fft.ifftn", "fft.rfftn", "fft.irfftn"], "s axes norm"),
    **dict.fromkeys(["fft.fftfreq", "fft.rfftfreq"], "d dtype device"),
    **dict.fromkeys(["fft.fftshift", "fft.ifftshift"], "axes"),
}
DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
ATTRIBUTES = ["dtype", "device", "mT", "ndim", "shape", "size", "T"]
METHODS = """__abs__ __add__ __and__ __array_namespace__ __bool__ __complex__ __dlpack__ __dlpack_device__ __eq__
    __float__ __floordiv__ __ge__ __getitem__ __gt__ __index__ __int__ __invert__ __le__ __lshift__ __lt__ __matmul__
    __mod__ __mul__ __ne__ __neg__ __or__ __pos__ __pow__ __rshift__ __setitem__ __sub__ __truediv__ __xor__
    __radd__ __rsub__ __rmul__ __rtruediv__ __rfloordiv__ __rmod__ __rpow__ __rmatmul__ __rand__ __ror__ __rxor__
    __rlshift__ __rrshift__ to_device"""


@pytest.mark.parametrize(("name", "keywords"), FUNCTIONS.items(), ids=list(FUNCTIONS))
def test_the_namespace_has_every_function_with_the_standards_keywords(name, keywords):
    function = operator.attrgetter(name)(fg)
    parameters = inspect.signature(function).parameters
    for keyword in keywords.split():
        assert parameters[keyword].kind in (
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        ), keyword


def test_the_namespace_has_every_constant_and_dtype():
    assert fg.e == np.e
    assert fg.pi == np.pi
    assert fg.inf == np.inf
    assert fg.nan != fg.nan
    assert fg.newaxis is None
    for name in DTYPES:
        dtype = getattr(fg, name)
        assert dtype == np.dtype(name)
        assert fg.zeros(1, dtype=dtype).dtype == dtype
    assert fg.float16 == np.dtype("float16")


def test_a_tensor_has_every_attribute_and_method():
    tensor = fg.ones((1, 1))
    for name in [*ATTRIBUTES, *METHODS.split()]:
        assert hasattr(tensor, name), name


def test_the_namespace_of_a_tensor_is_fgrad():
    tensor = fg.ones(2)
    assert tensor.__array_namespace__() is fg
    for version in ("2021.12", "2022.12", "2023.12", "2024.12"):
        assert tensor.__array_namespace__(api_version=version) is fg
    assert fg.__array_api_version__ == "2024.12"
    with pytest.raises(ShapeError, match=r"no version '1999\.01' .* 2024\.12"):
        tensor.__array_namespace__(api_version="1999.01")
    seen = []
    fg.grad(lambda x: seen.append(x.__array_namespace__()) or fg.sum(x))(tensor)
    assert seen == [fg]


# Inspection.


def test_inspection():
    info = fg.__array_namespace_info__()
    assert info.capabilities() == {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}
    assert info.default_device() == "cpu"
    assert info.devices() == ["cpu"]
    assert info.default_dtypes() == info.default_dtypes(device="cpu")
    assert info.default_dtypes()["real floating"] == fg.zeros(1).dtype
    assert info.default_dtypes()["integral"] == fg.asarray([1]).dtype
    assert info.default_dtypes()["complex floating"] == fg.asarray([1j]).dtype
    assert info.default_dtypes()["indexing"] == fg.argmax(fg.ones(2)).dtype
    assert info.dtypes() == {name: np.dtype(name) for name in DTYPES}
    assert list(info.dtypes(kind="real floating")) == ["float32", "float64"]
    assert list(info.dtypes(kind=("bool", "complex floating"))) == ["bool", "complex64", "complex128"]
    assert set(info.dtypes(kind="numeric")) == set(DTYPES) - {"bool"}
    assert len(info.dtypes(kind="integral", device="cpu")) == 8
    with pytest.raises(DtypeError, match="'whole' is not a kind of dtype"):
        info.dtypes(kind="whole")
    with pytest.raises(ShapeError, match="no 'gpu'"):
        info.dtypes(device="gpu")


def test_numpy_has_as_many_axes_as_inspection_says():
    most = fg.__array_namespace_info__().capabilities()["max dimensions"]
    assert fg.ones((1,) * most).ndim == most
    with pytest.raises(ValueError, match="dimension"):
        fg.ones((1,) * (most + 1))


# Dtypes.


def test_result_type_promotes_as_operations_do():
    for arguments in [
        (fg.float32, fg.int8),
        (fg.asarray([1], dtype="int8"), fg.uint8),
        (fg.asarray([1.0], dtype="float32"), 2.0),
        (fg.asarray([1], dtype="int16"), 2.0),
        (1, 2.0, 1j),
    ]:
        numpy_arguments = [np.asarray(value) if isinstance(value, fg.Tensor) else value for value in arguments]
        assert fg.result_type(*arguments) == np.result_type(*numpy_arguments)
        assert np.result_type(fg.ones(1, "float32"), 1.0) == np.float32
    with pytest.raises(DtypeError, match="result_type"):
        fg.result_type()
    with pytest.raises(DtypeError, match="result_type"):
        fg.result_type("no such dtype")


def test_result_type_knows_python_numbers_inside_a_transform():
    seen = []

    def f(x):
        seen.append(fg.result_type(x, fg.float32))
        return x * 2

    fg.grad(f)(3.0)
    assert seen == [np.float32]


def test_can_cast():
    assert fg.can_cast(fg.float32, fg.float64) is True
    assert fg.can_cast(fg.float64, fg.float32) is False
    assert fg.can_cast(fg.asarray([1]), fg.float64) is True
    assert np.can_cast(fg.asarray([1.5]), np.float32, "same_kind")


def test_isdtype():
    assert fg.isdtype(fg.bool, "bool")
    assert fg.isdtype(fg.ones(1).dtype, ("integral", fg.float64))
    assert not fg.isdtype(fg.float32, "complex floating")
    with pytest.raises(DtypeError, match="isdtype"):
        fg.isdtype(fg.float32, "whole")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
def test_finfo_has_python_numbers(dtype):
    info = fg.finfo(np.dtype(dtype))
    assert info == fg.finfo(fg.zeros(1, dtype))
    expected = np.finfo(dtype)
    for name in ("bits", "eps", "max", "min", "smallest_normal", "tiny", "epsneg", "smallest_subnormal", "resolution"):
        value = getattr(info, name)
        assert type(value) is (int if name == "bits" else float)
        assert value == getattr(expected, name)
    assert info.precision == expected.precision
    assert info.dtype == np.zeros(1, dtype).real.dtype


def test_iinfo():
    for dtype in ("int8", "uint64"):
        info = fg.iinfo(fg.zeros(1, dtype))
        expected = np.iinfo(dtype)
        for name in ("bits", "max", "min", "dtype"):
            assert getattr(info, name) == getattr(expected, name)
    with pytest.raises(DtypeError, match=r"integer dtypes, not of float64; fg\.finfo"):
        fg.iinfo(1.0)
    with pytest.raises(DtypeError, match=r"floating-point dtypes, not of int64; fg\.iinfo"):
        fg.finfo(np.int64)


# Devices and copies.

CREATION = {
    "arange": (3,),
    "asarray": ([1.0],),
    "empty": (2,),
    "empty_like": (fg.ones(2),),
    "eye": (2,),
    "from_dlpack": (np.ones(2),),
    "full": (2, 1.5),
    "full_like": (fg.ones(2), 1.5),
    "linspace": (0.0, 1.0, 3),
    "ones": (2,),
    "ones_like": (fg.ones(2),),
    "zeros": (2,),
    "zeros_like": (fg.ones(2),),
    "astype": (fg.ones(2), fg.float32),
}


@pytest.mark.parametrize("name", CREATION)
def test_there_is_one_device(name):
    function = getattr(fg, name)
    result = function(*CREATION[name], device="cpu")
    assert result.device == "cpu"
    assert fg.array_equal(result, function(*CREATION[name]))
    with pytest.raises(ShapeError, match="one device, 'cpu', and no 'cuda:0'"):
        function(*CREATION[name], device="cuda:0")


def test_to_device():
    tensor = fg.ones(2)
    assert tensor.to_device("cpu") is tensor
    with pytest.raises(ShapeError, match="one device, 'cpu'"):
        tensor.to_device("cuda:0")
    with pytest.raises(ShapeError, match="without streams"):
        tensor.to_device("cpu", stream=1)


def test_a_tensor_inside_a_transform_has_its_device():
    assert fg.grad(lambda x: fg.sum(x.to_device(x.device) ** 2))(3.0).item() == 6.0


# What immutability rules out.


@pytest.mark.parametrize(
    ("change", "way_out"),
    [
        (lambda x: operator.setitem(x, 0, 1.0), r"x = x\.at\[i\]\.set\(v\)"),
        (lambda x: operator.delitem(x, 0), r"x\[mask\]"),
        (lambda x: x.fill(0.0), r"fg\.full_like\("),
        (lambda x: x.put(0, 1.0), r"\.at\["),
        (lambda x: x.sort(), r"fg\.sort\(x\)"),
        (lambda x: x.partition(1), r"fg\.partition\(x"),
        (lambda x: x.resize((1, 2)), r"x\.reshape\("),
        (lambda x: x.setflags(write=True), r"x\.numpy\(\)\.copy\(\)"),
        (lambda x: operator.iadd(np.ones(2), x), r"a = a \+ t"),
        (lambda x: np.add(x, x, out=np.ones(2)), r"a = a \+ t"),
        (lambda x: np.sum(x, out=np.ones(())), "use the result"),
    ],
)
def test_what_would_change_a_value_names_the_alternative(change, way_out):
    x = fg.asarray([1.0, 2.0])
    with pytest.raises(TypeError, match=way_out) as caught:
        change(x)
    assert isinstance(caught.value, ImmutableError)
    assert np.asarray(x).tolist() == [1.0, 2.0]


def test_in_place_operators_rebind_the_name():
    x = before = fg.asarray([1.0, 2.0])
    x += 1
    x *= 3
    assert np.asarray(x).tolist() == [6.0, 9.0]
    assert np.asarray(before).tolist() == [1.0, 2.0]


def test_a_boolean_scalar_selects_all_or_nothing():
    x = fg.ones((2, 3))
    for mask in (True, np.True_, fg.asarray(True)):
        assert x[mask].shape == (1, 2, 3)
    for mask in (False, np.False_, fg.asarray(False)):
        assert x[mask].shape == (0, 2, 3)
        assert fg.asarray(1.0)[mask].shape == (0,)
    assert np.asarray(fg.grad(lambda x: fg.sum(x[True] * 2))(fg.ones(2))).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("shape", [(), (3,), (0, 2)])
@pytest.mark.parametrize("mask", [True, np.False_])
@pytest.mark.parametrize("name", ["set", "add", "multiply", "min", "max"])
def test_updates_at_a_boolean_scalar_take_what_it_selects(shape, mask, name):
    x = np.arange(6.0)[: int(np.prod(shape))].reshape(shape)
    t = fg.asarray(x)
    for values in (5.0, x[mask] + 5.0):
        expected = x.copy()
        if name == "set":
            expected[mask] = values
        else:
            getattr(np, {"min": "minimum", "max": "maximum"}.get(name, name)).at(expected, mask, values)
        update = lambda t, values=values: getattr(t.at[mask], name)(values)
        for found in (update(t), fg.make_graph(update)(t)(t)):
            np.testing.assert_array_equal(found, expected, strict=True)
    assert repr(t.at[mask]) == f"<updates of a tensor of shape {shape}>"


def test_a_mask_of_length_0_selects_nothing():
    x = np.ones((2, 3))
    for shape in [(0,), (0, 3), (2, 0)]:
        mask = np.zeros(shape, bool)
        assert fg.asarray(x)[mask].shape == x[mask].shape
    with pytest.raises(IndexError, match="needs the lengths"):
        fg.asarray(x)[np.zeros((2, 3, 0), bool)]
    with pytest.raises(IndexError, match="needs the lengths"):
        fg.asarray(x)[np.zeros((1, 3), bool)]


# Special values where NumPy has others.

INFINITY = float("inf")


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (INFINITY, 2.0, INFINITY),
        (INFINITY, -2.0, -INFINITY),
        (-INFINITY, 2.0, -INFINITY),
        (-INFINITY, -2.0, INFINITY),
        (1.0, -INFINITY, -0.0),
        (-1.0, INFINITY, -0.0),
        (1.0, INFINITY, 0.0),
        (-1.0, -INFINITY, 0.0),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floor_divide_by_and_of_infinity(x, y, expected, dtype):
    left, right = fg.asarray([x, 7.0], dtype), fg.asarray([y, 2.0], dtype)
    for result in (fg.floor_divide(left, right), left // right, fg.floor_divide(left, fg.asarray([y], dtype))[:1]):
        assert result.dtype == dtype
        assert result[0].item() == expected
        assert np.signbit(np.asarray(result)[0]) == np.signbit(expected)
    assert (left // right)[1].item() == 3.0
    assert (left[:1] // y).dtype == dtype
    assert (left[:1] // y).item() == expected
    assert (x // right[:1]).dtype == dtype
    assert fg.asarray(x, dtype) // y == expected


def test_floor_divide_of_two_infinities_is_nan():
    with np.errstate(invalid="ignore"):
        assert np.isnan((fg.asarray([INFINITY]) // INFINITY).item())


def test_complex_functions_at_infinities_and_zeros():
    points = [0j, complex(-0.0, 0.0), complex(INFINITY, 0.0), complex(-INFINITY, INFINITY), 1 + 1j]
    with np.errstate(invalid="ignore"):
        found = np.asarray(fg.expm1(fg.asarray(points)))
        assert fg.expm1(fg.asarray(points[2])).item() == complex(INFINITY, 0.0)
    assert found[:2].tolist() == [0j, 0j]
    assert not np.signbit(found[:2].real).any()
    assert found[2] == complex(INFINITY, 0.0)
    assert found[3] == -1
    assert found[4] == np.expm1(1 + 1j)
    tanh = np.asarray(fg.tanh(fg.asarray([complex(INFINITY, 2.0), complex(INFINITY, -2.0), 1j])))
    assert tanh[:2].tolist() == [1, 1]
    assert np.signbit(tanh.imag[:2]).tolist() == [False, True]
    assert tanh[2] == np.tanh(1j)
    sign = np.asarray(fg.sign(fg.asarray([complex(-0.0, -0.0), 2j])))
    assert not np.signbit(sign.real).any()
    assert sign.tolist() == [0, 1j]


# The packages around the standard.


def test_array_api_compat_knows_a_tensor():
    compat = pytest.importorskip("array_api_compat", reason="pip install fgrad[test]")
    tensor = fg.ones((2, 3))
    assert compat.array_namespace(tensor) is fg
    assert compat.array_namespace(tensor, 1.0, api_version="2024.12") is fg
    assert compat.is_array_api_obj(tensor)
    assert not compat.is_numpy_array(tensor)
    assert compat.device(tensor) == "cpu"
    assert compat.to_device(tensor, "cpu") is tensor
    assert compat.size(tensor) == 6


def updates():
    return {
        "set": [1.0, 5.0, 3.0],
        "add": [1.0, 7.0, 3.0],
        "subtract": [1.0, -3.0, 3.0],
        "multiply": [1.0, 10.0, 3.0],
        "divide": [1.0, 0.4, 3.0],
        "power": [1.0, 32.0, 3.0],
        "min": [1.0, 2.0, 3.0],
        "max": [1.0, 5.0, 3.0],
    }


@pytest.mark.parametrize("name", updates())
def test_array_api_extra_at(name):
    extra = pytest.importorskip("array_api_extra", reason="pip install fgrad[test]")
    x = fg.asarray([1.0, 2.0, 3.0])
    for updated in (
        getattr(extra.at(x, 1), name)(5.0),
        getattr(extra.at(x)[1], name)(5.0, copy=True),
        getattr(extra.at(x)[1], name)(5.0, xp=fg),
        getattr(extra.at(x, x == 2.0), name)(fg.asarray([5.0])),
    ):
        assert isinstance(updated, fg.Tensor)
        np.testing.assert_allclose(np.asarray(updated), updates()[name])
    with pytest.raises(ValueError, match="tensors are immutable"):
        getattr(extra.at(x, 1), name)(5.0, copy=False)
    assert np.asarray(x).tolist() == [1.0, 2.0, 3.0]
    # NumPy's arrays are none of fgrad's business.
    np.testing.assert_allclose(getattr(extra.at(np.asarray(x), 1), name)(5.0, copy=True), updates()[name])


def test_array_api_extra_at_keeps_gradients():
    extra = pytest.importorskip("array_api_extra", reason="pip install fgrad[test]")
    gradient = fg.grad(lambda x: fg.sum(extra.at(x, 1).multiply(3.0) ** 2))(fg.asarray([1.0, 2.0]))
    assert np.asarray(gradient).tolist() == [2.0, 36.0]
    with pytest.raises(ValueError, match="Index has not been set"):
        extra.at(fg.ones(2)).set(1.0)


@pytest.mark.parametrize("order", ["fgrad, array_api_extra", "array_api_extra, fgrad"])
def test_array_api_extra_at_works_in_whatever_order_they_are_imported(order):
    pytest.importorskip("array_api_extra", reason="pip install fgrad[test]")
    code = f"import {order}\nprint(array_api_extra.at(fgrad.zeros(2), 0).set(1.0))"
    found = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout == "[1. 0.]\n", found.stderr


def test_another_release_of_array_api_extra_is_left_alone():
    from fgrad import _array_api_extra

    stranger = types.ModuleType("array_api_extra._at")
    _array_api_extra._adapt(stranger)
    assert not hasattr(stranger, "at")


@pytest.mark.parametrize(
    "call",
    [
        lambda x: fg.expand_dims(x, axis=4),
        lambda x: fg.sum(x, axis=(0, 2)),
        lambda x: fg.flip(x, axis=-3),
        lambda x: np.sort(x, axis=2),
        lambda x: fg.linalg.vector_norm(x, axis=2),
    ],
)
def test_an_axis_out_of_range_is_the_error_that_the_standard_and_numpy_have(call):
    x = fg.ones((2, 3))
    for kind in (IndexError, ValueError, np.exceptions.AxisError, fg.errors.ShapeError):
        with pytest.raises(kind, match=r"axis -?\d is out of bounds for a tensor with \d axes\n"):
            call(x)
    with pytest.raises(fg.errors.AxisError):
        fg.vmap(call)(fg.ones((2, 2, 3)))


# The public suite.


def skipped_tests():
    lines = [line for line in SKIPS.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("\t") for line in lines)


def test_every_skip_has_a_reason():
    for name, reason in skipped_tests().items():
        assert re.fullmatch(r"array_api_tests/\w+\.py::\S.*", name)
        assert len(reason) > 5


@pytest.mark.skipif(
    SUITE is None or not (Path(SUITE) / "array_api_tests").is_dir(),
    reason="set ARRAY_API_TESTS to a clone of github.com/data-apis/array-api-tests (git clone --recurse-submodules)",
)
def test_the_public_suite_passes(tmp_path):
    skips = tmp_path / "skips.txt"
    skips.write_text("\n".join(skipped_tests()) + "\n", "utf-8")
    options = ["-q", "-rfE", "--tb=no", "-p", "no:cacheprovider", "--max-examples", "3"]
    options += ["--hypothesis-derandomize", "--hypothesis-disable-deadline"]
    environment = {
        **os.environ,
        "ARRAY_API_TESTS_MODULE": "fgrad",
        "ARRAY_API_TESTS_VERSION": "2024.12",
        "PYTHONPATH": os.pathsep.join([str(Path(fg.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis"),
    }
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "array_api_tests", *options, "--skips-file", str(skips)],
        cwd=SUITE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-2000:]
    passed = re.search(r"(\d+) passed", found.stdout)
    assert passed is not None
    assert int(passed[1]) > 1300
