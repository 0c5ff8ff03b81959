"""Checks that any world can be put through: inherit `WorldConformance` in a test suite."""

from causal_rl.testing.conformance import WorldConformance

__all__ = ["WorldConformance"]
