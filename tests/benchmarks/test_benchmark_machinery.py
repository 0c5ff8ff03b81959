from __future__ import annotations

import csv
import dataclasses
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from rich.console import Console

from causal_rl.benchmarks import (
    Benchmark,
    BenchmarkRun,
    Cell,
    Findings,
    Mark,
    Outcome,
    Results,
    ray_pool,
    registry,
    run_benchmark,
)
from causal_rl.benchmarks.cells import check_grid
from causal_rl.benchmarks.command import benchmark_command
from causal_rl.benchmarks.process_pool import ProcessPool
from causal_rl.errors import MissingExtraError
from causal_rl.files import sole_writer

HERE = Path(__file__).parent
TIMING = ("wall_seconds", "cpu_seconds", "jobs")


OVER_RAY = pytest.param(
    ("--ray", "local"),
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra 'ray'"),
    ],
    id="ray",
)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Benchmark:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    import fake_cells

    return make(fake_cells.grid, fake_cells.run)


def make(grid, run, **changes) -> Benchmark:
    def findings(results: Results) -> Findings:
        values = results.values("value", kind="a")
        marks = [Mark("a is small", f"{values.size} values", bool((values < 100).all()))]
        return Findings(["A protocol."], marks, ["## Table\n\nwords"])

    def figures(results: Results) -> dict[str, Figure]:
        figure = Figure(figsize=(2, 2))
        figure.subplots().plot([row["height"] for row in results.curves])
        return {"curve.png": figure}

    fields = {
        "name": "fake", "title": "Fake", "description": "Nothing at all.", "grid": grid,
        "function": run, "findings": findings, "figures": figures,
        "headline": lambda results: f"{len(results.rows)} rows", "seeds": 2,
    }  # fmt: skip
    return Benchmark(**{**fields, **changes})


def go(benchmark: Benchmark, out: Path, **options) -> BenchmarkRun:
    options = {"jobs": 1, **options}
    return run_benchmark(benchmark, out=out, console=Console(file=io.StringIO()), **options)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def figures_of(folder: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in r.items() if k not in TIMING} for r in read(folder / "raw.csv")]


def logged(tmp_path: Path) -> list[str]:
    return sorted((tmp_path / "log").read_text().splitlines())


def test_one_command_writes_everything_and_parallel_equals_serial(
    fake: Benchmark, tmp_path: Path
) -> None:
    serial = go(fake, tmp_path / "serial")
    parallel = go(fake, tmp_path / "parallel", jobs=2)
    assert serial.computed == parallel.computed == 4
    assert not serial.failures
    assert figures_of(tmp_path / "serial") == figures_of(tmp_path / "parallel")
    for name in ("curves.csv", "curve.png"):
        first, second = (tmp_path / where / name for where in ("serial", "parallel"))
        assert first.read_bytes() == second.read_bytes()
    folder = tmp_path / "serial"
    assert {path.name for path in folder.iterdir()} == {
        "raw.csv", "curves.csv", "summary.csv", "curve.png", "provenance.json", "RESULTS.md",
    }  # fmt: skip
    rows = read(folder / "raw.csv")
    assert [(r["kind"], r["seed"]) for r in rows] == [
        ("a", "0"),
        ("b", "0"),
        ("a", "1"),
        ("b", "1"),
    ]
    assert {r["threads"] for r in rows} == {"1"}
    assert {r["missing"] for r in rows} == {""}
    assert float(rows[1]["value"]) == 1 / 3
    text = (folder / "RESULTS.md").read_text()
    assert "| a is small | 2 values | holds |" in text
    assert "Incomplete" not in text
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["command"] == "causal-rl benchmark fake --seeds 2 --jobs 1 --out DIR"
    assert provenance["settings"] == {"all": {"scale": 1.0}}
    assert provenance["cells"]["finished"] == 4
    written = "".join(p.read_text() for p in folder.iterdir() if p.suffix != ".png")
    for private in (str(tmp_path), str(HERE), os.uname().nodename):
        assert private not in written


@pytest.mark.usefixtures("cells_here")
def test_summary_averages_over_seeds(fake: Benchmark, tmp_path: Path) -> None:
    go(fake, tmp_path / "out", seeds=4, jobs=2)
    rows = {(r["kind"], r["metric"]): r for r in read(tmp_path / "out" / "summary.csv")}
    row = rows["a", "value"]
    assert float(row["mean"]) == 1.5
    assert row["count"] == "4"
    assert 0 <= float(row["mean_low"]) < 1.5 < float(row["mean_high"]) <= 3
    assert float(row["iqm"]) == 1.5
    assert ("a", "note") not in rows
    assert ("a", "missing") not in rows


