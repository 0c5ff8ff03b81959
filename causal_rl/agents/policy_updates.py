"""The policy updates of Algorithm 5: PPO (default), A2C, and the paper's printed replay update."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from causal_rl.agents.config import TrainConfig
from causal_rl.agents.policy import ActorCritic
from causal_rl.agents.rollout import RolloutBatch


def ppo_update(
    policy: ActorCritic,
    optimizer: torch.optim.Optimizer,
    batch: RolloutBatch,
    config: TrainConfig,
    generator: torch.Generator,
) -> dict[str, float]:
    """Clipped surrogate update (Schulman et al. 2017, Eq. 7 and 9) on fresh rows.

    Args:
        policy: changed in place.
        optimizer: over the policy's parameters.
        batch: one rollout under ``policy``.
        config: epochs, minibatch_size, clip_range, entropy_coef, value_coef, max_grad_norm.
        generator: shuffles the rows.

    Returns:
        Figures under Stable-Baselines3's tags without their ``train/`` prefix.
    """
    rows = len(batch)
    totals = torch.zeros(5)
    steps = 0
    for _ in range(config.epochs):
        order = torch.randperm(rows, generator=generator).to(batch.action.device)
        for start in range(0, rows, config.minibatch_size):
            index = order[start : start + config.minibatch_size]
            advantage = _standardise(batch.advantage[index])
            log_prob, entropy, value = _evaluate(
                policy, batch.observation[index], batch.action[index]
            )
            log_ratio = log_prob - batch.log_prob[index]
            ratio = log_ratio.exp()
            clipped = ratio.clamp(1 - config.clip_range, 1 + config.clip_range)
            policy_loss = -torch.min(advantage * ratio, advantage * clipped).mean()
            value_loss = (value - batch.value_target[index]).square().mean()
            _descend(policy, optimizer, policy_loss, value_loss, entropy, config)
            with torch.no_grad():
                totals += torch.stack(
                    [
                        policy_loss,
                        value_loss,
                        entropy,
                        ((ratio - 1) - log_ratio).mean(),
                        ((ratio - 1).abs() > config.clip_range).float().mean(),
                    ]
                ).cpu()
            steps += 1
    mean = (totals / max(steps, 1)).tolist()
    return {
        "policy_gradient_loss": mean[0],
        "value_loss": mean[1],
        "entropy_loss": -mean[2],
        "approx_kl": mean[3],
        "clip_fraction": mean[4],
        "explained_variance": _explained_variance(batch),
    }


def a2c_update(
    policy: ActorCritic,
    optimizer: torch.optim.Optimizer,
    batch: RolloutBatch,
    config: TrainConfig,
    generator: torch.Generator,
) -> dict[str, float]:
    """One advantage actor-critic step (Mnih et al. 2016) on all fresh rows.

    Args and returns as ``ppo_update``; ``generator`` is not drawn from.
    """
    log_prob, entropy, value = _evaluate(policy, batch.observation, batch.action)
    policy_loss = -(log_prob * _standardise(batch.advantage)).mean()
    value_loss = (value - batch.value_target).square().mean()
    _descend(policy, optimizer, policy_loss, value_loss, entropy, config)
    return {
        "policy_loss": policy_loss.item(),
        "value_loss": value_loss.item(),
        "entropy_loss": -entropy.item(),
        "explained_variance": _explained_variance(batch),
    }


def clone_update(
    policy: ActorCritic,
    optimizer: torch.optim.Optimizer,
    observation: Tensor,
    action: Tensor,
    value_target: Tensor,
    config: TrainConfig,
    generator: torch.Generator,
) -> None:
    """One pass of behaviour cloning, the critic fitted beside it.

    Args:
        policy: changed in place.
        optimizer: over the policy's parameters.
        observation: (rows, n).
        action: (rows,) int64 flat actions of the teacher.
        value_target: (rows,) its returns, in normalised units.
        config: minibatch_size, entropy_coef, value_coef, max_grad_norm.
        generator: shuffles the rows.
    """
    order = torch.randperm(len(action), generator=generator).to(action.device)
    for start in range(0, len(action), config.minibatch_size):
        index = order[start : start + config.minibatch_size]
        log_prob, entropy, value = _evaluate(policy, observation[index], action[index])
        value_loss = (value - value_target[index]).square().mean()
        _descend(policy, optimizer, -log_prob.mean(), value_loss, entropy, config)


def paper_update(
    policy: ActorCritic,
    optimizer: torch.optim.Optimizer,
    observation: Tensor,
    action: Tensor,
    reward: Tensor,
    next_observation: Tensor,
    config: TrainConfig,
) -> dict[str, float]:
    """Lines 14-24 of Algorithm 5 as printed, on one mini-batch of the replay buffer.

    Kept for the ablation. It has no importance ratio, so it is biased once the policy has moved
    away from the one that acted; V is that of a mixture of policies; the value loss has no
    stop-gradient; there is no terminal flag and no entropy bonus.

    Args:
        policy: changed in place.
        optimizer: over the policy's parameters.
        observation: (rows, n), s_i.
        action: (rows,) int64 flat actions, a_i.
        reward: (rows,) normalised rewards, r_i.
        next_observation: (rows, n), s_{i+1}.
        config: gamma and max_grad_norm.

    Returns:
        Figures under Stable-Baselines3's tags without their ``train/`` prefix.
    """
    log_prob, entropy, value = _evaluate(policy, observation, action)
    next_value = policy(next_observation).value
    delta = reward + config.gamma * next_value - value  # line 16: TD error
    advantage = delta.detach()  # line 17
    policy_loss = -(log_prob * advantage).mean()  # lines 19-20
    value_loss = delta.square().mean()  # lines 21-22
    optimizer.zero_grad(set_to_none=True)
    (policy_loss + value_loss).backward()
    nn.utils.clip_grad_norm_(policy.parameters(), config.max_grad_norm)
    optimizer.step()
    return {
        "policy_loss": policy_loss.item(),
        "value_loss": value_loss.item(),
        "entropy_loss": -entropy.item(),
    }


def _evaluate(
    policy: ActorCritic, observation: Tensor, action: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Log probabilities (rows,) of flat actions, mean entropy (), and values (rows,)."""
    logits, value = policy(observation)
    log_all = torch.log_softmax(logits, -1)
    log_prob = log_all.gather(-1, action[:, None]).squeeze(-1)
    # 0 * log 0 = 0 for the illegal actions, whose logit is -inf.
    entropy = -(log_all.exp() * log_all.clamp_min(-1e9)).sum(-1).mean()
    return log_prob, entropy, value


def _descend(
    policy: ActorCritic,
    optimizer: torch.optim.Optimizer,
    policy_loss: Tensor,
    value_loss: Tensor,
    entropy: Tensor,
    config: TrainConfig,
) -> None:
    loss = policy_loss + config.value_coef * value_loss - config.entropy_coef * entropy
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(policy.parameters(), config.max_grad_norm)
    optimizer.step()


def _standardise(advantage: Tensor) -> Tensor:
    if advantage.numel() < 2:
        return advantage
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)


def _explained_variance(batch: RolloutBatch) -> float:
    """1 - Var(target - value) / Var(target); 0 where the targets do not vary."""
    variance = batch.value_target.var(unbiased=False)
    if variance < 1e-12:
        return 0.0
    return float(1 - (batch.value_target - batch.value).var(unbiased=False) / variance)
