"""The Chemical worlds' colours: the released code's step, and its networks."""

from __future__ import annotations

import numpy as np
import pytest
from chemical_worlds import BUILDERS, KINDS, SWITCHING, variables

from causal_rl.envs import SCMVectorEnv
from causal_rl.envs.worlds.chemical import (
    VARIANTS,
    ChemicalOptions,
    chemical_chain,
    chemical_full,
    object_names,
)
from causal_rl.envs.worlds.chemical_labels import local_graph, published_label
from causal_rl.envs.worlds.chemical_mechanisms import ColourNet, Repaint, dry
from causal_rl.scm import Variable


def published_step(
    objects: list[Variable], kind: str, variant: str, colours: list[int], k: int, c: int
) -> list[int]:
    """The released code's step in its own terms: a list of what was reached, objects in order.

    The nets are those of the world; their most probable colour is taken.
    """
    n, rule = len(objects), VARIANTS[variant]
    adjacency = published_label(kind, n).lagged
    colours = [*colours[:k], c, *colours[k + 1 :]]
    if kind in SWITCHING and colours[0] == 1:
        reading = local_graph(kind, n).contemporaneous
    else:
        reading = np.triu(adjacency, k=1)
    reached = [k]
    for v in range(k + 1, n):
        if not any(reading[r, v] for r in reached):
            continue
        if rule.spreads:
            reached.append(v)
        parents = np.flatnonzero(np.triu(adjacency, k=1)[:, v])
        shown = [[colours[i] if reading[i, v] else 0] for i in parents]
        mechanism = objects[v].mechanism
        assert isinstance(mechanism, Repaint)
        weights = mechanism.net.weights(np.array(shown, dtype=np.int64))[:, 0]
        if rule.changes:
            weights[colours[v] - 1] = 0.0
        colours[v] = int(np.argmax(weights)) + 1
    return colours


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("kind", KINDS)
def test_every_step_is_the_released_codes(kind: str, variant: str) -> None:
    n, c = 4, 3
    options = ChemicalOptions(
        objects=n, colours=c, variant=variant, deterministic=True, graph_seed=3
    )
    spec = BUILDERS[kind](options)
    objects, names = variables(spec, options), object_names(options)
    columns = [spec.scm.names.index(name) for name in names]
    states = (np.indices((c,) * n).reshape(n, -1) + 1).T[::7]  # no multiple of 3: all colours occur
    for k in range(n):
        for colour in range(1, c + 1):
            previous = np.ones((len(states), spec.scm.n))
            previous[:, columns] = states
            action = spec.interventions.action(names[k], c + colour)
            mask, value, _ = spec.interventions.decode(
                np.tile(action, (len(states), 1)), spec.scm.names
            )
            noise = spec.scm.sample_noise(0, len(states))
            after = dry(spec.scm.step(previous, noise, None, mask, value)[:, columns], c)
            expected = [
                published_step(objects, kind, variant, s, k, colour) for s in states.tolist()
            ]
            np.testing.assert_array_equal(after, expected)


def test_colours_are_drawn_with_the_probabilities_of_the_net() -> None:
    options = ChemicalOptions(objects=3, colours=4, graph_seed=1)
    spec = chemical_chain(options)
    first, second, _ = object_names(options)
    envs = SCMVectorEnv(spec, 4000)
    envs.reset(seed=0)
    action = np.tile(spec.interventions.action(first, 4 + 2), (4000, 1))
    seen = envs.step(action)[0][:, spec.observed_names.index(second)]
    mechanism = variables(spec, options)[1].mechanism
    assert isinstance(mechanism, Repaint)
    expected = mechanism.net.weights(np.array([[2]]))[:, 0]
    expected /= expected.sum()
    share = np.bincount(seen.astype(int), minlength=9)[5:] / 4000  # repainted, so wet
    spread = np.sqrt(expected * (1 - expected) / 4000)
    assert (np.abs(share - expected) <= 5 * spread + 1e-12).all()
    assert len(set(seen.tolist())) > 1


@pytest.mark.parametrize(("variant", "hidden"), [("ke", 100), ("cdl", 20), ("grader", 20)])
def test_networks_are_drawn_as_released(variant: str, hidden: int) -> None:
    options, rule = ChemicalOptions(variant=variant), VARIANTS[variant]
    biases = []
    for v in variables(chemical_full(options), options):
        assert isinstance(v.mechanism, Repaint)
        net = v.mechanism.net
        assert net.first.shape == (len(v.parents), 5, hidden)
        assert net.second.shape == (5, hidden)
        np.testing.assert_allclose(net.second @ net.second.T, rule.gain**2 * np.eye(5), atol=1e-9)
        if hidden > 25:  # more units than inputs: the inputs' weights are orthogonal
            rows = net.first.reshape(-1, hidden)
            np.testing.assert_allclose(rows @ rows.T, rule.gain**2 * np.eye(len(rows)), atol=1e-9)
        biases.append(np.concatenate([net.first_bias, net.second_bias]))
    flat = np.concatenate(biases)
    assert np.abs(flat).max() <= rule.bias
    assert abs(flat.std() - rule.bias / np.sqrt(3)) < 0.1 * rule.bias
    assert abs(flat.mean()) < 0.2 * rule.bias


def test_fewer_units_than_inputs_are_orthogonal_the_other_way() -> None:
    net = ColourNet.random(5, 5, range(5), 20, 3.0, 0.2, np.random.default_rng(0))
    whole = net.first.reshape(25, 20)
    np.testing.assert_allclose(whole.T @ whole, 9.0 * np.eye(20), atol=1e-9)


def test_tabulated_and_computed_scores_are_the_same_bit_for_bit() -> None:
    net = ColourNet.random(5, 5, range(3), 100, 2.5, 1.1, np.random.default_rng(0))
    grid = np.indices((6, 6, 6)).reshape(3, -1)
    np.testing.assert_array_equal(net.weights(grid), net._evaluate(grid))
    inputs = np.zeros((216, 3 * 6))
    for p in range(3):
        inputs[np.arange(216), p * 6 + grid[p]] = 1.0
    table = np.concatenate([np.zeros((3, 1, 100)), net.first], axis=1).reshape(18, 100)
    layer = np.maximum(inputs @ table + net.first_bias, 0.0)
    scores = layer @ net.second.T + net.second_bias
    expected = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(net.weights(grid), expected.T, rtol=1e-9)
