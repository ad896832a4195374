"""Train MLPResNet on images in MNIST's format, as a function or as a script.

    python docs/tutorials/train_mnist.py                     the 1,797 digits that come with fgrad
    python docs/tutorials/train_mnist.py --data-dir DIR      the four idx files of MNIST or Fashion-MNIST in DIR

The script writes runs/<time>/ with the curves, a log and the parameters; it needs ``pip install fgrad[train]``.
`train_mnist` is the same training as a function, which writes nothing.
"""

import argparse
import csv
import math
import sys
import time
from pathlib import Path
from typing import NamedTuple

import fgrad as fg
from fgrad import data, nn, optim, random, training


class Epoch(NamedTuple):
    """What one epoch of training gave, and how the model then does on the test images."""

    number: int
    train: training.EpochResult
    test: training.EpochResult
    train_state: training.TrainState
    seconds: float

    def __str__(self):
        return "Epoch %d: Train err: %f, Train loss: %f" % (self.number, self.train.error, self.train.loss)  # noqa: UP031


def load_images(data_dir=None):
    """The training and the test images."""
    return data.digits() if data_dir is None else data.mnist(data_dir)


def train_epochs(train, test, *, batch_size, epochs, optimizer, lr, weight_decay, hidden_dim, seed, on_step=None):
    """Train, and yield an `Epoch` after each."""
    # All randomness comes from one seed, and every use of it has a key of its own: the same seed gives the same bits.
    init_key, epochs_key = random.split(random.key(seed))

    # The model and the optimizer are records of settings. What they learn is in the train state, a value like any
    # other: nothing below changes it, every step returns a new one.
    model = nn.MLPResNet(train.images[0].size, hidden_dim)
    rule = optimizer(learning_rate=lr, weight_decay=weight_decay)
    train_state = training.create_train_state(model, rule, init_key)

    train_loader = data.DataLoader(train, batch_size, shuffle=True)
    test_loader = data.DataLoader(test, batch_size)
    for number in range(1, epochs + 1):
        start = time.perf_counter()
        key = random.fold_in(epochs_key, number)  # another order and other dropout masks in every epoch
        train_state, trained = training.epoch(train_loader, model, train_state, rule, key=key, on_step=on_step)
        seconds = time.perf_counter() - start
        _, tested = training.epoch(test_loader, model, train_state)  # without an optimizer it evaluates
        yield Epoch(number, trained, tested, train_state, seconds)


