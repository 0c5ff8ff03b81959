"""Break ten core lines, one at a time, and see whether the tests notice.

python scripts/mutate.py [--only NAME]        # minutes; works on a copy, the tree is not touched
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click

ROOT = Path(__file__).resolve().parent.parent


class Mutation(NamedTuple):
    """A line of the package, what it becomes, and the tests that are asked."""

    name: str
    file: str
    line: str
    becomes: str
    tests: str


MUTATIONS = (
    Mutation("the mask is not transposed", "attention/modulation.py",
             "return graph.transpose(-1, -2).masked_fill(eye, 1)",
             "return graph.masked_fill(eye, 1)",
             "attention/test_modulation.py attention/test_layer.py"),
    Mutation("a reversed edge counts twice", "graphs/metrics.py",
             "return int(np.triu(different | different.T).sum())",
             "return int(different.sum())", "graphs/test_metrics.py"),
    Mutation("Meek's first rule looks at children", "graphs/meek.py",
             "return undirected & bool_product(directed.T, apart)",
             "return undirected & bool_product(directed, apart)", "graphs/test_partial_graph.py"),
    Mutation("projection keeps the weakest edges", "graphs/projection.py",
             "return np.where(_acyclic_edges(matrix != 0.0, np.abs(matrix)), matrix, 0.0)",
             "return np.where(_acyclic_edges(matrix != 0.0, -np.abs(matrix)), matrix, 0.0)",
             "graphs/test_projection.py"),
    Mutation("a counterfactual turns the noise round", "scm/program.py",
             "np.copyto(out[i], now + (factual[i] - was), where=now != was)",
             "np.copyto(out[i], now - (factual[i] - was), where=now != was)", "scm"),
    Mutation("noise does not depend on the step", "scm/keyed_noise.py",
             'at_step = _mix((key ^ _as_key(step, "step")) + _GOLDEN)',
             'at_step = _mix((key ^ _as_key(0 * np.asarray(step), "step")) + _GOLDEN)',
             "scm/test_scm_keyed_noise.py"),
    Mutation("advantages run on over the end of an episode", "agents/rollout.py",
             "carried = delta[step] + gamma * gae_lambda * carried * (~done[step])",
             "carried = delta[step] + gamma * gae_lambda * carried", "agents/test_rollout.py"),
    Mutation("PPO does not clip", "agents/policy_updates.py",
             "policy_loss = -torch.min(advantage * ratio, advantage * clipped).mean()",
             "policy_loss = -(advantage * ratio).mean()", "agents/test_policy_updates.py"),
    Mutation("consequences of causal nodes may be adjusted for", "effects/identify.py",
             "forbidden = {treatment, outcome}.union(causal, *(nx.descendants",
             "forbidden = {treatment, outcome}.union(causal, *(set() and nx.descendants",
             "effects/test_identify.py"),
    Mutation("rows that set a variable count for its mechanism", "discovery/gram.py",
             "first = do_target.argmax(axis=1) + 1",
             "first = 0 * do_target.argmax(axis=1)",
             "discovery/test_interventional.py discovery/test_algorithm5.py"),
)  # fmt: skip


@click.command()
@click.option("--only", default=None, help="The mutations whose name holds this text.")
def main(only: str | None) -> None:
    """Break one line after the other; exit status 1 if more than one goes unnoticed."""
    chosen = [m for m in MUTATIONS if only is None or only in m.name]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        skipped = shutil.ignore_patterns(
            ".git", ".venv*", "results", "runs", "build", "__pycache__"
        )
        shutil.copytree(ROOT, copy, symlinks=True, ignore=skipped)
        for mutation in chosen:
            path = copy / "causal_rl" / mutation.file
            text = path.read_text(encoding="utf-8")
            if text.count(mutation.line) != 1:
                raise click.ClickException(f"{mutation.file} does not hold once: {mutation.line}")
            path.write_text(text.replace(mutation.line, mutation.becomes), encoding="utf-8")
            started = time.perf_counter()
            tests = [str(copy / "tests" / test) for test in mutation.tests.split()]
            words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
            place = {**os.environ, "PYTHONPATH": str(copy)}
            found = subprocess.run(words, cwd=copy, env=place, capture_output=True, text=True)
            path.write_text(text, encoding="utf-8")
            if found.returncode not in (0, 1):
                raise click.ClickException(f"pytest could not run: {found.stdout[-500:]}")
            missed += found.returncode == 0
            verdict = "MISSED" if found.returncode == 0 else "caught"
            seconds = time.perf_counter() - started
            click.echo(f"{verdict}  {mutation.name}  ({mutation.file}; {seconds:.0f} s)")
    click.echo(f"{len(chosen) - missed} of {len(chosen)} caught")
    sys.exit(missed > 1)


if __name__ == "__main__":
    main()
