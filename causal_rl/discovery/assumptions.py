"""What each learner takes for granted: the sentences that a report prints beside a graph."""

from __future__ import annotations

from causal_rl.discovery.registry import learner_class, learner_options

SUFFICIENT = "No two variables have a common cause outside of the table (causal sufficiency)."
HIDDEN = (
    "Variables outside of the table may be common causes; selection of rows may not depend on it."
)
ACYCLIC = "Nothing causes itself on a round way: the graph is acyclic."
INDEPENDENT_ROWS = "Rows are independent draws of one mechanism, interventions apart."
FAITHFUL = "Variables are independent only where the graph makes them so (faithfulness)."
LINEAR = "Every effect is a straight line."
ADDITIVE = "Effects of several causes add up, and noise is added to them."
SMOOTH = "Effects are smooth functions; noise is added to them."
GAUSSIAN = "Noise is Gaussian."
NON_GAUSSIAN = "Noise is not Gaussian; on Gaussian data the directions mean nothing."
TARGETS_KNOWN = (
    "The intervened variables are those named, and were set regardless of their causes; one that "
    "only nudges its target, or has another target too, leaves wrong edges."
)
NO_TARGETS = (
    "This method knows no interventions: rows in which something was set count as any others."
)
EQUIVALENCE = (
    "Without interventions several graphs fit equally well: an undirected edge of the equivalence "
    "class may point either way, and graph.json has one member of it, chosen by a fixed rule."
)
SCALE_FREE = "The result does not depend on the units of the columns."
SCALED = "The result changes with the units of the columns, so these must be comparable."
HAS_PAST = "Rows have a past; a table has none, so that only the edges within a row are learned."
STANDARDISED = (
    "The result changes with the units of the columns; unless the option standardise is false, "
    "they are brought to unit variance first."
)
OPTIMUM = "The descent may end in a local optimum."
VARIANCE_ORDER = (
    "Causes have smaller variance than their effects. In chosen units this holds by accident; "
    "the method is a yardstick."
)
R2_ORDER = (
    "Causes are explained less well by all other variables than their effects are; the method is a "
    "yardstick."
)
EQUAL_NOISE = "Noise has the same variance everywhere."
NOTHING = "A yardstick: the data do not enter."

_LINEAR_CLASS = (SUFFICIENT, ACYCLIC, INDEPENDENT_ROWS, FAITHFUL, LINEAR, GAUSSIAN, EQUIVALENCE)
_ADDITIVE = (SUFFICIENT, ACYCLIC, INDEPENDENT_ROWS, ADDITIVE, GAUSSIAN, "Effects bend.")
_SORTED = (SUFFICIENT, ACYCLIC, INDEPENDENT_ROWS, LINEAR)

# What the methods do with interventions and units, their classes say: see `assumptions`.
ASSUMPTIONS: dict[str, tuple[str, ...]] = {
    "interventional": (
        SUFFICIENT,
        ACYCLIC,
        INDEPENDENT_ROWS,
        "Effects are smooth functions of one cause, or of pairs of causes; noise is added to them.",
        "A cause accounts for at least a small share of its effect's variance (option floor).",
        "Where no intervention settles a direction, the better fit is taken; with Gaussian noise "
        "and straight lines the data cannot tell, and the direction means nothing.",
    ),
    "algorithm5": (
        SUFFICIENT,
        ACYCLIC,
        INDEPENDENT_ROWS,
        "Effects are straight lines (mechanism=linear) or smooth functions (mlp); noise is "
        "Gaussian and added to them.",
        OPTIMUM,
        "Where no intervention settles a direction, it means little.",
    ),
    "gp-network": (
        SUFFICIENT,
        ACYCLIC,
        INDEPENDENT_ROWS,
        "Effects are smooth functions of all causes together; Gaussian noise is added to them.",
        "Where no intervention settles a direction, the bend of the effects does; of straight lines "
        "with Gaussian noise the data cannot tell, and the edge's confidence is near one half.",
        OPTIMUM,
    ),
    "pc": _LINEAR_CLASS,
    "ges": _LINEAR_CLASS,
    "boss": _LINEAR_CLASS,
    "gies": _LINEAR_CLASS,
    "fci": (HIDDEN, ACYCLIC, INDEPENDENT_ROWS, FAITHFUL, LINEAR, GAUSSIAN, EQUIVALENCE),
    "lingam": (SUFFICIENT, ACYCLIC, INDEPENDENT_ROWS, LINEAR, NON_GAUSSIAN),
    "cam": _ADDITIVE,
    "score": _ADDITIVE,
    "notears": (*_SORTED, EQUAL_NOISE, OPTIMUM),
    "notears-mlp": (
        SUFFICIENT,
        ACYCLIC,
        INDEPENDENT_ROWS,
        SMOOTH,
        EQUAL_NOISE,
        OPTIMUM,
    ),
    "dagma": (*_SORTED, EQUAL_NOISE, OPTIMUM),
    "dynotears": (SUFFICIENT, ACYCLIC, LINEAR, EQUAL_NOISE, OPTIMUM, HAS_PAST),
    "pcmci": (SUFFICIENT, FAITHFUL, LINEAR, GAUSSIAN, HAS_PAST),
    "sort-regress": (*_SORTED, VARIANCE_ORDER),
    "r2-sort-regress": (*_SORTED, R2_ORDER),
    "empty": (NOTHING,),
    "full": (NOTHING,),
    "random": (NOTHING,),
}


def assumptions(method: str, *, interventions: bool) -> tuple[str, ...]:
    """What a learner takes for granted.

    Args:
        method: its name in `make_learner`.
        interventions: whether rows of the data are intervened on.

    Returns:
        Sentences; for a learner that is not listed, one that says so comes first.

    Raises:
        ValueError: unknown method.
    """
    cls = learner_class(method)
    unknown = (f"What {method} assumes is not written down here; see its own documentation.",)
    known = ASSUMPTIONS.get(method, unknown)
    if known == (NOTHING,):
        return known
    has_option = "standardise" in learner_options(method)
    about_targets = TARGETS_KNOWN if cls.uses_interventions else NO_TARGETS
    return (
        *known,
        *((about_targets,) if interventions else ()),
        SCALE_FREE if cls.scale_free else STANDARDISED if has_option else SCALED,
    )
