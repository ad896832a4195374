"""Optimizers against their formulas and published implementations, dtypes, structure errors, and composition."""

import math

import attrs
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import fgrad as fg
from fgrad import optim
from fgrad.errors import DtypeError, ShapeError, TreeError

FLOATS = ("float16", "float32", "float64")


def asarrays(tree):
    return [np.asarray(leaf) for leaf in fg.tree.leaves(tree)]


def tensors(shape, count, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return [fg.asarray(rng.normal(size=shape).astype(dtype)) for _ in range(count)]


def take_steps(optimizer, params, gradients):
    opt_state = optimizer.init(params)
    for grads in gradients:
        params, opt_state = optimizer.step(params, grads, opt_state)
    return params, opt_state


def golden_weights(optimizer):
    """Four steps from [1, -2, 0.5] with the gradient (0.3 t, -1, 0) * w."""
    params = fg.asarray([1.0, -2.0, 0.5])
    opt_state = optimizer.init(params)
    for t in range(1, 5):
        params, opt_state = optimizer.step(params, params * fg.asarray([0.3 * t, -1.0, 0.0]), opt_state)
    return np.asarray(params)


# The update rules.


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("dampening", [None, 0, 0.25])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_sgd_is_its_formula(momentum, dampening, weight_decay):
    gradients = tensors((3, 2), 5)
    w = start = np.ones((3, 2))
    u = np.zeros((3, 2))
    damp = momentum if dampening is None else dampening
    for g in gradients:
        u = momentum * u + (1 - damp) * (np.asarray(g) + weight_decay * w)
        w = w - 0.1 * u
    optimizer = optim.SGD(0.1, momentum=momentum, dampening=dampening, weight_decay=weight_decay)
    params, opt_state = take_steps(optimizer, {"w": fg.asarray(start)}, [{"w": g} for g in gradients])
    np.testing.assert_allclose(params["w"], w, rtol=1e-13)
    if momentum:
        np.testing.assert_allclose(opt_state.velocity["w"], u, rtol=1e-13)
    assert opt_state.step_count.item() == 5


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("eps", [1e-8, 1e-2])
def test_adam_is_its_formula(weight_decay, eps):
    gradients = tensors((3, 2), 5)
    b1, b2 = 0.8, 0.95
    w = start = np.ones((3, 2))
    m = v = np.zeros((3, 2))
    for t, g in enumerate(gradients, start=1):
        d = np.asarray(g) + weight_decay * w
        m = b1 * m + (1 - b1) * d
        v = b2 * v + (1 - b2) * d**2
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        w = w - 0.1 * m_hat / (np.sqrt(v_hat) + eps)
    optimizer = optim.Adam(0.1, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)
    params, opt_state = take_steps(optimizer, [fg.asarray(start)], [[g] for g in gradients])
    np.testing.assert_allclose(params[0], w, rtol=1e-13)
    np.testing.assert_allclose(opt_state.first_moment[0], m, rtol=1e-13)
    np.testing.assert_allclose(opt_state.second_moment[0], v, rtol=1e-13)


@pytest.mark.parametrize(
    ("optimizer", "weights"),
    [  # by PyTorch 2.13, in float64
        (
            optim.SGD(0.1, momentum=0.9, weight_decay=0.01, dampening=0),
            [0.49317533810099995, -4.0759917858020005, 0.4954824116505],
        ),
        (
            optim.SGD(0.1, momentum=0.9, weight_decay=0.01, dampening=0, nesterov=True),
            [0.33908559704151203, -5.150047791815783, 0.49394509205236603],
        ),
        (optim.Adam(0.1), [0.6065056092523917, -2.4008218329984317, 0.5]),
        (
            optim.Adam(0.05, b1=0.8, b2=0.95, eps=1e-3, weight_decay=0.1),
            [0.8005634525856288, -2.2003038062399334, 0.30687912598109746],
        ),
    ],
)
def test_golden_weights(optimizer, weights):
    np.testing.assert_allclose(golden_weights(optimizer), weights, rtol=1e-13)


def test_dampened_sgd_differs_from_pytorch_in_its_first_velocity_alone():
    # PyTorch 2.13 with dampening=0.5 starts with u = g: a first step of our own that is twice as long.
    optimizer = optim.SGD(0.1, momentum=0.9, dampening=0.5)
    params = fg.asarray([1.0, -2.0, 0.5])
    opt_state = attrs.evolve(optimizer.init(params), velocity=params * fg.asarray([0.3, -1.0, 0.0]) * (0.5 / 0.9))
    for t in range(1, 5):
        params, opt_state = optimizer.step(params, params * fg.asarray([0.3 * t, -1.0, 0.0]), opt_state)
    np.testing.assert_allclose(params, [0.69049348, -3.366225, 0.5], rtol=1e-13)


def test_momentum_averages_by_default():
    # A constant gradient gives the same steps in the limit, whatever the momentum is.
    params = {"w": fg.asarray(0.0)}
    gradient = {"w": fg.asarray(1.0)}
    before, opt_state = take_steps(optim.SGD(1.0, momentum=0.5), params, [gradient] * 60)
    after, _ = optim.SGD(1.0, momentum=0.5).step(before, gradient, opt_state)
    assert after["w"].item() - before["w"].item() == pytest.approx(-1.0)


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.SGD(0.02),
        optim.SGD(0.02, momentum=0.9),
        optim.SGD(0.005, momentum=0.9, dampening=0, nesterov=True),
        optim.Adam(0.1),
        optim.Adam(optim.CosineDecay(peak=0.3, decay_steps=300)),
        optim.chain(optim.ClipByGlobalNorm(1.0), optim.SGD(0.02, momentum=0.5)),
    ],
)
def test_every_optimizer_finds_a_minimum(optimizer):
    def loss(params):
        return (params["x"] - 1.0) ** 2 + 5 * (params["y"] - params["x"] ** 2) ** 2

    params = {"x": fg.asarray(-0.5), "y": fg.asarray(0.5)}
    opt_state = optimizer.init(params)
    for _ in range(600):
        params, opt_state = optimizer.step(params, fg.grad(loss)(params), opt_state)
    assert loss(params).item() < 1e-2


