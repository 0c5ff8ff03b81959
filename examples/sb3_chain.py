"""Stable-Baselines3's PPO on a causal world: its encoder reads the graph learned on the way.

pip install 'causal_rl[sb3]'
python examples/sb3_chain.py            # a world of eight variables in a chain: about a minute
python examples/sb3_chain.py cartpole   # Gymnasium's CartPole under its known graph
"""

import sys

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from causal_rl.agents import evaluate, measure_yardsticks
from causal_rl.agents.sb3 import CausalGraphCallback, ECAMPolicy, SCMVecEnv, sb3_controller
from causal_rl.envs import GYM_DYNAMICS, resolve_spec


def chain(steps: int = 60_000) -> None:
    """Learn graph and policy of a world, and say how near to its oracle the policy came."""
    spec = resolve_spec("chain-scm")
    # "flat": one choice among all interventions, since which value is good depends on the target.
    env = VecMonitor(SCMVecEnv(spec, num_envs=32, actions="flat"))
    # Raw returns starve a trunk that actor and critic share.
    env = VecNormalize(env, norm_obs=False, gamma=0.5)
    model = PPO(
        ECAMPolicy,
        env,
        n_steps=16,
        batch_size=128,
        n_epochs=4,
        learning_rate=2e-3,
        gamma=0.5,
        ent_coef=0.01,
        seed=0,
        device="cpu",
    )
    learned = CausalGraphCallback(warmup_steps=4096, explore_envs=4, oracle=True)
    model.learn(steps, callback=learned)
    print(learned.graph)
    print({tag: value for tag, value in learned.figures.items() if "shd" in tag})
    returns = evaluate(spec, sb3_controller(model, spec, "flat"), episodes=64, seed=10_000)
    yardsticks = measure_yardsticks(spec, episodes=64, seed=10_000)
    share = yardsticks.normalise(float(returns.mean()))
    print(f"return {returns.mean():.2f}; 0 is random, 1 the oracle planner: {share:.3f}")
    model.save("sb3_chain.zip")  # the graph is saved with it


def cartpole(steps: int = 60_000) -> None:
    """Give the encoder a graph of one's own: any over the columns of the observation will do."""
    graph = GYM_DYNAMICS["cartpole"].causal_graph  # or the path of a JSON file
    env = VecNormalize(make_vec_env("CartPole-v1", n_envs=8, seed=0), norm_obs=False)
    model = PPO(
        ECAMPolicy,
        env,
        policy_kwargs={"features_extractor_kwargs": {"graph": graph}},
        n_steps=128,
        batch_size=256,
        n_epochs=4,
        learning_rate=1e-3,
        seed=0,
        device="cpu",
    )
    model.learn(steps)
    env.training = env.norm_reward = False
    mean, spread = evaluate_policy(model, env, n_eval_episodes=20)
    print(f"return {mean:.1f} +- {spread:.1f} of 500")


if __name__ == "__main__":
    cartpole() if sys.argv[1:] == ["cartpole"] else chain()
