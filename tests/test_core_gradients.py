"""grad, value_and_grad, vjp and show_tape as a user calls them: arguments, results, dtypes and messages."""

from __future__ import annotations

import collections
import itertools

import attrs
import numpy as np
import pytest
from hypothesis import given

import fgrad as fg
from fgrad.errors import DtypeError, EscapedTracerError, NotDifferentiableError, ShapeError, TreeError
from fgrad.testing import strategies

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.5]])


def assert_tensor(found, expected, dtype="float64"):
    assert isinstance(found, fg.Tensor)
    assert found.dtype == dtype
    assert found.shape == np.shape(expected)
    np.testing.assert_array_equal(found, np.asarray(expected, dtype))


# Arguments.


def test_the_gradient_of_a_python_float_is_a_scalar_tensor():
    assert_tensor(fg.grad(lambda x: x**2)(3.0), 6.0)


def test_an_integer_argument_raises_and_says_what_to_write():
    with pytest.raises(NotDifferentiableError, match=r"gradient by x .* is the integer 3: write 3\.0"):
        fg.grad(lambda x: x**2)(3)


def test_an_array_of_another_library_is_named_as_one():
    class Foreign:
        dtype, shape = np.dtype("float32"), (2,)

        def __array__(self, dtype=None, copy=None):
            return np.ones(2, dtype or "float32")

    with pytest.raises(NotDifferentiableError, match=r"by x\['w'\] .* \(\w+\.Foreign\): .* fg\.asarray\(x\['w'\]\)\n"):
        fg.grad(lambda x: fg.sum(x["w"]))({"w": Foreign()})
    assert_tensor(fg.grad(fg.sum)(fg.asarray(Foreign())), np.ones(2), "float32")


def test_arrays_give_tensors():
    assert_tensor(fg.grad(lambda x: fg.sum(x * x))(X), 2 * X)
    assert_tensor(fg.grad(lambda x: fg.sum(x * x))(X.astype("float32")), 2 * X, "float32")
    assert_tensor(fg.grad(lambda x: x * x)(np.float64(3.0)), 6.0)
    assert_tensor(fg.grad(lambda x: x * x)(np.float32(3.0)), 6.0, "float32")
    assert_tensor(fg.grad(lambda x: x * x)(np.array(3.0)), 6.0)


def test_a_list_of_floats_is_a_tree():
    gradient = fg.grad(lambda x: x[0] * x[1])([2.0, 3.0])
    assert isinstance(gradient, list)
    assert_tensor(gradient[0], 3.0)
    assert_tensor(gradient[1], 2.0)


def test_complex_arguments_follow_the_pairing_without_conjugation():
    """The cotangent of z for |z|^2 is 2 conj(z), the conjugate of the direction of steepest ascent, as in JAX."""
    z = np.array([1 + 2j, -3j])
    assert_tensor(fg.grad(lambda z: fg.sum(fg.real(z * fg.conj(z))))(z), 2 * np.conj(z), "complex128")
    assert_tensor(fg.grad(lambda z: fg.real(z * z))(1 + 2j), 2 * (1 + 2j), "complex128")
    assert_tensor(fg.grad(lambda x: fg.real(x * (1 + 2j) * (1 - 2j)))(2.0), 5.0)


Point = collections.namedtuple("Point", ["x", "y"])  # noqa: PYI024 - the untyped kind is what is tested


@attrs.frozen
class Params:
    weight: object
    name: str = attrs.field(default="linear", metadata={"static": True})


def test_the_gradient_has_the_structure_of_the_argument():
    tree = {"b": (X, None), "a": [Point(2.0, {"z": X[0].astype("float32")})], "c": Params(X), "e": {}}

    def loss(tree):
        assert tree["c"].name == "linear"
        point = tree["a"][0]
        return fg.sum(tree["b"][0]) * point.x * 3 + fg.sum(point.y["z"]) + fg.sum(tree["c"].weight ** 2)

    gradient = fg.grad(loss)(tree)
    assert fg.tree.structure(gradient) == fg.tree.structure(tree)
    assert gradient["b"][1] is None
    assert gradient["c"].name == "linear"
    assert_tensor(gradient["b"][0], np.full((2, 3), 6.0))
    assert_tensor(gradient["a"][0].x, 3 * X.sum())
    assert_tensor(gradient["a"][0].y["z"], np.ones(3), "float32")
    assert_tensor(gradient["c"].weight, 2 * X)


