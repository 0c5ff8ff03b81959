"""Tianshou's own PPO on a world, with the graph learned while it trains and shown to its networks.

python examples/tianshou_chain.py            # about a minute
"""

from pathlib import Path

from tianshou.data import Collector, VectorReplayBuffer
from tianshou.trainer import OnPolicyTrainerParams

from causal_rl.agents import TrainConfig, evaluate, policy_controller
from causal_rl.agents.tianshou import (
    CausalGraphHook,
    TianshouVectorEnv,
    make_ppo,
    save_algorithm,
)
from causal_rl.envs import resolve_spec

if __name__ == "__main__":
    world = resolve_spec("chain-scm", n=4)
    envs = TianshouVectorEnv(world, 32)
    envs.seed(0)
    algorithm = make_ppo(world, TrainConfig(encoder="ecam"))
    hook = CausalGraphHook(algorithm, world, every=5_000)
    collector = Collector(algorithm, envs, VectorReplayBuffer(512, 32), on_step_hook=hook)

    collector.reset()
    for _ in range(4):  # the policy alone would soon settle on one target: act at random first
        collector.collect(n_step=512, random=True)
        collector.reset_buffer()
    hook.learn()
    algorithm.run_training(
        OnPolicyTrainerParams(
            training_collector=collector,
            max_epochs=4,
            epoch_num_steps=5_120,
            collection_step_num_env_steps=512,
            batch_size=128,
            update_step_num_repetitions=4,
            training_fn=hook.training_fn,
            verbose=False,
        )
    )

    policy = algorithm.policy.actor.body
    returns = evaluate(world, policy_controller(policy, policy.illegal.device), episodes=64, seed=1)
    print(f"mean return: {returns.mean():.2f}")
    print(hook.graph)
    save_algorithm(Path("runs/tianshou-chain"), algorithm, hook.graph)
