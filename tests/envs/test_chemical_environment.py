"""The Chemical worlds as environments: conformance, reward, shifts, options."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from chemical_worlds import BUILDERS, KINDS, SWITCHING, variables
from gymnasium.utils.env_checker import check_env

from causal_rl.envs import SCMEnv, SCMEnvSpec, SCMVectorEnv
from causal_rl.envs.worlds.chemical import (
    ChemicalOptions,
    ChemicalSwitchOptions,
    chemical_chain,
    chemical_full_chain,
    chemical_full_fork,
    chemical_jungle,
    goal_name,
    object_names,
    smear,
)
from causal_rl.envs.worlds.chemical_labels import silent_paths
from causal_rl.envs.worlds.chemical_mechanisms import Repaint, dry
from causal_rl.scm import perturbation_graph
from causal_rl.testing import WorldConformance


class TestConformance(WorldConformance):
    """What is asked of any world; paths from a colour at rest to others are silent by design."""

    num_envs = 2

    def spec(self) -> SCMEnvSpec:
        spec = chemical_full_chain(ChemicalSwitchOptions(objects=4, colours=3, horizon=4))
        self.allowed_missing = silent_paths(spec)
        return spec


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
        ("objects", 1, "objects is 1; it must be >= 2"),
        ("objects", 2.5, "objects must be an integer"),
        ("colours", 1, "colours is 1; it must be >= 2"),
        ("graph_seed", -1, "graph_seed is -1; it must be >= 0"),
        ("horizon", 0, "horizon is 0; it must be >= 1"),
        ("variant", "fcdl", "variant must be one of ke, cdl, grader"),
        ("deterministic", "yes", "deterministic must be True, False or None"),
        ("deterministic", 1, "deterministic must be True, False or None"),
        ("permute", 1, "permute must be True or False"),
        ("cost", -0.1, "cost is -0.1; it must be finite, >= 0"),
    ],
)
def test_bad_options_are_named(option: str, value: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        ChemicalOptions(**{option: value})


def test_abduction_refuses_impossible_values() -> None:
    options = ChemicalOptions(permute=False, deterministic=True)
    spec = chemical_chain(options)
    values = spec.scm.simulate(2, 0).values.copy()
    values[1, 0, 2] = values[1, 0, 2] % 5 + 1
    with pytest.raises(ValueError, match="variable 'O3': a value differs from the colour"):
        spec.scm.abduct(values)
