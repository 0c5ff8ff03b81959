"""A graph that an agent learned, handed to `effect` and back: the return under another policy.

python examples/other_policy.py            # trains a planner first, well under a minute
python examples/other_policy.py RUN        # a finished run of a planner
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from causal_rl.agents import train
from causal_rl.agents.evaluation import Controller
from causal_rl.agents.inspection import load_controller
from causal_rl.agents.planning import PlannerConfig
from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.discovery import Transitions
from causal_rl.effects.analysis import EffectAnalysis, analyse
from causal_rl.effects.plan import Plan
from causal_rl.effects.two_steps import two_step_graph
from causal_rl.envs import SCMEnvSpec
from causal_rl.graphs import CausalGraph

Floats = NDArray[np.float64]
World = Callable[[Floats, Floats, NDArray[np.bool_], Floats], tuple[Floats, Floats]]
EPISODES, SEED = 200, 7


def main(run: Path) -> None:
    """Ask for the effect of one lever in what the agent saw, then for whole episodes."""
    act, spec, _ = load_controller(run)
    graph = CausalGraph.load(run / "graph.json")
    rows = Transitions.load(run / "transitions.npz")

    found, pulled = effect_of_a_lever(rows, graph)
    (contrast,) = found.contrasts
    print(f"{found.plan.treatment} := {contrast.arm} in place of {contrast.baseline}:")
    print(f"  effect on the reward of that step {contrast.estimate:.3f}", end="")
    print(f" [{contrast.low:.3f}, {contrast.high:.3f}]")
    print(f"  the world's own answer {true_effect(spec, rows, pulled, found):.3f}")
    print(f"  {found.adjustment.explain() if found.adjustment else ''}")

    # And back: the mechanisms of the agent's graph say what whole episodes would have been.
    states, noise, seen = untouched_episodes(spec)
    model = LearnedSCM.fit(rows, graph)
    steps = range(spec.horizon)
    abducted = np.stack([model.abduct(states[k], states[k + 1]) for k in steps])
    unexplained = seen - [model.reward_value(states[k], states[k + 1]) for k in steps]
    truth = replay(spec, act, states[0], noise, own_world(spec)).sum(axis=0)
    answer = (replay(spec, act, states[0], abducted, learned_world(model)) + unexplained).sum(
        axis=0
    )
    fresh = np.stack([model.draw_noise(np.random.default_rng(k), EPISODES) for k in steps])
    guess = replay(spec, act, states[0], fresh, learned_world(model)).sum(axis=0)
    print(f"return of {EPISODES} episodes that nobody touched: {seen.sum(axis=0).mean():.2f}")
    print(f"  had the agent acted in them: {answer.mean():.2f}; in truth {truth.mean():.2f}")
    for name, told in (("with their own noise", answer), ("with other noise", guess)):
        error = float(np.sqrt(np.mean((told - truth) ** 2)))
        print(f"  error of an episode {name}: {error:.2f} (its spread is {truth.std():.2f})")


def effect_of_a_lever(
    rows: Transitions, graph: CausalGraph
) -> tuple[EffectAnalysis, NDArray[np.bool_]]:
    """The effect on the reward of one variable set high in place of low, and rows that were."""
    lever = int(rows.do_target.sum(axis=0).argmax())
    values, counts = np.unique(
        rows.do_value[rows.do_target[:, lever], lever].round(6), return_counts=True
    )
    often = values[counts >= 15]
    two = [often[0], often[-1]]
    pulled = rows.do_target[:, lever] & np.isin(rows.do_value[:, lever].round(6), two)
    reward = next(n for n, kind in zip(graph.names, graph.kinds, strict=True) if kind == "reward")
    held = [kind == "context" for kind in rows.kinds]
    before = [f"{name}_before" for name, same in zip(rows.names, held, strict=True) if not same]
    # The agent chose by what it saw one step before, so that is what caused the lever's value.
    known = two_step_graph(graph, set_by_agent=[rows.names[lever]])
    plan = Plan(treatment=rows.names[lever], outcome=reward, graph=known, refutations=0)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "steps.csv"
        with table.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([*before, *rows.names, reward])
            rewards = np.asarray(rows.reward)
            for k in np.flatnonzero(pulled):
                past = rows.state[k][~np.array(held)]
                writer.writerow([*past, *rows.next_state[k].round(6), rewards[k]])
        return analyse(table, plan), pulled


def true_effect(
    spec: SCMEnvSpec, rows: Transitions, pulled: NDArray[np.bool_], found: EffectAnalysis
) -> float:
    """The same from the world's own mechanisms: both values, the same states and noise."""
    state = np.repeat(rows.state[pulled], 50, axis=0)
    noise = spec.scm.sample_noise(SEED, len(state))
    mask = np.zeros(state.shape, dtype=bool)
    mask[:, rows.names.index(found.plan.treatment)] = True
    low, high = (
        spec.scm.reward_value(state, spec.scm.step(state, noise, None, mask, mask * float(arm)))
        for arm in found.arms
    )
    return float((high - low).mean())


def untouched_episodes(spec: SCMEnvSpec) -> tuple[Floats, Floats, Floats]:
    """States ``(T + 1, episodes, n)``, noise and rewards of episodes without an intervention."""
    rng = np.random.default_rng(SEED)
    state = spec.scm.initial(spec.scm.sample_noise(rng, EPISODES))
    states, noises, rewards = [state], [], []
    for _ in range(spec.horizon):
        noise = spec.scm.sample_noise(rng, EPISODES)
        after = spec.scm.step(state, noise)
        rewards.append(spec.scm.reward_value(state, after))
        noises.append(noise)
        states.append(state := after)
    return np.stack(states), np.stack(noises), np.stack(rewards)


def own_world(spec: SCMEnvSpec) -> World:
    """The world's own mechanisms."""

    def step(
        state: Floats, noise: Floats, mask: NDArray[np.bool_], value: Floats
    ) -> tuple[Floats, Floats]:
        after = spec.scm.step(state, noise, None, mask, value)
        return after, spec.scm.reward_value(state, after)

    return step


def learned_world(model: LearnedSCM) -> World:
    """Those that the agent learned."""

    def step(
        state: Floats, noise: Floats, mask: NDArray[np.bool_], value: Floats
    ) -> tuple[Floats, Floats]:
        after = model.step(state, noise, None, mask, value)
        return after, model.reward_value(state, after)

    return step


def replay(spec: SCMEnvSpec, act: Controller, start: Floats, noise: Floats, world: World) -> Floats:
    """Rewards ``(T, episodes)`` of a policy from given states under given noise."""
    state, rewards = start, []
    for step in noise:
        mask, value, cost = spec.interventions.decode(act(state, state), spec.observed_names)
        state, reward = world(state, step, mask, value)
        rewards.append(reward - cost)
    return np.stack(rewards)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            options = PlannerConfig(
                env="chain-scm", env_args=("n=5", "horizon=16"), steps=640, samples=16,
                final_episodes=4, seed=1,
            )  # fmt: skip
            train(options, out=Path(folder) / "run", console=Console(quiet=True), pictures=False)
            main(Path(folder) / "run")
