"""The torch program against the NumPy simulator: noise, mechanisms, whole models, bad input."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.scm import (
    MLP,
    Argmax,
    Categorical,
    Constant,
    DynamicSCM,
    Gaussian,
    Laplace,
    Linear,
    Mechanism,
    Noise,
    NoNoise,
    OneHot,
    Polynomial,
    RandomFeatures,
    Scaled,
    ScaledNoise,
    Structural,
    Tanh,
    Uniform,
    Variable,
    episode_key,
    uniform_at,
)
from causal_rl.scm.torch_layers import chunks
from causal_rl.scm.torch_mechanisms import register_torch, to_torch
from causal_rl.scm.torch_noise import episode_key_torch, noise_to_torch, uniform_at_torch
from causal_rl.scm.torch_program import TorchProgram

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
words = st.integers(0, 2**64 - 1)
counts = st.integers(0, 2**62)
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is there")


def sine(x: Any, y: Any) -> Any:
    return np.sin(x) + y


@register_torch(sine)
def _(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.sin(x) + y


def stretched(x: Any, y: Any, noise: Any, factor: float = 1.0) -> Any:
    return x + factor * y * noise


register_torch(stretched)(stretched)


class Cubed(Mechanism):
    """A mechanism class that only this file knows."""

    def __call__(self, parents: Any) -> Any:
        return parents.prod(axis=1)


class Skewed(Noise):
    """A noise class that only this file knows."""

    def ppf(self, u: Any) -> Any:
        return u**2


RNG = np.random.default_rng(5)


def two_scores() -> list[Mechanism]:
    return [Linear([1.0, -2.0], 0.1), Tanh([0.5, 1.0]), MLP.random(2, RNG)]


MECHANISMS = {
    "constant": Scaled(Constant(0.7), shift=1.0, scale=2.0),
    "linear": Linear([0.5, -1.5], bias=0.3),
    "tanh": Tanh([0.5, -1.5], bias=0.3, scale=1.7),
    "mlp": MLP.random(2, RNG),
    "scaled": Scaled(Scaled(Tanh([1.0, 2.0], 0.1), 0.2, -1.5), 0.4, 0.5),
    "scaled mlp": Scaled(MLP.random(2, RNG, hidden=3), 0.4, 0.5),
    "random features": RandomFeatures.random(2, RNG),
    "polynomial": Polynomial.random(2, RNG),
    "unbounded polynomial": Polynomial([0.3, 0.2], [1.0, 0.5, -0.2], bound=None),
    "argmax": Argmax(two_scores()),
    "categorical": Categorical(two_scores()),
    "probabilities": Categorical.from_probabilities([0.2, 0.5, 0.3]),
    "function": sine,
    "structural": Structural(stretched),
    "partial": Structural(functools.partial(stretched, factor=0.5)),
}


def model(mechanism: Any) -> DynamicSCM:
    """A context, two parents, the mechanism inside the step and one step late, a reader of it."""
    arity = getattr(mechanism, "n_parents", 2)
    fixed = {"parents": ("a",), "lagged_parents": ("b",)}
    return DynamicSCM(
        [
            Variable("reads", OneHot(Tanh([0.5, -0.5, 1.0, 0.3]), [3, None]), parents=("x", "a"))
            if isinstance(mechanism, Argmax | Categorical)
            else Variable("reads", Linear([0.5, -0.2]), Laplace(0.3), parents=("x", "a")),
            Variable("x", mechanism, **({} if arity == 0 else fixed)),
            Variable("a", Linear([0.5, 0.8]), Gaussian(0.5), ("goal",), ("a",)),
            Variable("b", Tanh([0.9]), ScaledNoise(Uniform(-1.0, 1.0), 0.4), ("a",)),
            Variable("goal", Constant(0.3), Uniform(-1.0, 1.0), kind="context"),
            Variable("reward", sine, parents=("x",), lagged_parents=("reads",), kind="reward"),
        ]
    )


def compare(scm: DynamicSCM, dtype: torch.dtype, device: str = "cpu", steps: int = 6) -> float:
    """Greatest difference over some steps with interventions; categories must not differ."""
    rng = np.random.default_rng(0)
    batch = 50
    program = TorchProgram(scm, device, dtype)
    seed, episode = rng.integers(0, 2**63, batch, dtype=np.uint64), np.arange(batch)
    key = episode_key(seed, episode)
    torch_key = torch.tensor(key.view(np.int64), device=device)
    free = [i for i, kind in enumerate(scm.kinds) if kind != "context"]
    state, other, error = np.empty(0), torch.empty(0), 0.0
    for t in range(steps):
        noise = scm.noise_from_uniforms(uniform_at(key, t, scm.n))
        drawn = program.noise(torch_key, torch.full((batch,), t, device=device))
        if t == 0:
            state, other = scm.initial(noise), program.initial(drawn)
        else:
            mask = np.zeros((batch, scm.n), dtype=np.bool_)
            mask[:, free] = rng.random((batch, len(free))) < 0.3
            value = np.rint(rng.random((batch, scm.n)) * 2.0)
            put = functools.partial(torch.tensor, device=device)
            before, previous = state, other
            state = scm.step(before, noise, None, mask, value)
            other = program.forward(previous, drawn, None, put(mask.T), put(value.T).to(dtype))
            reward = program.reward(previous, other).cpu().numpy()
            error = max(error, np.abs(reward - scm.reward_value(before, state)).max())
        found = other.cpu().numpy().T
        for i, variable in enumerate(scm.variables[: scm.n]):
            if variable.categories is not None:
                np.testing.assert_array_equal(found[:, i], state[:, i])
        error = max(error, np.abs(found - state).max())
        assert other.dtype is dtype
    return error


@given(st.lists(st.tuples(words, counts, counts), min_size=1, max_size=5), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_uniforms_are_those_of_numpy_bit_for_bit(keys: list[tuple[int, ...]], n: int) -> None:
    seed, episode, step = (np.array(column, dtype=np.uint64) for column in zip(*keys, strict=True))
    key = episode_key(seed, episode)
    bits = [torch.tensor(array.view(np.int64)) for array in (seed, episode, step)]
    torch_key = episode_key_torch(bits[0], bits[1])
    np.testing.assert_array_equal(torch_key.numpy().view(np.uint64), key)
    uniforms = uniform_at_torch(torch_key, bits[2], n)
    np.testing.assert_array_equal(uniforms.numpy(), uniform_at(key, step, n).T)
    assert (bits[0].numpy().view(np.uint64) == seed).all()  # arguments are left alone


@pytest.mark.parametrize(
    "noise",
    [Gaussian(0.3), Uniform(-2.0, 0.5), Laplace(1.5), NoNoise(), ScaledNoise(Laplace(2.0), 0.1)],
    ids=repr,
)
def test_inverse_cdfs_are_those_of_numpy(noise: Noise) -> None:
    ends = 2.0 ** -np.arange(1, 54)
    u = np.concatenate([ends, 1.0 - ends[:52], np.linspace(0.001, 0.999, 3001)])
    tensor = torch.tensor(u)
    np.testing.assert_allclose(noise_to_torch(noise)(tensor).numpy(), noise.ppf(u), 1e-11, 1e-12)
    np.testing.assert_array_equal(tensor.numpy(), u)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism_gives_what_numpy_gives(name: str, dtype: torch.dtype) -> None:
    scm = model(MECHANISMS[name])
    assert compare(scm, dtype) < TOLERANCE[dtype]
    TorchProgram(scm, dtype=dtype).check()


@cuda
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_every_mechanism_gives_it_on_a_gpu(dtype: torch.dtype) -> None:
    for name, mechanism in MECHANISMS.items():
        assert compare(model(mechanism), dtype, "cuda") < TOLERANCE[dtype], name


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0.0, 1.0))
@settings(max_examples=25, deadline=None)
def test_layers_give_what_single_mechanisms_give(seed: int, n: int, density: float) -> None:
    """Random graphs in random order: levels, lags, contexts, columns without noise."""
    rng = np.random.default_rng(seed)
    names = [f"v{i}" for i in range(n)]
    variables = [Variable("goal", noise=Uniform(), kind="context")]
    for i, name in enumerate(names):
        here = tuple(p for p in (*names[:i], "goal") if rng.random() < density)
        late = tuple(p for p in names if rng.random() < density / 2)
        weights = rng.normal(size=len(here) + len(late)) / n
        kind = [Linear(weights, 0.1), Tanh(weights, 0.2, 1.5), Scaled(Tanh(weights), 0.5, 2.0)]
        noise = [Gaussian(0.5), NoNoise(), Laplace(0.2), Uniform()][rng.integers(4)]
        variables.append(Variable(name, kind[rng.integers(3)], noise, here, late))
    shuffled = [variables[i] for i in rng.permutation(n + 1)]
    reward = Variable("reward", Linear([1.0]), parents=(names[-1],), kind="reward")
    assert compare(DynamicSCM([*shuffled, reward]), torch.float64, steps=3) < 1e-10


@given(st.lists(st.sets(st.integers(0, 60), max_size=40), min_size=1, max_size=60))
def test_chunks_hold_every_column_once_and_waste_little(reads: list[set[int]]) -> None:
    parents = {i: tuple(read) for i, read in enumerate(reads)}
    made = chunks(list(parents), parents)
    assert [i for chunk in made for i in chunk] == list(parents)
    for chunk in made:
        size = len(chunk) * len(set().union(*(parents[i] for i in chunk)))
        assert len(chunk) == 1 or size <= max(256, 4 * sum(len(parents[i]) for i in chunk))


def test_gradients_flow_through_a_step_and_its_reward() -> None:
    program = TorchProgram(model(MECHANISMS["mlp"]))
    generator = torch.Generator().manual_seed(0)
    previous, noise, value = (
        torch.randn(program.n, 3, generator=generator, dtype=torch.float64, requires_grad=True)
        for _ in range(3)
    )
    mask = torch.zeros(program.n, 3, dtype=torch.bool)
    mask[2] = True

    def reward(*leaves: torch.Tensor) -> torch.Tensor:
        before, drawn, done = leaves
        return program.reward(before, program.forward(before, drawn, None, mask, done))

    assert torch.autograd.gradcheck(reward, (previous, noise, value))


def root(mechanism: Any = None, noise: Noise | None = None) -> DynamicSCM:
    given_noise = {} if noise is None else {"noise": noise}
    odd = Variable("odd", mechanism or Linear([1.0]), parents=("first",), **given_noise)
    return DynamicSCM([Variable("first"), odd])


def halved(x: Any) -> Any:
    return x / 2


@pytest.mark.parametrize(
    ("scm", "message"),
    [
        (root(lambda x: x), "variable 'odd': the function <lambda> has no torch version"),
        (root(Structural(lambda x, e: x)), "variable 'odd': the function <lambda> has no torch"),
        (root(Cubed()), "variable 'odd': the mechanism Cubed has no torch version"),
        (root(Scaled(Cubed())), "variable 'odd': the mechanism Cubed has no torch version"),
        (root(Linear([1.0]), Skewed()), "variable 'odd': noise Skewed has no torch version"),
        (root(Linear([1.0]), Skewed().scaled(2.0)), "variable 'odd': noise Skewed has no"),
    ],
)
def test_what_has_no_torch_version_is_named(scm: DynamicSCM, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchProgram(scm)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (lambda x: x / 3, "variable 'odd': its torch version returns"),
        (lambda x: x.sum(), "variable 'odd': its torch version must return"),
        (lambda x: 0.5, "variable 'odd': its torch version must return"),
        (lambda x: (x / 2).to(torch.float16), "variable 'odd': its torch version must return"),
        (lambda x: x / "2", "variable 'odd': its torch version failed"),
    ],
)
def test_check_refuses_a_torch_version_that_differs(version: Any, message: str) -> None:
    register_torch(halved)(version)
    program = TorchProgram(root(halved))
    with pytest.raises(ValueError, match=message):
        program.check()
    register_torch(halved)(halved)
    program = TorchProgram(root(halved))
    program.check()


def test_classes_can_be_registered() -> None:
    class Doubled(Mechanism):
        def __call__(self, parents: Any) -> Any:
            return 2 * parents[:, 0]

    class Squared(Noise):
        def ppf(self, u: Any) -> Any:
            return u**2

    scm = root(Doubled(), Squared().scaled(3.0))
    to_torch.register(Doubled)(lambda mechanism, like: lambda columns, noise: 2 * columns[0])
    noise_to_torch.register(Squared)(lambda noise: torch.square)
    program = TorchProgram(scm)
    program.check()
    uniforms = torch.linspace(0.1, 0.9, 8, dtype=torch.float64).view(2, 4)
    wanted = scm.noise_from_uniforms(uniforms.numpy().T).T
    np.testing.assert_allclose(program.noise_from_uniforms(uniforms).numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((1,), TypeError, "scm must be a DynamicSCM, got int"),
        ((root(), "gpu9"), ValueError, "device must be .* got 'gpu9'"),
        ((root(), "cuda:77"), ValueError, "device must be .* got 'cuda:77'"),
        ((root(), "meta"), ValueError, "device must be .* got 'meta'"),
        ((root(), 1.5), TypeError, "device must be a string or a torch.device, got 1.5"),
        ((root(), "cpu", torch.float16), ValueError, "dtype must be .*float16"),
        ((root(), "cpu", "float64"), TypeError, "dtype must be a torch.dtype, got 'float64'"),
    ],
)
def test_bad_arguments_are_named(arguments: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        TorchProgram(*arguments)
    assert "\n" not in str(caught.value)


def test_bad_registrations_are_named() -> None:
    with pytest.raises(TypeError, match="function must be callable, got 3"):
        register_torch(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="torch version must be callable, got 3"):
        register_torch(halved)(3)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="no reward"):
        TorchProgram(root()).reward(torch.zeros(2, 1), torch.zeros(2, 1))
