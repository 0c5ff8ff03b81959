"""Worlds with hidden confounding: they pay what they should, show no hidden thing, and replay."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from causal_rl.envs import SCMEnv, SCMEnvSpec, SCMVectorEnv
from causal_rl.envs.worlds.confounding import (
    BanditOptions,
    ConfoundedMDPOptions,
    RegimeOptions,
    bandit_uc,
    confounded_mdp,
    treatment_regime,
)
from causal_rl.envs.worlds.deconfounding import (
    FrontDoorOptions,
    InstrumentOptions,
    WhereOptions,
    front_door,
    instrument,
    instrument_values,
    where_to_intervene,
)
from causal_rl.envs.worlds.identification import (
    ExactValues,
    confounded_pairs,
    exact_values,
)
from causal_rl.scm import perturbation_graph

WORLDS: dict[str, tuple[Callable[..., SCMEnvSpec], type]] = {
    "bandit-uc": (bandit_uc, BanditOptions),
    "confounded-mdp": (confounded_mdp, ConfoundedMDPOptions),
    "dtr": (treatment_regime, RegimeOptions),
    "front-door": (front_door, FrontDoorOptions),
    "instrument": (instrument, InstrumentOptions),
    "where-to-intervene": (where_to_intervene, WhereOptions),
}
# Rounds that are independent have the same mean whatever the horizon; the corridor has not.
SHORT = dict.fromkeys(WORLDS, 1) | {"confounded-mdp": ConfoundedMDPOptions().horizon}
SMALL = dict.fromkeys(WORLDS, 2) | {"confounded-mdp": 3}
DISCRETE = [name for name in WORLDS if name != "instrument"]
ROWS = 10_000

Policy = Callable[[np.ndarray, np.ndarray], np.ndarray]


def make(name: str, **options: object) -> SCMEnvSpec:
    build, kind = WORLDS[name]
    return build(kind(**options))


def values_of(name: str, **options: object) -> ExactValues:
    if name == "instrument":
        return instrument_values(InstrumentOptions(**options))  # type: ignore[arg-type]
    return exact_values(make(name, **options))


def returns(spec: SCMEnvSpec, policy: Policy, seed: int = 0, rows: int = ROWS) -> np.ndarray:
    """Returns of an episode, (rows,), of a policy over observations and natural actions."""
    envs = SCMVectorEnv(spec, rows, autoreset_mode="NextStep")
    obs, _ = envs.reset(seed=seed)
    total = np.zeros(rows)
    for _ in range(spec.horizon):
        obs, reward, *_ = envs.step(policy(obs, envs.natural_action()))
        total += reward
    return total


def constant(action: np.ndarray) -> Policy:
    return lambda obs, natural: np.tile(action, (len(obs), 1))


def contrary(obs: np.ndarray, natural: np.ndarray) -> np.ndarray:
    """Set the one binary target to what it would not have been."""
    return np.column_stack([np.ones(len(obs)), 1 - natural[:, 0]]).astype(np.int64)


def agrees(sample: np.ndarray, exact: float) -> bool:
    """Within four standard errors."""
    return abs(sample.mean() - exact) < 4 * sample.std() / np.sqrt(len(sample)) + 1e-12


def test_the_greedy_casino_has_the_values_of_the_paper() -> None:
    value = exact_values(make("bandit-uc")).per_step()
    assert value.see == pytest.approx(0.15)
    assert value.do == pytest.approx({("X", 0.0): 0.3, ("X", 1.0): 0.3})
    assert value.policy == pytest.approx(0.3)
    assert value.counterfactual == pytest.approx(0.45)
    whole = exact_values(make("bandit-uc", horizon=7))
    assert whole.horizon == 7
    assert whole.counterfactual == pytest.approx(7 * 0.45)


@pytest.mark.parametrize("name", list(WORLDS))
def test_the_environment_pays_the_exact_values(name: str) -> None:
    spec, exact = make(name, horizon=SMALL[name]), values_of(name, horizon=SMALL[name])
    assert agrees(returns(spec, constant(np.array([0, 0]))), exact.see)
    for (target, value), expected in exact.do.items():
        action = spec.interventions.action(target, value)
        assert agrees(returns(spec, constant(action), seed=7 * ROWS), expected)


@pytest.mark.parametrize("name", ["bandit-uc", "confounded-mdp"])
def test_acting_against_intent_pays_the_counterfactual_value(name: str) -> None:
    spec, exact = make(name, horizon=4), exact_values(make(name, horizon=4))
    assert agrees(returns(spec, contrary, seed=3), exact.counterfactual)


@pytest.mark.parametrize("intent", [False, True])
def test_the_treatment_regime_learned_from_random_trials(intent: bool) -> None:
    """Backward induction on means over histories, which shares no code with the oracle."""
    spec, rows = make("dtr"), 100_000
    rng = np.random.default_rng(5)
    envs = SCMVectorEnv(spec, rows, autoreset_mode="NextStep")
    obs, _ = envs.reset(seed=5)
    history, before, arms = [obs[:, 2]], [], []
    for _ in range(2):
        history += [envs.natural_action()[:, 0]] if intent else []
        before.append(codes(history))
        arm = rng.integers(0, 3, rows)  # 0 follows intent, 1 is gentle, 2 is strong
        obs, reward, *_ = envs.step(np.column_stack([arm > 0, arm == 2]).astype(np.int64))
        arms.append(arm)
        history += [arm, obs[:, 1], obs[:, 2]]
    value = reward
    for history_code, arm in zip(reversed(before), reversed(arms), strict=True):
        cells = history_code * 3 + arm
        means = np.bincount(cells, value) / np.maximum(np.bincount(cells), 1)
        means = np.pad(means, (0, -len(means) % 3)).reshape(-1, 3)
        value = means.max(axis=1)[history_code]
    exact = exact_values(spec)
    assert value.mean() == pytest.approx(exact.counterfactual if intent else exact.policy, abs=0.01)
    assert exact.counterfactual > exact.policy + 0.03


def codes(columns: list[np.ndarray]) -> np.ndarray:
    """One number for each combination of small whole numbers."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        code = 3 * code + column.astype(np.int64)
    return code


