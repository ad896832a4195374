"""The mistakes that beginners make with modules, each with the message that they see."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

import fgrad as fg
from fgrad import nn, random
from fgrad.errors import DtypeError, FgradError, ShapeError, TreeError
from fgrad.nn import ModuleCallError

X = fg.zeros((8, 6), "float32")
UNPACK = "apply returns the pair (y, state): write `y, state = module.apply(params, state, x)` and pass y on"


def message_of(error_class, call):
    """The first line of the error; the user's own line must stand below it."""
    with pytest.raises(error_class) as caught:
        call()
    assert type(caught.value) is error_class
    first, _, place = str(caught.value).partition("\n")
    assert place.startswith(f"  at {__file__}:")
    return first


@fg.tree.static
@attrs.frozen
class Custom(nn.Module):
    """A module of a user's own, around any function."""

    function: object

    def init(self, key):
        return {}, {}

    def apply(self, params, state, x, *, key=None, training=False):
        return self.function(x)


def apply(module, x, **options):
    params, state = module.init(random.key(0))
    return module.apply(params, state, x, **options)


# A wrong feature size names the layer's path.


def test_wrong_feature_size_of_a_single_layer():
    assert message_of(ShapeError, lambda: apply(nn.Linear(100, 10), fg.zeros((8, 50), "float32"))) == (
        "Linear: the input has 50 features (shape (8, 50)), in_features=100"
    )
    assert message_of(ShapeError, lambda: apply(nn.Linear(100, 10), fg.zeros((), "float32"))) == (
        "Linear: the input has shape (), and needs an axis of in_features=100 features"
    )


def test_wrong_feature_size_at_the_door_of_the_network():
    assert message_of(ShapeError, lambda: apply(nn.MLPResNet(784), fg.zeros((5, 8, 8, 1), "float32"))) == (
        "MLPResNet.layers[1] (Linear): the input has 64 features (shape (5, 64)), in_features=784"
    )


def test_wrong_feature_size_deep_in_the_network():
    branch = nn.Sequential(nn.Linear(100, 50), nn.ReLU())
    model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Sequential(nn.Residual(branch), nn.ReLU()))
    assert message_of(ShapeError, lambda: apply(model, fg.zeros((8, 50), "float32"))) == (
        "Sequential.layers[2].layers[0].f.layers[0] (Linear): the input has 50 features (shape (8, 50)), "
        "in_features=100"
    )


def test_wrong_feature_size_of_the_other_layers():
    for norm in [nn.BatchNorm1d(5), nn.Sequential(nn.BatchNorm1d(5))]:
        place = "BatchNorm1d" if isinstance(norm, nn.BatchNorm1d) else "Sequential.layers[0] (BatchNorm1d)"
        assert message_of(ShapeError, lambda norm=norm: apply(norm, X)) == (
            f"{place}: the input has 6 features, dim=5; it takes shape (batch, 5) and was given (8, 6)"
        )
    assert message_of(ShapeError, lambda: apply(nn.BatchNorm1d(6), X[0])) == (
        "BatchNorm1d: the input has 1 axes; it takes shape (batch, 6) and was given (6,)"
    )
    assert message_of(ShapeError, lambda: apply(nn.BatchNorm1d(6), X[:0], training=True)) == (
        "BatchNorm1d: a batch of shape (0, 6) holds no example, so it has no statistics"
    )
    assert message_of(ShapeError, lambda: apply(nn.LayerNorm1d(5), X)) == (
        "LayerNorm1d: the input has 6 features (shape (8, 6)), dim=5"
    )
    assert message_of(ShapeError, lambda: apply(nn.LayerNorm1d(5), fg.zeros((), "float32"))) == (
        "LayerNorm1d: the input has shape (), dim=5"
    )
    assert message_of(ShapeError, lambda: apply(nn.Flatten(), fg.zeros(()))) == (
        "Flatten: the input has shape (), and needs a first axis that counts the examples"
    )