@given(strategies.pytrees())
def test_the_gradient_of_a_sum_over_any_tree_is_ones(tree):
    value, gradient = fg.value_and_grad(lambda tree: sum((fg.sum(leaf) for leaf in fg.tree.leaves(tree)), 0.0))(tree)
    assert fg.tree.equal(gradient, fg.tree.map(fg.ones_like, tree))
    assert float(value) == pytest.approx(sum(np.asarray(leaf).sum() for leaf in fg.tree.leaves(tree)))


def test_argnums():
    f = lambda x, y, z: x * y * y * z
    assert_tensor(fg.grad(f, 1)(2.0, 3.0, 5.0), 60.0)
    assert_tensor(fg.grad(f, -1)(2.0, 3.0, 5.0), 18.0)
    assert_tensor(fg.grad(f, argnums=np.int64(0))(2.0, 3.0, 5.0), 45.0)
    for argnums in ((0, 2), [0, 2], (-3, -1)):
        gradients = fg.grad(f, argnums)(2.0, 3.0, 5.0)
        assert isinstance(gradients, tuple)
        assert [float(gradient) for gradient in gradients] == [45.0, 18.0]
    assert [float(gradient) for gradient in fg.grad(f, (2, 0))(2.0, 3.0, 5.0)] == [18.0, 45.0]
    (only,) = fg.grad(f, (1,))(2.0, 3.0, 5.0)
    assert_tensor(only, 60.0)


def test_argnums_that_name_one_argument_twice_agree_or_raise():
    try:
        gradients = fg.grad(lambda x, y: x * x * y, (0, -2))(3.0, 1.0)
    except (TypeError, ValueError) as error:
        assert "argnums" in str(error)  # noqa: PT017 - one of two right behaviours
    else:
        assert [float(gradient) for gradient in gradients] == [6.0, 6.0]


TRANSFORMS = ["grad", "value_and_grad", "jacrev", "jacfwd", "jacobian", "hessian", "hessian_matrix"]


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize(
    ("argnums", "words"),
    [
        (3.0, "a float"),
        ("x", "a str"),
        (None, "None"),
        (True, "a bool"),
        ({"w": 1.0}, "a dict"),
        ([1.0, 2.0], "a list of 2"),
        (X, r"float64\[2,3\]"),
        (fg.ones(3), r"float64\[3\]"),
    ],
)
def test_an_argument_in_the_place_of_argnums_is_named_at_once(transform, argnums, words):
    message = rf"fg\.{transform} was given {words}.* for argnums, .*: fg\.{transform}\(f\)\(x\)\n  at "
    with pytest.raises(TypeError, match=message):
        getattr(fg, transform)(lambda x: x, argnums)


@pytest.mark.parametrize("argnums", [1, -2, (0, 1)])
def test_argnums_out_of_range_name_the_function(argnums):
    def loss(x, *, scale=1.0):
        return x * scale

    with pytest.raises(TypeError, match="loss was called with 1 of them"):
        fg.grad(loss, argnums)(2.0, scale=3.0)


def test_keyword_arguments_pass_through():
    f = lambda x, *, scale, mode: x * scale if mode == "times" else x
    assert_tensor(fg.grad(f)(2.0, scale=3.0, mode="times"), 3.0)
    value, gradient = fg.value_and_grad(f)(2.0, scale=fg.asarray(3.0), mode="times")
    assert_tensor(value, 6.0)
    assert_tensor(gradient, 3.0)


def test_other_arguments_may_be_anything():
    labels = np.array([0, 2, 1], np.uint8)
    batch = {"labels": labels, "mask": np.array([True, False, True]), "name": "train", "step": 3, "none": None}

    def loss(params, batch, function):
        assert batch["labels"] is labels
        assert batch["name"] == "train"
        return fg.sum(function(params["w"])[fg.asarray(batch["labels"])] * batch["mask"]) * batch["step"]

    gradient = fg.grad(loss)({"w": fg.asarray([1.0, 2.0, 3.0])}, batch, lambda w: w * 2)
    assert_tensor(gradient["w"], [6.0, 6.0, 0.0])


