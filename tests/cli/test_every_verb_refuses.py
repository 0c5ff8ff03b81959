"""Bad input to every verb: status 2, one line that says what is wrong, and nothing written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bad_cases import CASES
from bad_files import damaged, write_files
from program import run

from causal_rl.agents.transfer.do_prediction import DoPredictor
from causal_rl.cli import cli


@pytest.fixture(scope="session")
def bad_files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    write_files(folder)
    DoPredictor(seed=0).save(folder / "predictor.pt")
    return folder


def contents(folder: Path) -> dict[str, int]:
    """Every file below with when it was last changed, and every folder."""
    return {
        str(path.relative_to(folder)): 0 if path.is_dir() else path.stat().st_mtime_ns
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    ("verb", "words", "parts"), CASES, ids=[f"{verb} {words}".strip() for verb, words, _ in CASES]
)
def test_it_is_refused(verb, words, parts, bad_files, finished, tmp_path, monkeypatch, capsys):
    here = tmp_path / "here"
    here.mkdir()
    runs = tmp_path / "runs"

    def run_folder(found: re.Match[str]) -> str:
        return str(damaged(finished, found.group(1), runs / found.group(1)))

    given = re.sub(r"\{([\w.]+)\}", rf"{bad_files}/\1", words)
    given = re.sub(r"<(\w+)>", run_folder, given)
    before = contents(bad_files), contents(runs)
    monkeypatch.chdir(here)
    capsys.readouterr()
    status = run(*([verb] if verb else []), *given.split())
    line = capsys.readouterr().err
    assert status == 2, line
    assert line.startswith("Error: ")
    assert line.count("\n") == 1, line
    for part in parts:
        assert part in line, line
    assert contents(here) == {}
    assert (contents(bad_files), contents(runs)) == before


def test_the_table_is_long_and_every_verb_has_its_share():
    calls = [f"{verb} {words}" for verb, words, _ in CASES]
    assert len(set(calls)) == len(calls) >= 100
    for verb in cli.commands:
        assert sum(case[0] == verb for case in CASES) >= 8, verb
