"""The estimators that the left half of Table 2 compares, and what each is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from causal_rl.effects import estimator_options
from causal_rl.errors import require_extra

#: What a method is told beside the rows: which column is the treatment and which the outcome, and
#: perhaps a graph.
COLUMNS, LEARNED, TRUE = "columns", "learned graph", "true graph"
KNOWS = (COLUMNS, LEARNED, TRUE)
#: Methods and options were settled on worlds of seeds below this; the table uses none of them.
FRESH = 6_000
#: The graph learner of the rows with a learned graph.
LEARNER = "gp-network"
#: The rows that the marks are about.
OURS, OURS_REAL = "ecam", "gaussian-process"
STANDARD = "transformer"
#: Rows without an estimator: no effect at all, and the difference of the arms' means.
ZERO, DIFFERENCE = "no effect", "difference in means"


@dataclass(frozen=True)
class EffectMethod:
    """A row of the table.

    Attributes:
        estimator: its name in `make_estimator`; None for the two rows without one.
        options: where they differ from the estimator's defaults.
        knows: with what it runs on the random worlds.
        real: whether it runs on the real data, where all columns are covariates and there is no
            graph.
    """

    estimator: str | None
    options: Mapping[str, Any] = field(default_factory=dict)
    knows: tuple[str, ...] = (COLUMNS,)
    real: bool = True

    def settings(self, seed: int, smoke: bool) -> dict[str, Any]:
        """All options but those that name columns, as the cell keeps them."""
        if self.estimator is None:
            return {}
        options = estimator_options(self.estimator) | dict(self.options) | {"seed": seed}
        if smoke and "steps" in options:
            options["steps"] = min(options["steps"], 20)
        return {k: v for k, v in options.items() if k not in ("graph", "treatment", "outcome")}


_ALL_GRAPHS = (LEARNED, TRUE)

METHODS: dict[str, EffectMethod] = {
    OURS: EffectMethod("ecam", knows=_ALL_GRAPHS),
    OURS_REAL: EffectMethod("gaussian-process", knows=_ALL_GRAPHS),
    "s-learner boosting": EffectMethod("s-learner", knows=KNOWS),
    "t-learner boosting": EffectMethod("t-learner"),
    "x-learner boosting": EffectMethod("x-learner"),
    "t-learner ridge": EffectMethod("t-learner", {"regressor": "ridge"}),
    STANDARD: EffectMethod("transformer", knows=(COLUMNS,)),
    "cat": EffectMethod("cat", knows=_ALL_GRAPHS, real=False),
    "attn-mask": EffectMethod("attn-mask", knows=(COLUMNS, TRUE), real=False),
    "catt": EffectMethod("catt", real=False),
    "irm": EffectMethod("irm", real=False),
    "tarnet": EffectMethod("tarnet"),
    "cfr-wass": EffectMethod("cfr-wass"),
    "dragonnet": EffectMethod("dragonnet"),
    "cevae": EffectMethod("cevae"),
    "site": EffectMethod("site"),
    "causal-forest": EffectMethod("causal-forest"),
    "linear-dml": EffectMethod("linear-dml"),
    "dr-learner": EffectMethod("dr-learner"),
    DIFFERENCE: EffectMethod(None),
    ZERO: EffectMethod(None),
}
SMOKE_METHODS = (OURS, "s-learner boosting", "t-learner ridge", STANDARD, "tarnet", ZERO)


def chosen_methods(knows: str, *, real: bool, smoke: bool) -> list[str]:
    """Names of the methods that run with this knowledge, in the order of the table."""
    return [
        name
        for name, method in METHODS.items()
        if (method.real if real else knows in method.knows) and (not smoke or name in SMOKE_METHODS)
    ]


def require_peers() -> None:
    """Refuse to begin without the peers' packages.

    Raises:
        MissingExtraError: one is absent.
    """
    for package in ("sklearn", "econml"):
        require_extra(package, extra="effects")