def test_the_instrument_optimum_is_reached_by_conditioning_on_intent() -> None:
    options = InstrumentOptions(horizon=1)
    spec, exact = instrument(options), instrument_values(options)
    variance = options.first_stage**2 + options.to_treatment**2 + options.noise**2
    pull = options.to_outcome * options.to_treatment / variance
    offered = spec.interventions.table[0]

    def policy(obs: np.ndarray, natural: np.ndarray) -> np.ndarray:
        wanted = (options.goal - pull * natural) / options.effect
        choice = np.abs(offered - wanted).argmin(axis=1)
        follow = np.abs(natural[:, 0] - wanted[:, 0]) < np.abs(offered[choice] - wanted[:, 0])
        return np.column_stack([~follow, choice]).astype(np.int64)

    assert agrees(returns(spec, policy, rows=100_000), exact.counterfactual)


def test_seeing_doing_and_intending_differ_where_they_should() -> None:
    value_of = {name: values_of(name, horizon=SMALL[name]) for name in WORLDS}
    for value in value_of.values():
        assert value.see < max(value.do.values()) - 0.05
        assert max(value.do.values()) <= value.policy + 1e-9
        assert value.policy <= value.counterfactual + 1e-9
    for name in ("bandit-uc", "confounded-mdp", "dtr", "instrument"):
        value = value_of[name]
        assert value.counterfactual > 1.05 * value.policy + 0.1 * (value.policy < 0)
    for name in ("front-door", "where-to-intervene"):  # here intent is worth nothing more
        value = value_of[name]
        assert value.counterfactual == pytest.approx(value.policy)
    for name in ("confounded-mdp", "dtr"):  # and here observations are worth something
        value = value_of[name]
        assert value.policy > 1.05 * max(value.do.values())


