"""The wheel: what is in it, and that it works where nothing but its dependencies is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
#: Packages of the extras, by import name; none of them is a dependency of the base.
EXTRAS = (
    "pandas", "stable_baselines3", "sklearn", "causallearn", "castle", "dagma", "ges", "gies",
    "dowhy", "econml", "minari", "CausalPlayground", "mujoco", "ray", "transformers", "tianshou",
)  # fmt: skip
#: What pip says where it reaches no index, or one without the package.
NO_INDEX = ("No matching distribution", "Failed to establish", "Connection", "Name or service")


def outside() -> dict[str, str]:
    """The environment without what would let an interpreter find this tree."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def pip(python: str | Path, *words: object, cwd: Path) -> None:
    done = subprocess.run(
        [str(python), "-m", "pip", *map(str, words)],
        cwd=cwd, env=outside(), capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode and any(sign in done.stderr for sign in NO_INDEX):
        pytest.skip(f"no package index with all that is needed: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: setuptools writes beside the sources.
    left_out = shutil.ignore_patterns(
        ".*", "__pycache__", "build", "dist", "*.egg-info", "results", "runs"
    )
    shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=left_out)
    pip(sys.executable, "wheel", ".", "--no-deps", "-w", folder / "made", cwd=folder / "tree")
    (made,) = (folder / "made").iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that has the wheel and its dependencies alone."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    pip(
        programs / "python", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel,
        cwd=folder,
    )  # fmt: skip
    return programs


def call(programs: Path, here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program, *rest = words
    return subprocess.run(
        [programs / program, *rest],
        cwd=here,
        env={**outside(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_the_wheel_holds_the_package_its_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (about,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        programs = archive.read(f"{about}/entry_points.txt").decode()
    assert {name.partition("/")[0] for name in names} == {"causal_rl", about}
    assert f"{about}/licenses/LICENSE" in names
    assert "causal-rl = causal_rl.cli:main" in programs
    package = ROOT / "causal_rl"
    sources = {str(path.relative_to(ROOT)) for path in package.rglob("*.py")}
    data = {"py.typed", "discovery/checkpoints/amortised.pt", "agents/report/page.html"}
    assert {name for name in names if not name.startswith(about)} == sources | {
        f"causal_rl/{name}" for name in data
    }


def test_it_trains_and_learns_a_graph_without_any_extra(installed: Path, tmp_path: Path) -> None:
    found = call(
        installed, tmp_path, "python", "-c",
        "import importlib.util as u, causal_rl\n"
        f"print(causal_rl.__version__, *[m for m in {EXTRAS!r} if u.find_spec(m)])",
    )  # fmt: skip
    assert found.stdout.split() == [wheel_version()], found.stderr
    done = call(
        installed, tmp_path, "causal-rl", "train", "--env=chain-scm", "--steps=1500",
        "--warmup-steps=600", "--num-envs=4", "--rollout-steps=8", "--eval-episodes=2",
        "--final-episodes=2", "--embed-dim=8", "--layers=1", "--out=run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["env_steps"] >= 1500
    write_table(tmp_path / "data.csv")
    words = ["discover", "data.csv", "--method=amortised", "--bootstrap=0", "--out=graph"]
    done = call(installed, tmp_path, "causal-rl", *words)  # the weights come with the wheel
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "graph" / "graph.json").is_file()


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("train --algo=sb3-ppo", "sb3"),
        ("train --algo=tianshou-ppo", "tianshou"),
        ("discover data.csv --method=dagma --bootstrap=0", "discovery"),
        ("effect data.csv --treatment=t --outcome=y --method=causal-forest", "effects"),
    ],
)
def test_a_verb_whose_extra_is_missing_names_it(
    installed: Path, tmp_path: Path, words: str, extra: str
) -> None:
    write_table(tmp_path / "data.csv")
    done = call(installed, tmp_path, "causal-rl", *words.split())
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert f"pip install 'causal_rl[{extra}]'" in line
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def wheel_version() -> str:
    (line,) = (
        line
        for line in (ROOT / "pyproject.toml").read_text().splitlines()
        if line.startswith("version = ")
    )
    return line.split('"')[1]


def write_table(path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=80)
    t = (rng.random(80) < 0.5).astype(float)
    rows = np.column_stack([x, t, x + t + 0.1 * rng.normal(size=80)])
    np.savetxt(path, rows, delimiter=",", header="x,t,y", comments="", fmt="%.4f")
