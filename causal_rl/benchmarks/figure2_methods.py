"""The rows of Figure 2: what each method says the outcome would have been under the other arm."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from causal_rl.benchmarks.treatment_worlds import OUTCOME, TREATMENT, TreatmentWorld
from causal_rl.discovery import make_learner
from causal_rl.effects import EffectEstimator, counterfactual, fit_scm, make_estimator
from causal_rl.errors import import_extra
from causal_rl.graphs import CausalGraph

if TYPE_CHECKING:
    from causal_rl.effects.encoder_scm import EncoderSCM

Array = NDArray[np.float64]

#: The graph learner; never chosen by counterfactuals.
LEARNER = "gp-network"

NO_CHANGE, RIDGE, RIDGE_ROLES = "no change", "t-ridge", "t-ridge, roles known"
NETWORKS = ("cevae", "site", "dragonnet")
REGRESSION, RESIDUAL = "transformer", "transformer + abduction"
MASKED = "oracle mask + abduction"
ORACLE_FIT, ORACLE_ENCODER = "fit_scm, true graph", "encoder, true graph"
LEARNED_FIT, LEARNED_ENCODER = "fit_scm, learned graph", "encoder, learned graph"
GCM_LINEAR, GCM_BOOSTED = "dowhy.gcm linear, true graph", "dowhy.gcm boosting, true graph"


@dataclass(frozen=True)
class Answer:
    """What a method says of the rows asked about.

    Attributes:
        told: ``(n,)`` the outcome under the other arm.
        switch: ``(n,)`` whether the other arm is the better one; None where that is so if ``told``
            is more than the factual outcome.
    """

    told: Array
    switch: NDArray[np.bool_] | None = None


Answers = dict[str, Answer]


@dataclass(frozen=True)
class LearnedGraph:
    """What was learned on the way.

    Attributes:
        adjacency: ``(d, d)``.
        seconds: of the processor.
    """

    adjacency: NDArray[np.bool_]
    seconds: float


@dataclass(frozen=True)
class Group:
    """Rows that share work, and so a cell.

    Attributes:
        rows: names of the methods, and what each is, in words.
        answer: from the world (of which a method may read what its row says), the rows to learn
            from, the rows asked about and settings, to answers and the graph learned, if any.
        package: without which there is no such row.
    """

    rows: Mapping[str, str]
    answer: Callable[
        [TreatmentWorld, Array, Array, Mapping[str, Any]], tuple[Answers, LearnedGraph | None]
    ]
    package: str | None = None

    @property
    def available(self) -> bool:
        """Whether its package is installed."""
        return self.package is None or importlib.util.find_spec(self.package) is not None


def _plain(
    world: TreatmentWorld, train: Array, test: Array, settings: Mapping[str, Any]
) -> tuple[Answers, None]:
    answers = {NO_CHANGE: Answer(test[:, world.outcome].copy())}
    for name, columns in {RIDGE: world.covariates, RIDGE_ROLES: world.unaffected}.items():
        ridge = make_estimator("t-learner", regressor="ridge", seed=settings["seed"])
        answers[name] = _moved(ridge, columns, world, train, test)
    return answers, None


def _networks(
    world: TreatmentWorld, train: Array, test: Array, settings: Mapping[str, Any]
) -> tuple[Answers, None]:
    answers = {}
    for name in NETWORKS:
        network = make_estimator(name, seed=settings["seed"], **settings["networks"])
        answers[name] = _moved(network, world.covariates, world, train, test)
    return answers, None


def _moved(
    estimator: EffectEstimator,
    columns: list[int],
    world: TreatmentWorld,
    train: Array,
    test: Array,
) -> Answer:
    """The outcome plus or minus the effect told from some columns."""
    arms = train[:, world.treatment].astype(np.int64)
    estimator.fit(train[:, columns], arms, train[:, world.outcome])
    flipped = 1.0 - 2.0 * test[:, world.treatment]
    return Answer(test[:, world.outcome] + flipped * estimator.effect(test[:, columns]))


def _transformers(
    world: TreatmentWorld, train: Array, test: Array, settings: Mapping[str, Any]
) -> tuple[Answers, None]:
    d, y = world.scm.d, world.outcome
    every = np.zeros((d, d), dtype=np.bool_)
    every[:, y] = True
    every[y, y] = False
    masked = np.zeros_like(every)
    masked[[*world.unaffected, world.treatment], y] = True
    masked[y, y] = False
    plain = _encoder(every, world, train, settings)
    # Without abduction the answer is the regression's at the changed row, without its residual.
    changed = test.copy()
    changed[:, world.treatment] = 1.0 - changed[:, world.treatment]
    regression = plain.scm.variables[y].function
    before, after = (regression(np.delete(rows, y, axis=1)) for rows in (test, changed))
    return {
        REGRESSION: Answer(after, after > before),
        RESIDUAL: Answer(_flip(plain, world, test)),
        MASKED: Answer(_flip(_encoder(masked, world, train, settings), world, test)),
    }, None


def _oracle(
    world: TreatmentWorld, train: Array, test: Array, settings: Mapping[str, Any]
) -> tuple[Answers, None]:
    fitted, encoder = _both(world.adjacency, world, train, test, settings)
    return {ORACLE_FIT: fitted, ORACLE_ENCODER: encoder}, None


def _learned(
    world: TreatmentWorld, train: Array, test: Array, settings: Mapping[str, Any]
) -> tuple[Answers, LearnedGraph]:
    scaled = (train - train.mean(axis=0)) / train.std(axis=0)
    started = time.process_time()
    learner = make_learner(LEARNER, **{**settings["learner"], "seed": settings["seed"]})
    found = learner.fit(scaled).contemporaneous
    seconds = time.process_time() - started
    fitted, encoder = _both(found, world, train, test, settings)
    answers = {LEARNED_FIT: fitted, LEARNED_ENCODER: encoder}
    return answers, LearnedGraph(found, round(seconds, 3))


def _both(
    adjacency: NDArray[np.bool_],
    world: TreatmentWorld,
    train: Array,
    test: Array,
    settings: Mapping[str, Any],
) -> tuple[Answer, Answer]:
    graph = CausalGraph(contemporaneous=adjacency, names=world.names)
    fitted = fit_scm(train, graph, seed=settings["seed"])
    do = {TREATMENT: 1.0 - test[:, world.treatment]}
    smooth = counterfactual(fitted, test, do, targets=[OUTCOME])[OUTCOME]
    encoder = _encoder(adjacency, world, train, settings)
    return Answer(smooth), Answer(_flip(encoder, world, test))


def _encoder(
    adjacency: NDArray[np.bool_],
    world: TreatmentWorld,
    train: Array,
    settings: Mapping[str, Any],
) -> EncoderSCM:
    from causal_rl.effects.encoder_scm import EncoderSCM

    graph = CausalGraph(contemporaneous=adjacency, names=world.names)
    return EncoderSCM(graph, seed=settings["seed"], **settings["encoder"]).fit(train)


def _flip(model: EncoderSCM, world: TreatmentWorld, test: Array) -> Array:
    do = {TREATMENT: 1.0 - test[:, world.treatment]}
    return model.counterfactual(test, do, targets=[OUTCOME])[OUTCOME]


def _gcm(
    world: TreatmentWorld, train: Array, test: Array, settings: Mapping[str, Any]
) -> tuple[Answers, None]:
    pandas = import_extra("pandas", extra="pandas")
    names = list(world.names)
    given = pandas.DataFrame(test, columns=names)
    answers = {}
    gcm = import_extra("dowhy.gcm", extra="effects")
    for name, kind in ((GCM_LINEAR, "linear"), (GCM_BOOSTED, "boosting")):
        model = gcm_model(world.graph, pandas.DataFrame(train, columns=names), kind)
        told = gcm.counterfactual_samples(
            model, {TREATMENT: lambda value: 1.0 - value}, observed_data=given
        )
        answers[name] = Answer(told[OUTCOME].to_numpy(dtype=np.float64))
    return answers, None


def gcm_model(graph: CausalGraph, frame: Any, kind: str) -> Any:
    """A fitted invertible model of dowhy.gcm: additive noise throughout, empirical roots.

    Args:
        graph: over the columns of the frame.
        frame: a pandas data frame.
        kind: "linear" or "boosting".

    Raises:
        MissingExtraError: dowhy is not installed.
    """
    gcm = import_extra("dowhy.gcm", extra="effects")
    gcm.config.disable_progress_bars()
    diagram = nx.DiGraph(graph.to_networkx())
    model = gcm.InvertibleStructuralCausalModel(diagram)
    make = {
        "linear": gcm.ml.create_linear_regressor,
        "boosting": gcm.ml.create_hist_gradient_boost_regressor,
    }[kind]
    for name in graph.names:
        root = not graph.parents(name)
        law = gcm.EmpiricalDistribution() if root else gcm.AdditiveNoiseModel(make())
        model.set_causal_mechanism(name, law)
    gcm.fit(model, frame)
    return model


GROUPS: Mapping[str, Group] = {
    "plain": Group(
        {
            NO_CHANGE: "the outcome as it was",
            RIDGE: "the outcome plus or minus the effect of ridge regressions a arm on all other "
            "columns",
            RIDGE_ROLES: "the same on the columns that the treatment does not reach (told)",
        },
        _plain,
    ),
    "networks": Group(
        {
            "cevae": "the outcome plus or minus the effect by CEVAE on all other columns",
            "site": "the same by SITE",
            "dragonnet": "the same by DragonNet, which is CausalBERT without its text encoder",
        },
        _networks,
    ),
    "transformer": Group(
        {
            REGRESSION: "the encoder told from all other columns, asked with the treatment changed",
            RESIDUAL: "the same, the row's residual added",
            MASKED: "the same, told from the columns that the treatment does not reach alone "
            "(told which)",
        },
        _transformers,
    ),
    "oracle": Group(
        {
            ORACLE_FIT: "smooth mechanisms with additive noise on the true graph",
            ORACLE_ENCODER: "the encoder as a structural model on the true graph",
        },
        _oracle,
    ),
    "learned": Group(
        {
            LEARNED_FIT: f"smooth mechanisms on the graph that `{LEARNER}` learned from the rows",
            LEARNED_ENCODER: "the encoder as a structural model on the same learned graph",
        },
        _learned,
    ),
    "dowhy": Group(
        {
            GCM_LINEAR: "dowhy.gcm, linear mechanisms on the true graph",
            GCM_BOOSTED: "dowhy.gcm, gradient boosting on the true graph",
        },
        _gcm,
        "dowhy",
    ),
}
