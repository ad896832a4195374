"""training: epochs against a loop written by hand, keys, evaluation, and what happens when a loss is not finite."""

import math
import pickle

import attrs
import numpy as np
import pytest

import fgrad as fg
from fgrad import data, nn, optim, random, training
from fgrad.errors import TreeError


@pytest.fixture(scope="module")
def problem():
    """Three classes of points in the plane, 50 of them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50).astype(np.uint8)
    x = (rng.normal(size=(50, 2)) + np.asarray([[0, 3], [3, 0], [-3, -3]])[labels]).astype(np.float32)
    return data.ArrayDataset(x, labels)


MODEL = nn.MLPResNet(2, hidden_dim=8, num_blocks=1, num_classes=3)


def start(optimizer, model=MODEL):
    return training.create_train_state(model, optimizer, random.key(0))


def shuffled(dataset):
    return data.DataLoader(dataset, batch_size=8, shuffle=True)


def test_create_train_state():
    optimizer = optim.Adam()
    train_state = start(optimizer)
    params, state = MODEL.init(random.key(0))
    assert fg.tree.equal(train_state, training.TrainState(params, state, optimizer.init(params)))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        train_state.params = {}


def test_an_epoch_is_a_loop_of_steps(problem):
    """Without dropout and shuffling, an epoch is what anyone would write."""
    model = nn.MLPResNet(2, hidden_dim=8, num_blocks=1, num_classes=3, drop_prob=0.0)
    optimizer, loader = optim.Adam(0.01, weight_decay=0.01), data.DataLoader(problem, batch_size=8)
    before = start(optimizer, model)
    params, state, opt_state = before.params, before.state, before.opt_state
    losses, wrong = [], 0
    for x, y in loader:

        def loss_of(params, state=state, x=x, y=y):
            logits, new_state = model.apply(params, state, x, key=random.key(9), training=True)
            return nn.SoftmaxLoss()(logits, y), (logits, new_state)

        (loss, (logits, state)), grads = fg.value_and_grad(loss_of, has_aux=True)(params)
        params, opt_state = optimizer.step(params, grads, opt_state)
        losses.append(loss.item())
        wrong += int(np.sum(np.argmax(np.asarray(logits), 1) != np.asarray(y)))
    train_state, result = training.epoch(loader, model, before, optimizer, key=random.key(1))
    assert fg.tree.equal(train_state, training.TrainState(params, state, opt_state))
    assert result == training.EpochResult(pytest.approx(wrong / 50), pytest.approx(np.mean(losses)))
    assert len(losses) == 7  # the last batch is short, and counts as one


def test_evaluation_by_hand(problem):
    optimizer = optim.Adam(0.01)
    train_state, _ = training.epoch(shuffled(problem), MODEL, start(optimizer), optimizer, key=random.key(1))
    same, result = training.epoch(data.DataLoader(problem, batch_size=8), MODEL, train_state)
    assert same is train_state
    x, y = problem.arrays
    logits, state = MODEL.apply(train_state.params, train_state.state, fg.asarray(x))
    assert fg.tree.equal(state, train_state.state)
    assert result.error == pytest.approx(np.mean(np.argmax(np.asarray(logits), 1) != y))
    losses = np.asarray(nn.softmax_cross_entropy(logits, fg.asarray(y)))
    assert result.loss == pytest.approx(np.mean([losses[i : i + 8].mean() for i in range(0, 50, 8)]), rel=1e-5)


def test_evaluation_needs_neither_optimizer_state_nor_key(problem):
    params, state = MODEL.init(random.key(0))
    train_state = training.TrainState(params, state)
    loader = data.DataLoader(problem, batch_size=50)
    assert training.epoch(loader, MODEL, train_state)[0] is train_state
    # A loader that shuffles needs one, and its own error says so.
    with pytest.raises(TypeError, match=r"loader\.epoch\(random\.fold_in\(key, epoch\)\)"):
        training.epoch(shuffled(problem), MODEL, train_state)
    _, ordered = training.epoch(loader, MODEL, train_state)
    _, mixed = training.epoch(data.DataLoader(problem, 50, shuffle=True), MODEL, train_state, key=random.key(3))
    assert mixed.error == ordered.error
    assert mixed.loss == pytest.approx(ordered.loss, rel=1e-5)


def test_statistics_are_used_in_evaluation_and_moved_in_training(problem):
    train_state = start(optim.SGD(0.0))
    after, _ = training.epoch(shuffled(problem), MODEL, train_state, optim.SGD(0.0), key=random.key(1))
    assert fg.tree.equal(after.params, train_state.params)
    assert not fg.tree.equal(after.state, train_state.state)
    loader = data.DataLoader(problem, batch_size=50)
    assert training.epoch(loader, MODEL, after)[1] != training.epoch(loader, MODEL, train_state)[1]


def test_one_key_gives_one_epoch(problem):
    optimizer = optim.Adam(0.01)

    def run(seed):
        return training.epoch(shuffled(problem), MODEL, start(optimizer), optimizer, key=random.key(seed))

    first, again, other = run(1), run(1), run(2)
    assert fg.tree.equal(first, again)
    assert not fg.tree.equal(first[0].params, other[0].params)


class RecordingModel:
    """Takes down the keys that a model is given."""

    def __init__(self):
        self.keys = []

    def init(self, key):
        return {"bias": fg.zeros(3, dtype="float32")}, {}

    def apply(self, params, state, x, *, key=None, training=False):
        self.keys.append(key)
        return fg.zeros((len(x), 3), dtype="float32") + params["bias"], state


def test_every_step_has_a_key_of_its_own(problem):
    model, optimizer = RecordingModel(), optim.SGD()
    train_state = start(optimizer, model)
    orders = []

    class Loader(list):
        def epoch(self, key):
            orders.append(key)
            return iter(data.DataLoader(problem, batch_size=10))

    for epoch in range(3):
        key = random.fold_in(random.key(0), epoch)
        train_state, _ = training.epoch(Loader(), model, train_state, optimizer, key=key)
    words = {tuple(key.words.tolist()) for key in [*model.keys, *orders]}
    assert len(words) == 3 * (5 + 1)
    model.keys.clear()
    training.epoch(data.DataLoader(problem, batch_size=10), model, train_state)
    assert model.keys == [None] * 5


def test_keys_are_used_once(problem):
    with random.strict_keys():
        optimizer = optim.Adam(0.01)
        training.epoch(shuffled(problem), MODEL, start(optimizer), optimizer, key=random.key(1))


def test_training_learns(problem):
    optimizer = optim.Adam(0.02)
    train_state = start(optimizer)
    for i in range(15):
        key = random.fold_in(random.key(1), i)
        train_state, _ = training.epoch(shuffled(problem), MODEL, train_state, optimizer, key=key)
    _, result = training.epoch(data.DataLoader(problem, batch_size=50), MODEL, train_state)
    assert result.error <= 0.06


def test_on_step_sees_every_batch(problem):
    seen = []
    optimizer = optim.SGD(0.1)
    loader = shuffled(problem)
    train_state, result = training.epoch(
        loader, MODEL, start(optimizer), optimizer, key=random.key(1), on_step=seen.append
    )
    assert [step.step for step in seen] == list(range(1, 8))
    assert [step.examples for step in seen] == [8] * 6 + [2]
    assert [step.train_state.opt_state.step_count.item() for step in seen] == list(range(1, 8))
    assert seen[-1].train_state is train_state
    assert result.loss == pytest.approx(np.mean([step.loss for step in seen]))
    assert result.error == pytest.approx(1 - sum(step.correct for step in seen) / 50)


def test_labels_may_be_probabilities(problem):
    x, y = problem.arrays
    soft = data.ArrayDataset(x, np.eye(3, dtype=np.float32)[y])
    train_state = start(optim.SGD())
    hard_result = training.epoch(data.DataLoader(problem, batch_size=8), MODEL, train_state)[1]
    soft_result = training.epoch(data.DataLoader(soft, batch_size=8), MODEL, train_state)[1]
    assert soft_result.error == hard_result.error
    assert soft_result.loss == pytest.approx(hard_result.loss, rel=1e-5)


def test_a_dropped_last_batch_counts_neither_as_right_nor_as_wrong(problem):
    x, y = problem.arrays
    train_state = start(optim.SGD())
    dropped = training.epoch(data.DataLoader(problem, batch_size=8, drop_last=True), MODEL, train_state)[1]
    without = training.epoch(data.DataLoader(data.ArrayDataset(x[:48], y[:48]), 8), MODEL, train_state)[1]
    assert dropped == without


# Mistakes.


def test_training_without_a_key(problem):
    optimizer = optim.SGD()
    with pytest.raises(TypeError, match=r"needs a key of its own; write(.|\n)*key=random.fold_in\(key, i\)") as caught:
        training.epoch(shuffled(problem), MODEL, start(optimizer), optimizer)
    assert "test_training.py" in str(caught.value)


def test_a_dataset_in_the_place_of_the_loader(problem):
    dataset, optimizer = shuffled(problem).dataset, optim.SGD()
    message = r"epoch takes a loader, and an ArrayDataset is none: write epoch\(data\.DataLoader\(dataset, batch_size"
    with pytest.raises(TypeError, match=message):
        training.epoch(dataset, MODEL, start(optimizer))
    with pytest.raises(TypeError, match=message):
        training.epoch(dataset, MODEL, start(optimizer), optimizer, key=random.key(0))


def test_an_optimizer_that_is_a_class(problem):
    with pytest.raises(TypeError, match=r"an optimizer and not its class: write optim.Adam\(\)"):
        training.epoch(shuffled(problem), MODEL, start(optim.Adam()), optim.Adam, key=random.key(0))


def test_a_state_without_optimizer_state_cannot_be_trained(problem):
    train_state = training.TrainState(*MODEL.init(random.key(0)))
    with pytest.raises(TreeError, match="opt_state is a NoneType, and not what Adam's init"):
        training.epoch(shuffled(problem), MODEL, train_state, optim.Adam(), key=random.key(0))


def test_a_loader_without_batches(problem):
    optimizer = optim.SGD()
    with pytest.raises(ValueError, match="the loader has no batches"):
        training.epoch(data.DataLoader(problem, 51, drop_last=True), MODEL, start(optimizer))


# Losses that are not finite.


def test_a_learning_rate_that_is_too_large(problem):
    optimizer = optim.SGD(1e20)
    steps = []
    with pytest.raises(training.NonFiniteLossError, match=r"the loss of step \d is (nan|inf), in training") as caught:
        training.epoch(shuffled(problem), MODEL, start(optimizer), optimizer, key=random.key(1), on_step=steps.append)
    error = caught.value
    assert isinstance(error, FloatingPointError)
    assert error.training
    assert error.step == len(steps) + 1
    assert f"step {error.step} " in str(error)
    assert "learning_rate=1e+20" in str(error)
    # The last good state is where the last finite loss came from: the state before that step.
    good = start(optimizer) if error.step <= 2 else steps[-2].train_state
    assert fg.tree.equal(error.train_state, good)
    assert fg.tree.all(lambda leaf: np.isfinite(np.asarray(leaf)).all(), error.train_state)
    assert math.isfinite(training.epoch(data.DataLoader(problem, 50), MODEL, error.train_state)[1].loss)


def test_a_nan_in_the_data(problem):
    x, y = problem.arrays
    bad = np.array(x)
    bad[20] = np.nan
    loader = data.DataLoader(data.ArrayDataset(bad, y), batch_size=8)
    optimizer = optim.Adam()
    with pytest.raises(training.NonFiniteLossError, match="the loss of step 3 is nan, in training") as caught:
        training.epoch(loader, MODEL, start(optimizer), optimizer, key=random.key(1))
    assert caught.value.train_state.opt_state.step_count.item() == 1
    assert "fg.find_nan(loss)(params) names the operation" in str(caught.value)
    train_state = start(optimizer)
    with pytest.raises(training.NonFiniteLossError, match="the loss of step 3 is nan, in evaluation") as caught:
        training.epoch(loader, MODEL, train_state)
    assert caught.value.train_state is train_state
    assert not caught.value.training
    assert "fg.find_nan(loss)(params) names the operation" in str(caught.value)


def test_a_last_step_that_ruins_the_parameters(problem):
    """The loss before a step is finite although the step is not: without a look at the end nobody would notice."""
    rates = optim.SGD(lambda step: np.float64(1e300) if int(step) == 6 else 0.01)
    steps = []
    with pytest.raises(training.NonFiniteLossError, match="the parameters are not finite after step 7") as caught:
        training.epoch(shuffled(problem), MODEL, start(rates), rates, key=random.key(1), on_step=steps.append)
    assert fg.tree.equal(caught.value.train_state, steps[5].train_state)


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(training.NonFiniteLossError("message", 3, training.TrainState(1, 2, 3), True)))
    assert (str(error), error.step, error.train_state.params, error.training) == ("message", 3, 1, True)
