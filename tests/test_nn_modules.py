"""Modules: their formulas against NumPy, derivatives against differences, structure, modes, dtypes and graphs."""

from __future__ import annotations

import pickle
from functools import partial

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgrad as fg
from fgrad import nn, random
from fgrad.testing import check_grads

PARAMETERLESS = [nn.Flatten(), nn.ReLU(), nn.Identity(), nn.LogSumExp(axis=1), nn.Dropout(0.25)]
DETERMINISTIC = [
    nn.Linear(6, 4, dtype="float64"),
    nn.Linear(6, 4, bias=False, dtype="float64"),
    nn.LayerNorm1d(6, dtype="float64"),
    nn.BatchNorm1d(6, dtype="float64"),
    nn.Flatten(),
    nn.Identity(),
    nn.LogSumExp(axis=-1),
    nn.Residual(nn.Linear(6, 6, dtype="float64")),
    nn.Sequential(
        nn.Linear(6, 3, dtype="float64"), nn.LayerNorm1d(3, dtype="float64"), nn.Linear(3, 2, dtype="float64")
    ),
    nn.MLPResNet(6, hidden_dim=4, num_blocks=1, num_classes=3, drop_prob=0.0, dtype="float64"),
]


def normal(*shape, seed=0, dtype="float64"):
    return fg.asarray(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def randomised(tree, seed=0):
    """The tree with random numbers of its shapes: fresh biases and norms are zeros and ones, which hide mistakes."""
    rng = np.random.default_rng(seed)
    return fg.tree.map(lambda leaf: fg.asarray(rng.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype)), tree)


def identify(module):
    return repr(module).replace("\n", "").replace(" ", "")


# Formulas.


def test_linear():
    layer = nn.Linear(3, 2)
    params, state = layer.init(random.key(0))
    x = normal(4, 3, dtype="float32")
    y, after = layer.apply(params, state, x)
    expected = np.asarray(x) @ np.asarray(params["weight"]) + np.asarray(params["bias"])
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert after is state
    assert params["weight"].shape == (3, 2)
    assert params["bias"].shape == (2,)


def test_linear_without_bias_and_with_any_leading_axes():
    layer = nn.Linear(3, 2, bias=False, dtype="float64")
    params, state = layer.init(random.key(0))
    assert set(params) == {"weight"}
    for shape in [(3,), (5, 3), (2, 5, 3), (0, 3)]:
        x = normal(*shape)
        y, _ = layer.apply(params, state, x)
        np.testing.assert_allclose(y, np.asarray(x) @ np.asarray(params["weight"]), rtol=1e-12)
        assert y.shape == (*shape[:-1], 2)


def test_flatten():
    for shape, flat in [
        ((5, 8, 8, 1), (5, 64)),
        ((5, 3), (5, 3)),
        ((5,), (5, 1)),
        ((0, 3, 2), (0, 6)),
        ((3, 0, 2), (3, 0)),
    ]:
        x = normal(*shape)
        y, _ = nn.Flatten().apply({}, {}, x)
        assert y.shape == flat
        np.testing.assert_array_equal(y, np.asarray(x).reshape(flat))


def test_relu_identity_logsumexp():
    x = normal(4, 5)
    np.testing.assert_array_equal(nn.ReLU().apply({}, {}, x)[0], np.maximum(x, 0))
    assert nn.Identity().apply({}, {}, x)[0] is x
    for axis in [None, 0, 1, -1, (0, 1), (-1,)]:
        y, _ = nn.LogSumExp(axis).apply({}, {}, x)
        np.testing.assert_allclose(y, np.log(np.exp(np.asarray(x)).sum(axis)), rtol=1e-12)
    assert nn.LogSumExp([0, 1]) == nn.LogSumExp((0, 1))


def test_residual_adds_the_input_and_has_its_childs_params_and_state():
    layer = nn.Linear(3, 3)
    params, state = nn.Residual(layer).init(random.key(0))
    assert fg.tree.equal((params, state), layer.init(random.key(0)))
    x = normal(4, 3, dtype="float32")
    y, after = nn.Residual(layer).apply(params, state, x)
    np.testing.assert_array_equal(y, np.asarray(x + layer.apply(params, state, x)[0]))
    assert after is state


