"""ABCD (Rohekar et al. 2023): from the attention of a transformer to a partial ancestral graph.

The paper takes the last layer's attention A for (I - G)^-1 Lambda of a linear model over the tokens
of one sequence, so that A A^T is their covariance, and runs a search for a PAG on its partial
correlations. `attention_covariance` has that reading, "printed", and another, "mended".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery.batch import BatchLearner, BoolMatrix, Found, Rows
from causal_rl.discovery.independence import FisherZ, OneSide
from causal_rl.discovery.pag import fci_of_covariance
from causal_rl.discovery.pag_rules import circles_on
from causal_rl.discovery.sequence_model import ModelOptions, RowModel, train_rows
from causal_rl.discovery.side_correlations import side_of_covariance
from causal_rl.discovery.skeleton import find_skeleton
from causal_rl.graphs import PartialGraph
from causal_rl.options import check_choice, check_integer, check_number

Array = NDArray[np.float64]
ReadAs = Literal["printed", "mended"]
READINGS: tuple[ReadAs, ...] = ("printed", "mended")

# The largest eigenvalue of the weights that are taken for a regression of all on all: at 1 the
# variables would determine each other.
_LARGEST = 0.95


def attention_covariance(attention: ArrayLike, read_as: ReadAs = "mended") -> Array:
    """The covariance of tokens that their attention is taken to mean.

    "printed": ``A A^T`` of the mean A over heads, averaged over sequences. Two tokens correlate
    where they look at the same tokens, a pair that look at each other need not.

    "mended": a row of A is what a model trained to predict a token draws on, so it stands for a
    regression of that token on the others, and not for its covariance. What exceeds the
    uniform share 1/n, in the head where it does most and averaged over sequences and both
    directions, are the weights W; the tokens' precision matrix is I - W, and the covariance its
    inverse. (W is scaled down where it would not be invertible.)

    Args:
        attention: (n, n), (heads, n, n) or (sequences, heads, n, n), as [query, key], rows of
            sum 1.
        read_as: one of `READINGS`.

    Returns:
        (n, n) symmetric, positive semidefinite.

    Raises:
        TypeError: not numbers.
        ValueError: another shape, entries that are negative or not finite, rows that do not sum
            to 1, or an unknown reading.
    """
    check_choice("read_as", read_as, READINGS)
    weights = _read_attention(attention)
    n = weights.shape[-1]
    if read_as == "printed":
        mean = weights.mean(axis=1)
        products = mean @ mean.transpose(0, 2, 1)
        # As correlations, which are what is tested: else sequences of sharp attention count more.
        scale = np.sqrt(np.diagonal(products, axis1=1, axis2=2))
        return np.asarray((products / (scale[:, :, None] * scale[:, None, :])).mean(axis=0))
    excess = np.maximum(weights - 1.0 / n, 0.0).mean(axis=0).max(axis=0)
    np.fill_diagonal(excess, 0.0)
    regression = (excess + excess.T) / 2.0
    largest = float(np.linalg.eigvalsh(regression)[-1])
    if largest > _LARGEST:
        regression *= _LARGEST / largest
    return np.asarray(np.linalg.inv(np.eye(n) - regression))


def abcd(
    attention: ArrayLike,
    rows: float,
    *,
    read_as: ReadAs = "mended",
    alpha: float = 0.05,
    names: Iterable[str] | None = None,
    kinds: Iterable[str] | None = None,
    possible: BoolMatrix | None = None,
    max_conditioning: int | None = None,
) -> PartialGraph:
    """The PAG over the tokens of a sequence.

    "printed" has FCI's arrowheads. "mended" has a skeleton alone, with a circle at every end:
    weights of attention have no sign, so by them two tokens are never made dependent by a third
    that is given, which is what an arrowhead is learned from. (What tests on few rows would take
    for one are links too weak to be seen.)

    Args:
        attention: see `attention_covariance`.
        rows: independent rows that the correlations are taken to rest on. The paper leaves it open
            and its authors' code asks for the features of a token; a model's "mended"
            regression rests on the sequences that it was trained on.
        read_as: one of `READINGS`.
        alpha: level of Fisher's z.
        names: n distinct names; X1 to Xn if None.
        kinds: n kinds; all "state" if None.
        possible: (n, n) bool, symmetric, pairs that may be adjacent; all if None.
        max_conditioning: largest conditioning set; no bound if None.

    Returns:
        The graph.

    Raises:
        TypeError: not numbers.
        ValueError: as `attention_covariance`, or rows or alpha out of range.
    """
    covariance = attention_covariance(attention, read_as)
    if read_as == "printed":
        return fci_of_covariance(
            covariance,
            rows,
            alpha=alpha,
            names=names,
            kinds=kinds,
            possible=possible,
            max_conditioning=max_conditioning,
        )
    check_number("alpha", alpha, least=0.0, below=1.0, open_end=True)
    found = find_skeleton(
        FisherZ(OneSide(side_of_covariance(covariance, rows))),
        alpha,
        possible=possible,
        max_conditioning=max_conditioning,
    )
    return PartialGraph(circles_on(found.adjacency), names, kinds)


class AbcdLearner(BatchLearner):
    """ABCD on a table: train a transformer over the variables of a row, then read its attention.

    ``equivalence_class_`` is the PAG and ``graph_`` a DAG of it by `PartialGraph.forced_dag`.
    The model learns to predict variables hidden at random from the others. "printed" reads it with
    nothing hidden and takes the correlations to rest on ``embed_dim`` rows; "mended" reads the
    row of each variable with that variable hidden, as in training, and takes them to rest on the
    rows of the table. On tables, methods that look at the data themselves are better and faster:
    see the page on ABCD.

    Args:
        read_as: "mended", or "printed" as the paper has it; see `attention_covariance`.
        alpha: level of the tests.
        max_conditioning: largest conditioning set; no bound if None.
        rows_read: rows of the table whose attention is averaged, the first ones; the paper has 1.
        embed_dim: features of a token.
        num_layers: blocks of the transformer; the last one is read.
        num_heads: heads; divides ``embed_dim``.
        steps: updates of the weights; 0 reads an untrained model, a control.
        seed: of the training.
        reward_node: add the reward as the last node.

    Attributes:
        model_: the transformer, over the columns that vary, standardised; None before the first
            data.
        attention_: (rows_read, heads, m, m) what was read; or None.
    """

    name: ClassVar[str] = "abcd"
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden"})
    most_variables: ClassVar[int] = 60

    def __init__(
        self,
        *,
        read_as: ReadAs = "mended",
        alpha: float = 0.05,
        max_conditioning: int | None = None,
        rows_read: int = 256,
        embed_dim: int = 32,
        num_layers: int = 2,
        num_heads: int = 2,
        steps: int = 400,
        seed: int = 0,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.read_as = read_as
        self.alpha = alpha
        self.max_conditioning = max_conditioning
        self.rows_read = rows_read
        self.embed_dim = embed_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.steps = steps
        self.seed = seed
        self.model_: RowModel | None = None
        self.attention_: Array | None = None

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        check_choice("read_as", self.read_as, READINGS)
        check_number("alpha", self.alpha, least=0.0, below=1.0, open_end=True)
        if self.max_conditioning is not None:
            check_integer("max_conditioning", self.max_conditioning, least=0)
        check_integer("rows_read", self.rows_read, least=1)
        self._model_options().check()

    def _model_options(self) -> ModelOptions:
        return ModelOptions(
            embed_dim=self.embed_dim,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            steps=self.steps,
            seed=self.seed,
        )

    def reset(self) -> None:
        """Forget everything learned; options stay."""
        super().reset()
        self.model_ = None
        self.attention_ = None

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        self.model_ = train_rows(rows.current, self._model_options())
        tokens = torch.from_numpy(rows.current[: self.rows_read].astype(np.float32))
        printed = self.read_as == "printed"
        read = self.model_.read(tokens) if printed else self.model_.read_hidden(tokens)
        self.attention_ = read.numpy().astype(np.float64)
        if not np.isfinite(self.attention_).all():
            raise RuntimeError("abcd did not converge: its attention is not finite")
        count = self.embed_dim if printed else len(rows.current)
        found = abcd(
            self.attention_,
            count,
            read_as=self.read_as,
            alpha=self.alpha,
            possible=within | within.T,
            max_conditioning=self.max_conditioning,
        )
        return Found(marks=found.marks.copy())


def _read_attention(value: ArrayLike) -> Array:
    """Attention as (sequences, heads, n, n) float64, checked."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"attention must hold real numbers, got dtype {array.dtype}")
    if array.ndim not in (2, 3, 4) or 0 in array.shape or array.shape[-1] != array.shape[-2]:
        raise ValueError(
            f"attention has shape {array.shape}; it must be (n, n), (heads, n, n) or "
            "(sequences, heads, n, n)"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError("attention must be finite and not negative")
    off = float(np.abs(array.sum(axis=-1) - 1.0).max())
    if not math.isfinite(off) or off > 1e-3:
        raise ValueError(f"attention must have rows that sum to 1; one is off by {off:.3g}")
    sequences = len(array) if array.ndim == 4 else 1
    return array.reshape((sequences, -1, *array.shape[-2:]))
