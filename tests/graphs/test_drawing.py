from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from causal_rl.graphs import KINDS, CausalGraph

STATUSES = {"right", "missing", "extra", "reversed"}
NAMES = ["a", "b", "c", "d"]


def graph_of(edges, lagged=(), names=NAMES):
    matrices = np.zeros((2, len(names), len(names)), dtype=bool)
    for matrix, pairs in zip(matrices, (edges, lagged), strict=True):
        for parent, child in pairs:
            matrix[names.index(parent), names.index(child)] = True
    return CausalGraph(*matrices, names)


TRUTH = graph_of(["ab", "bc", "ad"], ["aa", "bd"])
WRONG = graph_of(["ab", "cb", "ac"], ["aa", "db"], names=NAMES[::-1])


@pytest.fixture(autouse=True)
def _no_figure_is_registered_with_pyplot():
    before = pyplot.get_fignums()
    yield
    assert pyplot.get_fignums() == before


def legend_labels(legend):
    return {text.get_text() for text in legend.get_texts()}


def arrow_colours(ax):
    """Colours of the arrow heads, the only polygons without an edge."""
    return sorted(
        to_hex(patch.get_facecolor())
        for patch in ax.patches
        if type(patch).__name__ == "Polygon" and to_hex(patch.get_edgecolor(), True)[-2:] == "00"
    )


def test_without_a_truth_every_edge_is_drawn_alike():
    ax = TRUTH.plot()
    assert isinstance(ax, Axes)
    assert isinstance(ax.figure, Figure)
    assert len(ax.lines) == len(TRUTH.edges())
    assert len(set(arrow_colours(ax))) == 1
    assert legend_labels(ax.get_legend()) == {"inside the step", "from t to t+1"}
    assert {text.get_text() for text in ax.texts} == set(NAMES)
    # Lagged edges have another line style.
    assert len({line.get_linestyle() for line in ax.lines}) == 2


def test_with_a_truth_every_status_has_its_colour_and_its_name():
    ax = WRONG.plot(truth=TRUTH)
    # ab right, bc reversed, ad missing, ac extra; lagged: aa right, bd missing, db extra.
    assert len(ax.lines) == 7
    colours = arrow_colours(ax)
    assert sorted(colours.count(colour) for colour in set(colours)) == [1, 2, 2, 2]
    assert legend_labels(ax.get_legend()) == STATUSES | {"from t to t+1"}


@pytest.mark.parametrize(
    ("learned", "statuses"),
    [
        (TRUTH, {"right"}),
        (CausalGraph.empty(NAMES), {"missing"}),
        (graph_of(["ab", "cb", "ad"], ["aa", "bd"]), {"right", "reversed"}),
        (graph_of(["ab", "bc", "ad"], ["aa", "bd", "dd"]), {"right", "extra"}),
        (WRONG, STATUSES),
        (CausalGraph.full(NAMES), {"right", "extra"}),
    ],
)
def test_legends_name_the_statuses_present_and_no_others(learned, statuses):
    assert legend_labels(learned.plot(truth=TRUTH).get_legend()) & STATUSES == statuses
    figure = learned.plot_comparison(TRUTH)
    assert isinstance(figure, Figure)
    # The truth itself stands beside it, all right.
    assert legend_labels(figure.legends[0]) & STATUSES == statuses | {"right"}


def test_given_axes_are_drawn_on():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert TRUTH.plot(left) is left
    assert WRONG.plot(right, truth=TRUTH) is right
    assert figure.axes == [left, right]
    figure.canvas.draw()


@pytest.mark.parametrize("n", [1, 2, 9])
def test_graphs_of_any_size_with_awkward_names_can_be_drawn(n):
    rng = np.random.default_rng(n)
    names = [f"$x_{i}^{{" * (i % 3) + "long name " * (i % 4) + str(i) for i in range(n)]
    kinds = rng.choice(KINDS, n)
    upper = np.triu(rng.random((2, n, n)) < 0.3, 1)
    truth = CausalGraph(upper[0], np.eye(n), names, kinds)
    learned = CausalGraph(upper[1].T, rng.random((n, n)) < 0.2, names, kinds)
    learned.plot(truth=truth).figure.canvas.draw()
    learned.plot_comparison(truth).canvas.draw()


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_comparisons_are_saved(tmp_path, suffix):
    path = tmp_path / f"picture.{suffix}"
    WRONG.plot_comparison(TRUTH, path)
    start = {"png": b"\x89PNG", "svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]
    TRUTH.plot().figure.savefig(tmp_path / f"plot.{suffix}")
    assert (tmp_path / f"plot.{suffix}").read_bytes().startswith(start)


def test_an_unknown_format_leaves_the_old_file(tmp_path):
    path = tmp_path / "picture.xyz"
    path.write_text("old")
    with pytest.raises(ValueError, match="xyz"):
        WRONG.plot_comparison(TRUTH, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_graphs_without_edges_can_be_compared():
    empty = CausalGraph.empty(NAMES)
    assert empty.plot(truth=empty).get_legend().get_texts() == []
    empty.plot_comparison(empty).canvas.draw()


def test_bad_truths_are_refused():
    for draw in (lambda truth: TRUTH.plot(truth=truth), TRUTH.plot_comparison):
        with pytest.raises(ValueError, match=r"truth must have the names.*missing: d"):
            draw(CausalGraph.empty(NAMES[:3]))
        with pytest.raises(TypeError, match="truth must be a CausalGraph"):
            draw(np.zeros((4, 4)))


def test_importing_the_package_does_not_import_pyplot():
    code = "import sys, causal_rl.graphs; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
