"""``--device``: other cells on another device, and everything that is refused beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from causal_rl.benchmarks import Cell, run_benchmark
from causal_rl.benchmarks.cells import place_cells
from causal_rl.benchmarks.command import benchmark_command
from causal_rl.benchmarks.registry import find_benchmark, list_benchmarks
from causal_rl.devices import check_device, resolve_device

ABSENT = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")


def test_a_device_makes_other_cells_of_those_that_have_one() -> None:
    nested = {"ecam": {"device": "cpu", "steps": 3}}
    cells = [
        Cell({"seed": 0}, {"train.device": "cpu", "train.steps": 5, "rows": nested}),
        Cell({"seed": 1}, {"steps": 5, "devices": "cpu"}),
    ]
    first, second = place_cells(cells, "cuda:1", told=False)
    assert first.settings["train.device"] == first.settings["rows"]["ecam"]["device"] == "cuda:1"
    assert first.settings["train.steps"] == 5
    assert first.device == "cpu"
    assert first.id != cells[0].id
    assert second == cells[1]
    assert cells[0].settings["train.device"] == "cpu"
    told = place_cells(cells, "cuda:1", told=True)
    assert [cell.device for cell in told] == ["cuda:1"] * 2


@pytest.mark.parametrize("name", ["table2-right", "table3"])
def test_every_cell_of_the_downstream_tables_can_be_placed(name: str) -> None:
    benchmark = find_benchmark(name)
    cells = benchmark.grid(1, True)
    placed = place_cells(cells, "cuda", told=benchmark.devices)
    assert all(cell.device == "cuda" for cell in placed)
    # What is published is of cells that say nothing of a device.
    assert all("device" not in cell.settings for cell in cells)


def refused(tmp_path: Path, *words: str) -> str:
    done = CliRunner().invoke(benchmark_command, [*words, "--out", str(tmp_path / "out")])
    assert not list(tmp_path.iterdir())
    return str(done.exception) if done.exc_info is not None else done.output


@ABSENT
@pytest.mark.parametrize("device", ["cuda", "cuda:7", "meta", "tpu"])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, device: str) -> None:
    message = refused(tmp_path, "table2-right", "--smoke", "--device", device)
    assert message.startswith(f"device is {device!r}; it must be cpu, cuda, cuda:N, mps or auto")
    assert "\n" not in message


def test_what_cannot_be_done_on_a_device_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = torch.device("cuda")
    monkeypatch.setattr("causal_rl.benchmarks.results.resolve_device", lambda name: place)
    assert "env-speed runs is on the cpu" in refused(tmp_path, "env-speed", "--device", "cuda")
    over_ray = refused(tmp_path, "table3", "--device", "cuda", "--ray", "local")
    assert "over Ray it must be cpu" in over_ray
    with pytest.raises(ValueError, match="out must be given on cuda"):
        run_benchmark(find_benchmark("table3"), device="cuda")


def test_devices_by_name() -> None:
    assert check_device("cpu") == resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("auto", "meta", "nonsense"):
        with pytest.raises(ValueError, match=f"device is '{name}'; it must be cpu, cuda"):
            check_device(name)
    with pytest.raises(TypeError, match="device must be a string, not None"):
        check_device(None)


def test_some_benchmarks_have_networks_and_some_have_none() -> None:
    found = {}
    for name in list_benchmarks():
        benchmark = find_benchmark(name)
        cells = benchmark.grid(1, False)
        found[name] = place_cells(cells, "cuda", told=benchmark.devices) != cells
    assert found["agents"]
    assert found["table1"]
    assert not found["env-speed"]
