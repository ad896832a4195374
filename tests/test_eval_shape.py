"""eval_shape: the shapes and dtypes of results without computing, and ShapeDtype in the place of arrays."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import DtypeError, KeyReuseWarning, ShapeError, TracerConversionError

F32 = np.dtype("float32")
F64 = np.dtype("float64")


def test_shapes_and_dtypes_of_a_tree():
    def f(params, x, *, scale):
        return {"y": (params["w"] @ x * scale, fg.argmax(x)), "none": None, "list": [x > 0]}

    out = fg.eval_shape(f, {"w": np.ones((4, 3), F32)}, np.ones(3, F32), scale=2.0)
    assert out == {
        "y": (fg.ShapeDtype((4,), F32), fg.ShapeDtype((), np.dtype("int64"))),
        "none": None,
        "list": [fg.ShapeDtype((3,), np.dtype(bool))],
    }


def test_nothing_is_computed():
    huge = fg.ShapeDtype((10**7, 10**7), F64)
    assert fg.eval_shape(lambda x: fg.sum(fg.sin(x) * x + fg.ones((10**7, 1)), axis=0), huge) == fg.ShapeDtype(
        (10**7,), F64
    )


def test_arrays_and_their_types_give_the_same():
    f = lambda x, n: fg.concatenate([x, x * n])
    x = np.ones((2, 3), F32)
    expected = fg.ShapeDtype((4, 3), F32)
    for given in (
        x,
        fg.asarray(x),
        fg.ShapeDtype((2, 3), F32),
        fg.ShapeDtype([2, 3], "float32"),
        fg.ShapeDtype((2, 3), np.float32),
    ):
        assert fg.eval_shape(f, given, 2) == expected
    assert fg.eval_shape(f, x, fg.ShapeDtype((), F64)) == fg.ShapeDtype((4, 3), F64)


def test_python_numbers_stay_weak():
    assert fg.eval_shape(lambda x: x * 2, 3) == fg.ShapeDtype((), np.dtype("int64"), weak=True)
    assert fg.eval_shape(lambda x, y: x * y, 3.0, np.ones(2, F32)) == fg.ShapeDtype((2,), F32)
    assert fg.eval_shape(lambda: 5.0) == fg.ShapeDtype((), F64, weak=True)


def test_keys_stay_keys():
    key = fg.random.key(0)
    out = fg.eval_shape(lambda key: fg.random.split(key, 3), key)
    assert type(out) is type(key)
    assert (out.shape, out.words) == ((3,), fg.ShapeDtype((3, 2), np.dtype("uint64")))
    assert fg.eval_shape(lambda keys: fg.random.normal(keys[0], (2,)), out) == fg.ShapeDtype((2,), F64)


def test_keys_are_not_consumed(recwarn):
    key = fg.random.key(0)
    fg.eval_shape(lambda: fg.random.normal(key, (2,)))
    fg.random.uniform(key)
    assert not [warning for warning in recwarn if issubclass(warning.category, KeyReuseWarning)]


def test_other_leaves_are_passed_on():
    f = lambda x, mode, function: function(x) if mode == "a" else x[0]
    assert fg.eval_shape(f, np.ones(3), "a", fg.sin) == fg.ShapeDtype((3,), F64)
    assert fg.eval_shape(f, np.ones(3), mode="b", function=None) == fg.ShapeDtype((), F64)


def test_inside_and_around_transforms():
    f = lambda x: fg.sin(x) * x
    x = fg.ShapeDtype((3,), F64)
    expected = x
    assert fg.eval_shape(fg.grad(lambda x: fg.sum(f(x))), x) == expected
    assert fg.eval_shape(fg.vmap(f), x) == expected
    assert fg.eval_shape(fg.hessian(lambda x: fg.sum(f(x))), x) == fg.ShapeDtype((3, 3), F64)
    assert fg.eval_shape(fg.checkpoint(f), x) == expected

    def loss(w):
        assert fg.eval_shape(lambda x: x * w, np.ones(3)) == expected
        assert fg.eval_shape(f, w) == fg.ShapeDtype((), F64)
        return w * w

    assert float(fg.grad(loss)(fg.asarray(3.0))) == 6.0
    assert fg.make_graph(loss)(fg.asarray(3.0)).equations[0].primitive.name == "multiply"
    np.testing.assert_array_equal(fg.vmap(loss)(np.ones(2)), [1.0, 1.0])


def test_errors_are_those_of_the_function():
    with pytest.raises(ShapeError, match=r"float64\[2,3\] and float64\[2,3\]"):
        fg.eval_shape(fg.matmul, np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(TracerConversionError, match=r"bool\(x\) on a value that eval_shape is tracing"):
        fg.eval_shape(lambda x: 1.0 if x > 0 else x, 1.0)
    with pytest.raises(DtypeError, match=r"<lambda>\(\.\.\.\)\['a'\] is a str, and eval_shape takes and returns"):
        fg.eval_shape(lambda x: {"a": "text"}, 1.0)
    with pytest.raises(TypeError, match=r"takes a function, not float64\[3\]: write fg\.eval_shape\(f, x\), not"):
        fg.eval_shape(np.ones(3))


# ShapeDtype elsewhere.


def test_a_shape_dtype_is_a_leaf_of_trees():
    out = fg.eval_shape(lambda x: {"a": x, "b": [x[0]]}, np.ones((2, 3)))
    assert fg.tree.leaves(out) == [fg.ShapeDtype((2, 3), F64), fg.ShapeDtype((3,), F64)]
    zeros = fg.tree.map(lambda aval: fg.zeros(aval.shape, aval.dtype), out)
    assert fg.tree.equal(zeros, {"a": fg.zeros((2, 3)), "b": [fg.zeros(3)]})
    assert fg.tree.equal(out, fg.tree.map(lambda leaf: leaf, out))


def test_make_graph_takes_shape_dtypes():
    graph = fg.make_graph(lambda tree: fg.sin(tree["x"]) * tree["n"])({"x": fg.ShapeDtype((2,), F64), "n": 2})
    graph.check()
    x = np.array([0.5, 1.0])
    np.testing.assert_array_equal(graph({"x": x, "n": 3}), np.sin(x) * 3)
    keyed = fg.make_graph(lambda key: fg.random.normal(key, (2,)))(fg.eval_shape(lambda: fg.random.key(0)))
    np.testing.assert_array_equal(keyed(fg.random.key(5)), fg.random.normal(fg.random.key(5), (2,)))
    with pytest.raises(TypeError, match="make_graph takes a function"):
        fg.make_graph(3.0)