def test_a_residual_that_changes_the_shape_is_not_broadcast():
    for width in [1, 4]:
        assert message_of(
            ShapeError, lambda width=width: apply(nn.Sequential(nn.Residual(nn.Linear(6, width))), X)
        ) == (
            f"Sequential.layers[0] (Residual): f turns shape (8, 6) into (8, {width}), so x + f(x) is not defined; f "
            "must keep the shape"
        )


def test_parameters_of_another_model():
    params, state = nn.Linear(7, 4).init(random.key(0))
    assert message_of(ShapeError, lambda: nn.Linear(6, 4).apply(params, state, X)) == (
        "Linear: params['weight'] has shape (7, 4); Linear(6, 4) has (6, 4)"
    )
    assert message_of(TreeError, lambda: nn.Linear(6, 4).apply({"w": 1}, state, X)) == (
        "Linear: params has no 'weight'; it has the keys ['w']. Pass the params that this module's init returned"
    )
    without_bias, _ = nn.Linear(6, 4, bias=False).init(random.key(0))
    assert message_of(TreeError, lambda: nn.Sequential(nn.Linear(6, 4)).apply((without_bias,), ({},), X)) == (
        "Sequential.layers[0] (Linear): params has no 'bias'; it has the keys ['weight']. Pass the params that "
        "this module's init returned"
    )
    assert message_of(TreeError, lambda: nn.BatchNorm1d(6).apply(nn.BatchNorm1d(6).init(random.key(0))[0], {}, X)) == (
        "BatchNorm1d: state has no 'running_mean'; it has the keys []. Pass the state that this module's init returned"
    )


@pytest.mark.parametrize(
    ("params", "given"),
    [(({}, {}), "2 entries"), ((), "0 entries"), ({}, "the type dict"), (X, "the type ConcreteTensor")],
)
def test_sequential_with_params_of_another_model(params, given):
    message = message_of(TreeError, lambda: nn.Sequential(nn.ReLU()).apply(params, ({},), X))
    assert message == (
        f"Sequential: params is a tuple with one entry for each of the 1 layers, and the one given has {given}; pass "
        "the params that this module's init returned"
    )


# dtypes.


def test_an_input_of_another_dtype_names_astype():
    images = np.zeros((8, 6))
    for module in [nn.Linear(6, 4), nn.BatchNorm1d(6), nn.LayerNorm1d(6)]:
        assert message_of(DtypeError, lambda module=module: apply(module, images)) == (
            f"{type(module).__name__}: the input has dtype float64 and the parameters have float32; convert the input "
            "with x.astype('float32'), or make the module with dtype='float64'"
        )
    for dtype in ["uint8", "int64", "bool"]:
        assert message_of(DtypeError, lambda dtype=dtype: apply(nn.Linear(6, 4), images.astype(dtype))) == (
            f"Linear: the input has dtype {dtype} and the parameters have float32; convert the input with "
            "x.astype('float32')"
        )
    assert message_of(DtypeError, lambda: apply(nn.MLPResNet(6, dtype="float64"), X)).startswith(
        "MLPResNet.layers[1] (Linear): the input has dtype float32 and the parameters have float64; convert"
    )


def test_an_input_that_is_no_array():
    assert message_of(DtypeError, lambda: apply(nn.Sequential(nn.ReLU()), "text")) == (
        "Sequential: the input is no array: a str is not an array, a number or a nested list of numbers: 'text'"
    )
    assert message_of(ModuleCallError, lambda: apply(nn.ReLU(), {"weight": 1})) == (
        "ReLU: the input is a dict: the order is module.apply(params, state, x)"
    )


# Calls.


@pytest.mark.parametrize("module", [nn.Linear(6, 4), nn.ReLU(), nn.MLPResNet(6), nn.Residual(nn.ReLU())], ids=type)
def test_apply_without_state(module):
    params, _ = module.init(random.key(0))
    expected = (
        f"{type(module).__name__}: apply takes params, state and the input, and was called without state: write `y, "
        "state = module.apply(params, state, x)`; state is what `params, state = module.init(key)` returned ({} for a "
        "module that carries none)"
    )
    assert message_of(ModuleCallError, lambda: module.apply(params, X)) == expected
    assert message_of(ModuleCallError, lambda: module.apply(params, x=X)) == expected
    assert message_of(ModuleCallError, lambda: module.apply(params, X, key=random.key(0), training=True)) == expected


