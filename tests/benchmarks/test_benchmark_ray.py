"""Ray's pool against a stand-in of Ray; against Ray itself in test_benchmark_machinery.py."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from causal_rl.benchmarks import Benchmark, Cell, Findings, Outcome, command
from causal_rl.benchmarks.ray_pool import RETRIES, RayPool, ray_pool
from causal_rl.cli import main


@dataclass(frozen=True, eq=False)
class Reference:
    function: Any
    arguments: tuple[Any, ...]


class StandIn(SimpleNamespace):
    """As much of Ray as the pool calls: tasks run when they are waited for, last come first."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: list[Any] = []
        self.most_at_once = 0
        self.options: dict[str, Any] = {}
        self.exceptions = SimpleNamespace(
            RayError=RuntimeError, RayTaskError=type("RayTaskError", (RuntimeError,), {})
        )

    def remote(self, function: Any) -> Any:
        def options(**given: Any) -> Any:
            self.options = given
            return SimpleNamespace(remote=lambda *arguments: Reference(function, arguments))

        return SimpleNamespace(options=options)

    def wait(self, references: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        self.most_at_once = max(self.most_at_once, len(references))
        return references[-num_returns:], references[:-num_returns]

    def get(self, reference: Any) -> Any:
        if reference.arguments[1].parameters["a"] == 13:
            raise RuntimeError("the worker died")
        return reference.function(*reference.arguments)

    def cancel(self, reference: Any, *, force: bool) -> None:
        assert force
        self.cancelled.append(reference.arguments[1].parameters["a"])


def outcome(cell: Cell) -> Outcome:
    if cell.parameters["a"] == 7:
        raise ValueError("boom")
    return Outcome({"twice": 2 * int(cell.parameters["a"] or 0)})


def test_pool_reports_every_cell_and_keeps_no_more_than_its_jobs_under_way() -> None:
    ray = StandIn()
    cells = [Cell({"a": a}) for a in (1, 2, 7, 13, 3)]
    reports = {cell.parameters["a"]: r for cell, r in RayPool(ray, jobs=2).run(outcome, cells)}
    assert ray.most_at_once == 2
    assert ray.options == {"num_cpus": 1, "max_retries": RETRIES}
    done = {a: r.outcome.figures["twice"] for a, r in reports.items() if r.outcome}
    assert done == {1: 2, 2: 4, 3: 6}
    assert reports[7].error == "ValueError: boom"
    assert "its worker died" in (reports[13].error or "")
    assert ray.cancelled == []


def test_closing_stops_what_still_runs() -> None:
    ray = StandIn()
    reports = RayPool(ray, jobs=3).run(outcome, [Cell({"a": a}) for a in range(5)])
    assert next(reports)[0].parameters == {"a": 2}
    reports.close()
    assert sorted(ray.cancelled) == [0, 1]


@pytest.mark.parametrize(
    "address", ["", "near", "host:", ":6379", "host:x", "host:0", "host:70000", "ray://host:10001"]
)
def test_bad_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="ray must be local, auto or host:port"), ray_pool(address):
        pass


@pytest.mark.parametrize("case", ["missing", "address", "silent"])
def test_program_says_in_one_line_why_ray_cannot_run(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    fake = Benchmark(
        name="fake", title="Fake", description="Nothing.",
        grid=lambda seeds, smoke: [Cell({"a": 1})],
        function=outcome, findings=lambda results: Findings([]), figures=lambda results: {},
        headline=lambda results: "",
    )  # fmt: skip
    monkeypatch.setattr(command, "find_benchmark", lambda name: fake)
    monkeypatch.setitem(sys.modules, "ray", None if case == "missing" else StandIn())
    address = {"missing": "local", "address": "nowhere", "silent": "127.0.0.1:1"}[case]
    with pytest.raises(SystemExit) as exit_:
        main(["benchmark", "fake", "--ray", address, "--out", str(tmp_path / "out")])
    assert exit_.value.code == 2
    message = {
        "missing": "pip install 'causal_rl[ray]'",
        "address": "ray must be local, auto or host:port, got 'nowhere'",
        "silent": "no cluster of Ray answers at '127.0.0.1:1'",
    }[case]
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
