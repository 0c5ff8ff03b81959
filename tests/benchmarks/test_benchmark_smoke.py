"""Every benchmark end to end on its smoke slice, and what its cells measure."""

from __future__ import annotations

import csv
import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from causal_rl.benchmarks import find_benchmark, list_benchmarks, run_benchmark
from causal_rl.benchmarks.attention import BASE, LABELS, PASSES, SMOKE_SHAPES
from causal_rl.benchmarks.graph_recovery import run
from causal_rl.benchmarks.learners import METHODS
from causal_rl.benchmarks.recordings import record, score
from causal_rl.benchmarks.world_recovery import SMOKE_WORLDS
from causal_rl.datasets import DataUnavailableError, load_clutrr
from causal_rl.envs import resolve_spec
from causal_rl.errors import MissingExtraError

PICTURES = {
    "table1": {"shd.png"},
    "known-interventions": {"rows.png", "scaling.png"},
    "agents": {"returns.png", "sample_efficiency.png", "profiles.png", "shifts.png"},
    "encoders": {"encoders.png"},
    "counterfactual-data": {"learning_curves.png"},
    "agent-chain": {"learning_curves.png", "control.png"},
    "graph-recovery": {"recovery.png", "rows.png"},
    "agent-proxy": {"shifts.png"},
    "attention": {"cost.png"},
    "ecam-overhead": {"overhead.png"},
    "env-speed": {"speed.png"},
    "train-speed": {"train_speed.png"},
    "theorem-4": {"error.png"},
    "theorem-5": {"rows.png"},
    "theorem-6": {"gradients.png"},
    "theorem-7": {"consistency.png"},
    "bridges": {"returns.png"},
    "world-recovery": {"recovery.png"},
    "world-returns": {"returns.png"},
    "unseen-graphs": {"unseen.png"},
    "planner-chain": {"returns.png"},
    "mechanism-shift": {"delays.png"},
    "amortised": {"shd.png"},
    "abcd": {"skeletons.png", "graphs.png"},
    "cleann": {"explanations.png"},
    "cina": {"families.png", "penalty.png"},
    "figure2": {"figure2.png"},
    "table2-right": {"clutrr-length.png", "cues-accuracy.png", "pendulum-scenes.png"},
    "table2-left": {"worlds.png"},
    "table3": {"table3.png", "lengths.png"},
    "counterfactual-speed": {"speed.png"},
}
peers_missing = any(
    importlib.util.find_spec(name) is None for name in ("castle", "causallearn", "dagma", "ges")
)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


