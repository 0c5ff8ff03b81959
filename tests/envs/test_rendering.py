from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex

from causal_rl.envs import Interventions, SCMEnvSpec, resolve_spec
from causal_rl.envs.frame_scene import DO_COLOUR, short_number
from causal_rl.envs.rendering import GraphRenderer
from causal_rl.envs.world_plot import plot_world
from causal_rl.graphs import KINDS, CausalGraph
from causal_rl.scm import DynamicSCM, Gaussian, Laplace, Linear, Scaled, Tanh, Variable

NAMES = ["a", "b", "a long variable name", "$c$", "reward"]
KINDS_OF = ["state", "action", "hidden", "context", "reward"]


def graph_of(n=5):
    if n != 5:  # a chain with a skip, and memory
        return CausalGraph(np.eye(n, k=1) + np.eye(n, k=2), np.eye(n))
    upper = np.triu(np.ones((n, n)), 1)
    upper[:, 3] = 0
    return CausalGraph(upper, np.diag([1, 0, 1, 0, 0]), NAMES, KINDS_OF)


VALUES = np.array([0.5, -1.25, 2.0, -7.0])
NONE = np.zeros(4, dtype=bool)


@pytest.fixture(scope="module")
def renderer():
    return GraphRenderer(graph_of())


@pytest.fixture(scope="module", params=[4, 60])
def chain(request):
    """A renderer of as many nodes, and some of them."""
    n = request.param
    return GraphRenderer(graph_of(n)), n, sorted({0, 1, n // 3, n // 2, n - 1})


@pytest.fixture(autouse=True)
def _no_figure_is_registered_with_pyplot():
    before = pyplot.get_fignums()
    yield
    assert pyplot.get_fignums() == before


def box_of(difference):
    """Corners (left, top, right, bottom) of the pixels that differ."""
    rows, columns = np.nonzero(difference.any(axis=-1))
    return columns.min(), rows.min(), columns.max(), rows.max()


# ------------------------------------------------------------------------ frames


@pytest.mark.parametrize("size", [(640, 480), (579, 401), (240, 480)])
def test_frames_are_what_recorders_take(size):
    frame = GraphRenderer(graph_of(), size=size).frame(VALUES, -0.5, 3)
    assert isinstance(frame, np.ndarray)
    assert frame.shape == (size[1], size[0], 3)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    assert frame.flags.writeable
    # The background is white up to the rim, and not all is background.
    rim = np.concatenate([frame[0], frame[-1], frame[:, 0], frame[:, -1]])
    assert (rim == 255).all()
    assert 0.01 < (frame < 255).any(axis=-1).mean() < 0.6


def test_a_frame_depends_on_its_arguments_alone(renderer):
    target = np.array([True, False, False, True])
    arguments = (VALUES, 0.25, 7, target, VALUES)
    first = renderer.frame(*arguments, episode_return=1.5)
    kept = first.copy()
    other = renderer.frame(-VALUES, None, 0)
    assert (other != first).any()
    again = renderer.frame(*arguments, episode_return=1.5)
    np.testing.assert_array_equal(again, kept)
    np.testing.assert_array_equal(first, kept)  # a later frame does not write into it
    fresh = GraphRenderer(graph_of())
    np.testing.assert_array_equal(fresh.frame(*arguments, episode_return=1.5), kept)
    for twin in (copy.deepcopy(renderer), pickle.loads(pickle.dumps(renderer))):
        np.testing.assert_array_equal(twin.frame(*arguments, episode_return=1.5), kept)


def test_arguments_are_not_changed(renderer):
    values, target = VALUES.copy(), np.array([False, True, False, False])
    renderer.frame(values, 0.0, 0, target, values)
    np.testing.assert_array_equal(values, VALUES)
    assert target.tolist() == [False, True, False, False]


def test_a_changed_value_changes_its_node_alone(chain):
    renderer, n, some = chain
    values = np.linspace(-2.0, 2.0, n)
    before = renderer.frame(values, None, 0)
    boxes = []
    for v in some:
        changed = values.copy()
        changed[v] += 1.0
        left, top, right, bottom = box_of(renderer.frame(changed, None, 0) != before)
        boxes.append((left, top, right, bottom))
        # No wider than its share of a circle, and clear of the header and the colour bar.
        assert right - left < 3.2 * 480 / max(n, 8)
        assert bottom - top < 3.2 * 480 / max(n, 8)
        assert top > 46
        assert right < 492
    # The regions of different nodes do not overlap.
    for i, (left, top, right, bottom) in enumerate(boxes):
        for a, b, c, d in boxes[:i]:
            assert right < a or c < left or bottom < b or d < top


def test_the_reward_is_drawn_in_its_node_and_in_the_header(renderer):
    unknown, low, high = (renderer.frame(VALUES, reward, 0) for reward in (None, -2.0, 2.0))
    assert (low != high)[:46].any()
    below = box_of((low != high)[46:])
    assert max(below[2] - below[0], below[3] - below[1]) < 120
    assert (unknown != low)[46:].any()
    # Blue below zero and red above.
    changed = (low != high).any(axis=-1)
    changed[:46] = False
    assert low[changed][:, 2].mean() > low[changed][:, 0].mean()
    assert high[changed][:, 0].mean() > high[changed][:, 2].mean()


def test_header_lines_tell_step_and_return(renderer):
    frame = renderer.frame(VALUES, 0.0, 0)
    for other in (
        renderer.frame(VALUES, 0.0, 1),
        renderer.frame(VALUES, 0.0, 0, episode_return=3.0),
        renderer.frame(VALUES, 0.0, 0, NONE),
    ):
        assert (frame != other)[:46].any()
        np.testing.assert_array_equal(frame[46:], other[46:])


def test_what_is_set_is_marked(chain):
    renderer, n, some = chain
    values = np.zeros(n)
    plain = renderer.frame(values, None, 0, np.zeros(n, dtype=bool))
    green = np.array([int(DO_COLOUR[i : i + 2], 16) for i in (1, 3, 5)])
    for v in some:
        marked = renderer.frame(values, None, 0, np.arange(n) == v)
        new = (marked[46:] == green).all(axis=-1) & (plain[46:] != green).any(axis=-1)
        assert new.sum() >= 10
        rows, columns = np.nonzero(new)
        assert max(np.ptp(rows), np.ptp(columns)) < 160


def test_the_value_that_was_set_is_told(renderer):
    target = np.array([False, True, False, False])
    one = renderer.frame(VALUES, 0.0, 0, target, np.full(4, 1.0))
    two = renderer.frame(VALUES, 0.0, 0, target, np.full(4, 2.0))
    assert (one != two)[:46].any()
    np.testing.assert_array_equal(one[46:], two[46:])
    # Without the values, those that are shown are read; where nothing is set, none is.
    settings = np.where(target, VALUES, np.nan)
    np.testing.assert_array_equal(
        renderer.frame(VALUES, 0.0, 0, target), renderer.frame(VALUES, 0.0, 0, target, settings)
    )


def test_colours_are_clipped_at_the_limit():
    n = 40  # too many for numbers in the nodes: colour is all there is
    renderer = GraphRenderer(CausalGraph.empty([f"x{i}" for i in range(n)]), limit=2.0)
    inside, edge, far = (renderer.frame(np.full(n, x), None, 0) for x in (1.0, 2.0, 50.0))
    np.testing.assert_array_equal(edge, far)
    assert (inside != edge).any()


@pytest.mark.parametrize("n", [1, 2, 25])
def test_graphs_of_any_size_and_kind_can_be_drawn(n):
    rng = np.random.default_rng(n)
    kinds = [*rng.choice([kind for kind in KINDS if kind != "reward"], n - 1), "state"]
    names = [f"$x_{i}^{{" + "long name " * (i % 4) + str(i) for i in range(n)]
    graph = CausalGraph(np.triu(rng.random((n, n)) < 0.4, 1), np.eye(n), names, kinds)
    frame = GraphRenderer(graph).frame(rng.normal(size=n), None, 0, np.ones(n, dtype=bool))
    assert (frame < 255).any()


def test_rows_of_environments_can_be_drawn():
    spec = resolve_spec("proxy-chain-scm")
    renderer = GraphRenderer(spec.causal_graph)
    assert renderer.names == spec.observed_names
    values = spec.scm.simulate(1, np.random.default_rng(0), batch=2).values[1, :, spec.observed].T
    first, second = (renderer.frame(row, np.float64(-1.0), np.int64(1)) for row in values)
    assert (first != second).any()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.00"),
        (-0.001, "0.00"),
        (-1.234, "-1.23"),
        (9.996, "10.0"),
        (-12.34, "-12.3"),
        (99.96, "100"),
        (-4321.0, "-4321"),
        (9999.6, "1e4"),
        (-2.5e123, "-2e123"),
    ],
)
def test_numbers_fit_into_nodes(number, text):
    assert short_number(number) == text