@pytest.mark.usefixtures("cells_here")
def test_provenance_is_of_the_machine_that_measured(
    fake: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written() -> dict[str, dict[str, object]]:
        text = (tmp_path / "out" / "provenance.json").read_text()
        found: dict[str, dict[str, object]] = json.loads(text)
        return found

    go(fake, tmp_path / "out", seeds=1)
    before = written()
    other = {**before["machine"], "cpu": "another"}
    monkeypatch.setattr("causal_rl.benchmarks.results.machine", lambda device: other)
    monkeypatch.setattr("causal_rl.benchmarks.results.packages", lambda: {"numpy": "0"})
    # Nothing is measured: only the text is of now.
    assert go(fake, tmp_path / "out", seeds=1).computed == 0
    assert written()["machine"] == before["machine"]
    assert written()["packages"] == before["packages"]
    assert go(fake, tmp_path / "out", seeds=2).computed == 2
    assert written()["machine"] == other
    assert written()["packages"] == {"numpy": "0"}


@pytest.mark.usefixtures("cells_here")
def test_repeating_more_seeds_and_changed_settings(
    fake: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    go(fake, out, seeds=1)
    assert go(fake, out, seeds=1).computed == 0
    assert go(fake, out, seeds=2).computed == 2
    assert len(logged(tmp_path)) == len(set(logged(tmp_path))) == 4
    before = figures_of(out)
    # Fewer seeds: the others step aside, and are there again when they are asked for.
    assert go(fake, out, seeds=1).computed == 0
    assert len(read(out / "raw.csv")) == 2
    assert len(read(out / "set_aside.csv")) == 2
    assert go(fake, out, seeds=2).computed == 0
    assert not (out / "set_aside.csv").exists()
    assert figures_of(out) == before
    # A changed default makes other cells; the old ones are not mistaken for them.
    monkeypatch.setenv("FAKE_SCALE", "10")
    done = go(fake, out, seeds=1)
    assert done.computed == 2
    assert [float(r["value"]) for r in read(out / "raw.csv")] == [0.0, pytest.approx(10 / 3)]
    assert len(read(out / "set_aside.csv")) == 4


@pytest.mark.usefixtures("cells_here")
def test_a_failing_cell_is_named_and_the_others_go_on(
    fake: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("FAKE_FAIL", "kind=b seed=0")
    monkeypatch.setattr(registry, "_MODULES", {"fake": "fake"})
    monkeypatch.setattr("causal_rl.benchmarks.command.find_benchmark", lambda name: fake)
    result = CliRunner().invoke(benchmark_command, ["fake", "--out", str(out), "--jobs", "1"])
    assert result.exit_code == 1
    assert "failed: kind=b seed=0: ValueError: boom on purpose" in result.output
    kept = json.loads((out / "failures.json").read_text())
    assert [item["cell"] for item in kept] == ["kind=b seed=0"]
    assert "fake_cells.py" in kept[0]["trace"][-1]
    assert str(HERE) not in kept[0]["trace"][-1]
    assert len(read(out / "raw.csv")) == 3
    text = (out / "RESULTS.md").read_text()
    assert "Incomplete: 3 of 4 cells" in text
    assert "boom on purpose" in text
    monkeypatch.delenv("FAKE_FAIL")
    assert go(fake, out).computed == 1
    assert not (out / "failures.json").exists()
    assert "Incomplete" not in (out / "RESULTS.md").read_text()


def test_a_cell_whose_process_dies_is_reported(
    fake: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DIE", "kind=a seed=1")
    done = go(fake, tmp_path / "out")
    assert [item["cell"] for item in done.failures] == ["kind=a seed=1"]
    assert done.computed == 3


@pytest.mark.parametrize("pool", [OVER_RAY])
def test_ray_runs_the_cells_of_a_killed_worker_again_and_no_other(
    fake: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: tuple[str, str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, sys.path)]))
    monkeypatch.setenv("FAKE_DIE_ONCE", "kind=b seed=1")
    monkeypatch.setenv("FAKE_PID", str(tmp_path / "died"))
    out = tmp_path / "ray"
    done = go(fake, out, seeds=3, jobs=2, ray=pool[1])
    assert (tmp_path / "died").is_file()
    assert not done.failures
    assert done.computed == 6
    assert logged(tmp_path) == [f"kind={kind} seed={seed}" for kind in "ab" for seed in range(3)]
    assert {row["threads"] for row in read(out / "raw.csv")} == {"1"}
    assert go(fake, out, seeds=3, jobs=2).computed == 0  # processes find them finished
    plain = tmp_path / "processes"
    go(fake, plain, seeds=3, jobs=2)
    assert figures_of(out) == figures_of(plain)
    assert (out / "curves.csv").read_bytes() == (plain / "curves.csv").read_bytes()


@pytest.mark.parametrize("pool", [OVER_RAY])
def test_a_cell_that_kills_every_worker_of_ray_has_failed(
    fake: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: tuple[str, str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, sys.path)]))
    monkeypatch.setenv("FAKE_DIE", "kind=a seed=0")
    monkeypatch.setattr(ray_pool, "RETRIES", 1)
    done = go(fake, tmp_path / "out", seeds=1, jobs=2, ray=pool[1])
    assert [item["cell"] for item in done.failures] == ["kind=a seed=0"]
    assert "each of 2 attempts" in str(done.failures[0]["error"])
    assert done.computed == 1
    command = json.loads((tmp_path / "out" / "provenance.json").read_text())["command"]
    assert command.endswith("--ray local --out DIR")


