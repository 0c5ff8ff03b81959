"""Counterfactual rollouts: the same actions give what was seen, others what would have been."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from causal_rl.agents import Algorithm5, RolloutRecorder, TrainConfig
from causal_rl.agents.counterfactual_data import CounterfactualData
from causal_rl.agents.planning import LearnedSCM
from causal_rl.agents.rollout import ReturnNormaliser
from causal_rl.envs import Interventions, SCMEnvSpec, SCMVectorEnv, resolve_spec
from causal_rl.envs.recording import VectorStep, record, transitions_step, vector_step
from causal_rl.graphs import CausalGraph
from causal_rl.scm import DynamicSCM, Gaussian, Linear, Uniform, Variable

ENVS, STEPS, HORIZON = 16, 11, 5
OPTIONS = {
    "num_envs": 8,
    "explore_envs": 2,
    "warmup_steps": 320,
    "graph_every": 2,
    "eval_every": 3,
    "eval_episodes": 8,
    "embed_dim": 16,
    "layers": 1,
    "steps": 1600,
    "counterfactuals": 2,
}


@pytest.fixture(scope="module")
def spec():
    """w -> x -> y <- y before, all linear, columns in no causal order; noise in the reward."""
    scm = DynamicSCM(
        [
            Variable("y", Linear([1.0, 0.5]), Gaussian(0.4), parents=["x"], lagged_parents=["y"]),
            Variable("x", Linear([0.8]), Gaussian(0.5), parents=["w"]),
            Variable("w", noise=Gaussian(1.0)),
            Variable("goal", noise=Uniform(-1.0, 1.0), kind="context"),
            Variable(
                "reward", lambda y, goal: -np.abs(y - goal), parents=["y", "goal"], kind="reward"
            ),
        ]
    )
    actions = Interventions(["x", "w"], (-0.5, 0.5), {"x": 0.2, "w": 0.1})
    return SCMEnvSpec("tiny", scm, actions, horizon=HORIZON)


class Script:
    """A policy whose actions are known before: stands in for a recorder's."""

    def __init__(self, actions):
        self.actions, self.rewards, self.reached, self.seen = list(actions), [], [], []

    def act(self, observation):
        self.seen.append(np.array(observation))
        return self.actions[len(self.rewards)]

    def add(self, reward, reached, terminated, done):
        self.rewards.append(reward)
        self.reached.append(reached)


def roll(spec, actions) -> list[VectorStep]:
    env = SCMVectorEnv(spec, num_envs=ENVS)
    observation, _ = env.reset(seed=3)
    steps = []
    for action in actions:
        outcome = env.step(action)
        steps.append(vector_step(observation, action, outcome, autoreset_mode=env.autoreset_mode))
        observation = outcome[0]
    return steps


def random_actions(spec, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, spec.action_space().nvec, size=(STEPS, ENVS, 2))


def fitted(spec, **options) -> CounterfactualData:
    data = CounterfactualData(spec, seed=0, **options)
    data.learn(record(spec, 4000, seed=5), spec.causal_graph)
    return data


def test_the_same_actions_give_the_same_rollout(spec):
    actions = random_actions(spec, 0)
    steps = roll(spec, actions)
    script = Script(actions)
    assert fitted(spec).replay(steps, script, ReturnNormaliser(ENVS, 0.9, enabled=False))
    for k, step in enumerate(steps):  # through two ends of episodes
        np.testing.assert_allclose(script.seen[k], step.state, atol=1e-9)
        np.testing.assert_allclose(script.reached[k], step.next_state, atol=1e-9)
        np.testing.assert_allclose(script.rewards[k], step.reward, atol=1e-9)


def test_other_actions_give_what_the_world_would_have_done(spec):
    """The world's noise is keyed by seed and step: the other rollout can be looked at."""
    steps = roll(spec, random_actions(spec, 0))
    others = random_actions(spec, 1)
    truth = roll(spec, others)
    script = Script(others)
    fitted(spec).replay(steps, script, ReturnNormaliser(ENVS, 0.9, enabled=False))
    # Where a variable was set its noise is unknown, and the lagged y remembers that: what is left
    # exact are the first steps in which nothing had been set that is free now.
    freed = steps[0].do_target & ~truth[0].do_target
    known = ~freed.any(axis=1)
    assert 4 < known.sum() < ENVS
    np.testing.assert_allclose(script.reached[0][known], truth[0].next_state[known], atol=0.06)
    np.testing.assert_allclose(script.rewards[0][known], truth[0].reward[known], atol=0.06)
    assert np.abs(script.reached[0][~known] - truth[0].next_state[~known]).max() > 0.3


def test_fresh_noise_keeps_the_first_states_alone(spec):
    actions = random_actions(spec, 0)
    steps = roll(spec, actions)
    script = Script(actions)
    fitted(spec, noise="fresh").replay(steps, script, ReturnNormaliser(ENVS, 0.9, enabled=False))
    np.testing.assert_allclose(script.seen[0], steps[0].state)
    np.testing.assert_allclose(script.seen[HORIZON], steps[HORIZON].state)  # the next episode's
    w = list(spec.observed_names).index("w")
    free = ~steps[0].do_target[:, w]
    assert np.abs(script.reached[0][free, w] - steps[0].next_state[free, w]).min() > 0


