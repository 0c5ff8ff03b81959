"""A world whose mechanism changes in the middle of training: named, refitted, and gone on.

python examples/mechanism_watch.py            # about a minute
"""

from causal_rl.agents import Algorithm5, TrainConfig
from causal_rl.envs import resolve_spec


def observe(run: Algorithm5) -> bool:
    """Say what the watch and the evaluations say."""
    step = run.progress.env_steps
    for record in run.progress.repairs:
        print(f"{step:6,}: {record}")
    if run.progress.evaluated:
        print(f"{step:6,}: return {run.progress.figures['eval/mean_reward']:.1f}")
    return True


if __name__ == "__main__":
    world = resolve_spec("chain-scm", n=4)
    # From step 12,000 on the world is another; the agent is not told.
    options = TrainConfig(
        steps=24_000, warmup_steps=2_048, eval_every=4, watch=0.01, regimes=("12000=mechanism",)
    )
    agent = Algorithm5(world, options)
    agent.learn(observe)
    print(agent.learned_graph)
