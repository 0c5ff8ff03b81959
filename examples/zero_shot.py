"""Train on small random worlds, then act in a larger one that was never seen.

python examples/zero_shot.py            # about a minute and a half
"""

from causal_rl.agents import evaluate, measure_yardsticks
from causal_rl.agents.transfer import (
    DoPredictor,
    WorldFamily,
    meet_world,
    train_predictor,
    training_worlds,
)
from causal_rl.envs import resolve_spec

if __name__ == "__main__":
    family = WorldFamily(topology="er", mechanism="tanh")
    split = family.split((6, 400), {6: 8}, seed=0)  # 400 worlds of 6 variables to train on
    predictor = DoPredictor()
    train_predictor(predictor, training_worlds(family, split.size, split.train))

    world = resolve_spec("er-scm", n=12, density=1.5, noise_share=0.2, graph_seed=7)
    agent = meet_world(predictor, world, rows=500)  # learns the graph, changes no weight
    yardsticks = measure_yardsticks(world, episodes=16, seed=1)
    earned = evaluate(world, agent.controller, episodes=16, seed=1).mean()
    print(agent.graph)
    print(f"normalised return in a world of 12 variables: {yardsticks.normalise(earned):.2f}")