def test_the_table_of_the_documentation_is_exact() -> None:
    text = (Path(__file__).parents[2] / "docs" / "worlds_confounding.md").read_text()
    table = dict(re.findall(r"^\| \[`([a-z-]+)`\]\(.*?\) \| (.*) \|$", text, flags=re.MULTILINE))
    assert set(table) == set(WORLDS)
    for name, row in table.items():
        value = values_of(name) if name == "dtr" else values_of(name, horizon=SHORT[name])
        if name != "dtr":
            value = value.per_step()
        numbers = [value.see, max(value.do.values()), value.policy, value.counterfactual]
        assert [float(cell) for cell in row.split(" | ")] == pytest.approx(numbers, abs=6e-4)


@pytest.mark.parametrize("name", list(WORLDS))
def test_graphs_are_what_perturbing_the_simulator_shows(name: str) -> None:
    spec = make(name)
    spec.scm.check()
    assert perturbation_graph(spec.scm, 0, 1024) == spec.scm.graph
    hidden = {n for n, k in zip(spec.scm.names, spec.scm.kinds, strict=True) if k == "hidden"}
    assert hidden
    assert not hidden & set(spec.causal_graph.names)
    assert not any({a, b} & hidden for a, b in confounded_pairs(spec))


@pytest.mark.parametrize("name", list(WORLDS))
def test_randomising_the_natural_action_takes_confounding_away(name: str) -> None:
    spec = make(name, horizon=2)
    trial = spec.shifted("randomised")
    assert trial.observed_names == spec.observed_names
    lever = spec.interventions.settable[-1]
    assert not any(lever in pair for pair in confounded_pairs(trial))
    if name == "instrument":
        return
    value = exact_values(trial)
    assert value.counterfactual == pytest.approx(value.policy)
    if name in ("bandit-uc", "front-door"):
        assert value.see == pytest.approx(np.mean(list(value.do.values())))
        assert value.do == pytest.approx(exact_values(spec).do)


@pytest.mark.parametrize("name", list(WORLDS))
def test_hidden_variables_never_show(name: str) -> None:
    spec = make(name, horizon=3)
    env = SCMEnv(spec)
    obs, info = env.reset(seed=0)
    hidden = [i for i, kind in enumerate(spec.scm.kinds) if kind == "hidden"]
    n = spec.scm.n - len(hidden)
    for _ in range(3):
        assert obs.shape == info["do_target"].shape == info["do_value"].shape == (n,)
        assert set(info) == {"do_target", "do_value"}
        obs, *_, info = env.step(env.action_space.sample())
    last = env.trajectory().values[-1, 0]
    np.testing.assert_array_equal(obs, np.delete(last, hidden))


@pytest.mark.parametrize("name", list(WORLDS))
def test_scalar_and_vector_agree_and_counterfactuals_are_exact(name: str) -> None:
    spec = make(name, horizon=6)
    envs = SCMVectorEnv(spec, 3)
    envs.action_space.seed(1)
    scalars = [SCMEnv(spec) for _ in range(3)]
    obs, _ = envs.reset(seed=10)
    for i, env in enumerate(scalars):
        np.testing.assert_array_equal(env.reset(seed=10 + i)[0], obs[i])
    for _ in range(5):
        actions = envs.action_space.sample()
        natural = envs.natural_action()
        obs, reward, *_ = envs.step(actions)
        for i, env in enumerate(scalars):
            np.testing.assert_array_equal(env.natural_action(), natural[i])
            one, paid, *_ = env.step(actions[i])
            np.testing.assert_array_equal(one, obs[i])
            assert paid == reward[i]
    episode = scalars[0].trajectory()
    again = scalars[0].counterfactual(episode, episode.do)
    np.testing.assert_array_equal(again.values, episode.values)
    np.testing.assert_array_equal(again.reward, episode.reward)
    lever = spec.interventions.settable[0]
    column = spec.scm.names.index(lever)
    done = {
        n: v for n, m, v in zip(spec.scm.names, *(d[4, 0] for d in episode.do), strict=True) if m
    }
    done[lever] = 1.0 - episode.values[5, 0, column]
    other = scalars[0].counterfactual(episode, {4: done})
    np.testing.assert_array_equal(other.values[:5], episode.values[:5])
    moved = other.values[5, 0] != episode.values[5, 0]
    changed = {n for n, m in zip(spec.scm.names, moved, strict=True) if m}
    assert lever in changed
    assert changed <= {lever, *spec.scm.graph.descendants(lever)}
    noise = spec.scm.abduct(episode.values, episode.do_mask)
    explained = spec.scm.counterfactual(
        type(episode)(episode.values, noise, *episode.do, None), *episode.do
    )
    np.testing.assert_array_equal(explained.values, episode.values)