def test_sequential_applies_one_after_the_other():
    first, second = nn.Linear(3, 5), nn.Linear(5, 2)
    model = nn.Sequential(first, nn.ReLU(), second)
    params, state = model.init(random.key(0))
    assert type(params) is tuple
    assert fg.tree.structure(params) == fg.tree.structure(({"weight": 0, "bias": 0}, {}, {"weight": 0, "bias": 0}))
    assert state == ({}, {}, {})
    x = normal(4, 3, dtype="float32")
    y, after = model.apply(params, state, x)
    hidden = fg.relu(first.apply(params[0], {}, x)[0])
    np.testing.assert_array_equal(y, np.asarray(second.apply(params[2], {}, hidden)[0]))
    assert after is state


def test_empty_sequential_is_the_identity():
    x = normal(2, 3)
    assert nn.Sequential().init(random.key(0)) == ((), ())
    y, state = nn.Sequential().apply((), (), x)
    assert y is x
    assert state == ()


def test_sequential_derives_its_childrens_keys_by_fold_in():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    params, _ = model.init(random.key(0))
    assert fg.tree.equal(params[0], model.layers[0].init(random.fold_in(random.key(0), 0))[0])
    assert fg.tree.equal(params[2], model.layers[2].init(random.fold_in(random.key(0), 2))[0])

    dropout = nn.Dropout(0.5)
    x = fg.ones((8, 8))
    y, _ = nn.Sequential(nn.Identity(), dropout).apply(({}, {}), ({}, {}), x, key=random.key(0), training=True)
    np.testing.assert_array_equal(y, dropout.apply({}, {}, x, key=random.fold_in(random.key(0), 1), training=True)[0])
    twice, _ = nn.Sequential(dropout, dropout).apply(({}, {}), ({}, {}), x, key=random.key(0), training=True)
    kept = 1 - np.mean(np.asarray(twice) == 0)
    assert 0.05 < kept < 0.45  # both masks independent: 1 / 4; one mask twice: 1 / 2
    residual, _ = nn.Residual(dropout).apply({}, {}, x, key=random.key(0), training=True)
    np.testing.assert_array_equal(
        residual - x, np.asarray(dropout.apply({}, {}, x, key=random.key(0), training=True)[0])
    )


def numpy_batch_norm(x, weight, bias, eps):
    mean = x.mean(axis=0)
    var = ((x - mean) ** 2).mean(axis=0)
    return (x - mean) / np.sqrt(var + eps) * weight + bias


@pytest.mark.parametrize("eps", [1e-5, 0.0, 0.3])
def test_batch_norm_in_training_against_numpy(eps):
    layer = nn.BatchNorm1d(5, eps=eps, dtype="float64")
    params, state = layer.init(random.key(0))
    assert fg.tree.equal(params, {"weight": fg.ones(5), "bias": fg.zeros(5)})
    assert fg.tree.equal(state, {"running_mean": fg.zeros(5), "running_var": fg.ones(5)})
    params = randomised(params)
    x = normal(7, 5) * 3.0 + 2.0
    y, _ = layer.apply(params, state, x, training=True)
    expected = numpy_batch_norm(np.asarray(x), np.asarray(params["weight"]), np.asarray(params["bias"]), eps)
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)


def test_running_statistics_against_numbers_by_hand():
    layer = nn.BatchNorm1d(2, momentum=0.1, dtype="float64")
    params, state = layer.init(random.key(0))
    # Batch 1: means 2 and 10, biased variances 1 and 16. Batch 2: means 5 and 0, biased variances 4 and 0.
    _, state = layer.apply(params, state, fg.asarray([[1.0, 6.0], [3.0, 14.0]]), training=True)
    np.testing.assert_allclose(state["running_mean"], [0.2, 1.0], rtol=1e-14)
    np.testing.assert_allclose(state["running_var"], [1.0, 2.5], rtol=1e-14)
    _, state = layer.apply(params, state, fg.asarray([[3.0, 0.0], [7.0, 0.0]]), training=True)
    np.testing.assert_allclose(state["running_mean"], [0.68, 0.9], rtol=1e-14)
    np.testing.assert_allclose(state["running_var"], [1.3, 2.25], rtol=1e-14)

    prediction, after = layer.apply(params, state, fg.asarray([[0.68, 0.9], [1.68, -0.1]]))
    assert after is state
    expected = np.array([[0.0, 0.0], [1.0, -1.0]]) / np.sqrt(np.array([1.3, 2.25]) + 1e-5)
    np.testing.assert_allclose(prediction, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("momentum", "expected"), [(0.0, 0.0), (1.0, 2.0), (0.25, 0.5)])