PEERS_NEEDED = ("table1", "known-interventions", "graph-recovery", "world-recovery")
# The loops that they run have tests of their own.
SLOW = (
    "bridges", "train-speed", "counterfactual-speed", "ecam-overhead", "table3", "planner-chain",
    "unseen-graphs",
)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in list_benchmarks()],
)
@pytest.mark.usefixtures("cells_here")
def test_smoke(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in PEERS_NEEDED and peers_missing:
        pytest.skip("needs the extra 'discovery'")
    if name == "agents" and importlib.util.find_spec("stable_baselines3") is None:
        pytest.skip("needs the extra 'sb3'")
    if name == "cina" and importlib.util.find_spec("sklearn") is None:
        pytest.skip("needs the extra 'effects'")
    if name == "table2-left" and importlib.util.find_spec("econml") is None:
        pytest.skip("needs the extra 'effects'")
    if name == "counterfactual-speed" and importlib.util.find_spec("dowhy") is None:
        pytest.skip("needs the extra 'effects'")
    if name == "ecam-overhead" and importlib.util.find_spec("transformers") is None:
        pytest.skip("needs the extra 'transformers'")
    if name == "table2-right":
        try:
            load_clutrr()
        except DataUnavailableError as error:
            pytest.skip(f"the data are not at hand: {error}")
    if name == "env-speed" and importlib.util.find_spec("CausalPlayground") is None:
        pytest.skip("needs the extra 'peers'")
    if name in ("bridges", "train-speed"):
        for module in ("stable_baselines3", "tianshou"):
            pytest.importorskip(module, reason="needs the extras 'sb3' and 'tianshou'")
        monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # Tianshou's compile longer than they run here
    benchmark, out = find_benchmark(name), tmp_path / "out"
    done = run_benchmark(
        benchmark, out=out, smoke=True, jobs=1, console=Console(file=io.StringIO())
    )
    assert not done.failures
    rows = read(out / "raw.csv")
    assert len(rows) == done.planned == len(benchmark.grid(benchmark.seeds, True))
    for picture in PICTURES[name]:
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    report = (out / "RESULTS.md").read_text()
    assert "A smoke run" in report
    assert report.count("undecided") == len(done.findings.marks)  # one seed decides nothing
    assert "nan" not in (out / "summary.csv").read_text()
    if name == "attention":
        check_attention(rows)
    if name == "agent-proxy":
        check_proxy(rows)
    if name == "env-speed":
        check_speed(rows)
    if name == "world-recovery":
        check_worlds(rows)
    if name == "agents":
        assert {row["method"] for row in read(out / "curves.csv")} == {"planner", "sb3-ppo"}
    if name == "agent-chain":
        steps = [int(row["env_steps"]) for row in read(out / "curves.csv")]
        assert steps == sorted(set(steps))
        assert len(steps) >= 3


def check_attention(rows: list[dict[str, str]]) -> None:
    cells = {(int(r["batch"]), int(r["n"]), r["pass"]) for r in rows}
    assert cells == {(batch, n, kind) for batch, n in SMOKE_SHAPES for kind in PASSES}
    for row in rows:
        base = float(row[f"microseconds_{BASE}"])
        for peer in LABELS:
            ratio = float(row[f"microseconds_{peer}"]) / base
            assert float(row[f"ratio_{peer}"]) == pytest.approx(ratio, rel=1e-3, abs=1e-3)


def check_speed(rows: list[dict[str, str]]) -> None:
    kernel = [row for row in rows if row["part"] == "kernel"]
    assert kernel
    for row in kernel:
        taken = float(row["microseconds_kernel"]), float(row["microseconds_vector"])
        assert min(taken) > 0
        # A median of ratios, not a ratio of medians.
        assert float(row["share_of_kernel"]) == pytest.approx(taken[0] / taken[1], rel=0.8)
    sizes = {int(row["n"]): float(row["edges"]) for row in rows if row["part"] == "edges"}
    assert sizes[16] > sizes[8] > 8


def check_worlds(rows: list[dict[str, str]]) -> None:
    empty = [row for row in rows if row["method"] == "empty"]
    assert {row["world"] for row in empty} == set(SMOKE_WORLDS)
    for row in empty:
        for block in ("contemporaneous", "lagged"):
            assert float(row[f"shd_{block}"]) == float(row[f"n_true_{block}"])


def check_proxy(rows: list[dict[str, str]]) -> None:
    for row in rows:
        before = float(row["normalised_train"])
        for shift in ("flip", "randomise", "noise", "mechanism"):
            if before > 0:
                share = float(row[f"normalised_{shift}"]) / before
                assert float(row[f"kept_{shift}"]) == pytest.approx(share)
            else:
                assert row[f"kept_{shift}"] == ""


def test_full_grids_have_every_cell_once_and_carry_the_defaults() -> None:
    sizes = {
        "agents": 240,
        "encoders": 90,
        "counterfactual-data": 150,
        "agent-chain": 50,
        "graph-recovery": 399,
        "agent-proxy": 40,
        "attention": 216,
        "env-speed": 120,
        "train-speed": 30,
        "bridges": 180,
        "world-recovery": 2320,
        "world-returns": 78,
        "unseen-graphs": 78,
    }
    for name, size in sizes.items():
        benchmark = find_benchmark(name)
        cells = benchmark.grid(benchmark.seeds, False)
        assert len({cell.id for cell in cells}) == len(cells) == size
    cell = find_benchmark("agent-chain").grid(3, False)[2]
    assert cell.settings["train.env_args"] == ["graph_seed=2"]
    assert {"train.gamma", "world.noise_share", "learner.floor"} <= set(cell.settings)


def test_graph_recovery_without_peers_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "castle", None)
    with pytest.raises(MissingExtraError, match=r"causal_rl\[discovery\]"):
        run_benchmark(find_benchmark("graph-recovery"), out=tmp_path / "out", smoke=True)
    assert not list(tmp_path.iterdir())


def test_graph_recovery_scores_states_alone() -> None:
    cells = {c.parameters["method"]: c for c in find_benchmark("graph-recovery").grid(1, True)}
    found = {name: run(cells[name]).figures for name in ("interventional", "empty", "full")}
    edges = found["empty"]["n_true_contemporaneous"]
    assert found["empty"]["shd_contemporaneous"] == edges
    n = cells["full"].settings["world.n"]
    assert found["full"]["n_learned_lagged"] == n * n  # neither goal nor reward
    assert found["full"]["sid_contemporaneous"] is None
    assert found["interventional"]["shd_contemporaneous"] < edges
    assert METHODS["notears"].lagged is False


def test_recordings() -> None:
    spec = resolve_spec("er-scm", n=5, horizon=6)
    data = record(spec, 500, seed=3, interventions=True)
    assert len(data) == 500
    share = data.do_target.any(axis=1).mean()
    assert share == pytest.approx(4 / 5, abs=0.08)  # four settable variables or nothing
    quiet = record(spec, 500, seed=3, interventions=False)
    assert not quiet.do_target.any()
    again = record(spec, 200, seed=3, interventions=True)
    np.testing.assert_array_equal(again.next_state, data[:200].next_state)
    goal = data.names.index("goal")
    # A goal is held in its episode, so no kept row joins two episodes.
    np.testing.assert_array_equal(data.state[:, goal], data.next_state[:, goal])
    states = data.without_contexts()
    assert states.names == tuple(name for name in data.names if name != "goal")
    assert states.reward is None
    truth = spec.causal_graph
    perfect = score(truth.subgraph(states.names), truth)
    assert perfect["shd_contemporaneous"] == perfect["shd_lagged"] == 0
    assert "shd_lagged" not in score(truth, truth, lagged=False)
    with pytest.raises(ValueError, match="rows must be"):
        record(spec, 0, seed=0, interventions=True)