def test_the_effect_of_what_was_not_chosen_needs_the_third_rung() -> None:
    """E[Y under the other machine | this one was chosen], from episodes and their noise."""
    spec = make("bandit-uc", horizon=1)
    episode = spec.scm.simulate(1, np.random.default_rng(2), batch=ROWS)
    column = spec.scm.names.index("X")
    mask, value = episode.do_mask.copy(), episode.do_value.copy()
    mask[:, :, column], value[0, :, column] = True, 1.0 - episode.values[1, :, column]
    other = spec.scm.counterfactual(episode, mask, value)
    assert agrees(episode.reward[0], 0.15)
    assert agrees(other.reward[0], 0.45)


@pytest.mark.filterwarnings("ignore:.*A Box observation space:UserWarning")
@pytest.mark.parametrize("name", list(WORLDS))
def test_gymnasium_accepts_every_world_and_it_pickles(name: str) -> None:
    spec = make(name)
    check_env(SCMEnv(spec), skip_render_check=True)
    copy = pickle.loads(pickle.dumps(spec))
    assert copy.causal_graph == spec.causal_graph
    a, b = SCMEnv(spec), SCMEnv(copy)
    np.testing.assert_array_equal(a.reset(seed=3)[0], b.reset(seed=3)[0])
    np.testing.assert_array_equal(a.see()[0], b.see()[0])


def test_costs_are_taken_off_what_is_set() -> None:
    free, dear = exact_values(make("bandit-uc")), exact_values(make("bandit-uc", cost=0.1))
    assert dear.see == pytest.approx(free.see)
    assert dear.do[("X", 1.0)] == pytest.approx(free.do[("X", 1.0)] - 0.1 * free.horizon)
    assert dear.counterfactual == pytest.approx(free.counterfactual - 0.1 * free.horizon)
    assert agrees(returns(make("bandit-uc", cost=0.1, horizon=2), contrary), 0.7)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("bandit-uc", "horizon", 0),
        ("bandit-uc", "cost", -0.1),
        ("bandit-uc", "drunk", 1.0),
        ("bandit-uc", "blinking", "often"),
        ("bandit-uc", "payouts", ((0.1, 0.2), (0.3, 0.4))),
        ("bandit-uc", "payouts", (((0.1, 0.5), (0.4, 0.2)), ((0.5, 0.1), (0.2, 1.4)))),
        ("bandit-uc", "payouts", "high"),
        ("confounded-mdp", "n_states", 1),
        ("confounded-mdp", "lean", 0),
        ("confounded-mdp", "misled", 1.5),
        ("confounded-mdp", "grip", None),
        ("dtr", "horizon", 1.5),
        ("dtr", "severe", -0.1),
        ("front-door", "hidden", 2),
        ("front-door", "habit", (0.1,)),
        ("front-door", "passage", (0.1, float("nan"))),
        ("front-door", "outcome", (0.1, 0.2)),
        ("instrument", "effect", 0.0),
        ("instrument", "first_stage", float("inf")),
        ("instrument", "to_outcome", float("nan")),
        ("instrument", "noise", 0.0),
        ("instrument", "n_values", 1),
        ("instrument", "max_value", -1.0),
        ("where-to-intervene", "first", 0.0),
        ("where-to-intervene", "flip", 0.5),
    ],
)
def test_bad_options_are_named(name: str, option: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{option} (is|must be)") as caught:
        make(name, **{option: value})
    assert "\n" not in str(caught.value)
