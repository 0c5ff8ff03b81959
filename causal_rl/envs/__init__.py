"""SCM worlds as Gymnasium environments, scalar and vector, over one specification."""

from causal_rl.envs.counterfactual import Do, counterfactual
from causal_rl.envs.interventions import ActionTables, Interventions
from causal_rl.envs.registry import (
    list_envs,
    make_env,
    make_vector_env,
    register_built_in,
    register_env,
    resolve_spec,
)
from causal_rl.envs.scalar import SCMEnv
from causal_rl.envs.shifts import (
    change_mechanism,
    flip_mechanisms,
    randomise,
    scale_noise,
    standard_shifts,
)
from causal_rl.envs.sortability import sortability
from causal_rl.envs.spec import SCMEnvSpec, Shift
from causal_rl.envs.vector import SCMVectorEnv
from causal_rl.envs.worlds import (
    BlockOptions,
    CueOptions,
    MixedOptions,
    ProxyOptions,
    RandomGraphOptions,
    WorldOptions,
)

register_built_in()

__all__ = [
    "ActionTables",
    "BlockOptions",
    "CueOptions",
    "Do",
    "Interventions",
    "MixedOptions",
    "ProxyOptions",
    "RandomGraphOptions",
    "SCMEnv",
    "SCMEnvSpec",
    "SCMVectorEnv",
    "Shift",
    "WorldOptions",
    "change_mechanism",
    "counterfactual",
    "flip_mechanisms",
    "list_envs",
    "make_env",
    "make_vector_env",
    "randomise",
    "register_built_in",
    "register_env",
    "resolve_spec",
    "scale_noise",
    "sortability",
    "standard_shifts",
]
