"""Rows of the operation table: discrete Fourier transforms, their frequencies and shifts."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from operation_row import CLOSE, ULPS, Row, arrays, call, complex_arrays, optional, smooth_arrays, with_shape

import fgrad as fg
from fgrad.testing import strategies

SIDES = {"min_dims": 1, "max_dims": 2, "max_side": 4}
NORMS = st.sampled_from(["backward", "ortho", "forward"])
MULTIPLE = st.sampled_from(
    [
        {},
        {"axes": (1, 0)},
        {"axes": (0,)},
        {"s": (2, 4), "axes": (0, 1)},
        {"s": (3, -1), "axes": (1, 0)},
        {"s": (2, 3), "axes": (1, 1)},
    ]
)


def along_axis(operand, least):
    return with_shape(
        lambda s: optional(call(operand(s)), n=st.integers(1, 5), axis=st.integers(-len(s), len(s) - 1), norm=NORMS),
        min_side=least,
        **SIDES,
    )


def over_several(operand, least):
    shapes = st.tuples(st.integers(least, 3), st.integers(least, 3))
    return shapes.flatmap(lambda s: MULTIPLE.flatmap(lambda more: optional(call(operand(s), **more), norm=NORMS)))


def transform(name, calls, *, real=False, least=1, primitives=()):
    kinds = "fi" if real else "fci"
    smooth = calls(smooth_arrays, least)
    return Row(
        f"fft.{name}",
        getattr(fg.fft, name),
        calls(lambda s: arrays(kinds, s), least),
        getattr(np.fft, name),
        smooth if real else smooth | calls(complex_arrays, least),
        primitives,
        getattr(np.fft, name),
        CLOSE,
    )


def shift(name):
    def calls(operand):
        # np.roll, and so NumPy's shifts, cannot do without axes.
        axes = lambda s: strategies.axes(len(s)).filter(lambda one: one != ())
        return with_shape(lambda s: optional(call(operand(s)), axes=axes(s)), min_dims=1)

    return Row(
        f"fft.{name}",
        getattr(fg.fft, name),
        calls(lambda s: arrays("fcib", s)),
        getattr(np.fft, name),
        calls(smooth_arrays),
        counterpart=getattr(np.fft, name),
    )


def frequencies(name):
    # The distance is a number, or a variable like any other.
    return Row(
        f"fft.{name}",
        getattr(fg.fft, name),
        optional(call(st.integers(1, 7)), d=st.sampled_from([1.0, 0.5, 2])),
        getattr(np.fft, name),
        call(st.integers(1, 5), smooth_arrays((), 0.5, 2.0)),
        rtol=ULPS,
    )


FOURIER_ROWS: list[Row] = [
    transform("fft", along_axis, primitives=("fft",)),
    transform("ifft", along_axis),
    transform("rfft", along_axis, real=True, primitives=("rfft",)),
    transform("irfft", along_axis, least=2, primitives=("irfft",)),
    transform("hfft", along_axis, least=2),
    transform("ihfft", along_axis, real=True),
    transform("fft2", over_several),
    transform("ifft2", over_several),
    transform("rfft2", over_several, real=True),
    transform("irfft2", over_several, least=2),
    transform("fftn", over_several),
    transform("ifftn", over_several),
    transform("rfftn", over_several, real=True),
    transform("irfftn", over_several, least=2),
    frequencies("fftfreq"),
    frequencies("rfftfreq"),
    shift("fftshift"),
    shift("ifftshift"),
]
