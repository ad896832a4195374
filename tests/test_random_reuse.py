"""The reuse check: what is reported, what is not, and that it leaves nothing behind."""

import copy
import gc
import inspect
import threading
import tracemalloc
import warnings

import pytest

import fgrad as fg
from fgrad import nn, random
from fgrad.core import reuse
from fgrad.errors import KeyReuseError, KeyReuseWarning


@pytest.fixture(name="reported")
def _reported():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", KeyReuseWarning)
        yield caught


def here(offset=0):
    return inspect.currentframe().f_back.f_lineno + offset


def test_two_lines_are_both_named(reported):
    key = random.key(0)
    x = random.normal(key, (2,))
    y = random.uniform(key, (2,))
    line = here(-1)
    assert x.shape == y.shape
    (warning,) = reported
    assert warning.category is KeyReuseWarning
    assert (warning.filename, warning.lineno) == (__file__, line)
    assert str(warning.message) == (
        "a key was consumed a second time, so the draws are not independent\n"
        f"  first at {__file__}:{line - 1}, in test_two_lines_are_both_named: x = random.normal(key, (2,))\n"
        f"  now at {__file__}:{line}, in test_two_lines_are_both_named: y = random.uniform(key, (2,))\n"
        "Draw from different keys: first_key, second_key = random.split(key), or random.fold_in(key, n)"
    )


DRAWS = {
    "split": random.split,
    "bits": random.bits,
    "uniform": random.uniform,
    "normal": random.normal,
    "truncated_normal": lambda key: random.truncated_normal(key, -1.0, 1.0),
    "bernoulli": random.bernoulli,
    "dropout_mask": lambda key: random.dropout_mask(key, 0.5, ()),
    "randint": lambda key: random.randint(key, (), 0, 5),
    "permutation": lambda key: random.permutation(key, 5),
    "choice": lambda key: random.choice(key, 5, replace=False, p=[0.2] * 5),
}


@pytest.mark.parametrize("name", DRAWS)
def test_everything_but_fold_in_consumes_once(name, reported):
    key = random.key(0)
    random.fold_in(key, 1)
    DRAWS[name](key)
    random.fold_in(key, 2)
    assert not reported
    random.bits(key)
    assert len(reported) == 1


def test_the_same_line_is_a_loop_or_a_call_again(reported):
    def loss(key, x):
        return fg.sum(random.normal(key, (3,)) * x)

    key = random.key(0)
    for _ in range(3):
        loss(key, 2.0)
    fg.grad(lambda x: loss(key, x))(1.0)
    assert not reported
    other = random.key(1)
    for _ in range(2):
        assert random.normal(other).item() == random.normal(other).item()
    assert not reported


def test_a_pair_of_lines_in_a_loop_is_reported_once(reported):
    key = random.key(0)
    for _ in range(3):
        random.normal(key)
        random.uniform(key)
    assert len(reported) == 1
    random.bits(key)
    assert len(reported) == 2


def test_equal_keys_are_different_objects(reported):
    random.normal(random.key(0))
    random.uniform(random.key(0))
    key = random.key(1)
    random.normal(key)
    random.uniform(copy.copy(key))
    assert not reported


def test_keys_of_an_array_are_known_by_their_place(reported):
    keys = random.split(random.key(0), (2, 3))
    flat = random.split(random.key(1), 3)
    for key in flat:
        random.normal(key)
    for row in keys:
        for key in row:
            random.normal(key)
    assert not reported
    random.uniform(flat[1])
    assert len(reported) == 1
    random.uniform(flat[-1])
    assert len(reported) == 2
    random.uniform(keys[1][2])
    assert len(reported) == 3
    other = random.split(random.key(2), (2, 3))
    random.normal(other[0][1])
    random.normal(other[1][0])
    random.normal(other[0][0])
    assert len(reported) == 3
    random.normal(other[-1][-3])
    assert len(reported) == 4


def test_split_and_draw_from_the_parent(reported):
    key = random.key(0)
    first, second = random.split(key)
    random.normal(first)
    random.normal(second)
    assert not reported
    random.normal(key)
    assert len(reported) == 1


def test_a_call_that_fails_consumes_nothing(reported):
    key = random.key(0)
    for wrong in (
        lambda: random.uniform(key, (-1,)),
        lambda: random.uniform(key, (), int),
        lambda: random.uniform(key, (), float, 2.0, 1.0),
        lambda: random.choice(key, 3, p=[1.0]),
    ):
        with pytest.raises((ValueError, TypeError)):
            wrong()
    random.normal(key)
    assert not reported