def test_momentum_weighs_the_newest_batch(momentum, expected):
    layer = nn.BatchNorm1d(1, momentum=momentum, dtype="float64")
    params, state = layer.init(random.key(0))
    _, state = layer.apply(params, state, fg.asarray([[1.0], [3.0]]), training=True)
    np.testing.assert_allclose(state["running_mean"], [expected], rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_of_one_gives_the_bias_with_finite_gradients(dtype):
    layer = nn.BatchNorm1d(4, dtype=dtype)
    params, state = layer.init(random.key(0))
    params = randomised(params)
    x = normal(1, 4, dtype=dtype) * 100

    def loss(params, x):
        y, after = layer.apply(params, state, x, training=True)
        return fg.sum(y * y), (y, after)

    (by_params, by_x), (y, after) = fg.grad(loss, argnums=(0, 1), has_aux=True)(params, x)
    np.testing.assert_array_equal(y[0], params["bias"])
    np.testing.assert_allclose(after["running_var"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(after["running_mean"], 0.1 * np.asarray(x[0]), rtol=1e-6)
    np.testing.assert_array_equal(by_x, np.zeros((1, 4)))
    np.testing.assert_array_equal(by_params["weight"], np.zeros(4))
    np.testing.assert_allclose(by_params["bias"], 2 * np.asarray(params["bias"]), rtol=1e-6)


def test_batch_norm_of_an_empty_prediction_batch():
    layer = nn.BatchNorm1d(3)
    params, state = layer.init(random.key(0))
    assert layer.apply(params, state, fg.zeros((0, 3), "float32"))[0].shape == (0, 3)


def test_statistics_appear_in_no_gradient():
    layer = nn.BatchNorm1d(3, dtype="float64")
    params, state = layer.init(random.key(0))
    x = normal(5, 3)

    def carried(x, state, training):
        after = layer.apply(params, state, x, training=training)[1]
        return fg.sum(after["running_mean"] * after["running_var"])

    np.testing.assert_array_equal(fg.grad(carried)(x, state, True), np.zeros((5, 3)))
    zeros = fg.tree.map(lambda leaf: np.zeros(leaf.shape), state)
    assert fg.tree.all(lambda leaf: not np.asarray(leaf).any(), fg.grad(carried, argnums=1)(x, state, True))

    def predicted(state):
        return fg.sum(layer.apply(params, state, x)[0] ** 2)

    gradient = fg.grad(predicted)(state)
    for name, zero in zeros.items():
        np.testing.assert_array_equal(gradient[name], zero)
    # The new state is concrete inside of the function that is differentiated, so it can leave it as an auxiliary value.
    (_, after), _ = fg.value_and_grad(
        lambda p: (fg.sum(p["weight"]), layer.apply(p, state, x, training=True)[1]), has_aux=True
    )(params)
    assert fg.tree.equal(after, layer.apply(params, state, x, training=True)[1])


def test_layer_norm_against_numpy():
    layer = nn.LayerNorm1d(5, dtype="float64")
    params, state = layer.init(random.key(0))
    assert state == {}
    assert fg.tree.equal(params, {"weight": fg.ones(5), "bias": fg.zeros(5)})
    params = randomised(params)
    for shape in [(5,), (7, 5), (2, 3, 5), (0, 5)]:
        x = normal(*shape) * 3.0 + 2.0
        rows = np.asarray(x)
        centred = rows - rows.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        expected = centred / scale * np.asarray(params["weight"]) + np.asarray(params["bias"])
        for training in [False, True]:
            y, after = layer.apply(params, state, x, training=training)
            np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
            assert after is state


# Dropout.


@given(p=st.floats(0.05, 0.95), seed=st.integers(0, 1000))
def test_dropout_keeps_and_scales(p, seed):
    x = fg.ones((100, 100))
    y = np.asarray(nn.Dropout(p).apply({}, {}, x, key=random.key(seed), training=True)[0])
    values = np.unique(y)
    assert values.size == 2
    assert values[0] == 0.0
    assert abs(values[1] - 1 / (1 - p)) < 1e-3 / (1 - p) ** 2
    kept = np.mean(y != 0)
    assert abs(kept - (1 - p)) < 6 * np.sqrt(p * (1 - p) / y.size) + 1e-4
    # Unbiased for the probability that the mask really has: kept elements times the scale, over all, is one on average.
    assert abs(kept * values[1] - 1) < 6 * np.sqrt(p / (1 - p) / y.size)


def test_dropout_gradient_is_the_mask_times_the_scale():
    x = normal(20, 30)

    def drop(x):
        return nn.Dropout(0.3).apply({}, {}, x, key=random.key(0), training=True)[0]

    scale = np.asarray(drop(fg.ones((20, 30))))
    np.testing.assert_allclose(fg.grad(lambda x: fg.sum(drop(x)))(x), scale, rtol=1e-15)
    np.testing.assert_allclose(drop(x), np.asarray(x) * scale, rtol=1e-15)
    mask, probability = random.dropout_mask(random.key(0), 0.7, (20, 30))
    np.testing.assert_allclose(scale, np.asarray(mask) / probability, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dropout_keeps_the_dtype(dtype):
    x = fg.ones((4, 4), dtype)
    for p in [0, 0.3, 1]:
        assert nn.Dropout(p).apply({}, {}, x, key=random.key(0), training=True)[0].dtype == dtype


def test_dropout_at_the_ends():
    x = fg.asarray([1.0, np.inf, -2.0])
    assert nn.Dropout(0.0).apply({}, {}, x, training=True)[0] is x
    nothing = nn.Dropout(1.0)
    np.testing.assert_array_equal(nothing.apply({}, {}, x, key=random.key(0), training=True)[0], np.zeros(3))
    np.testing.assert_array_equal(
        fg.grad(lambda x: fg.sum(nothing.apply({}, {}, x, key=random.key(0), training=True)[0] * x))(
            fg.asarray([1.0, 2.0])
        ),
        np.zeros(2),
    )
    for p in [1e-9, 1 - 1e-9, np.nextafter(1.0, 0.0)]:
        y = np.asarray(nn.Dropout(p).apply({}, {}, fg.ones(100), key=random.key(0), training=True)[0])
        assert np.isfinite(y).all()


def test_dropout_is_the_identity_when_not_training():
    x = normal(3, 4)
    for p in [0.0, 0.5, 1.0]:
        y, state = nn.Dropout(p).apply({}, {}, x)
        assert y is x
        assert state == {}


def test_dropout_is_the_keys_doing():
    x = fg.ones(200)
    layer = nn.Dropout(0.5)
    first, again, other = (
        np.asarray(layer.apply({}, {}, x, key=random.key(seed), training=True)[0]) for seed in [1, 1, 2]
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


# Whole models.


def expected_composition(dim, hidden, blocks, classes, norm, p):
    def block(width):
        branch = nn.Sequential(
            nn.Linear(width, width // 2),
            norm(width // 2),
            nn.ReLU(),
            nn.Dropout(p),
            nn.Linear(width // 2, width),
            norm(width),
        )
        return nn.Sequential(nn.Residual(branch), nn.ReLU())

    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(dim, hidden),
        nn.ReLU(),
        *[block(hidden) for _ in range(blocks)],
        nn.Linear(hidden, classes),
    )


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.LayerNorm1d, lambda dim: nn.BatchNorm1d(dim, momentum=0.5)])
def test_mlp_res_net_is_the_composition(norm):
    model = nn.MLPResNet(12, hidden_dim=8, num_blocks=2, num_classes=3, norm=norm, drop_prob=0.25)
    plain = expected_composition(12, 8, 2, 3, norm, 0.25)
    params, state = model.init(random.key(0))
    assert isinstance(model, nn.Sequential)
    assert fg.tree.equal((params, state), plain.init(random.key(0)))
    x = normal(5, 2, 3, 2, dtype="float32")
    for training in [False, True]:
        result = model.apply(params, state, x, key=random.key(1), training=training)
        assert fg.tree.equal(result, plain.apply(params, state, x, key=random.key(1), training=training))
        assert result[0].shape == (5, 3)
        assert fg.tree.structure(result[1]) == fg.tree.structure(state)


def test_mlp_res_net_by_default():
    model = nn.MLPResNet(784)
    assert (model.hidden_dim, model.num_blocks, model.num_classes, model.norm, model.drop_prob) == (
        100,
        3,
        10,
        nn.BatchNorm1d,
        0.1,
    )
    params, state = model.init(random.key(0))
    # 784 * 100 + 100, three blocks of 2 * 100 * 50 + 150 and two norms, 100 * 10 + 10.
    count = sum(leaf.size for leaf in fg.tree.leaves(params))
    assert count == 78_500 + 3 * (10_150 + 300) + 1_010
    assert sum(leaf.size for leaf in fg.tree.leaves(state)) == 3 * 300
    assert len(params) == len(state) == 7


def test_residual_block_is_the_composition():
    block = nn.ResidualBlock(6, 4)
    residual, relu = block.layers
    assert relu == nn.ReLU()
    assert residual.f == nn.Sequential(
        nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.1), nn.Linear(4, 6), nn.BatchNorm1d(6)
    )
    model = nn.MLPResNet(6, hidden_dim=5, num_blocks=1)
    assert model.layers[3] == nn.ResidualBlock(5, 2)
    assert nn.MLPResNet(6, num_blocks=0).layers == (nn.Flatten(), nn.Linear(6, 100), nn.ReLU(), nn.Linear(100, 10))


def test_models_differentiate_and_carry_state():
    model = nn.MLPResNet(4, hidden_dim=6, num_blocks=1, num_classes=3)
    params, state = model.init(random.key(0))
    x, y = normal(10, 4, dtype="float32"), fg.asarray(np.arange(10) % 3)

    def loss_fn(params):
        logits, after = model.apply(params, state, x, key=random.key(1), training=True)
        return nn.SoftmaxLoss()(logits, y), after

    (loss, after), grads = fg.value_and_grad(loss_fn, has_aux=True)(params)
    assert loss.dtype == np.float32
    assert fg.tree.structure(grads) == fg.tree.structure(params)
    assert fg.tree.structure(after) == fg.tree.structure(state)
    assert fg.tree.all(lambda leaf: leaf.dtype == np.float32 and bool(np.isfinite(leaf).all()), (grads, after))
    assert any(np.asarray(leaf).any() for leaf in fg.tree.leaves(grads))


# Every module.


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("module", DETERMINISTIC, ids=identify)
def test_derivatives_against_differences(module, training):
    params, state = module.init(random.key(0))
    params, state = randomised(params), randomised(state, seed=1)
    check_grads(lambda params, x: module.apply(params, state, x, training=training)[0], (params, normal(5, 6)), order=2)


def test_derivative_with_dropout_against_differences():
    model = nn.Sequential(nn.Linear(6, 8, dtype="float64"), nn.Dropout(0.5), nn.Linear(8, 2, dtype="float64"))
    params, state = model.init(random.key(0))
    check_grads(
        lambda params, x: model.apply(params, state, x, key=random.key(0), training=True)[0], (params, normal(5, 6))
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("module", DETERMINISTIC, ids=identify)
def test_graphs_of_apply(module, training):
    params, state = module.init(random.key(0))
    state = randomised(state)
    x = normal(5, 6)

    def call(params, state, x):
        return module.apply(params, state, x, training=training)

    graph = fg.make_graph(call)(params, state, x)
    y, after = graph(params, state, x)
    expected, expected_after = call(params, state, x)
    np.testing.assert_array_equal(y, expected)
    assert fg.tree.equal(after, expected_after)


def test_graph_of_a_training_step_with_dropout():
    model = nn.MLPResNet(6, hidden_dim=4, num_blocks=1, num_classes=3, drop_prob=0.5)
    params, state = model.init(random.key(0))
    x, key = normal(5, 6, dtype="float32"), random.key(7)

    def call(params, x, key):
        return model.apply(params, state, x, key=key, training=True)[0]

    graph = fg.make_graph(call)(params, x, key)
    np.testing.assert_array_equal(graph(params, x, key), call(params, x, random.key(7)))
    other = random.key(8)
    assert not np.array_equal(graph(params, x, other), graph(params, x, key))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "make",
    [
        partial(nn.Linear, 6, 4),
        partial(nn.BatchNorm1d, 6),
        partial(nn.LayerNorm1d, 6),
        partial(nn.ResidualBlock, 6, 4),
        partial(nn.MLPResNet, 6, hidden_dim=4),
        partial(nn.MLPResNet, 6, hidden_dim=4, norm=nn.LayerNorm1d),
    ],
)
def test_dtype_goes_through(make, dtype):
    module = make(dtype=dtype)
    params, state = module.init(random.key(0))
    x = normal(5, 6, dtype=dtype)
    y, after = module.apply(params, state, x, key=random.key(0), training=True)
    assert fg.tree.all(lambda leaf: leaf.dtype == dtype, (params, state, y, after))
    assert fg.tree.all(lambda leaf: leaf.dtype == np.float32, make().init(random.key(0)))


def test_converted_parameters_keep_the_dtype_of_the_state():
    layer = nn.BatchNorm1d(3)
    params, state = layer.init(random.key(0))
    y, after = layer.apply(fg.tree.map(lambda leaf: leaf.astype("float64"), params), state, normal(4, 3), training=True)
    assert y.dtype == np.float64
    assert fg.tree.all(lambda leaf: leaf.dtype == np.float32, after)


@pytest.mark.parametrize("module", [*DETERMINISTIC, *PARAMETERLESS], ids=identify)
def test_modules_are_static_hashable_records(module):
    assert fg.tree.leaves(module) == []
    copy = pickle.loads(pickle.dumps(module))
    assert copy == module
    assert hash(copy) == hash(module)
    assert copy != nn.Linear(1, 1)
    assert not hasattr(module, "__dict__")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        module.p = 3
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        module.layers = ()


@pytest.mark.parametrize("module", PARAMETERLESS, ids=identify)
def test_a_module_without_params_or_state_has_empty_dicts(module):
    assert module.init(random.key(0)) == ({}, {})


def test_arrays_and_lists_are_inputs_too():
    layer = nn.Linear(2, 2, dtype="float64")
    params, state = layer.init(random.key(0))
    expected = layer.apply(params, state, fg.asarray([[1.0, 2.0]]))[0]
    for x in [np.array([[1.0, 2.0]]), [[1.0, 2.0]]]:
        y, _ = layer.apply(params, state, x)
        assert isinstance(y, fg.Tensor)
        np.testing.assert_array_equal(y, expected)


def test_representations():
    assert repr(nn.Linear(64, 10)) == "Linear(64, 10)"
    assert repr(nn.Linear(64, 10, bias=False, dtype="float64")) == "Linear(64, 10, bias=False, dtype='float64')"
    assert repr(nn.BatchNorm1d(5, momentum=0.2)) == "BatchNorm1d(5, momentum=0.2)"
    assert repr(nn.Dropout()) == "Dropout()"
    assert repr(nn.Dropout(0.1)) == "Dropout(p=0.1)"
    assert repr(nn.LogSumExp(1)) == "LogSumExp(axis=1)"
    assert repr(nn.Residual(nn.ReLU())) == "Residual(ReLU())"
    assert repr(nn.Sequential()) == "Sequential()"
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.Residual(nn.Sequential(nn.ReLU())))) == (
        "Sequential(\n    Linear(2, 3),\n    Residual(Sequential(\n        ReLU(),\n    )),\n)"
    )
    assert repr(nn.MLPResNet(64)) == "MLPResNet(64)"
    assert repr(nn.MLPResNet(64, hidden_dim=32, norm=nn.LayerNorm1d, dtype=np.float64)) == (
        "MLPResNet(64, hidden_dim=32, norm=LayerNorm1d, dtype='float64')"
    )
    assert repr(nn.ResidualBlock(8, 4, drop_prob=0.2)) == "ResidualBlock(8, 4, drop_prob=0.2)"
    assert repr(nn.SoftmaxLoss()) == "SoftmaxLoss()"


@pytest.mark.parametrize("module", [*DETERMINISTIC, *PARAMETERLESS], ids=identify)
def test_representations_make_the_module_again(module):
    assert eval(repr(module), vars(nn).copy()) == module


def test_numbers_of_numpy_are_hyper_parameters_too():
    layer = nn.Linear(np.int64(3), np.uint8(2))
    assert repr(layer) == "Linear(3, 2)"
    norm = nn.BatchNorm1d(3, eps=np.float64(1e-3), momentum=np.float32(0.5))
    params, state = norm.init(random.key(0))
    y, after = norm.apply(params, state, normal(4, 3, dtype="float32"), training=True)
    # A strong float64 among the hyper-parameters would have widened these.
    assert fg.tree.all(lambda leaf: leaf.dtype == np.float32, (y, after))


def test_evolve_makes_another_model():
    model = attrs.evolve(nn.MLPResNet(6), hidden_dim=4)
    assert model == nn.MLPResNet(6, hidden_dim=4)
    assert model.layers[1] == nn.Linear(6, 4)