# Dtypes.

LEARNING_RATES = {
    "float": 0.01,
    "int": 1,
    "np.float64": np.float64(0.01),
    "np.float32": np.float32(0.01),
    "0-d array": np.asarray(0.01),
    "0-d float64 tensor": fg.asarray(np.float64(0.01)),
    "python schedule": lambda step: 0.1 / (1 + int(step)),
    "float64 schedule": lambda step: 0.1 / (fg.asarray(step) + 1.0),
    "integer schedule": lambda step: step + 1,
    "cosine": optim.CosineDecay(peak=0.1, decay_steps=10, warmup_steps=2),
    "exponential": optim.ExponentialDecay(initial=0.1, rate=0.5, decay_steps=10),
}
MAKERS = {
    "sgd": optim.SGD,
    "momentum": lambda rate: optim.SGD(rate, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda rate: optim.SGD(rate, momentum=0.9, dampening=0, nesterov=True),
    "adam": optim.Adam,
    "adam decay": lambda rate: optim.Adam(rate, weight_decay=0.01),
    "chain": lambda rate: optim.chain(optim.ClipByGlobalNorm(1.0), optim.Adam(rate)),
}


def assert_dtypes(tree, dtypes):
    for name, dtype in dtypes.items():
        assert tree[name].dtype == dtype, name


@pytest.mark.parametrize("gradient_dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("rate", LEARNING_RATES)
@pytest.mark.parametrize("maker", MAKERS)
def test_no_dtype_ever_changes(maker, rate, gradient_dtype):
    dtypes = {"half": "float16", "single": "float32", "double": "float64", "complex": "complex64", "scalar": "float32"}
    params = {name: fg.ones(() if name == "scalar" else (2, 3), dtype=dtype) for name, dtype in dtypes.items()}
    grads = {name: fg.ones(leaf.shape, dtype=gradient_dtype) for name, leaf in params.items()}
    optimizer = MAKERS[maker](LEARNING_RATES[rate])
    opt_state = optimizer.init(params)
    for _ in range(3):
        params, opt_state = optimizer.step(params, grads, opt_state)
        assert_dtypes(params, dtypes)
        for state in opt_state if isinstance(opt_state, tuple) else (opt_state,):
            if isinstance(state, optim.SGDState) and state.velocity is not None:
                assert_dtypes(state.velocity, dtypes)
            if isinstance(state, optim.AdamState):
                assert_dtypes(state.first_moment, dtypes)
                assert_dtypes(state.second_moment, {**dtypes, "complex": "float32"})
            if state is not None:
                assert state.step_count.dtype == np.int64
    updates, _ = optimizer.update(grads, opt_state, params)
    assert_dtypes(updates, dtypes)


@given(st.lists(st.sampled_from(FLOATS), min_size=1, max_size=4), st.sampled_from(FLOATS), st.data())
def test_dtypes_of_drawn_trees(leaf_dtypes, gradient_dtype, draw):
    shapes = st.sampled_from([(), (0,), (1,), (2, 3)])
    params = [fg.ones(draw.draw(shapes), dtype=dtype) for dtype in leaf_dtypes]
    grads = [None if draw.draw(st.booleans()) else leaf.astype(gradient_dtype) for leaf in params]
    for maker in MAKERS.values():
        after, _ = take_steps(maker(np.float64(0.1)), params, [grads] * 3)
        assert [leaf.dtype for leaf in after] == [np.dtype(dtype) for dtype in leaf_dtypes]
        assert [leaf.shape for leaf in after] == [leaf.shape for leaf in params]


def test_apply_updates_keeps_dtypes():
    params = {"a": fg.ones(2, dtype="float32"), "b": fg.ones((), dtype="float16")}
    after = optim.apply_updates(params, {"a": fg.ones(2), "b": None})
    assert_dtypes(after, {"a": "float32", "b": "float16"})
    assert after["b"] is params["b"]
    np.testing.assert_array_equal(after["a"], [2.0, 2.0])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("eps", [1e-8, 0.0])
def test_adam_leaves_alone_what_has_no_gradient(dtype, eps):
    params = {"w": fg.ones(3, dtype=dtype)}
    after, _ = take_steps(optim.Adam(eps=eps), params, [{"w": fg.zeros(3, dtype=dtype)}] * 3)
    assert fg.tree.equal(after, params)


def test_plain_arrays_and_numbers_are_parameters():
    optimizer = optim.SGD(0.5)
    params = {"w": np.ones(2, np.float32), "b": 2.0}
    grads = fg.grad(lambda p: fg.sum(p["w"]) * p["b"])(params)
    after, _ = optimizer.step(params, grads, optimizer.init(params))
    assert_dtypes(after, {"w": "float32", "b": "float64"})
    np.testing.assert_array_equal(after["w"], [0.0, 0.0])
    assert after["b"].item() == 1.0
    np.testing.assert_array_equal(params["w"], [1.0, 1.0])


# Gradients that are missing or do not fit.


@pytest.mark.parametrize("maker", MAKERS)
def test_none_counts_as_zero(maker):
    optimizer = MAKERS[maker](0.1)
    params = {"a": fg.asarray([1.0, 2.0]), "b": fg.asarray([3.0])}
    first = {"a": fg.asarray([1.0, 1.0]), "b": fg.asarray([1.0])}
    with_none = take_steps(optimizer, params, [first, {"a": None, "b": None}, {"a": None, "b": first["b"]}])
    zeros = fg.tree.map(fg.zeros_like, params)
    with_zeros = take_steps(optimizer, params, [first, zeros, {"a": zeros["a"], "b": first["b"]}])
    assert fg.tree.equal(with_none, with_zeros)


def test_decay_and_momentum_act_without_a_gradient():
    params = {"w": fg.asarray([1.0])}
    decayed, _ = take_steps(optim.SGD(0.1, weight_decay=0.5), params, [{"w": None}])
    np.testing.assert_allclose(decayed["w"], [0.95])
    pushed, _ = take_steps(optim.SGD(0.1, momentum=0.9), params, [{"w": fg.asarray([1.0])}, {"w": None}])
    np.testing.assert_allclose(pushed["w"], [1.0 - 0.1 * 0.1 - 0.1 * 0.09])


def test_none_subtrees_and_empty_trees():
    optimizer = optim.Adam()
    params = {"w": fg.asarray([1.0]), "bias": None, "children": ()}
    after, opt_state = take_steps(optimizer, params, [{"w": fg.asarray([1.0]), "bias": None, "children": ()}])
    assert after["bias"] is None
    assert after["children"] == ()
    assert opt_state.first_moment["bias"] is None
    for empty in ((), {}, None):
        assert take_steps(optim.SGD(momentum=0.5), empty, [empty])[0] == empty
        assert take_steps(optim.chain(optim.ClipByGlobalNorm(1.0), optim.Adam()), empty, [empty])[0] == empty


NET = {"blocks": [{"weight": fg.ones((2, 3))}, {"weight": fg.ones((2, 3))}, {"weight": fg.ones((2, 3))}]}


def net(last):
    return {"blocks": [*NET["blocks"][:2], last]}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("grads", "error", "words"),
    [
        (net({"weight": fg.ones((3, 2))}), ShapeError, r"grads\['blocks'\]\[2\]\['weight'\] has shape \(3, 2\), and "),
        (net({"weight": fg.ones((3, 2))}), ShapeError, r"params\['blocks'\]\[2\]\['weight'\] has shape \(2, 3\)"),
        (net({"weight": fg.ones(())}), ShapeError, r"grads\['blocks'\]\[2\]\['weight'\]"),
        (net({"bias": fg.ones((2, 3))}), TreeError, r"grads\['blocks'\]\[2\] "),
        (net({}), TreeError, r"grads\['blocks'\]\[2\] "),
        (net(None), TreeError, r"grads\['blocks'\]\[2\] is a NoneType where a dict is expected"),
        (net({"weight": [fg.ones((2, 3))]}), TreeError, r"grads\['blocks'\]\[2\]\['weight'\] is a list"),
        (net({"weight": "ones"}), DtypeError, r"grads\['blocks'\]\[2\]\['weight'\] is a str"),
        (net({"weight": fg.ones((2, 3), dtype="complex64")}), DtypeError, r"grads\['blocks'\]\[2\]\['weight'\] has"),
        ({"blocks": NET["blocks"][:2]}, TreeError, r"grads\['blocks'\] has 2 entries where 3 are expected"),
        ({"blocks": tuple(NET["blocks"])}, TreeError, r"grads\['blocks'\] is a tuple where a list is expected"),
        (NET["blocks"], TreeError, "grads is a list where a dict is expected"),
    ],
)
def test_gradients_that_do_not_fit(maker, grads, error, words):
    optimizer = MAKERS[maker](0.1)
    with pytest.raises(error, match=words) as caught:
        optimizer.step(NET, grads, optimizer.init(NET))
    assert "test_optim.py" in str(caught.value)


def test_the_line_is_named_once():
    """The message of the tree is part of the optimizer's, and has the user's line already."""
    optimizer = optim.SGD(0.1)
    with pytest.raises(TreeError) as caught:
        optimizer.step({"w": fg.ones(3)}, {}, optimizer.init({"w": fg.ones(3)}))
    assert str(caught.value).count("\n  at ") == 1


def test_updates_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"updates\['w'\] has shape \(3,\), and params\['w'\] has shape \(2,\)"):
        optim.apply_updates({"w": fg.ones(2)}, {"w": fg.ones(3)})
    with pytest.raises(TreeError, match=r"updates has the keys \['v'\]"):
        optim.apply_updates({"w": fg.ones(2)}, {"v": fg.ones(2)})