def start_and_hold(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> tuple:
    """A command in a process of its own, held in its third cell; and its worker's pid."""
    script = tmp_path / "command.py"
    script.write_text(
        "import signal, sys\n"
        # A shell that starts the tests in the background makes their children deaf to it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.path[:0] = [{str(HERE)!r}]\n"
        "if __name__ == '__main__':\n"
        "    import fake_cells, test_benchmark_machinery as t\n"
        "    from causal_rl.benchmarks import command\n"
        "    command.find_benchmark = lambda name: t.make(fake_cells.grid, fake_cells.run)\n"
        f"    words = ['fake', '--jobs', '1', '--out', {str(out)!r}, *{more!r}]\n"
        "    command.benchmark_command(words)\n"
    )
    pid_file = tmp_path / "pid"
    monkeypatch.setenv("FAKE_HOLD", "kind=a seed=1")
    monkeypatch.setenv("FAKE_PID", str(pid_file))
    paths = [str(HERE), *(path for path in sys.path if path)]
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.PIPE,
        text=True,
    )
    # Ray takes many times as long to start as a process does.
    wait_for(lambda: pid_file.is_file() and pid_file.read_text() != "", 300.0 if more else 60.0)
    monkeypatch.delenv("FAKE_HOLD")
    return process, int(pid_file.read_text())


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("pool", [pytest.param((), id="processes"), OVER_RAY])
def test_a_killed_command_continues_without_recomputing(
    fake: Benchmark,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: signal.Signals,
    pool: tuple[str, ...],
) -> None:
    out = tmp_path / "out"
    process, worker = start_and_hold(tmp_path, out, monkeypatch, *pool)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    if how == signal.SIGINT:
        assert "interrupted; finished cells are kept" in errors
    wait_for(lambda: gone(worker))
    assert [r["kind"] for r in read(out / "raw.csv")] == ["a", "b"]
    done = go(fake, out)
    assert done.computed == 2
    assert logged(tmp_path) == [f"kind={k} seed={s}" for k in "ab" for s in range(2)]
    whole = tmp_path / "whole"
    go(fake, whole)
    assert figures_of(out) == figures_of(whole)
    assert read(out / "curves.csv") == read(whole / "curves.csv")


