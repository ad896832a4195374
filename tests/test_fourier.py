"""Discrete Fourier transforms: lengths, norms and dtypes of NumPy, exact adjoints, real input, errors."""

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import DtypeError, ImmutableError, ShapeError
from fgrad.testing import check_grads

RNG = np.random.default_rng(0)
ONE_AXIS = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
SEVERAL = ["fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2"]
REAL_INPUT = {"rfft", "ihfft", "rfftn", "rfft2"}


def sample(shape, dtype="float64"):
    x = RNG.normal(size=shape) * 2
    if np.dtype(dtype).kind == "c":
        x = x + 1j * RNG.normal(size=shape)
    return np.asarray(x).astype(dtype)


def functions(name):
    return getattr(fg.fft, name), getattr(np.fft, name)


def check_adjoint(function, x):
    """<w, F x> = <F^T w, x>, in the pairing Re sum(u v), to rounding."""
    out, pullback = fg.vjp(function, x)
    weights = sample(out.shape, out.dtype)
    (cotangent,) = pullback(fg.asarray(weights))
    assert (cotangent.shape, cotangent.dtype) == (x.shape, x.dtype)
    left, right = np.sum(weights * np.asarray(out)).real, np.sum(np.asarray(cotangent) * x).real
    np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize("n", [None, 1, 2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("name", ONE_AXIS)
def test_one_axis_of_any_length_and_norm(name, n, norm):
    ours, numpys = functions(name)
    for dtype in ("float64",) if name in REAL_INPUT else ("float64", "complex128"):
        for axis in (0, -1):
            x = sample((4, 5), dtype)
            found = ours(x, n, axis, norm)
            expected = numpys(x, n, axis, norm)
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            np.testing.assert_allclose(found, expected, atol=1e-13)
            check_adjoint(lambda x, axis=axis: ours(x, n, axis, norm), x)


OPTIONS = [
    {},
    {"axes": (0, 2)},
    {"axes": (2, 0)},
    {"axes": (1,)},
    {"s": (2, 6), "axes": (0, 1)},
    {"s": (5, -1), "axes": (2, 1), "norm": "ortho"},
    {"axes": (0, 0)},
    {"s": (2, 5, 3), "axes": (1, 0, 1)},
    {"norm": "forward"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", SEVERAL)
def test_several_axes_in_any_order(name, options):
    ours, numpys = functions(name)
    x = sample((3, 4, 5), "float64" if name in REAL_INPUT else "complex128")
    expected = numpys(x, **options)
    found = ours(x, **options)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    check_adjoint(lambda x: ours(x, **options), x)


@pytest.mark.parametrize("name", ONE_AXIS + SEVERAL)
@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float16", "float32", "float64", "complex64", "complex128"])
def test_dtypes_are_numpys(name, dtype):
    ours, numpys = functions(name)
    x = sample((4, 4), dtype)
    if name in REAL_INPUT and x.dtype.kind == "c":
        with pytest.raises(DtypeError, match=r"\[i?rfft\] on complex.*takes no complex numbers"):
            ours(x)
        return
    expected = numpys(x)
    assert ours(x).dtype == expected.dtype
    assert fg.make_graph(ours)(x).outputs[0].aval.dtype == expected.dtype
    if x.dtype.kind in "fc":
        assert fg.grad(lambda x: fg.sum(fg.abs(ours(x)) ** 2).astype("float64"))(x).dtype == x.dtype


@pytest.mark.parametrize("name", ONE_AXIS)
def test_second_derivatives_and_forward_mode(name):
    x = sample((2, 5))
    check_grads(lambda x: fg.sum(fg.abs(functions(name)[0](x, 6)) ** 3), (x,), 2)
    if name not in REAL_INPUT:
        check_grads(lambda x: functions(name)[0](x, 3), (sample((2, 5), "complex128"),), 2)


@pytest.mark.parametrize("name", ONE_AXIS)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_batches_along_any_axis(name, axis):
    ours, numpys = functions(name)
    x = sample((3, 4, 5))
    expected = np.stack([numpys(np.take(x, place, axis), 6, 0) for place in range(x.shape[axis])])
    np.testing.assert_allclose(fg.vmap(lambda x: ours(x, 6, 0), axis)(x), expected, atol=1e-13)


def test_transforms_are_one_operation():
    x = sample((3, 4, 5))
    for name in ("fftn", "rfftn", "irfftn"):
        assert len(fg.make_graph(functions(name)[0])(x).equations) == 1


def test_inverses():
    x = sample((3, 5))
    for there, back, options in [
        ("fft", "ifft", {}),
        ("rfft", "irfft", {"n": 5}),
        ("fftn", "ifftn", {}),
        ("rfft2", "irfft2", {"s": (3, 5), "axes": (0, 1)}),
        ("ihfft", "hfft", {"n": 5}),
    ]:
        np.testing.assert_allclose(functions(back)[0](functions(there)[0](x), **options), x, atol=1e-14)


def test_the_gradient_of_the_energy_is_twice_the_signal():
    x = sample(7)
    energy = lambda x: fg.sum(fg.abs(fg.fft.fft(x, norm="ortho")) ** 2)
    np.testing.assert_allclose(fg.grad(energy)(x), 2 * x, atol=1e-13)


def test_imaginary_parts_that_the_inverse_ignores_have_the_gradient_zero():
    spectrum = sample(4, "complex128")
    gradient = fg.grad(lambda h: fg.sum(fg.fft.irfft(h) ** 3))(spectrum)
    np.testing.assert_allclose(gradient.imag[[0, 3]], 0, atol=1e-15)
    assert np.all(gradient.imag[1:3] != 0)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("name", ["fftfreq", "rfftfreq"])
def test_frequencies(name, n):
    ours, numpys = functions(name)
    for d in (1.0, 0.25, 3):
        np.testing.assert_array_equal(ours(n, d), numpys(n, d))
    assert ours(n, d=0.5, dtype="float32", device="cpu").dtype == "float32"
    np.testing.assert_allclose(fg.grad(lambda d: fg.sum(ours(n, d)))(0.5), -4 * numpys(n).sum(), atol=1e-14)


@pytest.mark.parametrize("axes", [None, 0, 1, (0,), (1, 0), -1])
@pytest.mark.parametrize("shape", [(4, 5), (3, 2), (1, 0)])
def test_shifts(axes, shape):
    x = sample(shape)
    for name in ("fftshift", "ifftshift"):
        ours, numpys = functions(name)
        np.testing.assert_array_equal(ours(x, axes), numpys(x, axes))
        check_adjoint(lambda x, f=ours: f(x, axes), x)
    np.testing.assert_array_equal(fg.fft.ifftshift(fg.fft.fftshift(x, axes), axes), x)


def test_a_shift_without_axes_changes_nothing():
    assert float(fg.fft.fftshift(2.0)) == 2.0
    np.testing.assert_array_equal(fg.fft.ifftshift(np.arange(3.0), ()), np.arange(3.0))


def test_numpys_functions_keep_the_gradient():
    x = sample((4, 4))
    for name in ONE_AXIS + SEVERAL + ["fftshift", "ifftshift"]:
        gradient = fg.grad(lambda x, name=name: fg.sum(fg.real(functions(name)[1](x)) ** 2))(x)
        assert np.any(gradient != 0), name
    with pytest.raises(ImmutableError, match="out="):
        np.fft.fft(fg.asarray(x), out=np.zeros((4, 4), complex))


def test_lengths_without_axes_are_deprecated_as_in_numpy():
    x = sample((3, 4))
    with pytest.warns(DeprecationWarning, match="axes"):
        found = fg.fft.fftn(x, (4,))
    np.testing.assert_allclose(found, np.fft.fftn(x, (4,), (-1,)), atol=1e-13)
    with pytest.warns(DeprecationWarning, match="-1 takes the whole axis"):
        found = fg.fft.irfftn(x, (5, None), (0, 1))
    np.testing.assert_allclose(found, np.fft.irfftn(x, (5, 6), (0, 1)), atol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: fg.fft.fft(x, 0), r"\[fft\] the transform has at least one point, and not 0"),
        (lambda x: fg.fft.irfft(x[:, :1]), r"\[irfft\] the transform has at least one point, and not 0"),
        (lambda x: fg.fft.rfft(x, axis=2), r"\[rfft\] axis 2 is out of bounds"),
        (lambda x: fg.fft.fft(x, norm="unit"), r"\[fft\] norm is 'backward', 'ortho' or 'forward', not 'unit'"),
        (lambda x: fg.fft.fftn(x, (2, 2), (0,)), r"\[fftn\] s gives 2 lengths for the 1 axes \(0,\)"),
        (lambda x: fg.fft.rfftn(x, axes=()), r"\[rfftn\] on float64\[3,4\]: .* needs at least one axis"),
        (lambda x: fg.fft.fftfreq(0), r"\[fftfreq\]"),
        (lambda x: fg.fft.rfftfreq(4, device="gpu"), r"\[rfftfreq\] device is 'cpu' or None, not 'gpu'"),
    ],
)
def test_errors_name_the_operation_and_the_line(call, message):
    with pytest.raises(ShapeError, match=message) as caught:
        call(fg.zeros((3, 4)))
    assert "test_fourier.py" in str(caught.value)
