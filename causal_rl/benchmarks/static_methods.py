"""The graph learners that Table 1 compares on static tables, and what each is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from causal_rl.discovery import learner_options
from causal_rl.discovery.registry import learner_class
from causal_rl.errors import require_extra

OURS = "gp-network"
EXTRA = "discovery"
#: Packages of the peers, all of the one extra.
PEERS = ("castle", "causallearn", "dagma", "ges")


@dataclass(frozen=True)
class StaticMethod:
    """A row of the table.

    Attributes:
        learner: its name in `make_learner`.
        options: where they differ from the learner's defaults.
        skip: mechanisms on which it is not run, because it is a special case for others.
        slow: a fit takes many seconds; run after all that are quick.
    """

    learner: str
    options: Mapping[str, Any] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    slow: bool = False

    def settings(self, seed: int) -> dict[str, Any]:
        """All options as the cell keeps them; scales are the benchmark's business, not theirs."""
        options = learner_options(self.learner) | dict(self.options)
        options |= {"standardise": False} if "standardise" in options else {}
        options |= {"seed": seed} if "seed" in options else {}
        return options

    @property
    def scale_free(self) -> bool:
        """Whether raw and standardised columns give the same graph."""
        return learner_class(self.learner).scale_free


METHODS: dict[str, StaticMethod] = {
    OURS: StaticMethod("gp-network"),
    "interventional": StaticMethod("interventional"),
    "algorithm5-linear": StaticMethod("algorithm5", {"mechanism": "linear"}),
    "variational": StaticMethod("variational"),
    "multi-level": StaticMethod("multi-level"),
    "pc": StaticMethod("pc"),
    "ecam": StaticMethod("ecam", slow=True),
    "attn-mask": StaticMethod("attn-mask", slow=True),
    "catt": StaticMethod("catt", slow=True),
    "abcd": StaticMethod("abcd", slow=True),
    "ges": StaticMethod("ges"),
    "boss": StaticMethod("boss"),
    "cam": StaticMethod("cam"),
    "score": StaticMethod("score"),
    "notears": StaticMethod("notears"),
    "notears-mlp": StaticMethod("notears-mlp", skip=("linear",), slow=True),
    "dagma": StaticMethod("dagma"),
    "lingam": StaticMethod("lingam"),
    "sort-regress": StaticMethod("sort-regress"),
    "r2-sort-regress": StaticMethod("r2-sort-regress"),
    "empty": StaticMethod("empty"),
    "full": StaticMethod("full"),
    "random": StaticMethod("random"),
}


def require_peers() -> None:
    """Refuse to begin without the peers' packages.

    Raises:
        MissingExtraError: one is absent.
    """
    for package in PEERS:
        require_extra(package, extra=EXTRA)
