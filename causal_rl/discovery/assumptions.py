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
_ATTENTION = (
    INDEPENDENT_ROWS,
    ACYCLIC,
    "What a transformer attends to when it tells a variable are its causes; nothing says that it "
    "does, and the method is a yardstick.",
)
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
        "Where no intervention settles a direction, the bend of the effects does; of straight "
        "lines with Gaussian noise the data cannot tell: the edge's confidence is near one half.",
        OPTIMUM,
    ),
    "pc": _LINEAR_CLASS,
    "ges": _LINEAR_CLASS,
    "boss": _LINEAR_CLASS,
    "gies": _LINEAR_CLASS,
    "fci": (HIDDEN, ACYCLIC, INDEPENDENT_ROWS, FAITHFUL, LINEAR, GAUSSIAN, EQUIVALENCE),
    "abcd": (
        HIDDEN,
        ACYCLIC,
        INDEPENDENT_ROWS,
        FAITHFUL,
        "A transformer trained to predict each variable from the others attends to those that are "
        "directly linked to it; on random models it does so only in part.",
        EQUIVALENCE,
    ),
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
    "sort-regress": (*_SORTED, VARIANCE_ORDER),
    "r2-sort-regress": (*_SORTED, R2_ORDER),
    "multi-level": (
        SUFFICIENT,
        ACYCLIC,
        INDEPENDENT_ROWS,
        "Effects are straight lines (mechanism=linear) or sums of bent functions of one cause each "
        "(basis); noise is Gaussian and added to them.",
        "Strengths of edges are sparse, alike among edges that share a cause or an effect, or "
        "gathered in communities; held-out rows say how much each of these counts.",
        OPTIMUM,
        "Where no intervention settles a direction, it means little.",
    ),
    "time-varying": (
        SUFFICIENT,
        ACYCLIC,
        LINEAR,
        GAUSSIAN,
        "Rows are in the order of time. Edges appear and vanish, seldom and each by itself; their "
        "direction, sign and strength stay. The graph drawn is that of the last row.",
        OPTIMUM,
        "Where no intervention settles a direction, it means little.",
    ),
    "state-dependent": (
        SUFFICIENT,
        ACYCLIC,
        INDEPENDENT_ROWS,
        "In each of a few boxes of the state every effect is a straight line; noise is added to "
        "them. An edge drawn is active in some of the boxes, or decides between them.",
        "Where no intervention settles a direction, the better fit is taken, and may mean little.",
    ),
    "ecam": (
        SUFFICIENT,
        ACYCLIC,
        INDEPENDENT_ROWS,
        "Effects are what a small transformer can express; noise is Gaussian and added to them.",
        OPTIMUM,
        "Where no intervention settles a direction, it means little.",
    ),
    "amortised": (
        SUFFICIENT,
        ACYCLIC,
        INDEPENDENT_ROWS,
        "The table resembles those on which the network was trained: random models of a few "
        "variables with additive noise. Confidences are probabilities under that distribution.",
        "Where no intervention settles a direction, it may mean little: see its confidence.",
    ),
    "attn-mask": (*_ATTENTION, "Variables without rank correlation have no edge."),
    "catt": _ATTENTION,
    "variational": (
        SUFFICIENT,
        ACYCLIC,
        INDEPENDENT_ROWS,
        "Effects are straight lines (mechanism=linear), smooth functions of single causes and of "
        "pairs (smooth), or either, each with probability one half (mixed); noise is Gaussian and "
        "added to them.",
        "Beforehand, each edge more makes a graph less likely by a fixed factor (option sparsity).",
        "Confidences are probabilities under these assumptions. Graphs that fit equally well share "
        "the mass; graph.json has the one of least expected distance to all.",
    ),
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
