"""``causal-rl report RUN``: one HTML page that a person opens to see what a run has learned."""

from __future__ import annotations

from causal_rl.agents.report.decisions import Attention, changed_decisions, mean_attention
from causal_rl.agents.report.evidence import DoLevel, EdgeEvidence, edge_evidence
from causal_rl.agents.report.run_record import RunRecord, read_run
from causal_rl.agents.report.write import REPORT_FILE, write_report

__all__ = [
    "REPORT_FILE",
    "Attention",
    "DoLevel",
    "EdgeEvidence",
    "RunRecord",
    "changed_decisions",
    "edge_evidence",
    "mean_attention",
    "read_run",
    "write_report",
]
