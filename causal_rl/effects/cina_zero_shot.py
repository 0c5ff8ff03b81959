"""CInA without fitting: a network that reads off covariates and treatments what would balance them.

Layers of attention over the rows of a data set share the one attention matrix of
`BalancingAttention`, softmax(K K^T / sqrt(D)). Each computes the decision values of its present
weights, the slack of every row, and what learned channels carry between rows, and moves the
weights; so the network is an unrolled solver of the dual whose steps are learned. It is
equivariant to the order of rows and to the names of the arms, and takes any number of rows and
covariates.

Trained on many simulated data sets by the duality gap of its weights, which needs no outcome
(ZS), or by known effects as well (ZS-S).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
import torch
from torch import Tensor, nn

from causal_rl.devices import check_device
from causal_rl.effects.cina_families import DataFamily
from causal_rl.files import atomic_open, read_payload
from causal_rl.options import check_integer, check_number

_FORMAT = "causal_rl.cina-zero-shot/1"
_ROW_FEATURES = 7
_RIDGE = 0.02
# Data sets in a batch, and the share of the loss on what earlier layers had reached.
_BATCH = 8
_EARLIER = 0.3


class ZeroShotBalancer(nn.Module):
    """Maps covariates and treatments of data sets to balancing weights in one forward pass.

    Args:
        penalty: lambda of the problem it learns to solve.
        layers: steps of the unrolled solver.
        width: features of a row between layers.
        channels: learned messages between rows, a layer.
        hidden: units of the network that each layer applies to every row.
        seed: of the first weights.

    Raises:
        ValueError: an option out of range.
        TypeError: an option of the wrong type.
    """

    def __init__(
        self,
        penalty: float = 0.3,
        *,
        layers: int = 6,
        width: int = 16,
        channels: int = 4,
        hidden: int = 48,
        seed: int = 0,
    ) -> None:
        check_number("penalty", penalty, least=0.0, open_end=True)
        sizes = {"layers": layers, "width": width, "channels": channels, "hidden": hidden}
        for name, value in sizes.items():
            check_integer(name, value, least=1)
        check_integer("seed", seed, least=0)
        super().__init__()
        self.penalty = float(penalty)
        self.sizes = sizes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Sequential(
                nn.Linear(_ROW_FEATURES, hidden), nn.GELU(), nn.Linear(hidden, width + 1)
            )
            self.layers = nn.ModuleList(_Layer(width, channels, hidden) for _ in range(layers))

    def forward(self, X: Tensor, t: Tensor) -> Tensor:
        """Dual variables of every row.

        Args:
            X: float32 (B, N, p) covariates, in any units, p >= 1.
            t: (B, N), 0 or 1, both in every data set.

        Returns:
            (B, N) a in [0, 1] with equal sums over the arms of a data set.

        Raises:
            ValueError: shapes disagree.
        """
        if X.ndim != 3 or t.shape != X.shape[:2] or not X.shape[2]:
            raise ValueError(
                f"X has shape {tuple(X.shape)} and t {tuple(t.shape)}; allowed: (B, N, p), (B, N)"
            )
        return self._stages(_Rows(X, t, self.penalty))[-1]

    def _stages(self, rows: _Rows) -> list[Tensor]:
        """Dual variables after each layer."""
        state = self.embed(rows.features())
        h, logit = state[..., 1:], state[..., :1]
        found = []
        for layer in self.layers:
            step = layer(h, rows.feasible(logit), rows)
            h, logit = h + step[..., 1:], logit + step[..., :1]
            found.append(rows.feasible(logit)[..., 0])
        return found

    def save(self, path: str | PathLike[str]) -> None:
        """Write sizes, penalty and weights to a file, whole or not at all.

        Args:
            path: the file; its folder must exist.
        """
        payload = {
            "format": _FORMAT,
            "penalty": self.penalty,
            "sizes": self.sizes,
            "weights": self.state_dict(),
        }
        with atomic_open(path) as file:
            torch.save(payload, file)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> ZeroShotBalancer:
        """Read a file of `save`; nothing in it is executed.

        Args:
            path: the file.

        Raises:
            ValueError: there is no such file, or it is none of `save`.
        """
        shown = repr(str(path))
        payload = read_payload(
            path,
            _FORMAT,
            missing=f"checkpoint must be a saved network, got {shown}: no file",
            unreadable=f"checkpoint {shown} is no readable file of torch",
            foreign=f"checkpoint {shown} is no zero-shot network ({_FORMAT})",
        )
        network = cls(payload["penalty"], **payload["sizes"])
        network.load_state_dict(payload["weights"])
        return network.eval()


class _Rows:
    """What all layers share of a batch of data sets: attention matrix, arms, first features."""

    def __init__(self, X: Tensor, t: Tensor, penalty: float) -> None:
        spread = X.std(1, keepdim=True, correction=0)
        self.X = (X - X.mean(1, keepdim=True)) / spread.clamp_min(1e-6)
        treated = t.to(X.dtype)
        self.arms = torch.stack([1 - treated, treated], 2)
        self.treated = t[..., None] > 0
        self.sign = (2 * treated - 1)[..., None]
        self.n = X.shape[1]
        scores = self.X @ self.X.mT / X.shape[2]
        log_size = scores.logsumexp(2, keepdim=True) - math.log(self.n)
        self.attention = scores.softmax(2)
        own = self.attention.diagonal(dim1=1, dim2=2)[..., None]
        # The diagonal of the gram matrix of kernel "attention", in logs.
        self.log_own = own.log() + math.log(self.n) - log_size - 1
        self.log_size = log_size
        # v_j of a_j = 1, W_j = 1.
        self.unit_value = self.n * torch.exp(-log_size) / penalty
        self.shares = 1 / self.arms.sum(1)[:, :, None]

    def own_first(self, both: Tensor) -> Tensor:
        """(B, N or 1, 2, c) of control and treated arm as (B, N, 2 c), a row's own arm first."""
        swapped = torch.where(self.treated[..., None], both.flip(2), both)
        return swapped.flatten(2)

    def arm_means(self, x: Tensor) -> Tensor:
        """(B, N, c) averaged over each arm, (B, 1, 2, c)."""
        return ((self.arms.mT @ x) * self.shares)[:, None]

    def feasible(self, logit: Tensor) -> Tensor:
        """Logits (B, N, 1) as dual variables: the heavier arm is scaled down."""
        a = logit.sigmoid()
        sums = self.arms.mT @ a
        scale = sums.amin(1, keepdim=True) / sums
        return a * (self.arms @ scale)

    def features(self) -> Tensor:
        """(B, N, 7): what tells a row's place among both arms before any step."""
        same = self.own_first((self.attention @ self.arms)[..., None])[..., :1]
        share = self.own_first(self.arms.mean(1)[:, None, :, None])[..., :1]
        # Least squares of the treatment on the covariates: how far a row is on its own side.
        eye = _RIDGE * torch.eye(self.X.shape[2], dtype=self.X.dtype, device=self.X.device)
        centred = self.sign - self.sign.mean(1, keepdim=True)
        slopes = torch.linalg.solve(self.X.mT @ self.X / self.n + eye, self.X.mT @ centred / self.n)
        score = self.X @ slopes
        spread = score.std(1, keepdim=True, correction=0).clamp_min(1e-3)
        log_rows = torch.full_like(same, math.log(self.n) / 6 - 1)
        return torch.cat(
            [same, share.expand_as(same), self.log_size, self.log_own, self.sign * score / spread,
             spread.expand_as(same), log_rows], 2
        )  # fmt: skip