@pytest.mark.usefixtures("cells_here")
def test_index_lists_the_results_of_a_folder(
    fake: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_benchmark(fake, jobs=1, console=Console(file=io.StringIO()))
    index = (tmp_path / "results" / "README.md").read_text()
    assert "[fake](fake/RESULTS.md) | Nothing at all. | 4 of 4 | 1 of 1 |" in index


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds must be"),
        ({"jobs": 0}, "jobs must be"),
        ({"jobs": True}, "jobs must be"),
        ({"smoke": True, "out": None}, "out must be given"),
    ],
)
def test_bad_options_write_nothing(
    fake: Benchmark, tmp_path: Path, options: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        go(fake, **{"out": tmp_path / "out", **options})
    assert not list(tmp_path.iterdir())


def test_bad_folders_are_refused(fake: Benchmark, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be a folder"):
        go(fake, tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("")
    with pytest.raises(ValueError, match="new or empty folder"):
        go(fake, tmp_path / "other")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "raw.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match="no column 'cell'"):
        go(fake, tmp_path / "foreign")


@pytest.mark.usefixtures("cells_here")
def test_a_second_command_in_the_folder_is_refused(fake: Benchmark, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    busy = pytest.raises(ValueError, match="out: another process is writing to")
    with sole_writer(folder, "out"), busy:
        run_benchmark(fake, out=folder)
    assert not folder.exists()


def test_only_some_cells(fake: Benchmark, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = go(fake, out, only={"kind": ["b"], "seed": ["0", "1"]})
    assert (done.planned, done.computed) == (2, 2)
    assert [r["kind"] for r in read(out / "raw.csv")] == ["b", "b"]
    command = json.loads((out / "provenance.json").read_text())["command"]
    assert command.endswith("--only kind=b --only seed=0 --only seed=1 --out DIR")
    assert go(fake, out).computed == 2  # the others
    with pytest.raises(ValueError, match=r"parameter of the cells \(kind, seed\), got 'world'"):
        go(fake, out, only={"world": ["a"]})
    with pytest.raises(ValueError, match="only kind must be one of a, b, got 'c'"):
        go(fake, out, only={"kind": ["a", "c"]})


def test_a_missing_extra_stops_before_anything_is_written(fake: Benchmark, tmp_path: Path) -> None:
    def prepare() -> None:
        raise MissingExtraError("castle", "discovery")

    with pytest.raises(MissingExtraError, match=r"causal_rl\[discovery\]"):
        go(dataclasses.replace(fake, prepare=prepare), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_cells_and_outcomes_refuse_what_cannot_be_a_table() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        Cell({})
    with pytest.raises(ValueError, match="'commit'"):
        Cell({"commit": 1})
    with pytest.raises(TypeError, match="plain JSON"):
        Cell({"a": 1}, {"b": object()})
    with pytest.raises(ValueError, match="'cell'"):
        Outcome({"cell": 1})
    with pytest.raises(ValueError, match="'x' is infinite"):
        Outcome({"x": float("inf")})
    with pytest.raises(ValueError, match="at least one cell"):
        check_grid([])
    with pytest.raises(ValueError, match="'a=1' occurs twice"):
        check_grid([Cell({"a": 1}), Cell({"a": 1}, {"b": 2})])
    with pytest.raises(ValueError, match="jobs must be"):
        ProcessPool(0)


def test_identity_of_a_cell() -> None:
    cell = Cell({"a": 1, "b": "x"}, {"train.steps": 3, "world.n": 2})
    assert cell.id == Cell({"b": "x", "a": 1}, {"world.n": 2, "train.steps": 3}).id
    assert cell.id != Cell({"a": 1, "b": "x"}, {"train.steps": 4, "world.n": 2}).id
    assert cell.name == "a=1 b=x"
    assert cell.part("train") == {"steps": 3}


@pytest.mark.usefixtures("cells_here")
def test_a_cell_must_return_an_outcome(fake: Benchmark, tmp_path: Path) -> None:
    import fake_cells

    benchmark = dataclasses.replace(fake, function=fake_cells.run_nothing)
    done = go(benchmark, tmp_path / "out", seeds=1, smoke=True)
    assert done.failures[0]["error"] == "TypeError: a cell must return an Outcome, got NoneType"


def test_command_lists_and_refuses(tmp_path: Path) -> None:
    runner = CliRunner()
    listed = runner.invoke(benchmark_command, ["--list"])
    assert listed.exit_code == 0
    for name in ("agent-chain", "graph-recovery", "agent-proxy", "attention"):
        assert name in listed.output
    assert runner.invoke(benchmark_command, []).exit_code == 2
    assert runner.invoke(benchmark_command, ["--list", "attention"]).exit_code == 2
    assert runner.invoke(benchmark_command, ["attention", "--seeds", "0"]).exit_code == 2
    assert runner.invoke(benchmark_command, ["attention", "--only", "batch"]).exit_code == 2
    unknown = runner.invoke(benchmark_command, ["agent-chian"])
    assert "did you mean agent-chain" in str(unknown.exception)
    out = str(tmp_path)
    assert runner.invoke(benchmark_command, ["nothing", "--smoke", "--out", out]).exit_code != 0
    assert not list(tmp_path.iterdir())
