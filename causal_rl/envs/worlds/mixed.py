"""Worlds in which some variables are categorical and some continuous."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.envs.worlds.control import control_spec, structure
from causal_rl.envs.worlds.options import RandomGraphOptions
from causal_rl.options import check_integer, check_number


@dataclass(frozen=True, kw_only=True)
class MixedOptions(RandomGraphOptions):
    """As :class:`RandomGraphOptions`, with categorical variables.

    Args:
        categories: values that a categorical variable takes, 0 to ``categories - 1``; also the
            number of values on offer for every variable (``n_values`` is not read).
        categorical_share: share of the variables that are categorical, in [0, 1]; the sink never
            is.
    """

    categories: int = 3
    categorical_share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("categories", self.categories, least=2)
        check_number("categorical_share", self.categorical_share, least=0.0, most=1.0)


def mixed_scm(options: MixedOptions) -> SCMEnvSpec:
    """A random DAG in which half of the variables are categorical."""
    rng = np.random.default_rng([options.graph_seed, 2])
    n, k = options.n, options.categories
    chosen = rng.permutation(n) < round(options.categorical_share * n)
    made = structure("er", options, options.density, [k if c else None for c in chosen])
    grid = np.linspace(-options.max_value, options.max_value, k).tolist()
    values = {
        v.name: grid if v.categories is None else [float(c) for c in range(k)]
        for v in made.variables
    }
    return control_spec("mixed-scm", options, made, values=values)
