"""CInA as attention: values trained by gradient on the penalised hinge loss of one data set.

With keys K from the covariates and a row softmax, the decision values are those of a self-attention
layer of one output, softmax(K K^T / sqrt(D)) V + b, and the loss is

    lambda / 2 |sum_j v_j phi(X_j) / N|^2 + sum_i [1 - W_i (softmax(K K^T / sqrt(D)) V + b)_i]_+ ,

phi the features with <phi(X_i), phi(X_j)> = exp(k_i^T k_j / sqrt(D)). Written in the features
phi / h, h_j the mean over a row of exp(K K^T / sqrt(D)), it is the primal of `solve_dual` under
the kernel "attention" of `gram_matrix`, so at the optimum

    a_j = lambda h_j v_j / (N W_j).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from causal_rl.effects.cina_dual import dual_point, equal_sums
from causal_rl.effects.cina_kernel import attention_scores, log_normaliser, standardise
from causal_rl.options import check_integer, check_number

FloatArray = NDArray[np.float64]

# Widths of the hinge's bend, from easy to exact; each stage starts where the one before ended.
_BENDS = (1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
# Gradient at which a stage ends, as a share of the width.
_ACCURACY = 1e-2
_HISTORY = 60


class BalancingAttention(nn.Module):
    """One attention layer whose values and bias are its parameters.

    The values are kept in the coordinates z = R^T (h V) / N, where R R^T is the gram matrix of
    kernel "attention" and h the normaliser: there the penalty is lambda / 2 |z|^2. In V itself the
    loss is so ill-conditioned that no gradient method gets near the optimum.

    Args:
        X: (N, p) covariates; they are standardised.
        sign: (N,) W, +1 or -1.
        penalty: lambda, above 0.
        dtype: float64, or float32 for a rough optimum.

    Attributes:
        scaled: (N,) parameter, z.
        bias: () parameter, b.

    Raises:
        ValueError: as `standardise`; signs that are not +1 and -1, or the wrong number of them;
            ``penalty`` not above 0.
    """

    root: Tensor
    normaliser: Tensor
    sign: Tensor

    def __init__(
        self, X: ArrayLike, sign: ArrayLike, penalty: float, dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        rows, signs = standardise(X), np.asarray(sign, dtype=np.float64)
        check_number("penalty", penalty, least=0.0, open_end=True)
        if signs.shape != (len(rows),) or not np.isin(signs, (-1.0, 1.0)).all():
            raise ValueError(f"sign must be +1 or -1 in each of the {len(rows)} rows of X")
        scores = attention_scores(rows)
        size = log_normaliser(scores)
        gram = np.exp(scores - size[:, None] - size)
        gram[np.diag_indices_from(gram)] += 1e-12 * np.trace(gram) / len(gram)
        self.penalty = penalty
        self.register_buffer("root", torch.as_tensor(np.linalg.cholesky(gram), dtype=dtype))
        self.register_buffer("normaliser", torch.as_tensor(np.exp(size), dtype=dtype))
        self.register_buffer("sign", torch.as_tensor(signs, dtype=dtype))
        self.scaled = nn.Parameter(torch.zeros(len(rows), dtype=dtype))
        self.bias = nn.Parameter(torch.zeros((), dtype=dtype))

    def forward(self) -> Tensor:
        """Decision values (N,): softmax(K K^T / sqrt(D)) V + b."""
        decision: Tensor = self.root @ self.scaled + self.bias
        return decision

    def loss(self, bend: float = 0.0) -> Tensor:
        """The penalised hinge loss.

        Args:
            bend: width over which the hinge is rounded by a parabola, 0 for none.
        """
        slack = 1.0 - self.sign * self()
        if bend > 0:
            inside = ((slack + bend / 2).clamp(0.0, bend) ** 2).sum() / (2 * bend)
            hinge = inside + (slack - bend / 2).clamp_min(0.0).sum()
        else:
            hinge = slack.clamp_min(0.0).sum()
        loss: Tensor = self.penalty / 2 * (self.scaled @ self.scaled) + hinge
        return loss

    def dual_variables(self, bend: float) -> Tensor:
        """(N,) slopes of the rounded hinge, in [0, 1]: at its optimum they are the dual's a."""
        slopes: Tensor = ((1.0 - self.sign * self()) / bend + 0.5).clamp(0.0, 1.0)
        return slopes

    def values(self) -> Tensor:
        """V, (N,)."""
        solved = torch.linalg.solve_triangular(self.root.T, self.scaled[:, None], upper=True)
        values: Tensor = len(self.sign) * solved[:, 0] / self.normaliser
        return values


