"""Static structural causal models: sampling, interventions, abduction, counterfactuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from causal_rl.graphs import CausalGraph, Kind
from causal_rl.scm.arguments import FloatArray, as_count, as_finite_columns, as_generator
from causal_rl.scm.dry_run import check_mechanisms
from causal_rl.scm.program import Program
from causal_rl.scm.variables import (
    Change,
    Variable,
    hard_intervention,
    soft_intervention,
)


class SCM:
    """A structural causal model without time.

    Columns are in the order in which the variables are given, which need not be causal.

    Example:
        >>> scm = SCM([Variable("X"), Variable("Y", Linear([2.0]), parents=("X",))])
        >>> scm.sample(1000, 0).shape
        (1000, 2)

    Attributes:
        variables: The variables, in column order.
        names: Their names.
        kinds: Their kinds.
        d: Number of columns.
        graph: The true `CausalGraph`, derived from the variables.
        order: Column indices, causes before effects.
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        """Check and compile the variables.

        Args:
            variables: The variables, in any order; no lagged parents.

        Raises:
            TypeError: If an element is no `Variable`.
            ValueError: On duplicate names, unknown parents, lagged parents, a reward with
                children, or a cycle, which is printed as "cycle: a -> b -> a".
        """
        self._program = Program(variables, dynamic=False)
        self.variables: tuple[Variable, ...] = self._program.variables
        self.names: tuple[str, ...] = self._program.names
        self.kinds: tuple[Kind, ...] = tuple(v.kind for v in self.variables)
        self.d: int = self._program.n
        self.graph: CausalGraph = self._program.graph
        self.order: tuple[int, ...] = self._program.order

    def __repr__(self) -> str:
        """The class and the names."""
        return f"{type(self).__name__}({', '.join(self.names)})"

    def sample(
        self, n: int, rng: np.random.Generator | int, do: Mapping[str, float] | None = None
    ) -> FloatArray:
        """Draw independent rows.

        The noise of all variables is drawn whatever `do` says, so that under one seed the
        variables that an intervention does not reach keep their values.

        Args:
            n: Number of rows, at least 1.
            rng: Generator or seed.
            do: Variables that are set, as in `do`.

        Returns:
            float64 of shape (n, d).

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If `do` names an unknown variable, or a mechanism fails (it is named).
        """
        n = as_count(n, "n")
        noise = self._program.sample_noise(as_generator(rng), n)
        return self._program.forward(noise, None, None, *self._program.constant_do(do, n)).T

    def from_noise(self, noise: ArrayLike, do: Mapping[str, float] | None = None) -> FloatArray:
        """Compute the values that given noise brings about.

        Args:
            noise: float64 of shape (n, d).
            do: Variables that are set, as in `do`.

        Returns:
            float64 of shape (n, d).

        Raises:
            ValueError: If `noise` has another shape or is not finite, or `do` is bad.
        """
        columns = as_finite_columns(noise, self.d, "noise")
        setting = self._program.constant_do(do, columns.shape[1])
        return self._program.forward(columns, None, None, *setting).T

    def do(self, values: Mapping[str, float] | None = None, /, **by_name: float) -> SCM:
        """Return the model under a hard intervention: constants, with the parents cut.

        Args:
            values: Value by name.
            **by_name: The same, for names that are identifiers.

        Returns:
            A new model.

        Raises:
            TypeError: If `values` is no mapping of numbers.
            ValueError: If a name is unknown or a value is not finite.
        """
        return SCM(hard_intervention(self.variables, {**(values or {}), **by_name}))

    def soft_do(self, changes: Mapping[str, Change]) -> SCM:
        """Return the model with some mechanisms, noises or whole variables replaced.

        Args:
            changes: For each name a `Variable` (its parents may differ), a mechanism or a noise.

        Returns:
            A new model.

        Raises:
            TypeError: If a change is none of these.
            ValueError: If a name is unknown or the result is no valid model (a cycle is printed).
        """
        return SCM(soft_intervention(self.variables, changes))

    def abduct(self, data: ArrayLike, rng: np.random.Generator | int | None = None) -> FloatArray:
        """Recover the noise of each row; exact where noise is additive.

        Rows that the model made are given back bit for bit by `from_noise`.

        Args:
            data: float64 of shape (n, d).
            rng: Generator or seed for the posterior of noise that the values do not fix
                (`Categorical`); None takes a middle one.

        Returns:
            float64 of shape (n, d).

        Raises:
            ValueError: If `data` has another shape or is not finite, or no noise explains a value.
        """
        columns = as_finite_columns(data, self.d, "data")
        return self._program.residuals(columns, rng=None if rng is None else as_generator(rng)).T

    def counterfactual(
        self,
        data: ArrayLike,
        do: Mapping[str, float],
        rng: np.random.Generator | int | None = None,
    ) -> FloatArray:
        """What each row would have been, had some variables been set otherwise.

        Abduction, action, prediction (PAPER.md A.1.7): the noise of each row is kept. A variable
        whose mechanism gives what it gave keeps its value bit for bit.

        Args:
            data: The factual rows, float64 of shape (n, d).
            do: The variables that are set, value by name.
            rng: As for `abduct`.

        Returns:
            float64 of shape (n, d).

        Raises:
            TypeError: If `do` is no mapping of numbers.
            ValueError: If `data` has another shape or is not finite, or `do` is bad.
        """
        generator = None if rng is None else as_generator(rng)
        factual = as_finite_columns(data, self.d, "data")
        setting = self._program.constant_do(do, factual.shape[1])
        return self._program.counterfactual(factual, *setting, generator).T

    def check(self) -> None:
        """Try every mechanism.

        Raises:
            ValueError: If a mechanism fails, returns another shape than (batch,), a value that is
                not finite or no number, changes its arguments, gives two answers to one
                question, or lets rows of a batch depend on each other; the variable is named.
        """
        check_mechanisms(self._program)