def test_keys_in_the_batch_pass_through():
    key = fg.random.key(0)

    def loss(x, batch):
        assert batch["key"] is key
        return fg.sum(x * fg.random.normal(batch["key"], (2,)))

    expected = fg.random.normal(fg.random.key(0), (2,))
    assert fg.tree.equal(fg.grad(loss)(fg.asarray([1.0, 2.0]), {"key": key}), fg.astype(expected, float))


def test_wrapped_functions_keep_name_and_docstring():
    def loss(x):
        """The loss."""
        return x

    for transform in (fg.grad, fg.value_and_grad, fg.show_tape, fg.make_graph):
        assert transform(loss).__name__ == "loss"
        assert transform(loss).__doc__ == "The loss."


# Leaves that have no gradient.


@pytest.mark.parametrize(
    ("leaf", "text"),
    [
        (7, r"is the integer 7: write 7\.0"),
        (np.arange(3), r"has dtype int64 and shape \(3,\)"),
        (np.array(True), r"has dtype bool and shape \(\)"),
        (True, "is a bool"),
        (np.uint8(3), "has dtype uint8"),
        ("name", "is a str"),
    ],
)
def test_a_leaf_without_gradient_is_named_by_its_path(leaf, text):
    params = {"blocks": [{"weight": X}, {"weight": X, "steps": leaf}]}
    with pytest.raises(NotDifferentiableError, match=r"by params\['blocks'\]\[1\]\['steps'\] was asked for.*" + text):
        fg.grad(lambda scale, params: fg.sum(params["blocks"][0]["weight"]) * scale, (0, 1))(1.0, params)


def test_a_key_leaf_is_named_by_its_path():
    with pytest.raises(NotDifferentiableError, match=r"by params\['key'\] was asked for, which is a random key"):
        fg.grad(lambda params: params["w"])({"w": 1.0, "key": fg.random.key(0)})


def test_the_path_starts_with_the_argument_where_it_has_no_name():
    with pytest.raises(NotDifferentiableError, match=r"by args\[1\]\[0\]"):
        fg.grad(lambda *args: args[0], (0, 1))(1.0, [2])


# Results of the function.


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: x * 2, r"needs a scalar loss.* returned shape \(2, 3\) float64\. .*\.sum\(\).*fg\.vjp"),
        (lambda x: x[:1, :1], r"\(1, 1\).*reshape\(\(\)\)"),
        (fg.argmax, "floating-point loss; the function returned int64"),
        (lambda x: fg.sum(x) > 0, "returned bool"),
        (lambda x: fg.sum(x) * 1j, "needs a real loss; the function returned complex128"),
        (lambda x: None, "it returned None"),
        (lambda x: "loss", "it returned a str"),
        (lambda x: {"loss": fg.sum(x)}, "it returned a dict"),
        (lambda x: (fg.sum(x), x), r"tuple of 2: \(float64\[\], float64\[2,3\]\).*has_aux=True"),
        (lambda x: [fg.sum(x), {}], r"list of 2.*has_aux=True"),
    ],
)
def test_a_result_that_is_no_scalar_loss_is_described(function, text):
    with pytest.raises(NotDifferentiableError, match=text):
        fg.grad(function)(X)
    with pytest.raises(NotDifferentiableError, match=text):
        fg.value_and_grad(function)(X)


@pytest.mark.parametrize("returned", [1.0, (1.0, 2.0, 3.0), None, [1.0, 2.0]])
def test_has_aux_demands_a_pair(returned):
    with pytest.raises(NotDifferentiableError, match=r"must return a pair \(loss, aux\)"):
        fg.grad(lambda x: returned, has_aux=True)(1.0)


@pytest.mark.parametrize("transform", [fg.grad, fg.value_and_grad, fg.vjp, fg.show_tape])
def test_what_is_no_function_is_refused(transform):
    with pytest.raises(TypeError, match=rf"fg\.\w+\(f\)\(x\)|{transform.__name__} takes a function"):
        transform(fg.asarray(3.0))


def test_a_loss_that_does_not_depend_on_the_argument_has_zero_gradient():
    for constant in (5.0, np.float64(5.0), fg.asarray(5.0), np.array(5.0)):
        value, gradient = fg.value_and_grad(lambda x, c=constant: c)(X)
        assert float(value) == 5.0
        assert_tensor(gradient, np.zeros((2, 3)))
    assert_tensor(fg.grad(lambda x: fg.sum(fg.stop_gradient(x)))(X), np.zeros((2, 3)))
    assert_tensor(fg.grad(lambda x: fg.sum(x.astype(int).astype(float)))(X), np.zeros((2, 3)))