def test_integer_parameters_are_refused():
    with pytest.raises(DtypeError, match=r"params\['steps'\] has dtype int64, and optimizers change"):
        optim.Adam().init({"w": fg.ones(2), "steps": 3})
    with pytest.raises(DtypeError, match=r"params\['name'\] is a str"):
        optim.Adam().init({"w": fg.ones(2), "name": "w"})


@pytest.mark.parametrize("maker", MAKERS)
def test_a_state_of_something_else_is_refused(maker):
    optimizer = MAKERS[maker](0.1)
    params = {"w": fg.ones(2)}
    with pytest.raises(TreeError, match="opt_state"):
        optimizer.step(params, params, params)


def test_a_state_of_other_parameters_is_refused():
    for optimizer in (optim.SGD(momentum=0.9), optim.Adam()):
        opt_state = optimizer.init({"w": fg.ones(2)})
        with pytest.raises(ShapeError, match=r"opt_state\.\w+\['w'\] has shape \(2,\)"):
            optimizer.step({"w": fg.ones(3)}, {"w": fg.ones(3)}, opt_state)
        with pytest.raises(TreeError, match=r"opt_state\.\w+ has the keys \['w'\]"):
            optimizer.step({"v": fg.ones(2)}, {"v": fg.ones(2)}, opt_state)


