"""A world of one's own, in five lines, run by Gymnasium and trained on by the programs.

python examples/custom_world.py
python scripts/train_agent.py --env examples/custom_world.py:GARDEN
"""

import gymnasium
import numpy as np

import causal_rl
from causal_rl.scm import DynamicSCM, Tanh, Uniform, Variable

rain = Variable("rain")
soil = Variable("soil", Tanh([1.0, 0.6]), parents=("rain",), lagged_parents=("soil",))
plant = Variable("plant", Tanh([1.5], scale=2.0), parents=("soil",))
wish = Variable("wish", noise=Uniform(-1.5, 1.5), kind="context")  # drawn once an episode


def closeness(plant, wish):
    """What the gardener is paid: one array (batch,) a parent comes in, one goes out."""
    return -np.abs(plant - wish)


GARDEN = causal_rl.register_env(
    "garden",
    DynamicSCM([plant, soil, rain, wish]),  # in any order
    reward=(["plant", "wish"], closeness),
    actions=["rain", "soil"],  # at 7 values on [-2, 2]; see Interventions for values and costs
)

if __name__ == "__main__":
    envs = gymnasium.make_vec("causal_rl/garden-v0", num_envs=256)
    envs.action_space.seed(0)
    obs, info = envs.reset(seed=0)
    total = np.zeros(256)
    for _ in range(GARDEN.horizon):
        obs, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
        total += reward
    print(f"{GARDEN.causal_graph}")
    print(f"mean return of random interventions: {total.mean():.2f}")
