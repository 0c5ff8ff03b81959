"""Damaged files and nonsense at every reader: a documented error, or a value that holds."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causal_rl.agents import TrainConfig, parse_options
from causal_rl.agents.config import read_options
from causal_rl.discovery import Transitions
from causal_rl.discovery.table_file import read_table_file
from causal_rl.files import read_torch
from causal_rl.graphs import CausalGraph, PartialGraph

quick = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.integers() | st.floats()
    | st.text(max_size=4) | st.sampled_from(["state", "reward", "X1", "X2", "causal_rl.graph"])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=8,
)


def _tried(read: Callable[..., Any], *arguments: Any) -> tuple[Any, str | None]:
    """What was read, or the message of one of the errors that readers document."""
    try:
        return read(*arguments), None
    except (TypeError, ValueError) as error:
        return None, str(error)


def _valid() -> dict[str, Any]:
    graph = CausalGraph(
        [[0, 1, 0], [0, 0, 1], [0, 0, 0]],
        lagged=np.eye(3),
        kinds=("state", "state", "reward"),
        contemporaneous_confidence=np.full((3, 3), 0.5),
    )
    return json.loads(json.dumps(graph.to_dict()))


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A graph's mapping in which some entries, at any depth, are others, more or gone."""
    data: Any = _valid()
    for _ in range(draw(st.integers(1, 3))):
        place = data
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            change = draw(st.sampled_from(["replace", "drop", "add"]))
            if change == "replace":
                place[key] = draw(values)
            elif change == "drop":
                del place[key]
            elif isinstance(place, dict):
                place[draw(st.text(max_size=4))] = draw(values)
            else:
                place.insert(key, draw(values))
            break
    return data


def _is_graph(graph: CausalGraph) -> None:
    assert CausalGraph.from_dict(graph.to_dict()) == graph
    assert graph.allow_cycles or graph.is_acyclic
    assert not np.isnan(graph.contemporaneous.astype(float)).any()


@quick
@given(data=damaged() | values)
def test_graph_of_a_damaged_mapping(data: Any) -> None:
    graph, refused = _tried(CausalGraph.from_dict, data)
    if refused is None:
        _is_graph(graph)


@quick
@given(
    data=damaged(), cut=st.integers(0, 900), noise=st.binary(max_size=8), place=st.integers(0, 900)
)
def test_graph_file_cut_or_overwritten(
    data: Any, cut: int, noise: bytes, place: int, tmp_path: Path
) -> None:
    text = json.dumps(data).encode()
    for content in (text, text[:cut], text[:place] + noise + text[place + len(noise) :], noise):
        path = tmp_path / "graph.json"
        path.write_bytes(content)
        for kind in (CausalGraph, PartialGraph):
            _, refused = _tried(kind.load, path)
            assert refused is None or "graph.json" in refused


@quick
@given(text=st.text(alphabet='digraph{}->;[]"ab =01.label\n', max_size=60) | st.text(max_size=30))
def test_dot_of_any_text(text: str) -> None:
    graph, refused = _tried(CausalGraph.from_dot, text)
    if refused is None:
        _is_graph(graph)


options = st.dictionaries(
    st.sampled_from([*TrainConfig(env="chain-scm").to_dict(), "agent", "no-such-option"])
    | st.text(max_size=5),
    values,
    max_size=4,
)


@quick
@given(given_options=options)
def test_options_of_any_mapping(given_options: dict[str, Any]) -> None:
    config, refused = _tried(parse_options, {"env": "chain-scm", **given_options})
    if refused is None:
        assert parse_options({"agent": config.agent, **config.to_dict()}) == config
    else:
        assert "\n" not in refused


@quick
@given(content=st.binary(max_size=40) | options.map(lambda o: yaml.safe_dump(o).encode()))
def test_yaml_of_any_bytes(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    found, refused = _tried(read_options, path)
    assert isinstance(found, dict) if refused is None else "config.yaml" in refused


cells = st.sampled_from(["1", "-2.5", "", "nan", "inf", "a", "b", '"x"', "1e999", "é", "\x00", " "])
tables = st.lists(st.lists(cells, min_size=1, max_size=4), min_size=1, max_size=6).map(
    lambda rows: "\n".join(",".join(row) for row in rows).encode()
)


@quick
@given(
    content=tables | st.binary(max_size=60) | st.text(string.printable, max_size=60).map(str.encode)
)
def test_table_of_any_bytes(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    table, refused = _tried(read_table_file, path)
    assert np.isfinite(table.values).all() if refused is None else "\n" not in refused


@quick
@given(
    cut=st.integers(0, 3000), place=st.integers(0, 3000), noise=st.binary(min_size=1, max_size=8)
)
def test_transitions_of_a_damaged_file(cut: int, place: int, noise: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = Transitions(state=rng.normal(size=(30, 2)), next_state=rng.normal(size=(30, 2)))
    path = tmp_path / "rows.npz"
    rows.save(path)
    content = path.read_bytes()
    for damage in (content[:cut], content[:place] + noise + content[place + len(noise) :], noise):
        path.write_bytes(damage)
        found, refused = _tried(Transitions.load, path)
        assert refused is not None or np.isfinite(found.state).all()


@pytest.mark.parametrize("change", ["names", "kinds", "next_state", "more"])
def test_transitions_of_other_arrays(change: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    Transitions(state=np.zeros((3, 2)), next_state=np.zeros((3, 2))).save(path)
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files if key != change}
    if change == "more":
        arrays["more"] = np.zeros(3)
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"rows\.npz"):
        Transitions.load(path)


@quick
@given(content=st.binary(max_size=200))
def test_checkpoint_of_any_bytes(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(OSError, match="archive"):
        read_torch(path)
