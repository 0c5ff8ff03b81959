"""Graph learners by name."""

from __future__ import annotations

from typing import Any

from causal_rl.catalogue import Catalogue
from causal_rl.discovery.base import GraphLearner

_LEARNERS: Catalogue[GraphLearner] = Catalogue(
    "graph learner",
    {
        "interventional": ("causal_rl.discovery.interventional", "InterventionalLearner"),
        "algorithm5": ("causal_rl.discovery.algorithm5", "Algorithm5Learner"),
        "gp-network": ("causal_rl.discovery.gp_network", "GPNetworkLearner"),
        "pc": ("causal_rl.discovery.pc", "PCLearner"),
        "cam": ("causal_rl.discovery.cam", "CamLearner"),
        "score": ("causal_rl.discovery.score_matching", "ScoreLearner"),
        "ges": ("causal_rl.discovery.adapters.greedy_equivalence", "GesLearner"),
        "gies": ("causal_rl.discovery.adapters.greedy_equivalence", "GiesLearner"),
        "boss": ("causal_rl.discovery.adapters.causal_learn", "BossLearner"),
        "fci": ("causal_rl.discovery.adapters.causal_learn", "FciLearner"),
        "lingam": ("causal_rl.discovery.adapters.causal_learn", "LingamLearner"),
        "notears": ("causal_rl.discovery.adapters.notears", "NotearsLearner"),
        "notears-mlp": ("causal_rl.discovery.adapters.notears", "NotearsMlpLearner"),
        "dagma": ("causal_rl.discovery.adapters.dagma", "DagmaLearner"),
        "dynotears": ("causal_rl.discovery.dynotears", "DynotearsLearner"),
        "abcd": ("causal_rl.discovery.abcd", "AbcdLearner"),
        "sort-regress": ("causal_rl.discovery.sort_regress", "SortRegressLearner"),
        "r2-sort-regress": ("causal_rl.discovery.sort_regress", "R2SortRegressLearner"),
        "multi-level": ("causal_rl.discovery.multi_level", "MultiLevelLearner"),
        "time-varying": ("causal_rl.discovery.time_varying", "TimeVaryingLearner"),
        "state-dependent": ("causal_rl.discovery.state_dependent", "StateDependentLearner"),
        "variational": ("causal_rl.discovery.variational", "VariationalLearner"),
        "ecam": ("causal_rl.discovery.ecam", "EcamLearner"),
        "amortised": ("causal_rl.discovery.amortised", "AmortisedLearner"),
        "attn-mask": ("causal_rl.discovery.attention_baselines", "AttnMaskLearner"),
        "catt": ("causal_rl.discovery.attention_baselines", "CattLearner"),
        "empty": ("causal_rl.discovery.baselines", "EmptyLearner"),
        "full": ("causal_rl.discovery.baselines", "FullLearner"),
        "random": ("causal_rl.discovery.baselines", "RandomLearner"),
    },
)


def list_learners() -> list[str]:
    """Names that `make_learner` knows, the default first."""
    return _LEARNERS.names()


def learner_class(name: str) -> type[GraphLearner]:
    """The class behind a name.

    Raises:
        ValueError: unknown name; the nearest known ones are offered.
        TypeError: ``name`` is no string.
    """
    return _LEARNERS.find(name)


def learner_options(name: str) -> dict[str, Any]:
    """The options of a learner and their defaults.

    Raises:
        ValueError: unknown name.
    """
    return _LEARNERS.options(name)


def register_learner(learner: type[GraphLearner]) -> type[GraphLearner]:
    """Let `make_learner`, and all that takes a learner by name, know a class of one's own.

    Usable as a decorator. A class registered before under the same name is replaced, so that a
    notebook's cell can be run again.

    Args:
        learner: a subclass of `GraphLearner` with a ``name`` that no built-in has.

    Returns:
        The same class.

    Raises:
        TypeError: no complete subclass of `GraphLearner`.
        ValueError: no name, or a built-in's.
    """
    _LEARNERS.add(learner, GraphLearner)
    return learner


def make_learner(name: str = "interventional", **options: Any) -> GraphLearner:
    """Build a graph learner.

    Args:
        name: one of `list_learners`.
        **options: keyword options of that learner, see `learner_options`.

    Returns:
        A learner that has seen nothing yet.

    Raises:
        ValueError: unknown name or option (the nearest are offered), or a value out of range.
        TypeError: an option of the wrong type.
    """
    return _LEARNERS.make(name, options)
