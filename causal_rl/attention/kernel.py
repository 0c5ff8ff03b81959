"""Attention whose weights are a kernel's values: A.1.2 of ECAM."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from causal_rl.attention.layer import CausalAttention
from causal_rl.attention.modulation import LOG_FLOOR, Modulation, PreparedMask

Kernel = Literal["rbf", "exponential", "elu"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
FeatureMap: TypeAlias = Callable[[Tensor], Tensor]


class KernelAttention(CausalAttention):
    """Attention weighed by a kernel of query and key (A.1.2, mended).

        weights[j, i] = k(q_j, k_i) M[j, i] / sum_l k(q_j, k_l) M[j, l]      M from the graph

    with k one of

    * ``rbf``: ``exp(-|q - k|^2 / 2 s^2)``, s learned for each head;
    * ``exponential``: exp(q . k / sqrt(d)), with which this is
      :class:`~causal_rl.attention.CausalAttention`;
    * a feature map phi: phi(q) . phi(k), phi >= 0 in every feature; ``elu`` is elu(x) + 1
      (Katharopoulos et al. 2020). If the graph is full, the sums over keys are taken before the
      query enters, at a cost linear in n: phi(Q) (phi(K)^T V) / phi(Q) sum phi(K). That needs
      neither the weights nor dropout of them.

    The paper prints softmax(k(Q, K) * G / sqrt(d)): an exponential of a kernel, in which a non-edge
    keeps weight exp(0). It is ``modulation="scale"``, for the ablation. In ``hard`` M is 1 for an
    edge and 0 else, so that a non-edge gets exactly no weight; in ``log`` it is the floored
    strength eps + (1 - eps) abs(G), see :func:`~causal_rl.attention.prepare_mask`. The kernel takes
    the place of the exponential, not of its argument.

    Args:
        embed_dim: features of a token, a multiple of ``num_heads``.
        num_heads: heads.
        modulation: "hard", "log" or "scale".
        bias: whether the projections have biases.
        dropout: probability with which an attention weight is dropped in training, in [0, 1).
        log_floor: eps of ``log``, in (0, 1).
        kernel: "rbf", "exponential", "elu", or a function (B, H, n, d) -> (B, H, n, f) that is
            never negative. A query that has nothing in common with any visible key gets zeros.
        bandwidth: the first s of ``rbf``, > 0; None takes d^(1/4), with which it is the
            exponential kernel but for a factor of each key, ``exp(-|k|^2 / 2 sqrt(d))``.

    Attributes:
        log_bandwidth: parameter (num_heads, 1, 1), log s; ``rbf`` only.

    Raises:
        TypeError: the kernel is neither a name nor a function.
        ValueError: as for ``CausalAttention``; also an unknown kernel, a bandwidth that is not
            positive, or one for another kernel than ``rbf``.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        modulation: Modulation = "hard",
        bias: bool = True,
        dropout: float = 0.0,
        *,
        log_floor: float = LOG_FLOOR,
        kernel: Kernel | FeatureMap = "rbf",
        bandwidth: float | None = None,
    ) -> None:
        super().__init__(embed_dim, num_heads, modulation, bias, dropout, log_floor=log_floor)
        allowed = f"{', '.join(KERNELS)} or a function"
        if isinstance(kernel, str):
            if kernel not in KERNELS:
                raise ValueError(f"kernel: {kernel!r}; allowed: {allowed}")
        elif not callable(kernel):
            raise TypeError(f"kernel: {type(kernel).__name__}; allowed: {allowed}")
        if bandwidth is not None and kernel != "rbf":
            raise ValueError(f"bandwidth: {bandwidth!r}; allowed here: None, kernel is not 'rbf'")
        if bandwidth is not None and not 0.0 < bandwidth < math.inf:
            raise ValueError(f"bandwidth: {bandwidth!r}; allowed: a number > 0")
        self.kernel = kernel  # a module among them is registered with its parameters
        if kernel == "rbf":
            first = self.head_dim**0.25 if bandwidth is None else bandwidth
            self.log_bandwidth = nn.Parameter(torch.full((num_heads, 1, 1), math.log(first)))

    def extra_repr(self) -> str:
        """Return the settings that ``print`` shows."""
        name = getattr(self.kernel, "__name__", type(self.kernel).__name__)
        kernel = self.kernel if isinstance(self.kernel, str) else name
        return f"{super().extra_repr()}, kernel={kernel!r}"

    def _mix(
        self, q: Tensor, k: Tensor, v: Tensor, mask: PreparedMask, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        full = mask.add is None and self.modulation != "scale"
        drops = self.training and self.dropout > 0
        if not self._has_features or not full or need_weights or drops:
            return super()._mix(q, k, v, mask, need_weights)
        left, right = self._map(q), self._map(k)
        total = left @ right.sum(-2).unsqueeze(-1)
        mixed = left @ (right.transpose(-1, -2) @ v.to(right.dtype))
        return _share(mixed, total).to(v.dtype), None

    def _is_plain(self, mask: PreparedMask) -> bool:
        return False

    def _weights(self, q: Tensor, k: Tensor, mask: PreparedMask) -> Tensor:
        if self.modulation == "scale":
            return self._modulate(self._values(q, k) * self.head_dim**-0.5, mask).softmax(-1)
        add = mask.add
        if not self._has_features:
            scores = self._log_values(q, k)
            return (scores if add is None else scores + add.to(scores.dtype)).softmax(-1)
        values = self._values(q, k)
        if add is not None:
            values = values * add.to(values.dtype).exp()
        return _share(values, values.sum(-1, keepdim=True))

    @property
    def _has_features(self) -> bool:
        return self.kernel not in ("rbf", "exponential")

    def _values(self, q: Tensor, k: Tensor) -> Tensor:
        """The kernel of all pairs (B, H, n, n)."""
        if self._has_features:
            return self._map(q) @ self._map(k).transpose(-1, -2)
        return self._log_values(q, k).exp()

    def _log_values(self, q: Tensor, k: Tensor) -> Tensor:
        """Logarithms of a kernel that has no feature map."""
        if self.kernel == "exponential":
            return self._scores(q, k)
        squares = q.square().sum(-1).unsqueeze(-1) + k.square().sum(-1).unsqueeze(-2)
        distance = squares - 2.0 * (q @ k.transpose(-1, -2))
        return -0.5 * distance * torch.exp(-2.0 * self.log_bandwidth)

    def _map(self, x: Tensor) -> Tensor:
        """Features (B, H, n, f) of heads (B, H, n, d)."""
        if isinstance(self.kernel, str):
            # Not elu(x) + 1 as written: rounding makes that 0 at -17.
            return torch.where(x > 0, x + 1.0, x.clamp(max=0.0).exp())
        features = self.kernel(x)
        if not isinstance(features, Tensor) or features.shape[:-1] != x.shape[:-1]:
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(f"kernel: gave {got} for {tuple(x.shape)}; allowed: (B, H, n, f)")
        if bool((features < 0).any()):
            raise ValueError("kernel: gave a negative feature; allowed: features >= 0")
        return features


def _share(part: Tensor, total: Tensor) -> Tensor:
    """``part / total``, and zeros, without gradient, where there is nothing to share."""
    some = total > 0
    return torch.where(some, part / torch.where(some, total, 1.0), 0.0)
