"""The conformance tests of a world, in one class to inherit from."""

from __future__ import annotations

from causal_rl.testing.interface import InterfaceChecks
from causal_rl.testing.trajectories import TrajectoryChecks
from causal_rl.testing.truth import TruthChecks


class WorldConformance(InterfaceChecks, TrajectoryChecks, TruthChecks):
    """Inherit from it, say which world, and a test runner finds some twenty tests.

    ::

        class TestGarden(WorldConformance):
            def spec(self) -> SCMEnvSpec:
                return garden(horizon=8)

    or ``world = "garden.py:GARDEN"`` in place of the method, which takes what
    :func:`causal_rl.resolve_spec` takes, with ``options`` for its keyword arguments.

    Every method named ``test_...`` makes one check. A check that fails raises an `AssertionError`
    of one line, which names the world and what is wrong with it. pytest needs no plugin; with
    `unittest`, inherit from `unittest.TestCase` too. Without a runner, ``TestGarden().failures()``
    gives all messages at once. A check that a world cannot meet by design is left out by setting it
    to None in the subclass.

    Attributes:
        world: what :meth:`spec` resolves if it is not overridden.
        options: keyword arguments for it.
        seed: of the episodes, random actions and perturbed points.
        max_steps: the checks that compare trajectories cut the horizon down to this. Truncation is
            checked at the horizon of the specification, so state a short one there if you can.
        num_envs: rows of the vector environments.
        n_points: states at which the graphs are looked for by perturbation; more find effects that
            show up in few contexts.
        allowed_missing: stated edges that perturbation need not find, as ``(block, cause, effect)``
            with the block "contemporaneous" or "lagged": where a mechanism reads a parent in rare
            contexts only. "one_step" allows for two paths of one step that cancel.
        info_keys: what an info may hold.
        max_varsortability_excess: the greatest distance of the varsortability from 1/2 that passes,
            or None to assert nothing; see :meth:`sortability`.
    """

    def failures(self) -> dict[str, str]:
        """Make every check.

        Returns:
            The message of each check that failed, by the name of its method; empty for a world that
            conforms.
        """
        found: dict[str, str] = {}
        for name in sorted(dir(self)):
            method = getattr(self, name) if name.startswith("test_") else None
            if callable(method):
                try:
                    method()
                except AssertionError as error:
                    found[name] = str(error)
        return found