def test_the_loss_may_be_the_argument_itself():
    assert_tensor(fg.grad(lambda x: x)(3.0), 1.0)
    value, gradient = fg.value_and_grad(lambda tree: tree["a"])({"a": np.float32(2.0), "b": X})
    assert_tensor(value, 2.0, "float32")
    assert_tensor(gradient["a"], 1.0, "float32")
    assert_tensor(gradient["b"], np.zeros((2, 3)))


def test_the_value_is_what_the_function_gives_outside():
    for function, argument in [(fg.sum, X), (lambda x: x * 2, 3.0), (lambda x: x * fg.asarray(2.0), 3.0)]:
        outside = function(argument)
        value, _ = fg.value_and_grad(function)(argument)
        assert type(value) is type(outside)
        assert np.asarray(value) == np.asarray(outside)


def test_has_aux():
    f = lambda x: (fg.sum(x * x), {"twice": x * 2, "name": "aux", "none": None, "count": 3})
    gradient, aux = fg.grad(f, has_aux=True)(X)
    assert_tensor(gradient, 2 * X)
    assert_tensor(aux["twice"], 2 * X)
    assert (aux["name"], aux["none"], aux["count"]) == ("aux", None, 3)
    (value, aux), gradient = fg.value_and_grad(f, has_aux=True)(X)
    assert_tensor(value, np.sum(X * X))
    assert_tensor(aux["twice"], 2 * X)
    out, pullback, aux = fg.vjp(lambda x: (x * x, x + 1), 3.0, has_aux=True)
    assert (float(out), float(aux)) == (9.0, 4.0)
    assert_tensor(pullback(1.0)[0], 6.0)


# Cotangents and dtypes.


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.product(["float16", "float32", "float64", "complex64", "complex128"], repeat=2))
)
@pytest.mark.parametrize(
    "function",
    [fg.add, fg.subtract, fg.multiply, fg.divide, fg.power, lambda x, y: fg.where(x == x, x, y)],
    ids=["add", "subtract", "multiply", "divide", "power", "where"],
)
def test_a_cotangent_has_the_dtype_and_shape_of_its_primal(function, first, second):
    x, y = np.full((2, 1), 1.5, first), np.full((3,), 0.5, second)
    out, pullback = fg.vjp(function, x, y)
    assert out.dtype == np.result_type(x, y)
    by_x, by_y = pullback(fg.ones_like(out))
    assert (by_x.dtype, by_x.shape) == (x.dtype, x.shape)
    assert (by_y.dtype, by_y.shape) == (y.dtype, y.shape)


def test_broadcast_arguments_are_summed_back():
    by_row, by_column, by_scalar = fg.grad(lambda r, c, s: fg.sum(r * c * s), (0, 1, 2))(
        np.ones((1, 3)), np.full((2, 1), 2.0), 5.0
    )
    assert_tensor(by_row, np.full((1, 3), 20.0))
    assert_tensor(by_column, np.full((2, 1), 15.0))
    assert_tensor(by_scalar, 12.0)


def test_one_tensor_in_two_places_has_two_gradients():
    x = fg.asarray(3.0)
    by_first, by_second = fg.grad(lambda a, b: a * a * b, (0, 1))(x, x)
    assert (float(by_first), float(by_second)) == (18.0, 9.0)


def test_gradients_accumulate_over_uses():
    assert_tensor(fg.grad(lambda x: x * x * x + x + fg.sin(x) - fg.sin(x))(2.0), 13.0)


def test_a_writable_array_is_copied_when_it_is_recorded():
    def loss(x):
        total = 0.0
        buffer = np.zeros(1)
        for k in (1.0, 2.0, 3.0):
            buffer[:] = k
            total = total + fg.sum(x * buffer)
        return total

    assert_tensor(fg.grad(loss)(np.array([1.0])), [6.0])


