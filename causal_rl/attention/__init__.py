"""Attention that takes a causal graph (ECAM): modulation M(G), layer and encoder."""

from causal_rl.attention.encoder import POOLINGS, Pooling, SCMEncoder
from causal_rl.attention.layer import CausalAttention
from causal_rl.attention.modulation import (
    LOG_FLOOR,
    MODULATIONS,
    Modulation,
    PreparedMask,
    attention_mask,
    prepare_mask,
)

__all__ = [
    "LOG_FLOOR",
    "MODULATIONS",
    "POOLINGS",
    "CausalAttention",
    "Modulation",
    "Pooling",
    "PreparedMask",
    "SCMEncoder",
    "attention_mask",
    "prepare_mask",
]