def test_applys_pair_as_the_input_of_the_next_layer():
    first, second = nn.Linear(6, 4), nn.Linear(4, 2)
    hidden = apply(first, X)
    assert message_of(ModuleCallError, lambda: apply(second, hidden)) == f"Linear: the input is a tuple; {UNPACK}"
    assert message_of(ModuleCallError, lambda: apply(nn.Sequential(second), hidden)) == (
        f"Sequential: the input is a tuple; {UNPACK}"
    )


@pytest.mark.parametrize("loss", [nn.softmax_cross_entropy, nn.SoftmaxLoss()])
def test_applys_pair_as_the_logits(loss):
    logits = apply(nn.Linear(6, 4), X)
    labels = np.zeros(8, int)
    assert message_of(ModuleCallError, lambda: loss(logits, labels)) == (
        f"softmax_cross_entropy: the logits are a tuple; {UNPACK}"
    )


def test_calling_a_module():
    expected = (
        "Linear(...)(x): a module holds no parameters, so it cannot be called on an input; write `params, state = "
        "module.init(key)` once, then `y, state = module.apply(params, state, x)`"
    )
    assert message_of(ModuleCallError, lambda: nn.Linear(6, 4)(X)) == expected


@pytest.mark.parametrize("p", [0.5, 1e-3])
def test_dropout_without_a_key_in_training(p):
    text = (
        "it draws random numbers while training and was given no key; write `module.apply(params, state, x, key=key, "
        "training=True)`, with a new key for every step"
    )
    assert message_of(ModuleCallError, lambda: apply(nn.Dropout(p), X, training=True)) == f"Dropout: {text}"
    model = nn.MLPResNet(6, drop_prob=p)
    assert message_of(ModuleCallError, lambda: apply(model, X, training=True)) == (
        f"MLPResNet.layers[3].layers[0].f.layers[3] (Dropout): {text}"
    )
    apply(model, X)
    apply(nn.MLPResNet(6, drop_prob=0.0), X, training=True)


def test_modules_errors_are_type_errors_of_fgrad():
    assert issubclass(ModuleCallError, TypeError)
    assert issubclass(ModuleCallError, FgradError)


# Errors of modules of one's own.


@pytest.mark.parametrize(
    ("returned", "what"), [(X, "ConcreteTensor"), ((X, {}, {}), "tuple"), ([X, {}], "list"), (None, "NoneType")]
)
def test_a_module_that_returns_no_pair(returned, what):
    # A Tensor of two rows would unpack without a word.
    model = nn.Sequential(nn.ReLU(), Custom(lambda x: returned))
    with pytest.raises(ModuleCallError) as caught:
        apply(model, X)
    assert str(caught.value).startswith(
        f"Sequential.layers[1] (Custom): apply must return the pair (y, state), and returned a {what}\n"
    )


def test_foreign_errors_keep_their_class_and_message_and_get_a_note():
    error = KeyError("mine")

    def fail(x):
        raise error

    inner = nn.Sequential(nn.ReLU(), Custom(fail))
    with pytest.raises(KeyError) as caught:
        apply(nn.Sequential(nn.ReLU(), nn.Residual(inner)), X)
    assert caught.value is error
    assert error.args == ("mine",)
    assert error.__notes__ == ["in Sequential.layers[1].f.layers[1] (Custom)"]


def test_foreign_errors_keep_their_own_notes():
    def fail(x):
        error = ValueError("mine")
        error.add_note("first")
        raise error

    with pytest.raises(ValueError, match="mine") as caught:
        apply(nn.Sequential(nn.Sequential(Custom(fail))), X)
    assert caught.value.__notes__ == ["first", "in Sequential.layers[0].layers[0] (Custom)"]


