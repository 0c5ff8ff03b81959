"""Which words the label of a text is read from, by statistics of training texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, ndtri, softmax

from causal_rl.downstream.text_tokens import OTHER, ROLES, TextRows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Array = NDArray[np.float64]
_ITERATIONS = 150


@dataclass(frozen=True)
class WordRegression:
    """Multinomial logistic regression of the label on the presence of words, under an L1 penalty.

    Attributes:
        weights: float64 ``(words * roles, classes)``, most of them 0.
        offset: float64 ``(classes,)``.
        n_words: numbers of words.
    """

    weights: Array
    offset: Array
    n_words: int

    def logits(self, rows: TextRows) -> Array:
        """Log probabilities ``(N, classes)`` of texts."""
        scores = presence(rows, self.n_words) @ self.weights + self.offset
        return np.asarray(log_softmax(scores, axis=1))

    def edges(self) -> NDArray[np.bool_]:
        """``(words, roles)``, true where the word in that role has a weight."""
        used = (self.weights != 0).any(axis=1)
        return np.asarray(used.reshape(self.n_words, len(ROLES)))


def presence(rows: TextRows, n_words: int) -> csr_array:
    """A sparse ``(N, words * roles)`` table of 0 and 1: which word is in which role."""
    from scipy.sparse import csr_array

    texts, places = np.nonzero(rows.words > OTHER)
    feature = rows.words[texts, places] * len(ROLES) + rows.roles[texts, places]
    cells = np.unique(np.stack([texts, feature]), axis=1)
    shape = (len(rows), n_words * len(ROLES))
    return csr_array((np.ones(cells.shape[1]), (cells[0], cells[1])), shape=shape)


def fit_words(
    rows: TextRows,
    held_out: TextRows,
    n_words: int,
    strengths: Sequence[float] = (4e-3, 2e-3, 1e-3),
) -> WordRegression:
    """Fit by accelerated proximal gradient (FISTA) from strong penalties to weak.

    A word with a weight is one that helps to tell the label when all others are known: in a
    log-linear model the words with weights are the label's Markov boundary, and a word that merely
    goes with one of them has none.

    Args:
        rows: of the training.
        held_out: texts, also of the training, that choose the strength by accuracy.
        n_words: numbers of words, with the two that are none.
        strengths: of the penalty.

    Raises:
        ValueError: no strengths.
    """
    if not strengths:
        raise ValueError("strengths is empty; it must hold at least one")
    X = presence(rows, n_words)
    classes = int(max(rows.labels.max(), held_out.labels.max())) + 1
    Y = np.eye(classes)[rows.labels]
    # The loss has curvature of at most half the largest eigenvalue of X'X / N, with the constant.
    step = 2.0 / (_largest_eigenvalue(X) / len(rows) + 1.0)
    W, b = np.zeros((X.shape[1], classes)), np.log(Y.mean(axis=0) + 1e-9)
    found: list[tuple[float, WordRegression]] = []
    for strength in sorted(strengths, reverse=True):
        ahead, ahead_b, momentum = W, b, 1.0
        for _ in range(_ITERATIONS):
            residual = (softmax(X @ ahead + ahead_b, axis=1) - Y) / len(rows)
            moved = ahead - step * (X.T @ residual)
            next_W = np.sign(moved) * np.maximum(np.abs(moved) - step * strength, 0.0)
            next_b = ahead_b - step * residual.sum(axis=0)
            next_momentum = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            share = (momentum - 1) / next_momentum
            ahead, ahead_b = next_W + share * (next_W - W), next_b + share * (next_b - b)
            W, b, momentum = next_W, next_b, next_momentum
        model = WordRegression(W, b, n_words)
        right = float((model.logits(held_out).argmax(axis=1) == held_out.labels).mean())
        found.append((right, model))
    return max(found, key=lambda pair: pair[0])[1]


def _largest_eigenvalue(X: csr_array) -> float:
    v = np.ones(X.shape[1]) / np.sqrt(X.shape[1])
    size = 1.0
    for _ in range(30):
        v = X.T @ (X @ v)
        size = float(np.linalg.norm(v))
        v = v / max(size, 1e-12)
    return 1.05 * size


def associated_words(rows: TextRows, n_words: int, *, level: float = 0.01) -> NDArray[np.bool_]:
    """``(words, roles)``, true where a word is associated with the label, other words unheeded.

    Two-sided tests of one class's share among the texts with the word against its share among the
    others, Bonferroni over classes alone: what an unadjusted correlation graph would say.

    Args:
        rows: of the training.
        n_words: numbers of words.
        level: of the tests, in (0, 1).
    """
    X = presence(rows, n_words)
    n, classes = len(rows), int(rows.labels.max()) + 1
    share = np.eye(classes)[rows.labels].mean(axis=0)
    there = np.asarray(X.sum(axis=0))[:, None]
    with_word = np.asarray(X.T @ np.eye(classes)[rows.labels])
    variance = there * share * (1 - share) * (n - there) / n
    z = np.abs(with_word - there * share) / np.sqrt(np.maximum(variance, 1e-12))
    found = ((z > -ndtri(level / (2 * classes))) & (there >= 2)).any(axis=1)
    return np.asarray(found.reshape(n_words, len(ROLES)))