GOOD = {"values": VALUES, "reward": 0.0, "step": 0, "do_target": NONE, "do_value": VALUES}


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("values", VALUES[:3], r"shape \(4,\), one for each of a, b"),
        ("values", VALUES[None], r"got float64 of shape \(1, 4\)"),
        ("values", ["x"] * 4, "must be numbers"),
        ("values", [[1], [1, 2], 3, 4], "ragged"),
        ("values", [0, np.nan, 0, 0], "finite, got nan for 'b'"),
        ("reward", np.inf, "finite number, got inf"),
        ("reward", "1", "finite number, got '1'"),
        ("reward", True, "finite number"),
        ("step", -1, "at least 0, got -1"),
        ("step", 1.5, "integer"),
        ("do_target", np.zeros(4), r"bool of shape \(4,\), got float64"),
        ("do_target", NONE[:2], r"got bool of shape \(2,\)"),
        ("do_target", None, "do_value must be None where do_target is None"),
        ("do_value", VALUES[:1], r"shape \(4,\)"),
        ("episode_return", np.nan, "finite number, got nan"),
    ],
)
def test_bad_frames_are_refused(renderer, name, bad, message):
    with pytest.raises(ValueError, match=message) as caught:
        renderer.frame(**{**GOOD, name: bad})
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_setting_must_be_finite(renderer):
    target = np.array([True, False, False, False])
    with pytest.raises(ValueError, match="do_value must be finite, got nan for 'a'"):
        renderer.frame(VALUES, 0.0, 0, target, np.full(4, np.nan))