@pytest.mark.parametrize(
    "use",
    [
        lambda x, a: x * a,
        lambda x, a: a * x,
        lambda x, a: np.multiply(a, x),
        lambda x, a: fg.where(x == x, x * a, a),
        lambda x, a: fg.concatenate([x * a, a]),
        lambda x, a: x * fg.reshape(a, (2,)),
        lambda x, a: x * fg.asarray(a),
        lambda x, a: x * fg.transpose(a),
        lambda x, a: x * fg.real(a),
    ],
)
def test_an_array_that_is_overwritten_later_does_not_change_the_gradient(use):
    def loss(x, *, overwrite):
        array = np.array([2.0, 3.0])
        out = use(x, array)
        if overwrite:
            array[:] = np.nan
        return fg.sum(out * out)

    x = np.array([1.0, -1.0])
    assert fg.tree.equal(fg.grad(loss)(x, overwrite=True), fg.grad(loss)(x, overwrite=False))


def test_overwriting_an_argument_inside_does_not_change_the_gradient():
    x = np.array([1.0, 2.0])

    def loss(t):
        out = fg.sum(t * t)
        x[:] = 100.0
        return out

    assert_tensor(fg.grad(loss)(x), [2.0, 4.0])


def test_control_flow_by_value():
    relu = lambda x: x if x > 0 else 0.0 * x
    assert [float(fg.grad(relu)(x)) for x in (2.0, -2.0)] == [1.0, 0.0]
    power = lambda x, n: 1.0 if n == 0 else x * power(x, n - 1)
    assert float(fg.grad(power)(2.0, 5)) == 80.0


# vjp.


def test_vjp_of_a_tree_to_a_tree():
    def f(params, x):
        return {"y": params["w"] * x, "count": fg.asarray(3), "same": x}

    out, pullback = fg.vjp(f, {"w": X, "n": 4, "none": None}, 2.0)
    assert_tensor(out["y"], 2 * X)
    by_params, by_x = pullback({"y": np.ones((2, 3)), "count": None, "same": 10.0})
    assert_tensor(by_params["w"], np.full((2, 3), 2.0))
    assert by_params["n"] is None
    assert by_params["none"] is None
    assert_tensor(by_x, X.sum() + 10)


def test_a_pullback_can_be_called_any_number_of_times():
    out, pullback = fg.vjp(lambda x: fg.sin(x) * x, X)
    rows = [pullback(row)[0] for row in np.eye(6).reshape(6, 2, 3)]
    jacobian = np.stack([np.asarray(row).reshape(6) for row in rows])
    np.testing.assert_allclose(jacobian, np.diag((np.cos(X) * X + np.sin(X)).reshape(6)), rtol=1e-12)
    assert fg.tree.equal(pullback(np.ones((2, 3))), pullback(np.ones((2, 3))))
    assert out.shape == (2, 3)


def test_a_pullback_is_linear():
    _, pullback = fg.vjp(lambda x: fg.exp(x) / (1 + x * x), X)
    u, v = np.cos(X), np.sin(X)
    np.testing.assert_allclose(pullback(2 * u + 3 * v)[0], 2 * pullback(u)[0] + 3 * pullback(v)[0], rtol=1e-12)
    assert_tensor(pullback(np.zeros((2, 3)))[0], np.zeros((2, 3)))


def test_vjp_arguments_without_gradient():
    arguments = (2.0, 3, "name", fg.random.key(0), np.array([1, 2]), True)
    out, pullback = fg.vjp(lambda x, n, *rest: x * n, *arguments)
    assert float(out) == 6.0
    by_x, *rest = pullback(1.0)
    assert_tensor(by_x, 3.0)
    assert rest == [None] * 5


def test_a_python_number_serves_as_cotangent_of_any_dtype():
    _, pullback = fg.vjp(fg.sum, X.astype("float32"))
    assert_tensor(pullback(2.0)[0], np.full((2, 3), 2.0), "float32")
    assert_tensor(pullback(2)[0], np.full((2, 3), 2.0), "float32")


@pytest.mark.parametrize(
    ("cotangent", "error", "text"),
    [
        ({"y": np.ones(3)}, TreeError, "cotangent"),
        ({"y": np.ones((2, 3)), "z": (1.0, 2.0)}, TreeError, r"cotangent\['z'\] has 2 entries where 1 are expected"),
        (np.ones((2, 3)), TreeError, "cotangent is a ndarray where a dict is expected"),
        ({"y": np.ones(3), "z": (1.0,)}, ShapeError, r"has shape \(3,\), and the output has shape \(2, 3\)"),
        (
            {"y": np.ones((2, 3), "float32"), "z": (1.0,)},
            DtypeError,
            "float32, and the output has dtype float64.*astype",
        ),
        ({"y": "ones", "z": (1.0,)}, DtypeError, "str"),
    ],
)
def test_a_cotangent_that_is_not_like_the_output_raises(cotangent, error, text):
    _, pullback = fg.vjp(lambda x: {"y": x * 2, "z": (fg.sum(x),)}, X)
    with pytest.raises(error, match=text):
        pullback(cotangent)


