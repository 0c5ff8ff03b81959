"""Properties that must hold for whatever model a user may write down."""

from __future__ import annotations

import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.scm import (
    MLP,
    SCM,
    Constant,
    DynamicSCM,
    Function,
    Gaussian,
    Laplace,
    Linear,
    NoNoise,
    Scaled,
    Tanh,
    Uniform,
    Variable,
    perturbation_graph,
)

SEEDS = st.integers(0, 2**32 - 1)


def smooth(*columns):
    return sum(np.sin(k + 1.1 * c) for k, c in enumerate(columns))


def random_mechanism(k, rng):
    if not k:
        return Constant(rng.normal())
    weights = rng.uniform(0.3, 0.9, size=k) * rng.choice([-1, 1], size=k)
    return [
        Linear(weights / k, rng.normal()),
        Tanh(weights, rng.normal(), 1.5),
        MLP.random(k, rng, hidden=int(rng.integers(1, 20))),
        Scaled(Tanh(weights), 0.3, -1.2),
        Function(smooth),
    ][rng.integers(5)]


def random_model(seed, dynamic=True):
    """A model with every kind of variable, mechanism and noise; columns in no causal order."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 8))
    now = np.triu(rng.random((n, n)) < 0.4, k=1)
    lag = (rng.random((n, n)) < 0.3) & dynamic
    contexts = rng.random(n) < (0.25 if dynamic else 0.0)
    now[:, contexts] = lag[:, contexts] = lag[contexts] = False
    variables = []
    for j in range(n):
        parents = [f"v{i}" for i in np.flatnonzero(now[:, j])]
        lagged = [f"v{i}" for i in np.flatnonzero(lag[:, j])]
        kind = "context" if contexts[j] else ["state", "hidden", "action"][rng.integers(3)]
        noise = [Gaussian(0.5), Uniform(-0.2, 1.0), Laplace(0.3), NoNoise()][rng.integers(4)]
        mechanism = random_mechanism(len(parents) + len(lagged), rng)
        variables.append(Variable(f"v{j}", mechanism, noise, parents, lagged, kind))
    if rng.random() < 0.7:
        parents = [f"v{i}" for i in np.flatnonzero(rng.random(n) < 0.5)]
        lagged = [f"v{i}" for i in np.flatnonzero((rng.random(n) < 0.3) & ~contexts & dynamic)]
        mechanism = random_mechanism(len(parents) + len(lagged), rng)
        variables.append(
            Variable("r", mechanism, parents=parents, lagged_parents=lagged, kind="reward")
        )
    rng.shuffle(variables)
    return (DynamicSCM if dynamic else SCM)(variables)


def random_setting(scm, shape, rng):
    mask = rng.random((*shape, scm.n)) < 0.3
    mask[..., scm.contexts] = False
    return mask, rng.normal(size=(*shape, scm.n))


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(1, 40))
def test_a_batch_gives_the_bits_of_its_rows(seed, batch):
    scm, rng = random_model(seed), np.random.default_rng(seed + 1)
    previous, noise, context = (rng.normal(size=(batch, scm.n)) for _ in range(3))
    mask, value = random_setting(scm, (batch,), rng)
    after = scm.step(previous, noise, context, mask, value)
    first = scm.initial(noise)
    for b in range(batch):
        row = slice(b, b + 1)
        alone = scm.step(previous[row], noise[row], context[row], mask[row], value[row])
        np.testing.assert_array_equal(alone[0], after[b])
        np.testing.assert_array_equal(scm.initial(noise[row])[0], first[b])
        if scm.reward is not None:
            reward = scm.reward_value(previous, after)
            assert scm.reward_value(previous[row], alone)[0] == reward[b]


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_the_stated_graph_is_the_one_that_perturbation_finds(seed):
    scm = random_model(seed)
    found = perturbation_graph(scm, seed)
    assert found == scm.graph
    assert found.kinds == scm.graph.kinds


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_factual_counterfactuals_abduction_and_pickle_are_exact(seed):
    scm, rng = random_model(seed), np.random.default_rng(seed + 2)
    free = scm.simulate(6, rng, batch=5)
    mask, value = random_setting(scm, (6, 5), rng)
    run = scm.counterfactual(free, mask, value)
    again = scm.counterfactual(run, mask, value)
    np.testing.assert_array_equal(again.values, run.values)
    back = scm.counterfactual(run)
    np.testing.assert_array_equal(back.values, free.values)
    noise = scm.abduct(run.values, mask)
    unset = ~np.concatenate([np.zeros((1, 5, scm.n), dtype=bool), mask])
    np.testing.assert_allclose(noise[unset], run.noise[unset], rtol=1e-9, atol=1e-12)
    twin = pickle.loads(pickle.dumps(scm))
    np.testing.assert_array_equal(twin.counterfactual(free, mask, value).values, run.values)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.data())
def test_what_is_no_descendant_does_not_move(seed, data):
    scm = random_model(seed)
    settable = [name for name, kind in zip(scm.names, scm.kinds, strict=True) if kind != "context"]
    if not settable:
        return
    target = data.draw(st.sampled_from(settable))
    free = scm.simulate(5, seed, batch=3)
    done = scm.simulate(5, seed, batch=3, do={target: 1.7})
    now, lag = scm.graph.contemporaneous, scm.graph.lagged
    summary = now | lag
    reached = {scm.names.index(target)}
    for _ in range(scm.graph.n):
        reached |= {int(j) for i in reached for j in np.flatnonzero(summary[i])}
    for j in set(range(scm.n)) - reached:
        np.testing.assert_array_equal(free.values[:, :, j], done.values[:, :, j])
    if scm.reward is not None and scm.n not in reached:
        np.testing.assert_array_equal(free.reward, done.reward)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_static_models_agree_with_themselves(seed):
    scm = random_model(seed, dynamic=False)
    x = scm.sample(50, seed)
    np.testing.assert_array_equal(scm.counterfactual(x, {}), x)
    np.testing.assert_array_equal(scm.from_noise(scm.abduct(x)), x)
    alone = np.concatenate([scm.from_noise(row[None]) for row in scm.abduct(x)])
    np.testing.assert_array_equal(alone, x)
    target = scm.names[seed % scm.d]
    y = scm.counterfactual(x, {target: -0.4})
    reached = {int(i) for i in map(scm.graph.index, [target])}
    for _ in range(scm.d):
        reached |= {int(j) for i in reached for j in np.flatnonzero(scm.graph.contemporaneous[i])}
    still = sorted(set(range(scm.d)) - reached)
    np.testing.assert_array_equal(x[:, still], y[:, still])
    # The same seed gives the same noise, so sampling under do answers the same question.
    np.testing.assert_allclose(scm.sample(50, seed, do={target: -0.4}), y, rtol=1e-9, atol=1e-9)
