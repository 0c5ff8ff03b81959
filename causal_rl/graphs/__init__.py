"""Causal graphs: the two blocks of a world in time, acyclicity, projection, metrics, drawing."""

from causal_rl.graphs.acyclicity import (
    find_cycle,
    h_expm,
    h_expm_torch,
    h_logdet,
    h_logdet_torch,
    is_dag,
    reachability,
    topological_order,
)
from causal_rl.graphs.causal_graph import CausalGraph
from causal_rl.graphs.comparison import BlockComparison, GraphComparison
from causal_rl.graphs.kinds import KINDS, Kind, possible_edges
from causal_rl.graphs.metrics import (
    auprc,
    auprc_lagged,
    f1,
    precision_recall,
    shd,
    shd_lagged,
    sid,
    sid_lagged,
    skeleton_f1,
)
from causal_rl.graphs.partial_comparison import PartialComparison
from causal_rl.graphs.partial_graph import PartialGraph
from causal_rl.graphs.projection import project_graph, project_to_dag
from causal_rl.graphs.structure import Block, GraphStructure
from causal_rl.graphs.unrolling import one_step_graph, within_step_reach

__all__ = [
    "KINDS",
    "Block",
    "BlockComparison",
    "CausalGraph",
    "GraphComparison",
    "GraphStructure",
    "Kind",
    "PartialComparison",
    "PartialGraph",
    "auprc",
    "auprc_lagged",
    "f1",
    "find_cycle",
    "h_expm",
    "h_expm_torch",
    "h_logdet",
    "h_logdet_torch",
    "is_dag",
    "one_step_graph",
    "possible_edges",
    "precision_recall",
    "project_graph",
    "project_to_dag",
    "reachability",
    "shd",
    "shd_lagged",
    "sid",
    "sid_lagged",
    "skeleton_f1",
    "topological_order",
    "within_step_reach",
]
