"""Attention that takes a causal graph (ECAM): modulation M(G), layer and encoder."""

from causal_rl.attention.annealing import Annealing
from causal_rl.attention.block import ATTENTION_FORMS, AttentionFactory, AttentionForm
from causal_rl.attention.encoder import POOLINGS, Pooling, SCMEncoder
from causal_rl.attention.generalised import GeneralisedAttention
from causal_rl.attention.kernel import KERNELS, Kernel, KernelAttention
from causal_rl.attention.layer import CausalAttention
from causal_rl.attention.modulation import (
    LOG_FLOOR,
    MODULATIONS,
    Modulation,
    PreparedMask,
    attention_mask,
    prepare_mask,
)
from causal_rl.attention.multi_level import MultiLevelAttention
from causal_rl.attention.multihead import MultiheadAttention
from causal_rl.attention.time_varying import TimeVaryingAttention

__all__ = [
    "ATTENTION_FORMS",
    "KERNELS",
    "LOG_FLOOR",
    "MODULATIONS",
    "POOLINGS",
    "Annealing",
    "AttentionFactory",
    "AttentionForm",
    "CausalAttention",
    "GeneralisedAttention",
    "Kernel",
    "KernelAttention",
    "Modulation",
    "MultiLevelAttention",
    "MultiheadAttention",
    "Pooling",
    "PreparedMask",
    "SCMEncoder",
    "TimeVaryingAttention",
    "attention_mask",
    "prepare_mask",
]
