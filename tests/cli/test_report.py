"""``causal-rl report``: the page of a run, opened in a browser, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from program import run

from causal_rl.agents.inspection import load_planner
from causal_rl.agents.report import edge_evidence, read_run, write_report
from causal_rl.agents.report.graph_svg import graph_svg
from causal_rl.files import read_torch
from causal_rl.graphs import CausalGraph
from causal_rl.graphs.layout import Arrow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "page.html"
    assert run("report", finished, "--out", path) == 0
    return path


class _Outline(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.edges: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.fetched += [told[key] or "" for key in ("src", "href") if key in told]
        if "data-edge" in told:
            self.edges.append(told["data-edge"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_holds_everything_itself_and_is_well_formed(page: Path, finished: Path) -> None:
    text = page.read_text(encoding="utf-8")
    outline = _Outline(text)
    assert not outline.open
    assert all(source.startswith("data:image/png;base64,") for source in outline.fetched)
    for title in ("Learned graph beside the truth", "Return and graph error over time",
                  "What the policy attends to", "Interventions made"):  # fmt: skip
        assert f"<h2>{title}</h2>" in text
    record = read_run(finished)
    edges = edge_evidence(record.graph, record.truth, record.transitions)
    # Once in the table and once in each drawing that has the edge.
    for number, edge in enumerate(edges):
        drawings = 1 if edge.status in ("extra", "reversed") else 2
        assert outline.edges.count(str(number)) == 1 + drawings


def test_figures_on_the_page_are_those_of_the_run(page: Path, finished: Path) -> None:
    text = page.read_text(encoding="utf-8")
    summary = json.loads((finished / "summary.json").read_text())
    assert f"<b>{summary['return_mean']:.3f}</b>" in text
    record = read_run(finished)
    total = int(record.transitions.do_target[:, 0].sum())
    assert f"<td>{total:,}</td>" in text
    data = json.loads(re.search(r'id="edges">(.*?)</script>', text, re.S).group(1))
    for edge, shown in zip(
        edge_evidence(record.graph, record.truth, record.transitions), data.values(), strict=True
    ):
        assert shown["title"].startswith(f"{edge.parent} → {edge.child}")
        assert dict(shown["facts"])["rows"] == f"{edge.rows:,}"


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_clicking_an_edge_shows_its_evidence(page: Path, finished: Path, tmp_path: Path) -> None:
    # What lies under the middle of an edge's line gets the click, so that nothing may cover it.
    click = """<script>
      const edge = document.querySelectorAll('svg')[1].querySelector('g[data-edge="0"]');
      const line = edge.querySelector('.line');
      const middle = line.getPointAtLength(line.getTotalLength() / 2);
      const at = middle.matrixTransform(line.getScreenCTM());
      const met = document.elementFromPoint(at.x, at.y);
      met.dispatchEvent(new MouseEvent('click', {bubbles: true}));
    </script>"""
    copy = tmp_path / "clicked.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{click}</body>"))
    words = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu",
             f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,4000",
             "--dump-dom", copy.as_uri()]  # fmt: skip
    shown = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout
    panel = re.search(r'<aside id="evidence".*?</aside>', shown, re.S).group(0)
    record = read_run(finished)
    edge = edge_evidence(record.graph, record.truth, record.transitions)[0]
    assert f"<h3>{edge.parent} → {edge.child}</h3>" in panel
    assert f"<dt>confidence</dt><dd>{edge.confidence:.3f}</dd>" in panel
    assert f"<dt>partial R²</dt><dd>{edge.partial_r2:.3f}</dd>" in panel
    assert panel.count("<circle") == len(edge.do_levels) > 1
    assert shown.count("chosen") >= 3


def test_writes_into_the_run_by_default_and_again_over_it(finished: Path) -> None:
    first = write_report(finished)
    assert first == finished / "report.html"
    before = first.read_text(encoding="utf-8")
    assert write_report(finished).read_text(encoding="utf-8") == before
    first.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("--agent", "planner", "--env", "fork-scm", "--steps", 512),
        ("--algo", "sb3-ppo", "--env", "fork-scm", "--steps", 1024),
        ("--env", "fork-scm", "--encoder", "mlp", "--steps", 2048, "--watch", "0.01"),
    ],
    ids=["planner", "sb3", "watched"],
)
def test_every_kind_of_run_has_a_page(words: tuple[object, ...], tmp_path: Path) -> None:
    assert run("train", *words, "--out", tmp_path / "run") == 0
    text = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert not _Outline(text).open
    assert ("Every mechanism was watched" in text or "mechanism changed" in text) == (
        "--watch" in words
    )


def test_names_are_escaped_in_drawings() -> None:
    graph = CausalGraph([[0, 1], [0, 0]], names=("<b>", 'a"&'))
    svg = graph_svg(graph, [Arrow(0, 1, "right", False)], keys={(0, 1, False): "0"})
    assert "<b>" not in svg
    assert "&lt;b&gt;" in svg
    assert _Outline(svg).edges == ["0"]


@pytest.mark.parametrize("n", [1, 2, 30])
def test_drawings_of_every_size_have_finite_places(n: int) -> None:
    graph = CausalGraph(np.triu(np.ones((n, n), dtype=int), 1), lagged=np.eye(n, dtype=int))
    arrows = [Arrow(i, j, "right", False) for i in range(n) for j in range(i + 1, n)]
    arrows += [Arrow(i, i, "extra", True) for i in range(n)]
    svg = graph_svg(graph, arrows)
    assert "nan" not in svg
    assert svg.count('class="edge"') == len(arrows)


def test_refuses_what_is_no_finished_run(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(message: str, *words: object) -> None:
        assert run("report", *words) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1

    fails("no run folder", tmp_path)
    unfinished = tmp_path / "unfinished"
    shutil.copytree(finished, unfinished)
    (unfinished / "summary.json").write_text("{")
    fails("summary.json is not a JSON file", unfinished)
    (unfinished / "transitions.npz").unlink()
    shutil.copy(finished / "summary.json", unfinished)
    fails("transitions.npz", unfinished)
    (unfinished / "summary.json").unlink()
    fails("finish it with --resume", unfinished)
    fails("folder that exists", finished, "--out", tmp_path / "no" / "x.html")
    assert not (unfinished / "report.html").exists()


def test_the_checkpoint_is_read_once(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path) -> object:
        read.append(path)
        return read_torch(path)

    monkeypatch.setattr("causal_rl.files.read_torch", counted)
    record = read_run(finished)
    assert read == [finished / "checkpoint.pt"]
    assert record.history[-1]["env_steps"] == record.summary["env_steps"]


def test_a_run_of_the_other_agent_is_no_planners(finished: Path) -> None:
    with pytest.raises(ValueError, match="a run of agent actor-critic, not of planner"):
        load_planner(finished)