# Hyper-parameters.


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: optim.SGD(-0.1), ValueError, "learning_rate must be at least 0; it is -0.1"),
        (lambda: optim.SGD(math.nan), ValueError, "learning_rate must be finite; it is nan"),
        (lambda: optim.Adam(math.inf), ValueError, "learning_rate must be finite; it is inf"),
        (lambda: optim.SGD("0.1"), TypeError, "learning_rate must be a real number; it is the str '0.1'"),
        (lambda: optim.SGD(None), TypeError, "learning_rate must be a real number; it is the NoneType None"),
        (lambda: optim.SGD(True), TypeError, "learning_rate must be a real number; it is the bool True"),
        (lambda: optim.SGD(fg.ones(2)), TypeError, r"learning_rate must be a real number; it is float64 of shape \(2,"),
        (lambda: optim.SGD(0.1j), TypeError, "learning_rate must be a real number; it is the complex 0.1j"),
        (lambda: optim.SGD(momentum=1.0), ValueError, "momentum must be at least 0 and less than 1; it is 1"),
        (lambda: optim.SGD(momentum=-0.1), ValueError, "momentum must be at least 0 and less than 1; it is -0.1"),
        (lambda: optim.SGD(weight_decay=-1), ValueError, "weight_decay must be at least 0; it is -1"),
        (lambda: optim.SGD(dampening=1.5), ValueError, "dampening must be from 0 to 1"),
        (lambda: optim.SGD(momentum=0.9, nesterov=True), ValueError, "nesterov=True needs dampening=0"),
        (lambda: optim.SGD(momentum=0.9, dampening=0.9, nesterov=True), ValueError, "nesterov=True needs dampening=0"),
        (lambda: optim.Adam(b1=1), ValueError, "b1 must be at least 0 and less than 1; it is 1"),
        (lambda: optim.Adam(b2=-0.5), ValueError, "b2 must be at least 0 and less than 1; it is -0.5"),
        (lambda: optim.Adam(eps=-1e-8), ValueError, "eps must be at least 0; it is -1e-08"),
        (lambda: optim.Adam(weight_decay=math.nan), ValueError, "weight_decay must be finite; it is nan"),
        (lambda: optim.ClipByGlobalNorm(0), ValueError, "max_norm must be above 0; it is 0"),
        (lambda: optim.CosineDecay(peak=1, decay_steps=0), ValueError, "decay_steps must be above 0; it is 0"),
        (lambda: optim.ExponentialDecay(initial=-1, rate=1, decay_steps=1), ValueError, "initial must be at least 0"),
        (optim.chain, ValueError, "chain needs at least one transform"),
        (lambda: optim.chain(optim.Adam), TypeError, "argument 0 of chain"),
        (lambda: optim.chain(optim.Adam(), 0.1), TypeError, "argument 1 of chain is 0.1"),
    ],
)
def test_hyper_parameters_out_of_range(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_records_compare_by_value_and_are_static():
    assert optim.SGD(0.1) == optim.SGD(np.float64(0.1)) == optim.SGD(fg.asarray(0.1))
    assert hash(optim.Adam(fg.asarray(0.1))) == hash(optim.Adam(0.1))
    assert optim.SGD(0.1) != optim.SGD(0.2)
    assert optim.SGD(0.1) != optim.Adam(0.1)
    cosine = optim.CosineDecay(peak=0.1, decay_steps=10)
    assert optim.Adam(cosine) == optim.Adam(optim.CosineDecay(peak=0.1, decay_steps=10))
    assert optim.chain(optim.ClipByGlobalNorm(1), optim.Adam()) == optim.chain(optim.ClipByGlobalNorm(1), optim.Adam())
    for record in (optim.SGD(), optim.Adam(), cosine, optim.ClipByGlobalNorm(1.0), optim.chain(optim.SGD())):
        assert fg.tree.leaves(record) == []
        assert fg.tree.structure({"record": record}) == fg.tree.structure({"record": record})
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            record.learning_rate = 1.0


def test_states_are_frozen_records_of_tensors():
    params = {"w": fg.ones(2), "b": fg.ones(())}
    for optimizer in (optim.SGD(), optim.SGD(momentum=0.9), optim.Adam()):
        _, opt_state = take_steps(optimizer, params, [params])
        leaves = fg.tree.leaves(opt_state)
        assert leaves
        assert all(isinstance(leaf, fg.Tensor) for leaf in leaves)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            opt_state.step_count = 0


def test_nothing_given_is_changed():
    params, grads = {"w": fg.ones(3)}, {"w": fg.ones(3)}
    for maker in MAKERS.values():
        optimizer = maker(0.1)
        opt_state = optimizer.init(params)
        before = fg.tree.map(np.array, (params, grads, opt_state))
        first = optimizer.step(params, grads, opt_state)
        assert fg.tree.equal(fg.tree.map(np.asarray, (params, grads, opt_state)), before)
        assert fg.tree.equal(first, optimizer.step(params, grads, opt_state))
        for array in asarrays(first):
            assert not array.flags.writeable


# Schedules.


def test_the_schedule_gets_the_number_of_steps_before():
    seen = []

    def schedule(step):
        seen.append((type(step).__name__, step.dtype, step.item()))
        return 0.1

    take_steps(optim.SGD(schedule), fg.ones(2), [fg.ones(2)] * 3)
    take_steps(optim.Adam(schedule), fg.ones(2), [fg.ones(2)] * 2)
    assert [step for *_, step in seen] == [0, 1, 2, 0, 1]
    assert {dtype for _, dtype, _ in seen} == {np.dtype("int64")}


def test_a_schedule_is_followed():
    params, _ = take_steps(optim.SGD(lambda step: [1.0, 0.1, 0.01][int(step)]), fg.asarray(0.0), [fg.asarray(1.0)] * 3)
    assert params.item() == pytest.approx(-1.11)


@pytest.mark.parametrize("given", ["0.1", None, fg.ones(3), 1j])
def test_what_a_schedule_may_not_give(given):
    with pytest.raises(TypeError, match=r"schedule|the learning rate that"):
        take_steps(optim.SGD(lambda _: given), fg.ones(2), [fg.ones(2)])


def test_cosine_decay():
    schedule = optim.CosineDecay(peak=2.0, decay_steps=8, final=0.5, warmup_steps=3)
    values = [schedule(step).item() for step in range(14)]
    np.testing.assert_allclose(values[:3], [0.5, 1.0, 1.5])
    expected = [0.5 + 1.5 * (1 + math.cos(math.pi * n / 8)) / 2 for n in range(9)]
    np.testing.assert_allclose(values[3:12], expected)
    np.testing.assert_allclose(values[12:], 0.5)
    assert schedule(fg.asarray(5)).dtype == np.float64


def test_exponential_decay():
    schedule = optim.ExponentialDecay(initial=0.4, rate=0.5, decay_steps=4)
    np.testing.assert_allclose([schedule(step).item() for step in (0, 2, 4, 8)], [0.4, 0.4 * 0.5**0.5, 0.2, 0.1])


# Chains and clipping.


def test_clipping_scales_all_leaves_by_one_factor():
    params = {"a": fg.ones(2, dtype="float32"), "b": fg.ones(()), "c": fg.ones(1)}
    grads = {"a": fg.asarray([3.0, 0.0]), "b": fg.asarray(4.0), "c": None}
    clip = optim.ClipByGlobalNorm(2.5)
    clipped, state = clip.update(grads, clip.init(params), params)
    np.testing.assert_allclose(clipped["a"], [1.5, 0.0])
    assert clipped["b"].item() == pytest.approx(2.0)
    assert clipped["c"] is None
    assert state is None
    short = optim.ClipByGlobalNorm(5.1).update(grads, None, params)[0]
    np.testing.assert_array_equal(short["a"], [3.0, 0.0])


def test_clipping_of_zeros_and_of_huge_gradients():
    clip = optim.ClipByGlobalNorm(1.0)
    zeros = fg.zeros(3)
    assert fg.tree.equal(clip.update(zeros, None, zeros)[0], zeros)
    huge = fg.asarray(np.full(4, 1e30, np.float32))
    np.testing.assert_allclose(clip.update(huge, None, huge)[0], 0.5, rtol=1e-6)


def test_a_chain_of_one_is_that_one():
    params, gradients = {"w": fg.ones(3)}, [{"w": g} for g in tensors(3, 3)]
    alone, alone_state = take_steps(optim.Adam(), params, gradients)
    chained, chained_state = take_steps(optim.chain(optim.Adam()), params, gradients)
    assert fg.tree.equal(alone, chained)
    assert fg.tree.equal((alone_state,), chained_state)


def test_chains_nest():
    params, grads = fg.asarray([3.0, 4.0]), fg.asarray([3.0, 4.0])
    nested = optim.chain(optim.chain(optim.ClipByGlobalNorm(1.0)), optim.SGD(1.0))
    np.testing.assert_allclose(take_steps(nested, params, [grads])[0], [2.4, 3.2])


# Complex parameters.


@pytest.mark.parametrize("optimizer", [optim.SGD(0.1, momentum=0.5), optim.Adam(0.05)])
def test_complex_parameters_descend(optimizer):
    target = np.asarray([1.0 + 2.0j, -3.0j])

    def loss(z):
        return fg.sum(fg.square(fg.abs(z - target)))

    z = fg.asarray([0.5 + 0.5j, 1.0 - 1.0j])
    opt_state = optimizer.init(z)
    for _ in range(300):
        z, opt_state = optimizer.step(z, fg.grad(loss)(z), opt_state)
    np.testing.assert_allclose(z, target, atol=1e-2)


def test_adam_of_complex_parameters_uses_the_squared_modulus():
    g = np.asarray([3.0 - 4.0j])
    params, opt_state = take_steps(optim.Adam(0.1), fg.asarray([1.0 + 1.0j]), [fg.asarray(g)])
    np.testing.assert_allclose(opt_state.second_moment, 0.001 * 25.0)
    np.testing.assert_allclose(opt_state.first_moment, 0.1 * np.conj(g))
    np.testing.assert_allclose(params, 1.0 + 1.0j - 0.1 * np.conj(g) / 5.0)


# Transforms of a step.


@pytest.mark.parametrize("maker", MAKERS)
def test_a_step_is_a_graph(maker):
    optimizer = MAKERS[maker](optim.CosineDecay(peak=0.1, decay_steps=10))
    params = {"w": fg.asarray(np.float32([1.0, 2.0])), "b": fg.asarray(0.5)}
    gradients = [{"w": fg.asarray(np.float32([0.5, -1.0])), "b": fg.asarray(2.0)}, {"w": None, "b": fg.asarray(1.0)}]
    opt_state = optimizer.init(params)
    for grads in gradients:
        graph = fg.make_graph(optimizer.step)(params, grads, opt_state)
        staged = graph(params, grads, opt_state)
        params, opt_state = optimizer.step(params, grads, opt_state)
        assert fg.tree.structure(staged) == fg.tree.structure((params, opt_state))
        for ours, theirs in zip(fg.tree.leaves((params, opt_state)), fg.tree.leaves(staged), strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("maker", MAKERS)
def test_init_is_a_graph(maker):
    params = {"w": fg.ones(2, dtype="float32")}
    optimizer = MAKERS[maker](0.1)
    assert fg.tree.equal(fg.make_graph(optimizer.init)(params)(params), optimizer.init(params))


@pytest.mark.parametrize("maker", MAKERS)
def test_gradient_through_steps(maker):
    optimizer = MAKERS[maker](0.1)

    def later_loss(w):
        params, opt_state = {"w": w}, optimizer.init({"w": w})
        for _ in range(3):
            grads = fg.grad(lambda p: fg.sum(fg.sin(p["w"]) * p["w"]))(params)
            params, opt_state = optimizer.step(params, grads, opt_state)
        return fg.sum(params["w"] ** 2)

    w = np.asarray([0.7, -1.3])
    direction, h = np.asarray([0.3, 0.8]), 1e-5
    numeric = (later_loss(fg.asarray(w + h * direction)) - later_loss(fg.asarray(w - h * direction))).item() / (2 * h)
    assert (fg.grad(later_loss)(fg.asarray(w)) @ fg.asarray(direction)).item() == pytest.approx(numeric, rel=1e-6)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, lambda rate: optim.SGD(rate, momentum=0.9)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_by_the_learning_rate(make, dtype):
    def later_loss(rate):
        optimizer = make(rate)
        params, opt_state = fg.asarray([1.0, -2.0], dtype=dtype), optimizer.init(fg.asarray([1.0, -2.0], dtype=dtype))
        for _ in range(2):
            params, opt_state = optimizer.step(params, params, opt_state)
        assert params.dtype == dtype
        return fg.sum(params.astype("float64") ** 2)

    h = 1e-2 if dtype == "float32" else 1e-5
    numeric = (later_loss(0.1 + h) - later_loss(0.1 - h)).item() / (2 * h)
    assert fg.grad(later_loss)(0.1).item() == pytest.approx(numeric, rel=2e-2 if dtype == "float32" else 1e-6)
    assert fg.grad(later_loss)(fg.asarray(0.1)).item() == pytest.approx(numeric, rel=2e-2)


def test_a_traced_optimizer_equals_only_itself():
    def loss(rate):
        optimizer = optim.SGD(rate)
        assert optimizer == optimizer
        assert optimizer != optim.SGD(rate * 1.0)
        return rate * 1.0

    fg.grad(loss)(0.1)
