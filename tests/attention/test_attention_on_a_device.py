"""Attention, encoder and policy where their weights lie, be it another device than the CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from causal_rl.agents import ActorCritic, RolloutBatch, TrainConfig, ppo_update
from causal_rl.attention import (
    ATTENTION_FORMS,
    MODULATIONS,
    CausalAttention,
    GeneralisedAttention,
    KernelAttention,
    MultiheadAttention,
    MultiLevelAttention,
    SCMEncoder,
    TimeVaryingAttention,
)
from causal_rl.attention.huggingface import use_ecam
from tests.other_device import on_both

N, WIDTH, HEADS = 5, 8, 2
LAYERS: dict[str, Callable[[], nn.Module]] = {
    **{m: functools.partial(CausalAttention, WIDTH, HEADS, m) for m in MODULATIONS},
    "kernel": functools.partial(KernelAttention, WIDTH, HEADS),
    "generalised": functools.partial(GeneralisedAttention, WIDTH, HEADS),
    "generalised, scale": functools.partial(GeneralisedAttention, WIDTH, HEADS, "scale"),
}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradient_of(module: nn.Module, out: Tensor) -> NDArray[np.floating]:
    """The output, and the gradient of its square in every weight."""
    out.square().sum().backward()
    parts = [out.detach(), *(p.grad for p in module.parameters() if p.grad is not None)]
    return np.concatenate([part.cpu().numpy().ravel() for part in parts])


def made(make: Callable[[], nn.Module], device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    return make().to(device)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, batched: bool) -> None:
    graph = (drawn(*(3,) * batched, N, N, seed=1) > 0).float()

    def work(device: torch.device) -> NDArray[np.floating]:
        layer = made(LAYERS[name], device)
        return gradient_of(layer, layer(drawn(3, N, WIDTH).to(device), graph.to(device)))

    on_both(work)


def test_weights_and_prepared_graphs() -> None:
    graph = (drawn(N, N, seed=1) > 0).numpy()

    def work(device: torch.device) -> NDArray[np.floating]:
        layer = made(LAYERS["hard"], device)
        x = drawn(3, N, WIDTH).to(device)
        out, weights = layer(x, layer.prepare(graph), need_weights=True)
        return np.append(gradient_of(layer, out), weights.detach().cpu().numpy().ravel())

    on_both(work)


def test_levels_and_time() -> None:
    levels = torch.stack([(drawn(N, N, seed=seed) > 0).float() for seed in range(3)])

    def work(device: torch.device) -> NDArray[np.floating]:
        several = made(functools.partial(MultiLevelAttention, WIDTH, HEADS), device)
        first = gradient_of(several, several(drawn(3, N, WIDTH).to(device), levels.to(device)))
        varying = made(functools.partial(TimeVaryingAttention, WIDTH, HEADS), device)
        tokens, gates = drawn(2, 4, N, WIDTH).to(device), torch.sigmoid(drawn(N, N)).to(device)
        return np.append(first, gradient_of(varying, varying(tokens, gates)))

    on_both(work)


def test_in_the_place_of_torch() -> None:
    graph = (drawn(N, N, seed=1) > 0).float()
    padding = torch.zeros(3, N, dtype=torch.bool)
    padding[0, -1] = True

    def work(device: torch.device) -> NDArray[np.floating]:
        layer = made(functools.partial(MultiheadAttention, WIDTH, HEADS, batch_first=True), device)
        x = drawn(3, N, WIDTH).to(device)
        out, _ = layer(x, x, x, key_padding_mask=padding.to(device), graph=graph.to(device))
        return gradient_of(layer, out)

    on_both(work)


@pytest.mark.parametrize("form", ATTENTION_FORMS)
def test_encoder(form: str) -> None:
    if form == "time-varying":
        pytest.skip("reads tokens of several steps, see above")
    graph = (drawn(N, N, seed=1) > 0).float()
    modulation = "hard" if form != "causal" else "log"
    make = functools.partial(
        SCMEncoder, N, embed_dim=WIDTH, num_heads=HEADS, modulation=modulation, attention=form
    )

    def work(device: torch.device) -> NDArray[np.floating]:
        encoder = made(make, device)
        given = graph.expand(3, N, N) if form == "multi-level" else graph
        return gradient_of(encoder, encoder(drawn(4, N).to(device), given.to(device)))

    on_both(work)


def test_a_policy_and_its_update() -> None:
    config = TrainConfig(
        env="chain-scm", embed_dim=WIDTH, heads=HEADS, layers=1, minibatch_size=8, epochs=1
    )
    rows = 16
    action = torch.arange(rows) % 4

    def work(device: torch.device) -> NDArray[np.floating]:
        torch.manual_seed(0)
        policy = ActorCritic(N, 3, 2, config).to(device)
        observation = drawn(rows, N).to(device)
        with torch.no_grad():
            logits, value = policy(observation)
            flat = torch.where(action == 1, 0, action).to(device)
            log_prob = torch.log_softmax(logits, -1).gather(-1, flat[:, None]).squeeze(-1)
        batch = RolloutBatch(
            observation=observation,
            action=flat,
            log_prob=log_prob,
            value=value,
            advantage=drawn(rows, seed=2).to(device),
            value_target=drawn(rows, seed=3).to(device),
        )
        optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
        ppo_update(policy, optimizer, batch, config, torch.Generator().manual_seed(0))
        chosen = policy.act(observation, None)[0]
        weights = [p.detach().cpu().numpy().ravel() for p in policy.parameters()]
        return np.concatenate([*weights, policy.unflatten(chosen).ravel()])

    on_both(work)


@pytest.mark.parametrize("name", ["bert", "vit", "gpt2", "llama"])
def test_hosts_of_transformers(name: str) -> None:
    pytest.importorskip("transformers", reason="needs the extra 'transformers'")
    import tiny_hosts

    given, graph = tiny_hosts.inputs(name), tiny_hosts.dag(tiny_hosts.length(name))
    seen = tiny_hosts.visible(name, given)
    # An empty cache begins as a tensor that the other device of these tests cannot follow.
    options = {"use_cache": False} if name in tiny_hosts.DECODERS and name != "bert" else {}

    def work(device: torch.device) -> NDArray[np.floating]:
        model = tiny_hosts.make(tiny_hosts.HOSTS[name])
        use_ecam(model, "log")
        model.to(device)
        learned = graph.to(device).requires_grad_()
        placed = {key: value.to(device) for key, value in given.items()}
        out = tiny_hosts.tokens_of(model, **placed, ecam_graph=learned, **options)
        (gradient,) = torch.autograd.grad(out.square().sum(), learned)
        parts = [out.detach().cpu()[seen].flatten(), gradient.cpu().flatten()]
        return torch.cat(parts).numpy()

    on_both(work)
