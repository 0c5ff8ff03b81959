"""Protein signalling in single cells (Sachs et al. 2005), with the conditions of each cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.datasets.locate import DataFile, locate

_SOURCE = "https://raw.githubusercontent.com/cmu-phil/example-causal-datasets/main/real/sachs"
_TABLE = DataFile(
    "sachs/sachs.2005.continuous.txt",
    "a488589b0f021b2a261ff2c696a908c6823051b0d98693e0fa0e78bb12097063",
    f"{_SOURCE}/data/sachs.2005.continuous.txt",
)
_CONDITIONS = DataFile(
    "sachs/sachs.2005.with.jittered.experimental.continuous.txt",
    "f02ea69c335519ba59f442f47ff5d5130b60a63edec9ffb88f179c48f951e293",
)
PROTEINS = ("raf", "mek", "plc", "pip2", "pip3", "erk", "akt", "pka", "pkc", "p38", "jnk")
#: The consensus network that comes with the table.
_EDGES = (
    "erk akt, mek erk, pip2 pkc, pip3 akt, pip3 pip2, pip3 plc, pka akt, pka erk, pka jnk, "
    "pka mek, pka p38, pka raf, pkc jnk, pkc mek, pkc p38, pkc pka, pkc raf, plc pip2, plc pkc, "
    "raf mek"
)
#: Protein that each reagent acts on; the general stimuli act on none of the eleven.
_TARGETS = {
    "aktinhib": "akt",
    "g0076": "pkc",
    "psitect": "pip2",
    "u0126": "mek",
    "ly": "akt",
    "pma": "pkc",
    "b2camp": "pka",
}


@dataclass(frozen=True)
class SachsData:
    """The table and its consensus graph.

    Attributes:
        values: ``(7466, 11)`` abundances, positive, arbitrary units.
        names: the eleven proteins.
        do_target: ``(7466, 11)`` true where a reagent acts on a protein, or None without
            conditions. LY294002 acts upstream of Akt and is counted as acting on it, as is usual.
        adjacency: ``(11, 11)`` bool, the consensus graph of 20 edges, [i, j] true if i causes j.
    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    do_target: NDArray[np.bool_] | None
    adjacency: NDArray[np.bool_]


def load_sachs(*, conditions: bool = False) -> SachsData:
    """Load the table.

    Args:
        conditions: also which protein the reagent of each cell acts on. That file has no public
            address that could be checked; it must be below the folder that ``CAUSAL_RL_DATA``
            names, or in the cache.

    Raises:
        DataUnavailableError: a file is not at hand and cannot be fetched.
        ValueError: a file is not the published one.
    """
    path = locate(_CONDITIONS if conditions else _TABLE)
    with path.open(encoding="ascii") as stream:
        header = stream.readline().split()
        table = np.loadtxt(stream)
    columns = [header.index(name) for name in PROTEINS]
    do_target = None
    if conditions:
        do_target = np.zeros((len(table), len(PROTEINS)), dtype=bool)
        for reagent, protein in _TARGETS.items():
            # The conditions are zeros and ones with small noise on them.
            do_target[:, PROTEINS.index(protein)] |= table[:, header.index(reagent)] > 0.5
    return SachsData(table[:, columns], PROTEINS, do_target, _consensus())


def _consensus() -> NDArray[np.bool_]:
    adjacency = np.zeros((len(PROTEINS),) * 2, dtype=bool)
    for edge in _EDGES.split(", "):
        cause, effect = edge.split()
        adjacency[PROTEINS.index(cause), PROTEINS.index(effect)] = True
    return adjacency
