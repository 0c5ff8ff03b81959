"""Peers' methods under our interface: thin adapters around their own packages.

All come with the extra ``discovery`` and are imported where they are used. They are given
``next_state`` of all rows pooled (with the reward as one more column where it is a node), do-rows
included, except GIES, which is told what was set. They know no lags: the lagged block stays empty.
Edges that the kinds forbid are dropped, or turned where an equivalence class allows it. Options are
the peers' own, with their defaults, unless a docstring says otherwise.
"""

EXTRA = "discovery"

__all__ = ["EXTRA"]
