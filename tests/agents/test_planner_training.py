"""The planning agent as a run: what it learns, that it resumes exactly, what it teaches."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from rich.console import Console

from causal_rl.agents import (
    Algorithm5,
    PlannerConfig,
    TrainConfig,
    evaluate_agent,
    evaluate_run_graph,
    load_checkpoint,
    parse_options,
    resume,
    train,
    trained_by,
)
from causal_rl.agents.planning.agent import PlannerAgent, schedule
from causal_rl.agents.planning.exploration import BaggedModels
from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.agents.planning.warm_start import (
    Lessons,
    find_teacher,
    imagine,
    teach,
    warm_start,
)
from causal_rl.agents.rollout import ReturnNormaliser
from causal_rl.discovery import Transitions
from causal_rl.envs import Interventions, SCMEnvSpec, resolve_spec
from causal_rl.envs.recording import record
from causal_rl.graphs import CausalGraph
from causal_rl.scm import DynamicSCM, Gaussian, Linear, Uniform, Variable

VALUES = tuple(np.linspace(-1, 1, 9))
QUICK = {"horizon": 1, "samples": 16, "final_episodes": 4}
SMALL = {**QUICK, "env_args": ("n=4", "horizon=8")}
QUIET = Console(quiet=True)


def follow_the_goal():
    """x is set, y = x + noise, reward = -(y - goal)^2; nothing depends on z."""
    scm = DynamicSCM(
        [
            Variable("y", Linear([1.0]), Gaussian(0.1), parents=["x"]),
            Variable("x", noise=Gaussian(1.0)),
            Variable("z", noise=Gaussian(1.0)),
            Variable("goal", noise=Uniform(-1.0, 1.0), kind="context"),
            Variable(
                "reward", lambda y, goal: -((y - goal) ** 2), parents=["y", "goal"], kind="reward"
            ),
        ]
    )
    return SCMEnvSpec("follow", scm, Interventions(["x", "z"], VALUES, 0.0), horizon=5)


def states(count=9):
    goal = np.linspace(-1, 1, count)
    return np.stack([np.zeros(count), np.zeros(count), np.zeros(count), goal], axis=1)


def until(steps):
    """An observer that stops after ``steps`` steps."""
    return lambda agent: agent.progress.env_steps < steps


def always(agent):
    return True


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("planner") / "run"
    train(PlannerConfig(steps=126, checkpoint_every=1, **SMALL), out=folder, console=QUIET)
    return folder


def test_a_run_learns_its_world_and_writes_the_folder_of_every_run(run):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["agent"] == "planner"
    assert summary["shd_contemporaneous"] == summary["shd_lagged"] == 0
    assert summary["return_normalised"] > 0.5
    assert summary["env_steps"] == 128  # the end is rounded up to whole steps
    assert {path.name for path in run.iterdir()} == {
        "config.yaml", "summary.json", "graph.json", "graph.png", "learning_curve.png",
        "model.npz", "transitions.npz", "checkpoint.pt", "tensorboard",
    }  # fmt: skip
    assert len(Transitions.load(run / "transitions.npz")) == 128
    assert LearnedSCM.load(run / "model.npz").graph == CausalGraph.load(run / "graph.json")
    assert trained_by(run) == "planner"
    rows, _, _ = evaluate_run_graph(run)
    assert rows["learned"]["shd_contemporaneous"] == 0
    again = evaluate_agent(run).to_dict()
    assert again["return_mean"] == summary["return_mean"]
    assert evaluate_agent(run, shift="noise").to_dict()["return_mean"] != again["return_mean"]


def test_the_curve_has_a_row_a_piece_and_evaluations_as_scheduled(run):
    spec = resolve_spec("chain-scm", n=4, horizon=8)
    history = load_checkpoint(run / "checkpoint.pt", spec)["algorithm"]["history"]
    evaluated = [row["env_steps"] for row in history if "eval/mean_reward" in row]
    assert evaluated == [32, 64, 96, 128]
    assert len(history) == 4  # a piece is 32 steps
    assert {"rollout/ep_rew_mean", "planner/horizon", "causal/shd_lagged"} <= set(history[-1])


def test_resuming_a_finished_run_changes_nothing_and_more_steps_go_on(run, tmp_path):
    before = json.loads((run / "summary.json").read_text())
    again = resume(run, console=QUIET)
    assert {**again, "seconds": 0} == {**before, "seconds": 0}
    with pytest.raises(ValueError, match="at least the 128 already taken"):
        resume(run, steps=100)
    with pytest.raises(ValueError, match="unknown option 'device' of agent planner"):
        resume(run, device="cpu")


@pytest.mark.parametrize(
    ("exploration", "steps", "stops"), [("random", 224, (32, 160)), ("information", 96, (64,))]
)
def test_a_run_goes_on_from_any_piece_as_if_it_had_not_stopped(exploration, steps, stops):
    spec = follow_the_goal()
    config = PlannerConfig(steps=steps, refit_every=32, exploration=exploration, **QUICK)
    whole = PlannerAgent(spec, config, evaluates=False)
    assert whole.learn(always)
    for stop in stops:
        first = PlannerAgent(spec, config, evaluates=False)
        assert not first.learn(until(stop))
        second = PlannerAgent(spec, config, evaluates=False)
        second.load_state_dict(first.state_dict())
        assert second.learn(always)
        a, b = whole.store.all(), second.store.all()
        for name in ("state", "action", "reward", "next_state", "do_target"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert second.learned_graph == whole.learned_graph
        plan, expected = second.planner.plan(states()), whole.planner.plan(states())
        np.testing.assert_array_equal(plan.action, expected.action)
        np.testing.assert_array_equal(plan.value, expected.value)


def test_evaluating_does_not_change_the_run():
    spec = follow_the_goal()
    found = []
    for evaluates in (False, True):
        agent = PlannerAgent(spec, PlannerConfig(steps=96, **QUICK), evaluates=evaluates)
        agent.learn(always)
        found.append(agent.store.all().next_state)
    np.testing.assert_array_equal(*found)


def test_information_is_the_disagreement_of_the_bag_over_the_noise():
    spec = follow_the_goal()
    data = record(spec, 400, seed=0, num_envs=8)
    truth = spec.causal_graph
    without = CausalGraph.from_dict(
        {**truth.to_dict(), "contemporaneous": without_edge(truth, "x", "y").tolist()}
    )
    models = [LearnedSCM.fit(data, graph) for graph in (truth, without)]
    bag = BaggedModels(models, np.ones(5))
    now, lagged = bag.edge_shares()
    assert now[truth.index("x"), truth.index("y")] == 0.5
    assert now[truth.index("y"), truth.index("reward")] == 1.0
    assert not lagged.any()
    mask, value, _ = spec.interventions.tables(data.names).decode([[0, 0], [1, 8], [2, 8]])
    worth = bag.information(states(1).repeat(3, axis=0), mask, value)
    # Whether x moves y is told by setting x to 1, hardly by leaving it at its mean or by z.
    assert worth[1] > 4 * max(worth[0], worth[2])
    y, v = data.names.index("y"), np.mean([m.sigma**2 for m in models], axis=0)
    after = [m.step(states(1), np.zeros((1, 4)), None, mask[[1]], value[[1]]) for m in models]
    gap = (after[0] - after[1])[0, y] / 2
    paid = [m.reward(states(1), row)[0] for m, row in zip(models, after, strict=True)]
    expected = 0.5 * np.log1p(gap**2 / v[y]) + 0.5 * np.log1p(np.var(paid) / 0.01)
    np.testing.assert_allclose(worth[1], expected, rtol=0.1)


def without_edge(graph, cause, effect):
    block = graph.contemporaneous.copy()
    block[graph.index(cause), graph.index(effect)] = False
    return block


def test_information_falls_as_rows_come():
    spec = follow_the_goal()
    mask, value, _ = spec.action_tables.decode(spec.interventions.all_actions())
    rows = states(1).repeat(len(mask), axis=0)
    worth = [
        BaggedModels.fit(record(spec, n, seed=0), learner="interventional", count=3)
        .information(rows, mask, value)
        .mean()
        for n in (48, 800)
    ]
    assert worth[1] < 0.3 * worth[0]


def test_a_pupil_begins_with_its_teachers_actions(tmp_path):
    spec = follow_the_goal()
    config = TrainConfig(
        warm_start="planner", warm_start_steps=128, steps=128, num_envs=4, explore_envs=0,
        encoder="mlp", layers=1, eval_episodes=4, minibatch_size=256, learning_rate=5e-3,
    )  # fmt: skip
    teacher = PlannerAgent(spec, PlannerConfig(steps=128, **QUICK), evaluates=False)
    pupil = Algorithm5(spec, config)
    assert warm_start(pupil, teacher, always)
    assert pupil.progress.env_steps == 128
    assert pupil.learned_graph == teacher.learned_graph
    assert pupil.progress.figures["warm_start/agreement"] > 0.6
    goals = states()[1:-1]
    action, _, value = pupil.policy.act(pupil._tensor(goals), None)
    chosen = pupil.policy.unflatten(action)
    assert (chosen[:, 0] == 1).all()
    np.testing.assert_allclose(np.array(VALUES)[chosen[:, 1]], goals[:, 3], atol=0.3)
    # The critic knows what the teacher earns: about -(.1^2 + .07^2) a step, near the best.
    scale = np.sqrt(pupil.normaliser.variance)
    assert float(value.mean()) * scale > -0.2
    assert pupil.learn(always)  # nothing is left to do
    assert not warm_start(Algorithm5(spec, config), PlannerAgent(spec, PlannerConfig()), until(1))


def test_imagined_lessons_hold_the_planners_actions_and_discounted_returns():
    agent = PlannerAgent(follow_the_goal(), PlannerConfig(steps=128, **QUICK), evaluates=False)
    assert imagine_from_nothing(agent) is None
    agent.learn(always)
    lessons = imagine(agent, gamma=0.0, rng=np.random.default_rng(0), starts=8, steps=3)
    assert len(lessons) == 24
    np.testing.assert_array_equal(lessons.action, agent.planner.plan(lessons.observation).action)
    with pytest.raises(ValueError, match="starts must be at least 1"):
        imagine(agent, gamma=0.5, rng=np.random.default_rng(0), starts=0)
    far = imagine(agent, gamma=0.5, rng=np.random.default_rng(0), starts=8, steps=3)
    near, tail = lessons.value.reshape(3, 8), lessons.value.reshape(3, 8).mean(axis=0) * 2.0
    expected = near[0] + 0.5 * (near[1] + 0.5 * (near[2] + 0.5 * tail))
    np.testing.assert_allclose(far.value.reshape(3, 8)[0], expected)


def imagine_from_nothing(agent):
    agent.learn(until(0))
    agent.model = None
    return imagine(agent, gamma=0.5, rng=np.random.default_rng(0))


def test_lessons_do_not_freeze_at_the_commonest_action():
    """From a start without any mixture this one ended at .30, the share of that action."""
    spec = resolve_spec("chain-scm")
    pupil = Algorithm5(spec, TrainConfig(seed=11))
    pupil.policy.set_graph(spec.causal_graph, pupil.names)
    rng = np.random.default_rng(11)
    observation = rng.normal(size=(2048, len(pupil.names)))
    goal, other = observation[:, pupil.names.index("goal")], observation[:, 0]
    product = goal * other
    chosen = np.digitize(product, np.quantile(product, [0.1, 0.2, 0.3, 0.4, 0.7, 0.8, 0.9]))
    returns = 0.3 * np.abs(goal - other) + 0.3 * rng.normal(size=2048) - 2.5
    n_values = pupil.policy.n_values
    action = np.stack([1 + chosen // n_values, chosen % n_values], axis=1)
    lessons = Lessons(observation, action, returns, ReturnNormaliser(128, 0.5))
    assert teach(pupil, lessons) > 0.8


def test_bad_teachers(run, tmp_path):
    small, other = (resolve_spec("chain-scm", n=n, horizon=8) for n in (4, 5))
    config = TrainConfig(env_args=("n=4", "horizon=8"), warm_start=str(run))
    assert find_teacher(config, small).progress.env_steps == 128
    assert find_teacher(dataclasses.replace(config, warm_start="none"), small) is None
    with pytest.raises(ValueError, match="another env"):
        find_teacher(config, other)
    with pytest.raises(ValueError, match="warm_start must be none, planner or the folder"):
        find_teacher(dataclasses.replace(config, warm_start="nowhere"), small)
    (tmp_path / "config.yaml").write_text("steps: 10")
    with pytest.raises(ValueError, match="warm_start must name a planner's run"):
        find_teacher(dataclasses.replace(config, warm_start=str(tmp_path)), small)
    with pytest.raises(ValueError, match="warm_start must be none where algo"):
        TrainConfig(warm_start="planner", algo="sb3-ppo")


def test_exploration_falls_to_its_end():
    config = PlannerConfig(explore_steps=32, epsilon_steps=100, epsilon_end=0.1)
    agent, found = PlannerAgent(follow_the_goal(), config), []
    for agent.progress.env_steps in (0, 31, 50, 99, 5000):
        found.append(agent.epsilon)
    np.testing.assert_allclose(found, [1.0, 1.0, 0.5, 0.1, 0.1])


def test_schedule():
    assert schedule(250) == [32, 64, 96, 128, 192, 250]
    assert schedule(20) == [20]
    assert schedule(12_000)[-4:] == [2000, 5000, 10_000, 12_000]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps must be in"),
        ({"steps": 2.5}, TypeError, "steps must be of type int"),
        ({"epsilon_end": 1.5}, ValueError, "epsilon_end must be in"),
        ({"exploration": "clever"}, ValueError, "exploration must be one of random, information"),
        ({"samples": 3}, ValueError, "power of two"),
        ({"env_args": "n=4"}, TypeError, "env_args must be a list of text"),
        ({"epochs": 4}, ValueError, "unknown option 'epochs' of agent planner"),
        ({"agent": "clever"}, ValueError, "agent must be one of actor-critic, planner"),
        ({"agent": ["planner"]}, ValueError, "agent must be one of"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        parse_options({"agent": "planner", **options})
    assert parse_options(PlannerConfig(seed=3).to_dict()) == PlannerConfig(seed=3)


def test_bad_bags():
    data = record(follow_the_goal(), 40, seed=0)
    model = LearnedSCM.fit(data, follow_the_goal().causal_graph)
    with pytest.raises(ValueError, match="models must be at least two"):
        BaggedModels([model], np.ones(5))
    with pytest.raises(ValueError, match=r"scale must have shape \(5,\)"):
        BaggedModels([model, model], np.ones(4))
    with pytest.raises(ValueError, match="a bag needs two models"):
        BaggedModels.fit(data, learner="interventional", count=1)