@dataclass(frozen=True, eq=False)
class AttentionFit:
    """A trained attention layer.

    Attributes:
        values: (N,) float64, V.
        bias: b.
        decision: (N,) softmax(K K^T / sqrt(D)) V + b.
        a: (N,) dual variables, feasible: in [0, 1] with equal sums over the arms.
        primal: loss of the values and the bias.
        dual: dual value of ``a``.
        steps: evaluations of loss and gradient.
    """

    values: FloatArray
    bias: float
    decision: FloatArray
    a: FloatArray
    primal: float
    dual: float
    steps: int

    @property
    def gap(self) -> float:
        """Duality gap between the layer's loss and its dual variables."""
        return self.primal - self.dual


def fit_attention(
    X: ArrayLike,
    sign: ArrayLike,
    penalty: float,
    *,
    tolerance: float = 5e-5,
    max_steps: int = 20_000,
    dtype: torch.dtype = torch.float64,
) -> AttentionFit:
    """Train the attention form on one data set by L-BFGS, rounding the hinge less and less.

    Args:
        X: (N, p) covariates.
        sign: (N,) W, +1 or -1, both present.
        penalty: lambda, above 0.
        tolerance: duality gap at which to stop; the smallest one found is returned where
            ``max_steps`` end sooner, as `AttentionFit.gap` tells.
        max_steps: evaluations of the loss.
        dtype: of the training; float64 where the gap is to be small.

    Raises:
        ValueError: as `BalancingAttention`; one sign alone; an option out of range.
        TypeError: an option of the wrong type.
    """
    check_number("tolerance", tolerance, least=0.0)
    check_integer("max_steps", max_steps, least=1)
    layer = BalancingAttention(X, sign, penalty, dtype)
    signs = np.asarray(sign, dtype=np.float64)
    if np.unique(signs).size < 2:
        raise ValueError("sign is the same in every row; both arms need rows")
    best = _read(layer, signs, _BENDS[0], 0)
    steps = 0
    for bend in _BENDS:
        steps += _descend(layer, bend, max_steps - steps)
        found = _read(layer, signs, bend, steps)
        best = found if found.gap < best.gap else best
        if best.gap <= tolerance or steps >= max_steps:
            break
    return best


def _descend(layer: BalancingAttention, bend: float, budget: int) -> int:
    """Minimise the rounded loss; the evaluations it took."""
    start = torch.cat([layer.scaled.detach(), layer.bias.detach()[None]]).double().numpy()

    def place(point: FloatArray) -> None:
        with torch.no_grad():
            layer.scaled.copy_(torch.as_tensor(point[:-1]))
            layer.bias.fill_(float(point[-1]))

    def evaluate(point: FloatArray) -> tuple[float, FloatArray]:
        place(point)
        loss = layer.loss(bend)
        slopes, slope = torch.autograd.grad(loss, [layer.scaled, layer.bias])
        return loss.item(), np.append(slopes.double().numpy(), slope.item())

    # Rounding moves the optimum by about the bend: a stage needs to be solved no better.
    options = {"maxfun": budget, "maxiter": budget, "maxcor": _HISTORY, "ftol": 0.0,
               "gtol": _ACCURACY * bend}  # fmt: skip
    found = minimize(evaluate, start, jac=True, method="L-BFGS-B", options=options)
    place(found.x)
    return int(found.nfev)


def _read(layer: BalancingAttention, signs: FloatArray, bend: float, steps: int) -> AttentionFit:
    with torch.no_grad():
        decision = layer().double().numpy()
        primal, bias = layer.loss().item(), layer.bias.item()
        values = layer.values().double().numpy()
        slopes = layer.dual_variables(bend).double().numpy()
        gram = (layer.root @ layer.root.T).double().numpy()
    # Early on an arm may have no slope at all; even weights are always feasible.
    if not (slopes[signs > 0].any() and slopes[signs < 0].any()):
        slopes = np.ones_like(slopes)
    a = equal_sums(slopes, signs)
    dual = dual_point(gram, signs, layer.penalty, a).dual
    return AttentionFit(values, bias, decision, a, primal, dual, steps)


def values_of(a: ArrayLike, sign: ArrayLike, X: ArrayLike, penalty: float) -> FloatArray:
    """Values V that dual variables amount to: v_j = N a_j W_j / (lambda h_j).

    Args:
        a: (N,).
        sign: (N,).
        X: (N, p).
        penalty: lambda.
    """
    size = np.exp(log_normaliser(attention_scores(standardise(X))))
    return np.asarray(len(size) * np.asarray(a) * np.asarray(sign) / (penalty * size))
