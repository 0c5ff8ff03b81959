"""Noticing which mechanism of the world changed, and relearning that one alone."""

from __future__ import annotations

from causal_rl.agents.adaptation.mechanism_watch import Alarm, MechanismModel, MechanismWatch
from causal_rl.agents.adaptation.repair import MechanismRepair, RepairableModel, RepairRecord

__all__ = [
    "Alarm",
    "MechanismModel",
    "MechanismRepair",
    "MechanismWatch",
    "RepairRecord",
    "RepairableModel",
]
