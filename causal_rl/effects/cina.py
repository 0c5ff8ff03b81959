"""CInA's estimators of average effects: the exact weights of a data set, and a network's."""

from __future__ import annotations

from abc import abstractmethod
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.devices import check_device
from causal_rl.effects.base import Array, EffectEstimator, Treatments
from causal_rl.effects.cina_dual import solve_dual
from causal_rl.effects.cina_kernel import KERNELS, Kernel, gram_matrix, standardise
from causal_rl.effects.cina_weights import BalancingWeights, normalise
from causal_rl.options import check_choice, check_number

_MOST_ROWS = 10_000


class BalancingEstimator(EffectEstimator):
    """What CInA's estimators share: an effect is a contrast of weighted means.

    Weights balance the two arms against each other, over the rows that `fit` saw. Where the effect
    is the same in every row, the contrast estimates the ATE (and the ATT). Where it varies, it is
    the average over the rows in which the arms overlap, as with overlap weights, and equals the
    ATE only in so far as the effect does not go with overlap. `effect` is that one number in every
    row, for balancing says nothing about single rows; `ate` of other rows is the same number too.

    With more than two arms every pair is balanced alone, by the rows of its two arms.

    `ate_interval` is normal about the contrast, its standard error that of weighted means given
    covariates and treatments (`BalancingWeights.standard_error`); it does not count the imbalance
    that is left, nor another draw of covariates, and needs no refits.

    Attributes:
        weights_: (N,) float64 of arms 1 and 0, after `fit`; they sum to 1 over each of the two.
        effective_sample_size_: Kish's, of arm 0 and arm 1, in rows.
    """

    weights_: NDArray[np.float64]
    effective_sample_size_: tuple[float, float]

    def balance(self, *, t0: int = 0, t1: int = 1) -> BalancingWeights:
        """Weights of the rows of two arms, in the order in which `fit` saw them.

        Args:
            t0: the arm compared with.
            t1: the arm counted as treated.

        Raises:
            RuntimeError: not fitted.
            ValueError: no such arm, the same one twice, or more than 10,000 rows.
        """
        self._check_arms(t0, t1)
        if t0 == t1:
            raise ValueError(f"t0 and t1 are both {t0}; weights balance two different arms")
        if (t1, t0) in self._pairs:
            # The problem is the same with the arms' names exchanged.
            other = self._pairs[t1, t0]
            return BalancingWeights(other.weights, ~other.treated, other.penalty, other.gap)
        if (t0, t1) not in self._pairs:
            X, arms, _ = self._rows()
            rows = np.isin(arms, (t0, t1))
            if rows.sum() > _MOST_ROWS:
                raise ValueError(
                    f"X has {rows.sum()} rows of arms {t0} and {t1}; allowed: {_MOST_ROWS}, for "
                    "the weights take a matrix of rows by rows; draw a sample"
                )
            self._pairs[t0, t1] = self._weigh(X[rows], arms[rows] == t1)
        return self._pairs[t0, t1]

    @abstractmethod
    def _weigh(self, X: Array, treated: NDArray[np.bool_]) -> BalancingWeights:
        """Balance rows ``X`` (n, p), p maybe 0, both arms among them."""

    def _fit(self, X: Array, t: Treatments, y: Array) -> None:
        self._pairs: dict[tuple[int, int], BalancingWeights] = {}
        found = self.balance()
        self.weights_ = np.zeros(len(t))
        self.weights_[t <= 1] = found.weights
        self.effective_sample_size_ = found.effective_sample_size

    def _effect(self, X: Array, t0: int, t1: int) -> Array:
        return np.full(len(X), self._ate(X, t0, t1))

    def _ate(self, X: Array, t0: int, t1: int) -> float:
        if t0 == t1:
            return 0.0
        _, arms, y = self._rows()
        return self.balance(t0=t0, t1=t1).contrast(y[np.isin(arms, (t0, t1))])

    def _standard_error(self, X: Array | None, t0: int, t1: int, draws: int) -> float:
        if t0 == t1:
            return 0.0
        table, arms, y = self._rows()
        rows = np.isin(arms, (t0, t1))
        found = self.balance(t0=t0, t1=t1)
        return found.standard_error(standardise(table[rows]), y[rows])