@pytest.mark.parametrize(
    "size", [640, (640,), (640, 480.0), (640, True), (200, 480), (640, 100), (640, 5000), "ab"]
)
def test_bad_sizes_are_refused(size):
    with pytest.raises(ValueError, match=r"^size must be two integers"):
        GraphRenderer(graph_of(), size=size)


@pytest.mark.parametrize("limit", [0, -1.0, np.nan, np.inf, "3", 1e300])
def test_bad_limits_are_refused(limit):
    with pytest.raises(ValueError, match=r"^limit must"):
        GraphRenderer(graph_of(), limit=limit)


def test_only_graphs_are_drawn():
    with pytest.raises(TypeError, match="graph must be a CausalGraph, got ndarray"):
        GraphRenderer(np.eye(3))


# ------------------------------------------------------------------------ worlds


def hidden_world(**changes):
    """U hidden on a and the reward; a acts on b by the hidden M."""
    variables = [
        Variable("U", kind="hidden", noise=Laplace(0.3)),
        Variable("a", parents=("U",), lagged_parents=("a",), mechanism=Linear([1, 0.5])),
        Variable("M", kind="hidden", parents=("a",), mechanism=Scaled(Tanh([1.0]))),
        Variable("b", kind="action", lagged_parents=("M",), mechanism=Linear([1.0])),
        Variable("goal", kind="context", noise=Gaussian(2.0)),
        Variable("r", kind="reward", parents=("b", "goal", "U"), mechanism=lambda b, g, u: b + g),
    ]
    interventions = Interventions(["a", "b"], (-1.0, 1.0), {"a": 0.25, "b": 0.75})
    fields = {"description": "A world with a $secret$.", "horizon": 9, **changes}
    return SCMEnvSpec("secret", DynamicSCM(variables), interventions, **fields)


def labels_of(ax):
    return {text.get_text() for text in ax.get_legend().get_texts()}


def panel_of(figure):
    return figure.texts[0].get_text()


def nodes_of(figure, spec):
    graph = spec.scm.graph
    return dict(zip(graph.names, figure.axes[0].patches[-graph.n :], strict=True))


def test_hidden_variables_are_drawn_with_their_edges():
    spec = hidden_world()
    figure = plot_world(spec)
    ax = figure.axes[0]
    shown = {text.get_text() for text in ax.texts}
    assert shown == {*spec.scm.graph.names, "0.25", "0.75"}
    for name, node in nodes_of(figure, spec).items():
        assert (node.get_linestyle() == "dashed") == (name in "UM")
        assert (to_hex(node.get_edgecolor()) == DO_COLOUR) == (name in "ab")
    assert {
        "inside the step",
        "from t to t+1",
        "of a hidden variable",
        "through hidden variables",
        "hidden",
        "context",
        "reward",
        "settable, cost 0.25 to 0.75",
    } <= labels_of(ax)
    # Each edge of the model, and a -> b through M.
    assert len(ax.lines) == len(spec.scm.graph.edges()) + 1
    colours = [to_hex(line.get_color()) for line in ax.lines]
    assert sorted(colours.count(colour) for colour in set(colours)) == [1, 3, 4]