def test_abducted_noise_is_the_worlds_own(spec):
    rows = record(spec, 4000, seed=5)
    model = LearnedSCM.fit(rows, spec.causal_graph)
    noise = model.abduct(rows.state, rows.next_state)
    again = model.step(rows.state, noise)
    np.testing.assert_allclose(again, rows.next_state, atol=1e-12)
    free = ~rows.do_target
    assert np.std(noise[free[:, 0], 0]) == pytest.approx(0.4, rel=0.1)
    assert not noise[:, model.contexts].any()
    with pytest.raises(ValueError, match="previous must have shape"):
        model.abduct(rows.state[:, :2], rows.next_state)


def test_rewards_are_on_the_runs_scale_and_leave_it_alone(spec):
    actions = random_actions(spec, 0)
    steps = roll(spec, actions)
    normaliser = ReturnNormaliser(ENVS, 0.9)
    for step in steps:
        normaliser(step.reward, step.truncated)
    before = normaliser.state_dict()
    script = Script(actions)
    fitted(spec).replay(steps, script, normaliser)
    np.testing.assert_allclose(script.rewards[0] * normaliser.scale, steps[0].reward, atol=1e-9)
    for key, value in normaliser.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_without_causes_of_the_reward_there_are_no_data(spec):
    names, kinds = [*spec.observed_names, "reward"], [*spec.observed_kinds, "reward"]
    data = fitted(spec)
    assert data.model is not None
    data.learn(record(spec, 200, seed=5), CausalGraph.empty(names, kinds))
    script = Script(random_actions(spec, 0))
    normaliser = ReturnNormaliser(ENVS, 0.9)
    assert data.replay(roll(spec, random_actions(spec, 0)), script, normaliser) is False
    assert script.seen == []


def run(spec, observer=lambda algorithm: True, **options):
    algorithm = Algorithm5(spec, TrainConfig(**{**OPTIONS, **options}))
    assert algorithm.learn(observer)
    return algorithm


@pytest.mark.parametrize("policy_update", ["ppo", "a2c", "paper"])
def test_every_update_takes_them(spec, policy_update):
    rows = []

    def keep(algorithm):
        rows.append(algorithm.progress.figures.get("counterfactual/rows", 0.0))
        return True

    options = {"policy_update": policy_update, "minibatch_size": 32, "epochs": 2}
    algorithm = run(spec, keep, **options)
    ours = 8 * 16 if policy_update != "paper" else 2 * 32
    assert set(rows) == {0.0, 2.0 * ours}  # 0 in the warm-up
    plain = run(spec, **options, counterfactuals=0)
    assert algorithm.progress.env_steps == plain.progress.env_steps
    moved = zip(algorithm.policy.parameters(), plain.policy.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in moved)
    assert all(bool(torch.isfinite(p).all()) for p in algorithm.policy.parameters())


def test_the_graph_learner_never_sees_them(spec):
    """Under a policy that does not move, nothing else differs."""
    with_data, without = (
        run(spec, counterfactuals=count, learning_rate=0.0, steps=900) for count in (2, 0)
    )
    assert len(with_data.store) == len(without.store)
    assert with_data.learned_graph == without.learned_graph == spec.causal_graph


def test_continues_from_any_state_as_if_unbroken(spec):
    states = []
    whole = run(spec, lambda algorithm: states.append(algorithm.state_dict()) or True)
    for index in (1, 4, len(states) - 2):
        again = Algorithm5(spec, whole.config)
        again.load_state_dict(states[index])
        assert again.learn(lambda algorithm: True)
        for key, value in whole.policy.state_dict().items():
            assert torch.equal(again.policy.state_dict()[key], value), key


def test_after_an_alarm_the_model_of_the_old_world_is_not_used(spec):
    data = fitted(spec)
    data.forget()
    script = Script(random_actions(spec, 0))
    normaliser = ReturnNormaliser(ENVS, 0.9)
    assert data.replay(roll(spec, random_actions(spec, 0)), script, normaliser) is False


def test_transitions_are_a_step_of_as_many_environments(spec):
    rows = record(spec, 60, seed=1)
    step = transitions_step(rows)
    assert len(step) == len(rows)
    np.testing.assert_array_equal(step.next_state, rows.next_state)
    part = step.environments(slice(3, 9))
    assert len(part) == 6
    np.testing.assert_array_equal(part.do_target, rows.do_target[3:9])
    with pytest.raises(ValueError, match="rows must have actions and rewards"):
        transitions_step(type(rows)(state=rows.state, next_state=rows.next_state))


def test_a_recorders_rows_are_its_steps(spec):
    run_ = Algorithm5(spec, TrainConfig(**OPTIONS))
    recorder = RolloutRecorder(run_.policy, torch.Generator().manual_seed(0), run_.device)
    steps = roll(spec, random_actions(spec, 0))
    for step in steps:
        recorder.act(step.state)
        recorder.add(step.reward, step.next_state, step.terminated, step.truncated)
    rows = recorder.transitions()
    batch = recorder.batch(gamma=0.9, gae_lambda=1.0)
    assert torch.equal(rows.observation, batch.observation)
    assert torch.equal(rows.action, batch.action)
    reached = torch.tensor(np.concatenate([s.next_state for s in steps]), dtype=torch.float32)
    assert torch.equal(rows.reached, reached)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"counterfactuals": -1}, "counterfactuals must be in"),
        ({"counterfactual_noise": "none"}, "counterfactual_noise must be one of stored, fresh"),
        ({"counterfactuals": 1, "algo": "sb3-ppo"}, "counterfactuals must be 0 where algo is"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


def test_categorical_variables_are_refused_by_name():
    with pytest.raises(ValueError, match=r"counterfactuals must be 0 in this world: '\w+' is cat"):
        Algorithm5(resolve_spec("mixed-scm"), TrainConfig(env="mixed-scm", counterfactuals=1))
