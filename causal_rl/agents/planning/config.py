"""The options of the planning agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from causal_rl.agents.config import AgentName, RunOptions, _option

ExplorationName = Literal["random", "information"]


@dataclass(frozen=True)
class PlannerConfig(RunOptions):
    """Options of the planning agent on one world; every field is a CLI option and a YAML key.

    Raises:
        ValueError: a value is outside its allowed set or range.
        TypeError: a value has the wrong type.
    """

    agent: ClassVar[AgentName] = "planner"

    steps: int = _option(5_000, "Environment steps in all, exploration included.", low=1)
    num_envs: int = _option(4, "Environments that are stepped together [envs].", low=1)
    learner: str = _option(
        "interventional", "Graph learner: interventional, algorithm5 or another registered one."
    )
    exploration: ExplorationName = _option(
        "random", "Which interventions explore: random, or those expected to inform most."
    )
    explore_steps: int = _option(32, "First steps, which all explore [steps].", low=1)
    epsilon_end: float = _option(0.05, "Share of exploring steps in the end.", low=0.0, high=1.0)
    epsilon_steps: int = _option(
        500, "Steps over which the share falls from 1, linearly [steps].", low=1
    )
    refit_every: int = _option(256, "Steps between two refits of the mechanisms [steps].", low=1)
    horizon: int = _option(0, "Steps to look ahead; 0 lets the model choose [steps].", low=0)
    samples: int = _option(64, "Noise samples a step looked ahead, a power of two.", low=1)
    rows_kept: int = _option(
        4_096, "Latest transitions for residuals, reward and bagging [transitions].", low=16
    )
    store_size: int = _option(50_000, "Transitions kept (the latest) [transitions].", low=64)
    final_episodes: int = _option(64, "Episodes of each evaluation [episodes].", low=1)
    checkpoint_every: int = _option(
        8, "Pieces of 32 steps between two checkpoints [pieces].", low=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples & (self.samples - 1):
            raise ValueError(f"samples must be a power of two, got {self.samples}")