def test_modules_consume_at_the_line_that_calls_them(reported):
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2), nn.Dropout(0.5))
    params, state = model.init(random.key(0))
    x = fg.ones((2, 3), "float32")
    key = random.key(1)
    for _ in range(2):
        model.apply(params, state, x, key=key, training=True)
    assert not reported


# In staged functions.


def test_every_second_use_in_a_staged_function_is_reported(reported):
    def twice(key):
        draws = [random.normal(key) for _ in range(2)]
        return draws[0] + draws[1]

    def once(key):
        first, second = random.split(key)
        return random.normal(first) + random.normal(second)

    fg.make_graph(once)(random.key(0))
    assert not reported
    fg.make_graph(twice)(random.key(0))
    assert len(reported) == 1
    assert "a second time, in one run of a staged function" in str(reported[0].message)
    assert reported[0].filename == __file__


def test_keys_of_an_array_in_a_staged_function(reported):
    def draws(keys):
        return random.normal(keys[0]) + random.normal(keys[1]) + random.normal(keys[-1])

    fg.make_graph(draws)(random.split(random.key(0), 3))
    assert not reported
    fg.make_graph(draws)(random.split(random.key(0), 2))
    assert len(reported) == 1


def test_a_held_key_may_be_staged_again(reported):
    key = random.key(0)
    held = fg.make_graph(lambda: random.normal(key))
    for _ in range(3):
        graph = held()
        graph()
    assert not reported
    fg.make_graph(lambda: random.normal(key) + random.uniform(key))()
    assert len(reported) >= 1


def test_every_trace_is_judged_by_itself(reported):
    key = random.key(0)
    draws = fg.make_graph(lambda count: [random.normal(key) for _ in range(int(count.size))])
    for length in (1, 1):
        draws(fg.zeros(length))
    assert not reported
    draws(fg.zeros(2))
    assert len(reported) == 1
    assert "in one run of a staged function" in str(reported[0].message)


def test_evaluating_a_graph_consumes_nothing(reported):
    graph = fg.make_graph(lambda key: random.normal(key, (2,)))(random.key(0))
    key = random.key(1)
    graph(key)
    graph(key)
    random.normal(key)
    assert not reported


# Branches and loops.


def test_branches_are_alternatives(reported):
    def by_cond(key, x):
        second = random.fold_in(key, 1)
        both = lambda: random.normal(key) + random.normal(second)
        return fg.cond(x > 0, both, lambda: random.uniform(key) * random.uniform(second))

    def by_switch(key, x):
        draws = [random.normal, random.uniform, lambda key: random.permutation(key, 3)[0] * 0.5]
        return fg.switch(x.astype(int), [lambda draw=draw: draw(key) for draw in draws])

    for f in (by_cond, by_switch):
        fg.make_graph(f)(random.key(0), 1.0)
        fg.vmap(f)(random.split(random.key(1)), fg.asarray([1.0, -1.0]))
        fg.make_graph(lambda key, x, f=f: fg.grad(lambda x: x * f(key, x))(x))(random.key(2), 1.0)
    assert not reported


def test_what_a_branch_consumes_counts_once_after_it(reported):
    def again(key, x):
        drawn = fg.cond(x > 0, lambda: random.normal(key), lambda: random.uniform(key))
        return drawn + random.normal(key)

    fg.make_graph(again)(random.key(0), 1.0)
    assert len(reported) == 1
    assert "in one run of a staged function" in str(reported[0].message)
    assert "return drawn + random.normal(key)" in str(reported[0].message)


def test_what_only_one_branch_consumes_counts_too(reported):
    def again(key, x):
        drawn = fg.cond(x > 0, lambda: fg.cond(x > 1, lambda: 0.5, lambda: random.normal(key)), lambda: x)
        return drawn + random.normal(key)

    fg.make_graph(again)(random.key(0), 1.0)
    assert len(reported) == 1


def test_what_was_consumed_before_counts_in_every_branch(reported):
    def before(key, x):
        drawn = random.normal(key)
        return fg.cond(x > 0, lambda: drawn + random.normal(key), lambda: x)

    fg.make_graph(before)(random.key(0), 1.0)
    assert len(reported) == 1


def test_two_uses_in_one_branch_are_reported(reported):
    def twice_in_one(key, x):
        return fg.cond(x > 0, lambda: x, lambda: random.normal(key) + random.normal(key))

    fg.make_graph(twice_in_one)(random.key(0), 1.0)
    assert len(reported) == 1


