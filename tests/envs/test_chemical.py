"""The Chemical worlds: the released code's rule, exact labels, contexts, shifts and options."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from causal_rl.envs import SCMEnv, SCMEnvSpec, SCMVectorEnv
from causal_rl.envs.worlds.chemical import (
    VARIANTS,
    ChemicalOptions,
    ChemicalSwitchOptions,
    chemical_chain,
    chemical_collider,
    chemical_full,
    chemical_full_chain,
    chemical_full_fork,
    chemical_jungle,
    goal_name,
    object_names,
    smear,
)
from causal_rl.envs.worlds.chemical_labels import (
    enumerated_one_step_graph,
    local_graph,
    published_label,
    silent_paths,
    transition_table,
)
from causal_rl.envs.worlds.chemical_mechanisms import ColourNet, Repaint, dry
from causal_rl.graphs import CausalGraph
from causal_rl.scm import Variable, perturbation_graph, perturbation_one_step
from causal_rl.testing import WorldConformance

BUILDERS: dict[str, Callable[[ChemicalOptions], SCMEnvSpec]] = {
    "chain": chemical_chain,
    "collider": chemical_collider,
    "full": chemical_full,
    "jungle": chemical_jungle,
    "full-fork": chemical_full_fork,
    "full-chain": chemical_full_chain,
}
KINDS = list(BUILDERS)
SWITCHING = ["full-fork", "full-chain"]


def variables(spec: SCMEnvSpec, options: ChemicalOptions) -> list[Variable]:
    """The objects, causes first."""
    by_name = {v.name: v for v in spec.scm.variables}
    return [by_name[name] for name in object_names(options)]


def cross(graph: CausalGraph) -> int:
    lagged = graph.lagged.copy()
    np.fill_diagonal(lagged, False)
    return int(lagged.sum())


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


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("kind", KINDS)
def test_perturbing_the_simulator_gives_the_stated_graph(kind: str, variant: str) -> None:
    for seed in range(2):
        options = ChemicalOptions(variant=variant, graph_seed=seed)
        spec = BUILDERS[kind](options)
        graph = perturbation_graph(spec.scm, seed)
        assert graph == spec.causal_graph == spec.scm.graph
        names = object_names(options)
        label = published_label(kind, 5, names)
        objects = graph.subgraph(names)
        # A + I is right as two graphs: A inside the step, I from step to step.
        assert (objects.contemporaneous | objects.lagged == label.lagged).all()
        assert (objects.lagged == np.eye(5, dtype=bool)).all()


class TestConformance(WorldConformance):
    """What is asked of any world; paths from a colour at rest to others are silent by design."""

    num_envs = 2

    def spec(self) -> SCMEnvSpec:
        spec = chemical_full_chain(ChemicalSwitchOptions(objects=4, colours=3, horizon=4))
        self.allowed_missing = silent_paths(spec)
        return spec


def test_where_nothing_is_done_colours_stay() -> None:
    spec = chemical_full(ChemicalOptions())
    graph = perturbation_one_step(spec.scm, 0).subgraph(sorted(object_names(ChemicalOptions())))
    np.testing.assert_array_equal(graph.lagged, np.eye(5, dtype=bool))
    env = SCMEnv(spec)
    start = env.reset(seed=0)[0]
    assert ((start >= 1) & (start <= 5)).all()
    for _ in range(3):
        np.testing.assert_array_equal(env.see()[0], start)


#: Cross edges S_i -> S'_j of the released rules, 4 objects: what going through all cases finds.
TRUE_CROSS = {"chain": 0, "collider": 3, "full": 3, "jungle": 1, "full-fork": 3, "full-chain": 3}
LABEL_CROSS = {"chain": 3, "collider": 3, "full": 6, "jungle": 4, "full-fork": 6, "full-chain": 6}


@pytest.mark.parametrize("variant", ["ke", "cdl"])
@pytest.mark.parametrize("kind", KINDS)
def test_enumeration_finds_another_graph_than_the_published_label(kind: str, variant: str) -> None:
    for seed in range(3):
        options = ChemicalOptions(objects=4, colours=3, variant=variant, graph_seed=seed)
        spec = BUILDERS[kind](options)
        graph = enumerated_one_step_graph(spec)
        label = published_label(kind, 4, object_names(options)).subgraph(graph.names)
        assert (cross(graph), cross(label)) == (TRUE_CROSS[kind], LABEL_CROSS[kind])
        assert graph.lagged.diagonal().all()
        assert (graph.lagged <= label.lagged).all()
        assert (graph.lagged <= spec.one_step_graph.subgraph(graph.names).lagged).all()
        expected = held_back(spec.scm.graph.subgraph(graph.names).contemporaneous)
        if kind not in SWITCHING:
            np.testing.assert_array_equal(graph.lagged, expected | np.eye(4, dtype=bool))


def held_back(adjacency: np.ndarray) -> np.ndarray:
    """Edges i -> j for which some other k repaints j and leaves i as it was."""
    n = len(adjacency)
    reach = np.linalg.matrix_power(np.eye(n) + adjacency, n) > 0
    edges = np.zeros_like(adjacency)
    for i, j in np.argwhere(adjacency):
        edges[i, j] = any(reach[k, j] and not reach[k, i] and k not in (i, j) for k in range(n))
    return edges


def test_with_the_colour_excluded_more_edges_are_real() -> None:
    counts = {}
    for kind in ("chain", "collider", "full", "jungle"):
        options = [
            ChemicalOptions(objects=4, colours=4, variant="grader", graph_seed=s) for s in (0, 3)
        ]
        counts[kind] = [cross(enumerated_one_step_graph(BUILDERS[kind](o))) for o in options]
    assert counts == {"chain": [0, 0], "collider": [3, 3], "full": [5, 5], "jungle": [2, 1]}


def test_the_table_holds_the_distributions_that_the_simulator_draws_from() -> None:
    options = ChemicalOptions(objects=3, colours=2, graph_seed=2)
    spec = chemical_full(options)
    names, table = transition_table(spec)
    np.testing.assert_allclose(table.sum(axis=-1), 1.0)
    actions = spec.interventions.all_actions()
    state, batch = (1, 0, 1), 3000
    previous = np.ones((batch, spec.scm.n))
    previous[:, :3] = np.add(state, 1)
    for a, action in enumerate(actions):
        mask, value, _ = spec.interventions.decode(np.tile(action, (batch, 1)), spec.scm.names)
        after = spec.scm.step(previous, spec.scm.sample_noise(a, batch), None, mask, value)
        share = (dry(after[:, :3], 2) == 2).mean(axis=0)
        expected = np.array([table[(j, *state, a, 1)] for j in range(len(names))])
        assert (np.abs(share - expected) <= 5 * np.sqrt(0.25 / batch)).all()


def test_enumeration_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="too large to enumerate"):
        enumerated_one_step_graph(chemical_full(ChemicalOptions(objects=10)))
    spec = chemical_full(ChemicalOptions(objects=4, colours=3))
    with pytest.raises(ValueError, match="without smeared objects"):
        enumerated_one_step_graph(spec.shifted("noisy-2"))


@pytest.mark.parametrize("kind", SWITCHING)
def test_each_context_has_its_own_graph(kind: str) -> None:
    for seed in range(2):
        options = ChemicalOptions(objects=5, colours=4, variant="cdl", graph_seed=seed)
        spec, names = BUILDERS[kind](options), object_names(options)
        full = np.triu(published_label(kind, 5, names).lagged, k=1)
        here = local_graph(kind, 5, names).contemporaneous
        for colour in (1, 2, 4):
            expected = here if colour == 1 else full
            for wet in (0, 4):
                fixed = spec.scm.do({names[0]: colour + wet})
                found = perturbation_graph(fixed, seed, 32).subgraph(names).contemporaneous
                np.testing.assert_array_equal(found[1:, 1:], expected[1:, 1:])
            np.testing.assert_array_equal(painted_by_first(spec, names, colour), expected[0, 1:])


def painted_by_first(spec: SCMEnvSpec, names: tuple[str, ...], colour: int) -> np.ndarray:
    """Which of the others turn wet if the first is painted and the rest held dry, one at a time."""
    n = len(names)
    columns = [spec.scm.names.index(name) for name in names]
    previous = np.ones((n - 1, spec.scm.n))
    mask, value = np.zeros(previous.shape, dtype=bool), previous.copy()
    mask[:, columns] = True
    mask[np.arange(n - 1), columns[1:]] = False
    value[:, columns[0]] = colour + spec.interventions.n_values
    after = spec.scm.step(previous, spec.scm.sample_noise(0, n - 1), None, mask, value)
    return after[np.arange(n - 1), columns[1:]] > spec.interventions.n_values


@pytest.mark.parametrize("kind", SWITCHING)
def test_what_is_painted_in_a_context_reaches_its_local_descendants(kind: str) -> None:
    options = ChemicalSwitchOptions(objects=6, graph_seed=1)
    spec, names = BUILDERS[kind](options), object_names(options)
    for colour in (1, 3):
        env = SCMEnv(spec)
        env.reset(seed=0)
        first = env.do(names[0], 5 + colour)[0]
        assert (first[:6] > 5).all()
        after = env.do(names[2], 5 + 2)[0]
        wet = {name for name in names if after[spec.observed_names.index(name)] > 5}
        if colour == 1 and kind == "full-fork":
            assert wet == {names[2]}
        else:
            assert wet == set(names[2:])


@pytest.mark.parametrize("kind", KINDS)
def test_counterfactuals_and_abduction_are_exact(kind: str) -> None:
    options = ChemicalOptions(graph_seed=4)
    spec = BUILDERS[kind](options)
    env = SCMEnv(spec)
    env.reset(seed=7)
    env.action_space.seed(7)
    for _ in range(20):
        env.step(env.action_space.sample())
    factual = env.trajectory()
    again = env.counterfactual(factual, factual.do)
    np.testing.assert_array_equal(again.values, factual.values)
    np.testing.assert_array_equal(again.reward, factual.reward)
    for rng in (None, 3):
        noise = spec.scm.abduct(factual.values, factual.do_mask, rng)
        told = replace(factual, noise=noise)
        rebuilt = spec.scm.counterfactual(told, *factual.do)
        np.testing.assert_array_equal(rebuilt.values, factual.values)
    other = env.counterfactual(factual, {5: {object_names(options)[0]: 7.0}})
    np.testing.assert_array_equal(other.values[:6], factual.values[:6])
    assert (other.values[6:] != factual.values[6:]).any()


@pytest.mark.parametrize(
    ("kind", "shift"),
    [(kind, None) for kind in KINDS]
    + [("full-chain", shift) for shift in ("noisy-2", "noise", "mechanism")],
)
def test_scalar_and_vector_environments_agree(kind: str, shift: str | None) -> None:
    spec = BUILDERS[kind](ChemicalOptions(objects=7, horizon=6))
    spec = spec if shift is None else spec.shifted(shift)
    envs, alone = SCMVectorEnv(spec, 5), [SCMEnv(spec) for _ in range(5)]
    frames = [envs.reset(seed=3)[0]]
    lone = [np.stack([e.reset(seed=3 + i)[0] for i, e in enumerate(alone)])]
    rng = np.random.default_rng(0)
    for _ in range(5):
        actions = rng.integers(0, spec.interventions.space().nvec, (5, 2))
        one = envs.step(actions)
        many = [e.step(a) for e, a in zip(alone, actions, strict=True)]
        frames.append(one[0])
        lone.append(np.stack([m[0] for m in many]))
        np.testing.assert_array_equal(one[1], [m[1] for m in many])
    np.testing.assert_array_equal(frames, lone)


@pytest.mark.filterwarnings("ignore:.*Box observation space")
@pytest.mark.parametrize("kind", KINDS)
def test_gymnasium_accepts_it(kind: str) -> None:
    check_env(SCMEnv(BUILDERS[kind](ChemicalOptions())), skip_render_check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_every_goal_is_reached_by_painting_causes_first(kind: str) -> None:
    options = ChemicalOptions(graph_seed=2)
    spec = BUILDERS[kind](options)
    env = SCMEnv(spec)
    for seed in range(5):
        observation = env.reset(seed=seed)[0]
        for name in object_names(options):
            goal = observation[spec.observed_names.index(goal_name(name))]
            observation, reward, *_ = env.do(name, 5 + goal)
        assert reward == 1.0


def test_the_reward_is_the_share_of_matches_less_the_cost() -> None:
    spec = chemical_chain(ChemicalOptions(cost=0.25))
    env = SCMEnv(spec)
    env.reset(seed=0)
    env.action_space.seed(0)
    seen = set()
    for _ in range(30):
        action = env.action_space.sample()
        after, reward, *_ = env.step(action)
        share = (dry(after[:5], 5) == after[5:]).mean()
        assert reward == pytest.approx(share - 0.25 * (action[0] > 0))
        seen.add(float(share))
    assert len(seen) > 2


def test_goals_and_first_colours_are_uniform_where_they_should_be() -> None:
    options = ChemicalOptions(colours=4)
    spec = chemical_chain(options)
    start = SCMVectorEnv(spec, 4000).reset(seed=0)[0]
    first = spec.observed_names.index(object_names(options)[0])
    for column in (first, *range(5, 10)):
        counts = np.bincount(start[:, column].astype(int), minlength=5)
        assert counts[0] == 0
        assert (np.abs(counts[1:] - 1000) < 5 * np.sqrt(4000 * 0.25 * 0.75)).all()


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


@pytest.mark.parametrize("kind", ["jungle", *SWITCHING])
def test_noisy_nodes_change_what_is_seen_and_not_what_happens(kind: str) -> None:
    options = ChemicalSwitchOptions(graph_seed=1)
    spec, names = BUILDERS[kind](options), object_names(options)
    for k in (2, 4, 6):
        chosen = names[1 : k + 1]
        one = SCMEnv(spec)
        world = smear(spec, chosen)  # without the switch, episodes start alike
        assert perturbation_graph(world.scm, 0, 32) == world.causal_graph
        two = SCMEnv(world)
        a, b = one.reset(seed=5)[0], two.reset(seed=5)[0]
        one.action_space.seed(0)
        noisy = [spec.observed_names.index(name) for name in chosen]
        others = [i for i in range(20) if i not in noisy]
        multiples = []
        for _ in range(15):
            action = one.action_space.sample()
            a, b = one.step(action)[0], two.step(action)[0]
            np.testing.assert_array_equal(a[others], b[others])
            np.testing.assert_array_equal(a[noisy], b[noisy] % 11)
            multiples.append(b[noisy] // 11)
        spread = np.ravel(multiples)
        assert spread.max() > 80
        assert spread.min() >= 0
        assert len(np.unique(spread)) > 15


def test_noisy_worlds_start_in_the_context_and_pay_for_the_rest() -> None:
    options = ChemicalSwitchOptions(graph_seed=3)
    names = object_names(options)
    spec = chemical_full_fork(options).shifted("noisy-4")
    start = SCMVectorEnv(spec, 50).reset(seed=0)[0]
    assert (start[:, spec.observed_names.index(names[0])] == 1).all()
    assert spec.scm.reward is not None
    paid = {name for name in spec.scm.reward.parents if name.startswith("O")}
    assert paid == {names[0], *names[5:]}
    trajectory = spec.scm.simulate(4, 0, batch=3, do={names[7]: 7.0})
    for rng in (None, 1):
        noise = spec.scm.abduct(trajectory.values, trajectory.do_mask, rng)
        rebuilt = spec.scm.counterfactual(replace(trajectory, noise=noise), *trajectory.do)
        np.testing.assert_array_equal(rebuilt.values, trajectory.values)
    wrong = trajectory.values.copy()
    wrong[1, 0, spec.scm.names.index(names[1])] = 1100
    with pytest.raises(ValueError, match=r"values must be categories 0\.\.1099"):
        spec.scm.abduct(wrong, trajectory.do_mask)


def test_the_other_shifts_change_networks_alone() -> None:
    options = ChemicalOptions()
    spec = chemical_jungle(options)
    hot, other = spec.shifted("noise"), spec.shifted("mechanism")
    changed = []
    for before, warm, after in zip(
        variables(spec, options), variables(hot, options), variables(other, options), strict=True
    ):
        shown = np.ones((len(before.parents), 1), dtype=np.int64)
        nets = [v.mechanism.net for v in (before, warm, after) if isinstance(v.mechanism, Repaint)]
        cold, heated, _ = (net.weights(shown) for net in nets)
        np.testing.assert_allclose(heated, np.sqrt(cold))
        if nets[0] is not nets[2]:
            changed.append(before.name)
    assert changed == [object_names(options)[-1]]
    assert "noise" not in chemical_jungle(ChemicalOptions(deterministic=True)).shifts


def test_names_say_nothing_about_the_order_unless_asked() -> None:
    orders = {object_names(ChemicalOptions(graph_seed=s)) for s in range(5)}
    assert len(orders) > 3
    plain = ChemicalOptions(permute=False)
    assert object_names(plain) == ("O1", "O2", "O3", "O4", "O5")
    graph = chemical_chain(plain).scm.graph.subgraph(object_names(plain))
    np.testing.assert_array_equal(graph.contemporaneous, np.eye(5, k=1, dtype=bool))


def test_specs_pickle() -> None:
    spec = chemical_full_fork(ChemicalSwitchOptions())
    copy = pickle.loads(pickle.dumps(spec))
    one, two = (SCMVectorEnv(s.shifted("noisy-2"), 3).reset(seed=1)[0] for s in (spec, copy))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("objects", 1, "objects must be at least 2"),
        ("objects", 2.5, "objects must be an integer"),
        ("colours", 1, "colours must be at least 2"),
        ("graph_seed", -1, "graph_seed must be at least 0"),
        ("horizon", 0, "horizon must be at least 1"),
        ("variant", "fcdl", "variant must be one of ke, cdl, grader"),
        ("deterministic", "yes", "deterministic must be True, False or None"),
        ("deterministic", 1, "deterministic must be True, False or None"),
        ("permute", 1, "permute must be True or False"),
        ("cost", -0.1, "cost must be at least 0"),
    ],
)
def test_bad_options_are_named(option: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChemicalOptions(**{option: value})


def test_bad_labels_are_named() -> None:
    with pytest.raises(ValueError, match="kind must be one of chain, collider"):
        published_label("ring", 4)
    with pytest.raises(ValueError, match="n must be at least 2"):
        published_label("chain", 1)
    with pytest.raises(ValueError, match="names must be 4, got 2"):
        local_graph("full-fork", 4, ["a", "b"])


def test_abduction_refuses_impossible_values() -> None:
    options = ChemicalOptions(permute=False, deterministic=True)
    spec = chemical_chain(options)
    values = spec.scm.simulate(2, 0).values.copy()
    values[1, 0, 2] = values[1, 0, 2] % 5 + 1
    with pytest.raises(ValueError, match="variable 'O3': a value differs from the colour"):
        spec.scm.abduct(values)
