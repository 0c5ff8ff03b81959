"""An agent that plans in what it learned, after 128 steps of a world; then it teaches a policy.

Run it with ``python examples/planner_chain.py``; it takes about ten seconds.
"""

from __future__ import annotations

from causal_rl import Algorithm5, TrainConfig, resolve_spec
from causal_rl.agents import evaluate, measure_yardsticks
from causal_rl.agents.planning import PlannerAgent, PlannerConfig
from causal_rl.agents.planning.warm_start import warm_start

EPISODES, SEED = 16, 1


def main() -> None:
    """Plan, look at what was learned, and hand it to an actor-critic."""
    spec = resolve_spec("chain-scm", n=5, horizon=16)
    yardsticks = measure_yardsticks(spec, episodes=EPISODES, seed=SEED)

    planner = PlannerAgent(spec, PlannerConfig(steps=128, samples=16), evaluates=False)
    planner.learn(lambda agent: True)  # called after every 32 steps; False stops
    returns = evaluate(spec, planner.best_controller(), episodes=EPISODES, seed=SEED)
    print(f"planner after {planner.progress.env_steps} steps, mean return {returns.mean():.2f}")
    print(f"  normalised: {yardsticks.normalise(float(returns.mean())):.2f}")
    for block, cause, effect in planner.learned_graph.edges():
        print(f"  {cause} -> {effect} ({block})")

    policy = Algorithm5(spec, TrainConfig(encoder="masked-mlp"))
    warm_start(policy, planner, lambda agent: True)
    returns = evaluate(spec, policy.best_controller(), episodes=EPISODES, seed=SEED)
    print(f"its pupil before a step of its own, mean return {returns.mean():.2f}")


if __name__ == "__main__":
    main()