def test_a_body_is_one_use_of_what_it_closes_over(reported):
    def loops(key, x):
        start, body = random.split(key)
        first = fg.scan(lambda c, row: (c + random.normal(start) * row, None), 0.0, x)[0]
        return fg.while_loop(lambda c: c < 3, lambda c: c + random.uniform(body), first)

    # The number that the scan starts with becomes an array, so that its body is staged twice.
    fg.make_graph(loops)(random.key(0), fg.ones(3))
    assert not reported
    fg.make_graph(lambda key: fg.map(lambda x: x + random.normal(key), fg.ones(5), batch_size=2))(random.key(1))
    assert not reported
    fg.make_graph(lambda key: fg.scan(lambda c, _: (c + random.normal(key), None), random.normal(key), length=2))(
        random.key(2)
    )
    assert len(reported) == 1


def test_strictness_knows_alternatives():
    with random.strict_keys():
        key = random.key(0)
        graph = fg.make_graph(lambda x: fg.cond(x > 0, lambda: random.normal(key), lambda: random.uniform(key)))(1.0)
        with pytest.raises(KeyReuseError):
            random.normal(key)
        held = random.key(1)
        # The first step is taken twice: the number becomes an array.
        fg.scan(lambda c, _: (c + random.normal(held), None), 0, length=1)
        with pytest.raises(KeyReuseError):
            random.normal(held)
    assert graph(1.0).item() == random.normal(random.key(0)).item()


def test_an_error_in_a_branch_leaves_no_journal():
    key = random.key(0)

    def fail():
        random.normal(key)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fg.make_graph(lambda x: fg.cond(x > 0, fail, lambda: x))(1.0)
    assert reuse._journal.entries is None
    with random.strict_keys():
        random.normal(key)


# Strictness.


def test_strict_keys_raises_at_any_second_use():
    key = random.key(0)
    with random.strict_keys():
        for round_ in range(2):
            if round_:
                with pytest.raises(KeyReuseError, match="a key was consumed a second time") as caught:
                    random.normal(key)
            else:
                random.normal(key)
        assert str(caught.value).count(__file__) == 2
    random.permutation(fg.random.fold_in(key, 3), 4)


def test_strict_keys_counts_uses_before_it():
    key = random.key(0)
    random.normal(key)
    with random.strict_keys(), pytest.raises(KeyReuseError):
        random.normal(key)
    with pytest.warns(KeyReuseWarning):
        random.normal(key)


def twice(key):
    for _ in range(2):
        random.normal(key)


def test_strict_keys_is_restored_whatever_the_order():
    first = random.strict_keys()
    second = random.strict_keys()
    assert repr(first) == "<strict key checks, in force>"
    first.restore()
    first.restore()
    assert repr(first) == "<strict key checks, ended>"
    with pytest.raises(KeyReuseError):
        twice(random.key(0))
    with second:
        pass
    twice(random.key(0))
    with pytest.raises(ZeroDivisionError), random.strict_keys():
        raise ZeroDivisionError
    twice(random.key(0))


def test_strict_keys_lets_one_of_many_threads_through():
    failures = []
    results = []

    def consume(key, start):
        start.wait()
        try:
            results.append(random.bits(key).item())
        except KeyReuseError as error:
            failures.append(error)

    with random.strict_keys():
        for seed in range(30):
            key, start = random.key(seed), threading.Barrier(4)
            threads = [threading.Thread(target=consume, args=(key, start)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert len(results) == 30
    assert len(failures) == 90


# Nothing is left behind.


def test_records_go_with_the_keys():
    gc.collect()
    before = len(reuse._records)
    keys = [random.fold_in(random.key(0), i) for i in range(100)]
    for key in keys:
        random.bits(key)
    assert len(reuse._records) == before + 100
    del keys, key
    gc.collect()
    assert len(reuse._records) == before
    cycle = [random.key(0)]
    cycle.append(cycle)
    random.bits(cycle[0])
    del cycle
    gc.collect()
    assert len(reuse._records) == before


def test_a_chain_of_splits_does_not_grow():
    key = random.key(0)
    sizes = []
    tracemalloc.start()
    try:
        for step in range(3000):
            key, draw = random.split(key)
            random.bits(draw)
            if step % 1000 == 999:
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[2] - sizes[1] < 20_000
    depth = 0
    while key.origin is not None:
        key, _ = key.origin
        depth += 1
    assert depth == 1


def test_keys_of_one_large_array_share_what_is_noted():
    keys = random.split(random.key(0), 5000)
    for key in keys:
        random.bits(key)
    (record,) = [record for record in reuse._records.values() if record() is keys]
    assert len(record.uses) == 5000
    assert len({id(use) for use in record.uses.values()}) == 1