def test_a_cotangent_of_an_output_that_does_not_depend_on_the_input_is_checked_too():
    _, pullback = fg.vjp(lambda x: (x, fg.asarray([1.0, 2.0])), 1.0)
    assert_tensor(pullback((1.0, np.ones(2)))[0], 1.0)
    with pytest.raises(ShapeError):
        pullback((1.0, np.ones(3)))


def test_vjp_refuses_results_that_are_no_numbers():
    with pytest.raises(TreeError, match="it returned a str"):
        fg.vjp(lambda x: "text", 1.0)


def test_a_pullback_shows_what_it_is():
    _, pullback = fg.vjp(lambda x, y: (x, y, x), 1.0, 2.0)
    assert repr(pullback) == "<pullback of 3 outputs to 2 inputs>"


# The tape, shown.


def test_show_tape():
    tape = fg.show_tape(lambda x, y: fg.sum(fg.sin(x) * y, axis=0))(X, 2.0)
    assert isinstance(tape, tuple)
    assert [str(record) for record in tape] == [
        "%1: float64[2,3] = input()",
        "%2: float64*[] = input()",
        "%3: float64[2,3] = sin(%1)",
        "%4: float64[2,3] = multiply(%3, %2)",
        "%5: float64[3] = sum(%4, axes=(0,), keepdims=False)",
    ]
    assert tape[3].operation == "multiply"
    assert tape[3].operands == (3, 2)
    assert tape[3].result == fg.ShapeDtype((2, 3), np.dtype("float64"))
    assert hash(tape[3]) == hash(tape[3])


def test_show_tape_marks_constants():
    assert "multiply(%1, constant)" in str(fg.show_tape(lambda x: x * 2.0)(fg.asarray(1.0))[-1])


def test_show_tape_of_a_function_with_arguments_of_every_kind():
    tape = fg.show_tape(lambda x, n, *, flag: x * n if flag else x)(fg.asarray(1.0), 3, flag=True)
    assert [record.operation for record in tape] == ["input", "multiply"]


# stop_gradient.


def test_stop_gradient():
    assert_tensor(fg.grad(lambda x: x * fg.stop_gradient(x))(3.0), 3.0)
    assert_tensor(fg.grad(fg.grad(lambda x: x * x * fg.stop_gradient(x)))(3.0), 6.0)
    assert_tensor(fg.stop_gradient(X), X)
    assert float(fg.grad(lambda x: x * float(fg.stop_gradient(x)))(3.0)) == 3.0
    assert float(fg.grad(lambda x: fg.grad(lambda y: y * fg.stop_gradient(y) * x)(2.0))(5.0)) == 2.0


def test_stop_gradient_stops_every_level():
    inner = lambda x: fg.grad(lambda y: fg.stop_gradient(x) * y)(1.0)
    assert float(fg.grad(inner)(3.0)) == 0.0
    assert float(np.asarray(fg.stop_gradient(3.0))) == 3.0


def test_stopped_values_do_not_escape():
    seen = []
    fg.grad(lambda x: seen.append(fg.stop_gradient(x)) or x)(3.0)
    assert float(seen[0]) == 3.0
    with pytest.raises(EscapedTracerError):
        fg.grad(lambda x: fg.grad(lambda y: seen.append(y) or y)(2.0) * seen[-1])(1.0)


@pytest.mark.parametrize("name", ["grad", "jacobian", "jacrev", "hessian"])
def test_errors_name_the_transform_that_traces(name):
    with pytest.raises(fg.errors.TracerConversionError, match=rf"on a value that {name} is tracing"):
        getattr(fg, name)(np.asarray)(fg.ones(3))
    with pytest.raises(fg.errors.TracerConversionError, match="on a value that vjp is tracing"):
        fg.vjp(lambda x: float(x[0]), fg.ones(3))