class CInA(BalancingEstimator):
    """CInA on one data set, solved exactly: `solve_dual` on the kernel of the covariates.

    The work grows as N^3: a second or so at a thousand rows, minutes at ten thousand.

    Args:
        penalty: lambda. Smaller: better balance, by fewer rows; larger: more even weights, less
            balance. Columns are standardised, so the same value serves other units. 0.1 to 1 is a
            good range for a few hundred to a few thousand rows; `effective_sample_size_` and
            `BalancingWeights.imbalance` tell what was paid and got.
        kernel: what is balanced, see `gram_matrix`: "attention" (the paper's), "rbf", "linear"
            (means of the covariates alone).
        **options: as in `EffectEstimator`; nothing is drawn, so ``seed`` is not used.
    """

    def __init__(
        self,
        *,
        penalty: float = 0.3,
        kernel: Kernel = "attention",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.penalty = penalty
        self.kernel: Kernel = kernel

    def check_options(self) -> None:
        """Check the options.

        Raises:
            TypeError: one of a wrong type.
            ValueError: one out of range.
        """
        super().check_options()
        check_number("penalty", self.penalty, least=0.0, open_end=True)
        check_choice("kernel", self.kernel, KERNELS)

    def _weigh(self, X: Array, treated: NDArray[np.bool_]) -> BalancingWeights:
        found = solve_dual(
            gram_matrix(X, self.kernel), np.where(treated, 1.0, -1.0), self.penalty, tolerance=1e-8
        )
        weights = normalise(found.a, treated)
        return BalancingWeights(weights, treated, self.penalty, found.gap / len(treated))


class ZeroShotCInA(BalancingEstimator):
    """CInA without fitting: the weights that a trained `ZeroShotBalancer` reads off the rows.

    Args:
        checkpoint: file of `ZeroShotBalancer.save`; it must be given.
        device: of torch.
        **options: as in `EffectEstimator`; nothing is drawn, so ``seed`` is not used.
    """

    def __init__(
        self,
        *,
        checkpoint: str | PathLike[str] | None = None,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.checkpoint = checkpoint
        self.device = device

    def check_options(self) -> None:
        """Check the options; the file is read by `fit`.

        Raises:
            TypeError: one of a wrong type.
            ValueError: no checkpoint, or an option out of range.
        """
        super().check_options()
        check_device(self.device)
        if self.checkpoint is None:
            raise ValueError("checkpoint is None; it must be a file of ZeroShotBalancer.save")
        if not isinstance(self.checkpoint, str | PathLike):
            raise TypeError(f"checkpoint must be a path, not {self.checkpoint!r}")

    def _weigh(self, X: Array, treated: NDArray[np.bool_]) -> BalancingWeights:
        # Here, since torch is slow to import and the other estimator does without.
        import torch

        from causal_rl.effects.cina_zero_shot import ZeroShotBalancer, balancing_gap

        network = ZeroShotBalancer.load(str(self.checkpoint)).to(self.device)
        rows = standardise(X)
        if not rows.shape[1]:
            even = normalise(np.ones(len(rows)), treated)
            return BalancingWeights(even, treated, network.penalty, 0.0)
        table = torch.as_tensor(rows, dtype=torch.float32, device=self.device)[None]
        t = torch.as_tensor(treated, device=self.device)[None]
        with torch.no_grad():
            found = network(table, t)
            gap = float(balancing_gap(table, t, found, network.penalty))
        a = found[0].double().cpu().numpy()
        return BalancingWeights(normalise(a, treated), treated, network.penalty, gap)
