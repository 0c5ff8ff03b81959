"""Distances and scores between a true graph and a guessed one.

A graph inside one step and a graph from t to t+1 are scored by different rules: in the first an
edge can be reversed and the diagonal is empty, in the second time orients every edge and the
diagonal (a variable's memory of itself) counts like any other entry. The functions ending in
``_lagged`` are for the second. All matrices are (n, n), [i, j] = 1 if i causes j.
"""

from __future__ import annotations

import gadjid
import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.graphs.acyclicity import is_dag
from causal_rl.graphs.adjacency import BoolMatrix, read_adjacency, read_matrix


def shd(truth: ArrayLike, guess: ArrayLike) -> int:
    """Structural Hamming distance: pairs of variables that are joined differently.

    A missing edge, an extra edge and a reversed edge count 1 each.

    Args:
        truth: (n, n) of 0 and 1, zero diagonal.
        guess: (n, n) of 0 and 1, zero diagonal; may be cyclic.

    Returns:
        The number of differing pairs, from 0 to n (n - 1) / 2.

    Raises:
        TypeError: entries are not numbers.
        ValueError: shapes differ, entries other than 0 and 1, or a nonzero diagonal.
    """
    a, b = _read_pair(truth, guess, diagonal=False)
    different = a != b
    return int(np.triu(different | different.T).sum())


def shd_lagged(truth: ArrayLike, guess: ArrayLike) -> int:
    """Hamming distance of two lagged graphs: differing entries among all n * n.

    Args:
        truth: (n, n) of 0 and 1.
        guess: (n, n) of 0 and 1.

    Returns:
        The number of differing entries.

    Raises:
        TypeError: entries are not numbers.
        ValueError: shapes differ, or entries other than 0 and 1.
    """
    a, b = _read_pair(truth, guess)
    return int((a != b).sum())


def sid(truth: ArrayLike, guess: ArrayLike) -> int | None:
    """Structural intervention distance (Peters and Bühlmann 2015), computed by ``gadjid``.

    It counts the ordered pairs (i, j) for which adjusting for the parents that i has in the guess
    gives a wrong effect of i on j.

    Args:
        truth: (n, n) of 0 and 1, a DAG.
        guess: (n, n) of 0 and 1, zero diagonal.

    Returns:
        The distance from 0 to n (n - 1), or None if the guess is cyclic: it is defined for DAGs.

    Raises:
        TypeError: entries are not numbers.
        ValueError: shapes differ, entries other than 0 and 1, a nonzero diagonal, or a cyclic
            truth.
    """
    a, b = _read_pair(truth, guess, diagonal=False)
    if not is_dag(a):
        raise ValueError("truth must be acyclic for the structural intervention distance")
    if not is_dag(b):
        return None
    return _sid_of_dags(a, b)


def sid_lagged(truth: ArrayLike, guess: ArrayLike) -> int:
    """Structural intervention distance of the bipartite graphs from step t to step t+1.

    The n variables at t and the n at t+1 are the 2n nodes, so the distance always exists.

    Args:
        truth: (n, n) of 0 and 1.
        guess: (n, n) of 0 and 1.

    Returns:
        The distance, from 0 to 2n (2n - 1).

    Raises:
        TypeError: entries are not numbers.
        ValueError: shapes differ, or entries other than 0 and 1.
    """
    a, b = _read_pair(truth, guess)
    # Two slices joined forwards only are acyclic, whatever the graphs.
    return _sid_of_dags(_two_slices(a), _two_slices(b))


def precision_recall(truth: ArrayLike, guess: ArrayLike) -> tuple[float, float]:
    """Precision and recall of directed edges, over all entries.

    Args:
        truth: (n, n) of 0 and 1.
        guess: (n, n) of 0 and 1.

    Returns:
        (precision, recall). Where one is 0/0 it is 1 if both graphs are empty and 0 otherwise, so
        that silence about a graph with edges is no merit.

    Raises:
        TypeError: entries are not numbers.
        ValueError: shapes differ, or entries other than 0 and 1.
    """
    a, b = _read_pair(truth, guess)
    return _ratio(a, b, b), _ratio(a, b, a)


