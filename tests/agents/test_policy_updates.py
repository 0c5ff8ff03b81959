"""The policy updates against their formulas, row by row."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from causal_rl.agents import ActorCritic, RolloutBatch, TrainConfig, a2c_update, ppo_update

ROWS, N, TARGETS, VALUES = 40, 4, 3, 3
CONFIG = TrainConfig(
    env="chain-scm", encoder="mlp", embed_dim=8, layers=1, epochs=1, minibatch_size=ROWS,
    clip_range=0.2, entropy_coef=0.03, value_coef=0.4, max_grad_norm=1e9,
)  # fmt: skip


def _policy() -> ActorCritic:
    torch.manual_seed(0)
    policy = ActorCritic(N, TARGETS, VALUES, CONFIG)
    torch.nn.init.normal_(policy.actor[-1].weight)  # far from uniform
    return policy


def _batch(policy: ActorCritic, shift: float) -> RolloutBatch:
    """Rows whose policy was another: log probabilities differ by up to ``shift``."""
    torch.manual_seed(1)
    observation = torch.randn(ROWS, N)
    action, log_prob, value = policy.act(observation, torch.Generator().manual_seed(2))
    return RolloutBatch(
        observation=observation,
        action=action,
        log_prob=log_prob + shift * (2 * torch.rand(ROWS) - 1),
        value=value,
        advantage=torch.randn(ROWS),
        value_target=torch.randn(ROWS),
    )


def _gradient_of_one_step(update: object, policy: ActorCritic, batch: RolloutBatch) -> torch.Tensor:
    after = copy.deepcopy(policy)
    optimizer = torch.optim.SGD(after.parameters(), lr=1.0)
    update(after, optimizer, batch, CONFIG, torch.Generator().manual_seed(0))  # type: ignore[operator]
    pairs = zip(policy.parameters(), after.parameters(), strict=True)
    return torch.cat([(old - new).detach().flatten() for old, new in pairs])


def _gradient_by_rows(policy: ActorCritic, batch: RolloutBatch, *, clip: bool) -> torch.Tensor:
    advantage = (batch.advantage - batch.advantage.mean()) / (batch.advantage.std() + 1e-8)
    total = torch.zeros(())
    for i in range(ROWS):
        logits, value = policy(batch.observation[i : i + 1])
        probabilities = logits.softmax(-1)[0]
        legal = [p for p in probabilities if p > 0]
        entropy = -sum(p * p.log() for p in legal)
        log_prob = probabilities[batch.action[i]].log()
        ratio = (log_prob - batch.log_prob[i]).exp()
        if not clip:
            surrogate = log_prob * advantage[i]
        elif advantage[i] > 0:  # Schulman et al. 2017, figure 1
            surrogate = advantage[i] * min(ratio, torch.tensor(1.2))
        else:
            surrogate = advantage[i] * max(ratio, torch.tensor(0.8))
        total = total - surrogate + 0.4 * (value[0] - batch.value_target[i]) ** 2 - 0.03 * entropy
    policy.zero_grad()
    (total / ROWS).backward()
    return torch.cat([p.grad.flatten() for p in policy.parameters()])


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.5])
def test_ppo_descends_its_clipped_surrogate(shift: float) -> None:
    policy = _policy()
    batch = _batch(policy, shift)
    expected = _gradient_by_rows(policy, batch, clip=True)
    found = _gradient_of_one_step(ppo_update, policy, batch)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_a2c_descends_the_policy_gradient() -> None:
    policy = _policy()
    batch = _batch(policy, 1.5)
    expected = _gradient_by_rows(policy, batch, clip=False)
    found = _gradient_of_one_step(a2c_update, policy, batch)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_ppo_says_what_was_clipped() -> None:
    policy = _policy()
    for shift in (0.0, 1.5):
        batch = _batch(policy, shift)
        with torch.no_grad():
            now = policy(batch.observation).logits.log_softmax(-1)
            ratio = (now.gather(-1, batch.action[:, None])[:, 0] - batch.log_prob).exp()
        expected = ((ratio - 1).abs() > 0.2).double().mean().item()
        after = copy.deepcopy(policy)
        figures = ppo_update(
            after, torch.optim.SGD(after.parameters(), lr=0.0), batch, CONFIG, torch.Generator()
        )
        assert figures["clip_fraction"] == pytest.approx(expected)
        assert figures["approx_kl"] == pytest.approx(
            (ratio - 1 - ratio.log()).mean().item(), abs=1e-6
        )
        assert math.isclose(figures["clip_fraction"], 0.0) == (shift == 0.0)


def test_the_norm_of_the_gradient_is_bounded() -> None:
    policy = _policy()
    batch = _batch(policy, 1.5)
    after = copy.deepcopy(policy)
    bounded = TrainConfig.from_dict({**CONFIG.to_dict(), "max_grad_norm": 0.01})
    ppo_update(
        after, torch.optim.SGD(after.parameters(), lr=1.0), batch, bounded, torch.Generator()
    )
    pairs = zip(policy.parameters(), after.parameters(), strict=True)
    moved = torch.cat([(old - new).detach().flatten() for old, new in pairs])
    assert moved.norm() == pytest.approx(0.01, rel=1e-3)