def test_errors_of_operations_get_the_path_in_front():
    model = nn.Sequential(nn.ReLU(), Custom(lambda x: (x @ x, {})))
    with pytest.raises(ShapeError) as caught:
        apply(model, X)
    assert str(caught.value).startswith("Sequential.layers[1] (Custom): [matmul] on float32[8,6] and float32[8,6]: ")


# Hyper-parameters.


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Linear(0, 3), ValueError, "Linear: in_features is at least 1, not 0"),
        (lambda: nn.Linear(3, -1), ValueError, "Linear: out_features is at least 1, not -1"),
        (lambda: nn.Linear(2.5, 3), TypeError, "Linear: in_features is an integer, not 2.5"),
        (lambda: nn.Linear(3, True), TypeError, "Linear: out_features is an integer, not True"),
        (
            lambda: nn.Linear(3, 4, dtype="int64"),
            DtypeError,
            "Linear: parameters have a floating-point dtype, not int64",
        ),
        (lambda: nn.BatchNorm1d("5"), TypeError, "BatchNorm1d: dim is an integer, not '5'"),
        (lambda: nn.BatchNorm1d(5, eps=-1e-5), ValueError, "BatchNorm1d: eps is at least 0, not -1e-05"),
        (lambda: nn.BatchNorm1d(5, momentum=1.5), ValueError, "BatchNorm1d: momentum is between 0 and 1, not 1.5"),
        (lambda: nn.BatchNorm1d(5, momentum=None), TypeError, "BatchNorm1d: momentum is a number, not None"),
        (lambda: nn.LayerNorm1d(5, eps=np.nan), ValueError, "LayerNorm1d: eps is at least 0, not nan"),
        (lambda: nn.Dropout(-0.1), ValueError, "Dropout: p is between 0 and 1, not -0.1"),
        (lambda: nn.Dropout(1.1), ValueError, "Dropout: p is between 0 and 1, not 1.1"),
        (lambda: nn.Dropout(np.nan), ValueError, "Dropout: p is between 0 and 1, not nan"),
        (lambda: nn.Dropout("0.5"), TypeError, "Dropout: p is a number, not '0.5'"),
        (lambda: nn.MLPResNet(6, drop_prob=2), ValueError, "MLPResNet: drop_prob is between 0 and 1, not 2.0"),
        (lambda: nn.MLPResNet(6, num_blocks=-1), ValueError, "MLPResNet: num_blocks is at least 0, not -1"),
        (lambda: nn.ResidualBlock(6, 0), ValueError, "ResidualBlock: hidden_dim is at least 1, not 0"),
    ],
)
def test_hyper_parameters_out_of_range(make, error, message):
    assert message_of(error, make) == message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU),
            "Sequential: layer 1 is the class ReLU: write ReLU(...), which makes a module of it",
        ),
        (
            lambda: nn.Sequential([nn.Linear(6, 4)]),
            "Sequential: layer 0 is a list: Sequential takes its modules one by one, Sequential(*layers)",
        ),
        (
            lambda: nn.Sequential(fg.relu),
            "Sequential: layer 0 is the function relu: a module has init and apply (nn.ReLU() is that of fg.relu)",
        ),
        (lambda: nn.Sequential(None), "Sequential: layer 0 is a NoneType, which has no init and apply"),
        (
            lambda: nn.Residual(nn.ReLU),
            "Residual: f is the class ReLU: write ReLU(...), which makes a module of it",
        ),
        (
            lambda: nn.MLPResNet(6, norm=lambda dim: fg.relu),
            "Sequential: layer 1 is the function relu: a module has init and apply (nn.ReLU() is that of fg.relu)",
        ),
    ],
)
def test_what_is_no_module(make, message):
    assert message_of(ModuleCallError, make) == message


def test_a_module_must_define_both_functions():
    @attrs.frozen
    class Half(nn.Module):
        def init(self, key):
            return {}, {}

    with pytest.raises(TypeError, match="abstract"):
        Half()
