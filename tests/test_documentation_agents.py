"""Every agent that a user can choose has its page, which says what the code says."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, get_args

import click
import pytest

import causal_rl.agents.algorithm5
from causal_rl.agents import AGENT_CONFIGS, Algorithm5, PlannerConfig, TrainConfig
from causal_rl.agents.config import (
    SB3_ALGORITHMS,
    TIANSHOU_ALGORITHMS,
    AlgoName,
    EncoderName,
    PolicyUpdateName,
)
from causal_rl.agents.transfer.command import act_zero_shot_command, train_family_command
from causal_rl.envs import resolve_spec
from tests.documentation_pages import (
    ROOT,
    SECTIONS,
    figures_without_source,
    load_script,
    option_defaults,
    sections,
)

FOLDER = ROOT / "docs" / "agents"
#: What ``--agent``, ``--algo`` and ``--policy-update`` offer; "own" is the actor-critic's loop.
CHOICES = sorted({*AGENT_CONFIGS, *get_args(AlgoName), *get_args(PolicyUpdateName)} - {"own"})
#: Variants that other options or commands choose, and the overview of the encoders.
OTHERS = ["encoders", "fixed-graph", "zero-shot"]
AGENTS = sorted([*CHOICES, *OTHERS])

fill_pages = load_script("fill_pages")


class _Watched:
    """Options that remember which of them were read."""

    def __init__(self, config: TrainConfig, read: set[str]) -> None:
        self._config, self._read = config, read

    def __getattr__(self, name: str) -> Any:
        self._read.add(name)
        return getattr(self._config, name)


def _page(name: str) -> Path:
    return FOLDER / f"{name}.md"


def test_every_agent_has_a_page_and_every_page_an_agent() -> None:
    assert sorted(page.stem for page in FOLDER.glob("*.md")) == AGENTS


@pytest.mark.parametrize("name", AGENTS)
def test_the_page_has_its_sections_and_a_block(name: str) -> None:
    found = sections(_page(name))
    encoders = get_args(EncoderName) if name == "encoders" else ()
    assert set(found) == {"", *SECTIONS, *encoders}
    assert [heading for heading in found if heading in SECTIONS] == SECTIONS
    assert re.search(r"^```python\n(?:.*\n)*?.*print\((?:.*\n)*?```", found[""], re.MULTILINE)
    for heading, text in found.items():
        assert len(text.split()) > 5, heading


@pytest.mark.parametrize("name", AGENTS)
def test_tables_and_figures_are_those_of_code_and_results(name: str) -> None:
    page = _page(name)
    text = page.read_text(encoding="utf-8")
    assert fill_pages.filled(page) == text, "run: python scripts/fill_pages.py"
    assert re.findall(r"<!-- table: ([a-z]+) -->\n\|", text) == ["options"]
    assert not figures_without_source(page)


@pytest.mark.parametrize("name", AGENTS)
def test_the_table_of_options_is_that_of_the_code(name: str) -> None:
    found = option_defaults(_page(name))
    if name == "zero-shot":
        assert list(found) == [
            f"{command.name} {option.opts[0]}"
            for command in (train_family_command, act_zero_shot_command)
            for option in command.params
            if isinstance(option, click.Option | click.Argument)
        ]
        return
    config = PlannerConfig if name == "planner" else TrainConfig
    known = {
        f.name: "none" if f.default == () else str(f.default) for f in dataclasses.fields(config)
    }
    if name in AGENT_CONFIGS:
        assert found == known
    assert found.items() <= known.items()


@pytest.mark.parametrize("name", get_args(PolicyUpdateName))
def test_an_update_reads_what_its_page_lists(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()
    update = getattr(causal_rl.agents.algorithm5, f"{name}_update")

    def watched(*arguments: Any) -> dict[str, float]:
        given = [_Watched(a, read) if isinstance(a, TrainConfig) else a for a in arguments]
        figures: dict[str, float] = update(*given)
        return figures

    monkeypatch.setattr(causal_rl.agents.algorithm5, f"{name}_update", watched)
    config = TrainConfig(
        policy_update=name, steps=120, warmup_steps=40, num_envs=2, explore_envs=1, epochs=1
    )  # fmt: skip
    Algorithm5(resolve_spec("chain-scm"), config).learn(
        lambda current: current.progress.iteration < 1
    )
    assert read == option_defaults(_page(name)).keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SB3_ALGORITHMS))
def test_sb3_reads_what_its_page_lists(name: str) -> None:
    pytest.importorskip("stable_baselines3")
    import torch

    from causal_rl.agents.sb3.training import make_sb3_env, make_sb3_model

    read: set[str] = set()
    config: Any = _Watched(TrainConfig(), read)
    algo = SB3_ALGORITHMS[name]
    env = make_sb3_env(config, algo, resolve_spec("chain-scm"))
    make_sb3_model(config, algo, env, None, device=torch.device("cpu"))
    # The world's copies and the graph come from the run around them.
    assert read | {"graph", "num_envs"} == option_defaults(_page(name)).keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TIANSHOU_ALGORITHMS))
def test_tianshou_reads_what_its_page_lists(name: str) -> None:
    pytest.importorskip("tianshou")
    from causal_rl.agents.tianshou.networks import make_ppo, make_sac

    read: set[str] = set()
    config: Any = _Watched(TrainConfig(), read)
    make = make_ppo if name == "tianshou-ppo" else make_sac
    make(resolve_spec("chain-scm"), config, updates=3)
    collectors = {"graph", "num_envs", "rollout_steps", "minibatch_size"}
    collectors |= {"epochs"} if name == "tianshou-ppo" else {"store_size"}
    assert (read - {"device"}) | collectors == option_defaults(_page(name)).keys()
