"""The option of the ecam estimator that says which form of attention it has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from causal_rl.attention import ATTENTION_FORMS
from causal_rl.effects import make_estimator
from causal_rl.graphs import CausalGraph

NAMES = ("a", "b", "c", "t", "y")


def chain(confidence: float | None = None) -> CausalGraph:
    """Two confounders, one the cause of the other, so that tokens have an edge between them."""
    edges = np.zeros((5, 5), dtype=bool)
    for cause, effect in ("ab", "at", "bt", "ay", "by", "ty", "cy"):
        edges[NAMES.index(cause), NAMES.index(effect)] = True
    strengths = None if confidence is None else np.where(edges, confidence, 0.0)
    return CausalGraph(edges, names=NAMES, contemporaneous_confidence=strengths)


def table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a, noise, c = rng.normal(size=(3, 120))
    b = 0.8 * a + 0.6 * noise
    t = (rng.random(120) < 1 / (1 + np.exp(-a - b))).astype(int)
    return np.column_stack([a, b, c]), t, a - b + c + t * (1 + b)


def effects(graph: CausalGraph, **options: str) -> np.ndarray:
    X, t, y = table()
    estimator = make_estimator("ecam", graph=graph, steps=10, **options)
    return estimator.fit(X, t, y, names=NAMES[:3]).effect(X)


@pytest.mark.parametrize("form", ATTENTION_FORMS)
def test_every_form_learns_and_only_the_default_is_the_default(form: str) -> None:
    found, plain = effects(chain(), attention=form), effects(chain())
    assert np.isfinite(found).all()
    assert np.array_equal(found, plain) == (form == "causal")


def test_strengths_are_the_confidences_of_the_edges() -> None:
    sure, same = effects(chain(1.0), modulation="log"), effects(chain(), modulation="log")
    np.testing.assert_array_equal(sure, same)
    assert not np.array_equal(effects(chain(0.4), modulation="log"), sure)
    # What is read as edges alone does not depend on them.
    np.testing.assert_array_equal(effects(chain(0.4)), effects(chain()))


def test_levels_are_edges_paths_and_all_pairs_without_links_of_the_treatment() -> None:
    X, t, y = table()
    estimator = make_estimator("ecam", graph=chain(), steps=1, attention="multi-level")
    estimator.fit(X, t, y, names=NAMES[:3])
    edges, paths, every = estimator._network.encoder.graph.bool()
    at = [estimator.names_.index(name) for name in estimator.adjustment_.covariates]
    assert edges.sum() == chain().contemporaneous[np.ix_(at, at)].sum() == 1
    assert ((edges & ~paths) | (paths & ~every)).sum() == 0
    assert not every[-1].any()
    assert not every[:, -1].any()
    assert torch.equal(every[:-1, :-1], ~torch.eye(len(at), dtype=torch.bool))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"attention": "sparse"}, "attention .*sparse"),
        ({"modulation": "soft"}, "modulation .*soft"),
        ({"attention": "generalised", "modulation": "log"}, "modulation is 'log'"),
    ],
)
def test_bad_options(options: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        effects(chain(), **options)
