"""CartPole under a graph that was learned first, by Stable-Baselines3 or by Tianshou.

python examples/cartpole_graph.py sb3              # about 25 s; tianshou: about 50 s
python examples/cartpole_graph.py tianshou 60000   # environment steps; default 20,480
python examples/cartpole_graph.py sb3 20480 known  # the true graph, known from the source
"""

import sys

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from causal_rl.agents import TrainConfig
from causal_rl.discovery import make_learner
from causal_rl.envs.gym_dynamics import random_transitions
from causal_rl.envs.known_dynamics import CARTPOLE
from causal_rl.graphs import CausalGraph

EPISODES = 16


def by_sb3(graph: CausalGraph, steps: int) -> np.ndarray:
    """Returns of Stable-Baselines3's PPO."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

    from causal_rl.agents.sb3 import ECAMPolicy, SCMVecEnv

    same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
    envs = gymnasium.make_vec("CartPole-v1", 8, "sync", vector_kwargs=same_step)
    env = VecMonitor(SCMVecEnv(envs))
    model = PPO(
        ECAMPolicy,
        VecNormalize(env, norm_obs=False, gamma=0.99),
        n_steps=128,
        batch_size=256,
        n_epochs=4,
        learning_rate=1e-3,
        policy_kwargs={"features_extractor_kwargs": {"graph": graph}},
        seed=0,
        device="cpu",
    )
    model.learn(steps)
    found, _ = evaluate_policy(model, env, n_eval_episodes=EPISODES, return_episode_rewards=True)
    return np.array(found)


def by_tianshou(graph: CausalGraph, steps: int) -> np.ndarray:
    """Returns of Tianshou's PPO."""
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.trainer import OnPolicyTrainerParams

    from causal_rl.agents.tianshou import make_ppo, set_algorithm_graph

    config = TrainConfig(gamma=0.99, learning_rate=1e-3, entropy_coef=0.0)
    algorithm = make_ppo(gymnasium.make("CartPole-v1"), config)
    set_algorithm_graph(algorithm, graph, list(CARTPOLE.states))
    envs = DummyVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 8)
    envs.seed(0)
    collector = Collector(algorithm, envs, VectorReplayBuffer(1024, 8))
    collector.reset()
    algorithm.run_training(
        OnPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=steps,
            collection_step_num_env_steps=1024,
            batch_size=256,
            update_step_num_repetitions=4,
            verbose=False,
        )
    )
    envs.seed(1)
    test = Collector(algorithm, envs)
    test.reset()
    return test.collect(n_episode=EPISODES).returns


if __name__ == "__main__":
    library = sys.argv[1] if len(sys.argv) > 1 else "sb3"
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 20_480
    graph = CARTPOLE.causal_graph
    if "known" not in sys.argv:
        graph = make_learner("interventional").fit(random_transitions(CARTPOLE, n=2_000, rng=0))
    print("\n".join(f"{parent} -> {child} ({block})" for block, parent, child in graph.edges()))
    returns = (by_tianshou if library == "tianshou" else by_sb3)(graph, steps)
    print(f"{library}: mean return {returns.mean():.0f} over {EPISODES} episodes, 500 is the most")
