"""Which variables' tokens are computed: the readout of an encoder as an index."""

from __future__ import annotations

import torch
from torch import Tensor


def readout_index(readout: Tensor | None, n: int) -> Tensor | None:
    """Return a readout as distinct indices.

    Args:
        readout: bool (n,), or integers (k,); None stands for all.
        n: number of variables.

    Returns:
        int64 (k,) in the order of ``readout``; None for all.

    Raises:
        TypeError: no tensor, or one of floats.
        ValueError: another shape, no variable, one twice, or one outside [0, n).
    """
    if readout is None:
        return None
    allowed = f"bool ({n},) or distinct integers (k,) in [0, {n})"
    if not isinstance(readout, Tensor):
        raise TypeError(f"readout: {type(readout).__name__}; allowed: a tensor, {allowed}")
    if readout.is_floating_point() or readout.is_complex():
        raise TypeError(f"readout: dtype {readout.dtype}; allowed: {allowed}")
    if readout.ndim != 1 or (readout.dtype == torch.bool and len(readout) != n):
        raise ValueError(f"readout: shape {tuple(readout.shape)}; allowed: {allowed}")
    index = readout.nonzero().squeeze(1) if readout.dtype == torch.bool else readout.long()
    if len(index) == 0:
        raise ValueError(f"readout: selects no variable; allowed: {allowed}")
    if len(set(index.tolist())) < len(index) or int(index.min()) < 0 or int(index.max()) >= n:
        raise ValueError(f"readout: {index.tolist()}; allowed: {allowed}")
    return index


def cut_graph(graph: Tensor, index: Tensor | None) -> Tensor:
    """Return the graph between some of its variables.

    Args:
        graph: (..., n, n).
        index: int64 (k,), distinct; None for all.

    Returns:
        (..., k, k), in the order of ``index``.
    """
    if index is None:
        return graph
    on = index.to(graph.device)
    return graph.index_select(-1, on).index_select(-2, on)
