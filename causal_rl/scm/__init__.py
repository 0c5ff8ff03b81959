"""Structural causal models, static and in time: sampling, interventions, counterfactuals."""

from causal_rl.scm.categorical import Argmax, Categorical, OneHot
from causal_rl.scm.diagnostics import (
    explained_by_others,
    perturbation_graph,
    perturbation_one_step,
    r2_sortability,
    varsortability,
)
from causal_rl.scm.dynamic import DynamicSCM
from causal_rl.scm.generators import (
    MECHANISMS,
    MechanismFactory,
    Topology,
    random_dynamic_scm,
    random_scm,
    random_variables,
    topology,
)
from causal_rl.scm.keyed_noise import episode_key, keyed_uniform, uniform_at
from causal_rl.scm.mechanisms import (
    MLP,
    Constant,
    Function,
    Linear,
    Mechanism,
    Scaled,
    Tanh,
    affine,
)
from causal_rl.scm.noise import Gaussian, Laplace, Noise, NoNoise, ScaledNoise, Uniform
from causal_rl.scm.smooth import Polynomial, RandomFeatures
from causal_rl.scm.static import SCM
from causal_rl.scm.structural import NonAdditiveMechanism, Structural
from causal_rl.scm.trajectory import Trajectory
from causal_rl.scm.variables import Change, Variable

__all__ = [
    "MECHANISMS",
    "MLP",
    "SCM",
    "Argmax",
    "Categorical",
    "Change",
    "Constant",
    "DynamicSCM",
    "Function",
    "Gaussian",
    "Laplace",
    "Linear",
    "Mechanism",
    "MechanismFactory",
    "NoNoise",
    "Noise",
    "NonAdditiveMechanism",
    "OneHot",
    "Polynomial",
    "RandomFeatures",
    "Scaled",
    "ScaledNoise",
    "Structural",
    "Tanh",
    "Topology",
    "Trajectory",
    "Uniform",
    "Variable",
    "affine",
    "episode_key",
    "explained_by_others",
    "keyed_uniform",
    "perturbation_graph",
    "perturbation_one_step",
    "r2_sortability",
    "random_dynamic_scm",
    "random_scm",
    "random_variables",
    "topology",
    "uniform_at",
    "varsortability",
]