def test_the_panel_lists_what_the_world_is_made_of():
    spec = hidden_world(shifts={"flip": lambda spec: spec})
    figure = plot_world(spec)
    text = panel_of(figure)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert rows["U"] == ["U", "hidden", "Constant", "Laplace(0.3)", "-"]
    assert rows["M"] == ["M", "hidden", "Tanh", "Gaussian(1)", "a"]
    assert rows["a"] == ["a", "state", "Linear", "Gaussian(1)", "U,", "a[t-1]"]
    assert rows["goal"] == ["goal", "context", "-", "Gaussian(2)", "-"]
    assert rows["r"] == ["r", "reward", "Function(<lambda>)", "none", "b,", "goal,", "U"]
    assert rows["horizon"] == ["horizon", "9", "steps"]
    assert rows["values"] == ["values", "-1,", "1"]
    assert rows["shifts"] == ["shifts", "flip"]
    assert [text.get_text() for text in figure.texts[1:]] == ["secret", spec.description]


@pytest.mark.parametrize(
    ("values", "cost", "told", "label"),
    [
        ((0.0, 0.5), 0.0, "0, 0.5", "settable, free"),
        (tuple(range(20)), 0.1, "20 from 0 to 19", "settable, cost 0.1 each"),
        ({"a": (0.0, 1.0), "b": (2.0, 3.0)}, 0.1, "a: 0, 1; b: 2, 3", "settable, cost 0.1 each"),
        ({"a": (4.0,), "b": (4.0,)}, {"a": 1}, "4", "settable, cost 0 to 1"),
    ],
)
def test_values_and_costs_are_told(values, cost, told, label):
    figure = plot_world(
        hidden_world().replace(interventions=Interventions(["a", "b"], values, cost))
    )
    assert f"values    {told}\n" in panel_of(figure)
    assert label in labels_of(figure.axes[0])


@pytest.mark.parametrize(
    ("name", "options", "more"),
    [("chain-scm", {}, None), ("proxy-chain-scm", {}, None), ("er-scm", {"n": 60}, 40)],
)
def test_built_in_worlds_are_drawn_within_the_picture(name, options, more, tmp_path):
    spec = resolve_spec(name, **options)
    path = tmp_path / "world.png"
    figure = plot_world(spec, path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert 20_000 < len(data) < 3_000_000
    assert list(tmp_path.iterdir()) == [path]
    text = panel_of(figure)
    assert (f"... and {more} more" in text) == (more is not None)
    assert "... and" not in text or more is not None
    for variable in [v for v in spec.scm.variables if v.kind != "state"]:  # never cut
        assert f"\n{variable.name} " in text
    # Nothing hangs over the edge, and the panel keeps clear of the graph.
    graph = figure.axes[0]
    texts = [*figure.texts, *graph.texts, *graph.get_legend().get_texts()]
    for box in [text.get_window_extent() for text in texts]:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
    left = figure.texts[0].get_window_extent().x0
    assert max(text.get_window_extent().x1 for text in graph.texts) < left
    assert max(patch.get_window_extent().x1 for patch in graph.patches) < left


def test_worlds_are_saved_in_other_formats(tmp_path):
    plot_world(hidden_world(), str(tmp_path / "world.svg"))
    assert (tmp_path / "world.svg").read_bytes().startswith(b"<?xml")
    plot_world(hidden_world(), tmp_path / "world")
    assert (tmp_path / "world").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("world.xyz", "must end in one of"),
        ("nowhere/world.png", "there is no folder"),
        ("folder", "is a folder"),
    ],
)
def test_bad_paths_are_refused(name, message, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=message) as caught:
        plot_world(hidden_world(), tmp_path / name)
    assert str(caught.value).startswith("path ")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_only_specifications_and_paths_are_taken():
    with pytest.raises(TypeError, match="spec must be an SCMEnvSpec, got str"):
        plot_world("chain-scm")
    with pytest.raises(TypeError, match="path must be a path or None, got 3"):
        plot_world(hidden_world(), 3)


def test_importing_does_not_import_matplotlib():
    code = (
        "import sys; "
        "import causal_rl.envs.rendering, causal_rl.envs.world_plot; "
        "sys.exit('matplotlib.pyplot' in sys.modules or 'matplotlib.figure' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