class _Layer(nn.Module):
    """One step: decision values of the present weights, messages, and a network for every row."""

    def __init__(self, width: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.message = nn.Linear(width, channels)
        self.row = nn.Sequential(
            nn.Linear(3 * width + 2 * channels + 4, hidden), nn.GELU(), nn.Linear(hidden, width + 1)
        )

    def forward(self, h: Tensor, a: Tensor, rows: _Rows) -> Tensor:
        """(B, N, width + 1): what is added to the logit, first, and to the features."""
        h = self.norm(h)
        message = self.message(h)
        value = a * rows.sign * rows.unit_value
        by_arm = (message[..., None, :] * rows.arms[..., None]).flatten(2)
        moved = rows.attention @ torch.cat([value, by_arm], 2)
        score = moved[..., :1]
        # The best bias by the rows whose weights are neither 0 nor 1, as in the exact solution.
        free = a * (1 - a) + 1e-3
        bias = (free * (rows.sign - score)).sum(1, keepdim=True) / free.sum(1, keepdim=True)
        slack = 1 - rows.sign * (score + bias)
        heard = rows.own_first(torch.stack(moved[..., 1:].chunk(2, 2), 2))
        pooled = rows.own_first(rows.arm_means(h)).expand(-1, rows.n, -1)
        parts = [h, heard, pooled, a, slack.clamp(-3, 3), torch.asinh(slack), rows.log_own]
        found: Tensor = self.row(torch.cat(parts, 2))
        return found


def balancing_gap(X: Tensor, t: Tensor, a: Tensor, penalty: float) -> Tensor:
    """Duality gap of dual variables under the kernel "attention", a row: 0 for the exact ones.

    Args:
        X: (B, N, p).
        t: (B, N).
        a: (B, N) as of `ZeroShotBalancer.forward`.
        penalty: lambda.

    Returns:
        (B,) (primal - dual) / N, differentiable.
    """
    return _gap(_Rows(X, t, penalty), a)


def _gap(rows: _Rows, a: Tensor) -> Tensor:
    sign = rows.sign[..., 0]
    score = (rows.attention @ (a[..., None] * rows.sign * rows.unit_value))[..., 0]
    norm = (a * sign * score).sum(1) / 2
    # The best bias of these scores, see `best_bias`.
    bends = (sign - score).sort(1).values
    treated = rows.arms[..., 1].sum(1, keepdim=True).long()
    bias = bends.gather(1, treated - 1)
    hinge = (1 - sign * (score + bias)).clamp_min(0).sum(1)
    return (2 * norm + hinge - a.sum(1)) / rows.n


def contrast(a: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """Weighted mean outcome of the treated less that of the others, (B,), of (B, N) each."""
    treated = t.to(a.dtype)
    one, zero = a * treated, a * (1 - treated)
    return (one * y).sum(1) / one.sum(1) - (zero * y).sum(1) / zero.sum(1)


@dataclass(frozen=True)
class ZeroShotTraining:
    """How a `ZeroShotBalancer` is trained.

    Args:
        families: drawn from in turn.
        rows: smallest and largest N of a data set.
        steps: updates, of eight data sets each; 250 are enough for the default sizes.
        learning_rate: peak of the one-cycle schedule.
        supervision: weight of the squared error of the effect, 0 for none (ZS), above 0 for ZS-S.
        seed: of the data sets and the first weights.
        device: of torch.

    Raises:
        ValueError: out of range.
        TypeError: of the wrong type.
    """

    families: Sequence[DataFamily] = (DataFamily(),)
    rows: tuple[int, int] = (96, 256)
    steps: int = 250
    learning_rate: float = 3e-3
    supervision: float = 0.0
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.families or not all(isinstance(f, DataFamily) for f in self.families):
            raise TypeError(f"families must be one or more DataFamily, not {self.families!r}")
        check_integer("rows[0]", self.rows[0], least=8)
        check_integer("rows[1]", self.rows[1], least=self.rows[0])
        check_integer("steps", self.steps, least=1)
        check_number("learning_rate", self.learning_rate, least=0.0, open_end=True)
        check_number("supervision", self.supervision, least=0.0)
        check_integer("seed", self.seed, least=0)
        check_device(self.device)


def train_zero_shot(network: ZeroShotBalancer, plan: ZeroShotTraining | None = None) -> list[float]:
    """Train in place on simulated data sets, each seen once.

    Args:
        network: changed.
        plan: of the training.

    Returns:
        The duality gap a row of every step's batch, before the step.
    """
    plan = ZeroShotTraining() if plan is None else plan
    rng = np.random.default_rng(plan.seed)
    network.to(plan.device).train()
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.learning_rate, total_steps=plan.steps
    )
    gaps = []
    for step in range(plan.steps):
        family = plan.families[step % len(plan.families)]
        drawn = family.draw(_BATCH, int(rng.integers(plan.rows[0], plan.rows[1] + 1)), rng)
        X, t, y, ate = (
            torch.as_tensor(array, dtype=torch.float32, device=plan.device)
            for array in (drawn.X, drawn.t, drawn.y, drawn.ate)
        )
        rows = _Rows(X, t, network.penalty)
        stages = network._stages(rows)
        losses = [_gap(rows, a).mean() for a in stages]
        loss = losses[-1] + _EARLIER * sum(losses[:-1], torch.zeros(())) / len(losses)
        if plan.supervision:
            loss = loss + plan.supervision * ((contrast(stages[-1], t, y) - ate) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        gaps.append(losses[-1].item())
    network.eval()
    return gaps