def train_mnist(
    batch_size=100,
    epochs=10,
    optimizer=optim.Adam,
    lr=0.001,
    weight_decay=0.001,
    hidden_dim=100,
    data_dir=None,
    seed=4,
):
    """Train MLPResNet and return (train_err, train_loss, test_err, test_loss) of the last epoch.

    ``optimizer`` is a class of `fgrad.optim`, ``data_dir`` a folder of idx files (None: the digits that come with
    fgrad). Training errors and losses are those of the predictions made during the epoch, each before its step.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1; it is {epochs}")
    train, test = load_images(data_dir)
    for epoch in train_epochs(
        train,
        test,
        batch_size=batch_size,
        epochs=epochs,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        hidden_dim=hidden_dim,
        seed=seed,
    ):
        print(epoch)
    return epoch.train.error, epoch.train.loss, epoch.test.error, epoch.test.loss


# What follows is the script: its options, the progress bar, and the files that it writes.


def main(arguments=None):
    """Train as the command line says; the exit code is 1 when a loss was not finite, and 2 when nothing was trained."""
    options = parse(arguments)
    try:
        import matplotlib as mpl
        import tqdm
    except ImportError as error:
        return refuse(f"{error.name} is missing: pip install fgrad[train]")
    mpl.use("Agg")  # curves are drawn into a file, also where there is no screen
    try:
        train, test = load_images(options.data_dir)
        folder = new_folder(options.runs_dir)  # after the data: where they are bad, no empty run is left behind
    except (OSError, fg.errors.DataFileError) as error:
        return refuse(error)
    with tqdm.tqdm(total=options.epochs * len(train), unit=" images") as bar:
        exit_code = run(options, train, test, folder, bar)
    print("wrote", *sorted(map(str, folder.iterdir())), sep="\n  ")
    return exit_code


def run(options, train, test, folder, bar):
    """Train, keeping the log and the parameters on disk up to date, and draw the curves."""

    def show(step):
        bar.set_postfix(loss=f"{step.loss:.4f}", refresh=False)
        bar.update(step.examples)

    exit_code, history = 0, []
    log_path, params_path = folder / "log.csv", folder / "params.npz"
    write_row(log_path, ["epoch", "train_error", "train_loss", "test_error", "test_loss", "seconds"])
    try:
        for epoch in train_epochs(
            train,
            test,
            batch_size=options.batch_size,
            epochs=options.epochs,
            optimizer={"adam": optim.Adam, "sgd": optim.SGD}[options.optimizer],
            lr=options.lr,
            weight_decay=options.weight_decay,
            hidden_dim=options.hidden_dim,
            seed=options.seed,
            on_step=show,
        ):
            history.append(epoch)
            bar.write(f"{epoch}, Test err: {epoch.test.error:f}, Test loss: {epoch.test.loss:f}")
            results = (epoch.train.error, epoch.train.loss, epoch.test.error, epoch.test.loss, epoch.seconds)
            write_row(log_path, [epoch.number, *[f"{result:.6f}" for result in results]])
            save_params(params_path, epoch.train_state)
    except training.NonFiniteLossError as error:
        exit_code = 1
        bar.write(f"stopped in epoch {len(history) + 1}: {first_line(error)}", file=sys.stderr)
        # The error knows the last good parameters of a training epoch. Where evaluation failed instead, those of the
        # epoch before are on disk already.
        if error.training or not history:
            save_params(params_path, error.train_state)
    except KeyboardInterrupt:
        exit_code = 130
        bar.write(f"interrupted in epoch {len(history) + 1}", file=sys.stderr)
    draw_curves(folder / "curves.png", history)
    return exit_code


def save_params(path, train_state):
    """Write all that predictions need: the parameters and the running statistics. The old file stays until then."""
    fg.save(path, {"params": train_state.params, "state": train_state.state})


def write_row(path, row):
    """Append a row to a file, so that the log is whole whenever training stops."""
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(row)


def draw_curves(path, history):
    """Draw losses and errors by epoch."""
    from matplotlib import pyplot as plt

    numbers = [epoch.number for epoch in history]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for ax, quantity in zip(axes, ("loss", "error"), strict=True):
        ax.plot(numbers, [getattr(epoch.train, quantity) for epoch in history], "o-", label="training")
        ax.plot(numbers, [getattr(epoch.test, quantity) for epoch in history], "o-", label="test")
        ax.set(xlabel="epoch", ylabel=quantity)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def new_folder(runs_dir):
    """Make runs/<time>/; runs that begin in the same second get a number."""
    name, number = time.strftime("%Y-%m-%d_%H-%M-%S"), 1
    while True:
        folder = Path(runs_dir) / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise
            number += 1
        else:
            return folder


def refuse(problem):
    """Say why nothing was trained."""
    print(f"train_mnist.py: {first_line(problem)}", file=sys.stderr)
    return 2


def first_line(problem):
    """The message without the line of code below it, which tells a user of the script nothing."""
    return str(problem).partition("\n")[0]


def parse(arguments):
    """Read the command line."""

    def count(text, least=1):
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    def amount(text):
        if not 0 <= (value := float(text)) < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not a finite number of at least 0")
        return value

    parser = argparse.ArgumentParser(description="Train MLPResNet on images in MNIST's format.")
    parser.add_argument("--data-dir", help="folder of idx files; without it, the digits that come with fgrad")
    parser.add_argument("--epochs", type=count, help="default: 20 on the digits, else 10")
    parser.add_argument("--batch-size", type=count, help="default: 50 on the digits, else 100")
    parser.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    parser.add_argument("--lr", type=amount, default=0.001, help="learning rate, default 0.001; try 0.1 with sgd")
    parser.add_argument("--weight-decay", type=amount, default=0.001, help="default 0.001")
    parser.add_argument("--hidden-dim", type=count, default=100, help="width of the network, default 100")
    parser.add_argument("--seed", type=lambda text: count(text, 0), default=4, help="default 4")
    parser.add_argument("--runs-dir", default="runs", help="where the folder of this run goes, default runs")
    options = parser.parse_args(arguments)
    options.epochs = options.epochs or (20 if options.data_dir is None else 10)
    options.batch_size = options.batch_size or (50 if options.data_dir is None else 100)
    return options


if __name__ == "__main__":
    sys.exit(main())