def f1(truth: ArrayLike, guess: ArrayLike) -> float:
    """F1 of directed edges: 2 TP / (2 TP + FP + FN), and 1 if both graphs are empty.

    Args:
        truth: (n, n) of 0 and 1.
        guess: (n, n) of 0 and 1.

    Returns:
        A number in [0, 1].

    Raises:
        TypeError: entries are not numbers.
        ValueError: shapes differ, or entries other than 0 and 1.
    """
    return _f1(*_read_pair(truth, guess))


def skeleton_f1(truth: ArrayLike, guess: ArrayLike) -> float:
    """F1 of adjacencies, whatever their direction, within one step.

    Args:
        truth: (n, n) of 0 and 1, zero diagonal.
        guess: (n, n) of 0 and 1, zero diagonal.

    Returns:
        A number in [0, 1]; 1 if both graphs are empty.

    Raises:
        TypeError: entries are not numbers.
        ValueError: shapes differ, entries other than 0 and 1, or a nonzero diagonal.
    """
    a, b = _read_pair(truth, guess, diagonal=False)
    return _f1(np.triu(a | a.T), np.triu(b | b.T))


def auprc(truth: ArrayLike, scores: ArrayLike) -> float | None:
    """Area under the precision-recall curve, off the diagonal.

    It is the average precision: the precision at every distinct score, weighted by the recall
    gained there. Equal scores enter together, so their order cannot matter.

    Args:
        truth: (n, n) of 0 and 1.
        scores: (n, n) real, larger means surer of the edge.

    Returns:
        A number in (0, 1], or None if the truth has no edge, where recall does not exist.

    Raises:
        TypeError: entries are not numbers.
        ValueError: shapes differ, truth holds other than 0 and 1 or has a nonzero diagonal, or
            scores are not finite.
    """
    a = read_adjacency(truth, "truth")
    _refuse_diagonal(a, "truth")
    b = read_matrix(scores, "scores", n=len(a))
    off_diagonal = ~np.eye(len(a), dtype=bool)
    return _average_precision(a[off_diagonal], b[off_diagonal])


def auprc_lagged(truth: ArrayLike, scores: ArrayLike) -> float | None:
    """Area under the precision-recall curve over all n * n entries of a lagged graph.

    Args:
        truth: (n, n) of 0 and 1.
        scores: (n, n) real, larger means surer of the edge.

    Returns:
        A number in (0, 1], or None if the truth has no edge.

    Raises:
        TypeError: entries are not numbers.
        ValueError: shapes differ, truth holds other than 0 and 1, or scores are not finite.
    """
    a = read_adjacency(truth, "truth")
    b = read_matrix(scores, "scores", n=len(a))
    return _average_precision(a.ravel(), b.ravel())


def _sid_of_dags(truth: BoolMatrix, guess: BoolMatrix) -> int:
    if len(truth) == 1:
        return 0
    _, mistakes = gadjid.sid(
        truth.astype(np.int8), guess.astype(np.int8), edge_direction="from row to column"
    )
    return int(mistakes)


def _average_precision(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    if not truth.any():
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    precision = hits[ends] / (ends + 1)
    gained = np.diff(hits[ends], prepend=0)
    return float((precision * gained).sum() / hits[-1])


def _read_pair(
    truth: ArrayLike, guess: ArrayLike, *, diagonal: bool = True
) -> tuple[BoolMatrix, BoolMatrix]:
    a = read_adjacency(truth, "truth")
    b = read_adjacency(guess, "guess", n=len(a))
    if not diagonal:
        _refuse_diagonal(a, "truth")
        _refuse_diagonal(b, "guess")
    return a, b


def _refuse_diagonal(matrix: BoolMatrix, argument: str) -> None:
    if matrix.diagonal().any():
        i = int(np.flatnonzero(matrix.diagonal())[0])
        raise ValueError(
            f"{argument} must have a zero diagonal within one step, got an edge at [{i}, {i}]; "
            "for lagged graphs use the functions ending in _lagged"
        )


def _ratio(a: BoolMatrix, b: BoolMatrix, whole: BoolMatrix) -> float:
    if not whole.any():
        return float(not (a | b).any())
    return float((a & b).sum() / whole.sum())


def _f1(a: BoolMatrix, b: BoolMatrix) -> float:
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else float(2 * (a & b).sum() / total)


def _two_slices(lagged: BoolMatrix) -> BoolMatrix:
    n = len(lagged)
    graph = np.zeros((2 * n, 2 * n), dtype=bool)
    graph[:n, n:] = lagged
    return graph
