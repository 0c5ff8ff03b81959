"""The four architectures of the library, tiny and with random weights, and what they are fed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

transformers = pytest.importorskip("transformers", reason="needs the extra 'transformers'")

BATCH, N, HEADS, LAYERS, WORDS = 3, 6, 4, 2, 40
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 24,
}
TEXT = {**SIZES, "vocab_size": WORDS, "max_position_embeddings": 32}
QUIET = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def bert(**options: Any) -> nn.Module:
    return transformers.BertModel(transformers.BertConfig(**TEXT, **QUIET, **options))


def bert_decoder() -> nn.Module:
    return transformers.BertLMHeadModel(transformers.BertConfig(**TEXT, **QUIET, is_decoder=True))


def vit() -> nn.Module:
    config = transformers.ViTConfig(**SIZES, **QUIET, image_size=8, patch_size=4)
    return transformers.ViTForImageClassification(config)


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        n_embd=16, n_layer=LAYERS, n_head=HEADS, n_positions=32, vocab_size=WORDS,
        embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def llama() -> nn.Module:
    config = transformers.LlamaConfig(**TEXT, num_key_value_heads=2)
    return transformers.LlamaForCausalLM(config)


HOSTS: dict[str, Callable[[], nn.Module]] = {
    "bert": bert,
    "vit": vit,
    "gpt2": gpt2,
    "llama": llama,
}
DECODERS: dict[str, Callable[[], nn.Module]] = {
    "gpt2": gpt2,
    "llama": llama,
    "bert": bert_decoder,
}


def make(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    model = build().eval()
    # Far from the initial weights, where every attention is nearly uniform.
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "embed" not in name:
                parameter.mul_(8.0)
    return model


def inputs(name: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    if name == "vit":
        return {"pixel_values": torch.randn(BATCH, 3, 8, 8, generator=generator)}
    ids = torch.randint(1, WORDS, (BATCH, N), generator=generator)
    padding = torch.ones(BATCH, N, dtype=torch.long)
    padding[0, 4:] = 0
    if name != "bert":
        padding[1, :2] = 0  # on the left, as decoders are fed
    return {"input_ids": ids, "attention_mask": padding}


def length(name: str) -> int:
    return 5 if name == "vit" else N


def dag(n: int = N) -> Tensor:
    """Edges in both directions in time."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(2))
    return torch.ones(n, n).triu(1)[order][:, order] * (torch.arange(n) % 3 > 0)


def visible(name: str, given: dict[str, Tensor]) -> Tensor:
    """Rows that are not padding, whose values mean something."""
    if name == "vit":
        return torch.ones(BATCH, 5, dtype=torch.bool)
    return given["attention_mask"].bool()


def tokens_of(model: nn.Module, **given: Any) -> Tensor:
    return model(**given, output_hidden_states=True).hidden_states[-1]
