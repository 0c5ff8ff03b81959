"""IRMv1: the invariance penalty of invariant risk minimisation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def irm_penalty(logits: Tensor, labels: Tensor) -> Tensor:
    """How far a classifier could gain in one environment by rescaling its logits.

    The IRMv1 penalty (Arjovsky et al. 2019, "Invariant risk minimization", eq. IRMv1):
    ``|grad_w R(w f)|^2`` at w = 1, where R is the cross-entropy of one environment. The objective
    is the mean over environments of R plus lambda times this. The gradient is written out:
    with p = softmax(f), dR/dw at 1 is the mean of ``sum_c (p_c - 1[c = y]) f_c``.

    Args:
        logits: (N, classes) float logits f of ONE environment; or (N,) logits of a binary label.
        labels: (N,) integer classes; for (N,) logits 0 or 1.

    Returns:
        Scalar tensor >= 0, differentiable with respect to ``logits``.

    Raises:
        ValueError: wrong shapes, no rows, or labels that are no class.
    """
    if logits.ndim not in (1, 2) or not logits.shape[0]:
        raise ValueError(f"logits must be (N, classes) or (N,), N >= 1, got {tuple(logits.shape)}")
    if labels.shape != logits.shape[:1]:
        raise ValueError(
            f"labels must be ({logits.shape[0]},), one a row of logits, got {tuple(labels.shape)}"
        )
    classes = 2 if logits.ndim == 1 else logits.shape[1]
    if bool(((labels < 0) | (labels >= classes)).any()):
        raise ValueError(f"labels must be in 0..{classes - 1}, got {sorted(set(labels.tolist()))}")
    if logits.ndim == 1:
        slope = ((torch.sigmoid(logits) - labels.to(logits.dtype)) * logits).mean()
        return slope.square()
    target = functional.one_hot(labels.long(), classes).to(logits.dtype)
    slope = ((torch.softmax(logits, dim=1) - target) * logits).sum(dim=1).mean()
    return slope.square()
