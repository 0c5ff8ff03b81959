"""Every agent's options by the agent's name, for the CLI, YAML files and run folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from causal_rl.agents.config import DEFAULT_AGENT, AgentName, TrainConfig, read_options
from causal_rl.agents.planning.config import PlannerConfig

CONFIG_FILE = "config.yaml"

AgentConfig = TrainConfig | PlannerConfig

AGENT_CONFIGS: dict[AgentName, type[TrainConfig] | type[PlannerConfig]] = {
    "actor-critic": TrainConfig,
    "planner": PlannerConfig,
}


def parse_options(values: Mapping[str, Any]) -> AgentConfig:
    """The options of the agent that ``values["agent"]`` names, of the actor-critic if nothing does.

    Args:
        values: options by name.

    Raises:
        ValueError: an unknown agent, an unknown option, or a value out of its range.
        TypeError: a value of the wrong type.
    """
    agent = values.get("agent", DEFAULT_AGENT)
    if agent not in tuple(AGENT_CONFIGS):
        raise ValueError(f"agent must be one of {', '.join(AGENT_CONFIGS)}, got {agent!r}")
    config = AGENT_CONFIGS[agent]
    for name, other in AGENT_CONFIGS.items():
        theirs = {item.name for item in fields(other)} - {item.name for item in fields(config)}
        if foreign := [key for key in values if key in theirs]:
            raise ValueError(
                f"unknown option {foreign[0]!r} of agent {agent}; it is one of agent {name}"
            )
    return config.from_dict(values)


def load_options(folder: Path) -> AgentConfig:
    """The options of the run in ``folder``, whichever agent's.

    Raises:
        ValueError: the folder holds no run.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{str(folder)!r} is no run folder: it has no {CONFIG_FILE}")
    return parse_options(read_options(path))
