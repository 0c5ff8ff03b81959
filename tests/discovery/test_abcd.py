from __future__ import annotations

import numpy as np
import pytest
import torch

from causal_rl.discovery import make_learner
from causal_rl.discovery.abcd import abcd, attention_covariance
from causal_rl.discovery.sequence_model import (
    ItemModel,
    ModelOptions,
    RowModel,
    train_items,
    train_rows,
)

SMALL = ModelOptions(embed_dim=8, steps=0, batch=16)


def rows_that_sum(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    weights = np.random.default_rng(seed).random(shape)
    return weights / weights.sum(axis=-1, keepdims=True)


def chain(rows: int = 400) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(rows, 3))
    x[:, 1] += 2 * x[:, 0]
    x[:, 2] += x[:, 1]
    return x


# -------------------------------------------------------------------- attention to a graph


def test_printed_is_the_gram_matrix_as_correlations():
    attention = rows_that_sum((2, 3, 5, 5))
    expected = np.zeros((5, 5))
    for mean in attention.mean(axis=1):
        gram = mean @ mean.T
        expected += gram / np.sqrt(np.outer(gram.diagonal(), gram.diagonal())) / 2
    np.testing.assert_allclose(attention_covariance(attention, "printed"), expected)


def test_printed_reads_a_collider_off_the_attention_that_the_paper_has_in_mind():
    # (I - G)^-1 Lambda with rows of sum 1: the third token looks at the two others, they at none.
    attention = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.3, 0.3, 0.4]])
    found = abcd(attention, np.inf, read_as="printed", names=list("abc"))
    assert set(found.edges()) == {("a", "o->", "c"), ("b", "o->", "c")}


def test_mended_joins_those_that_look_at_each_other():
    # A chain: each looks at its neighbours, so the Gram matrix links the ends most.
    attention = np.array([[0.3, 0.7, 0.0], [0.4, 0.2, 0.4], [0.0, 0.7, 0.3]])
    found = abcd(attention, 1000, names=list("abc"))
    assert set(found.edges()) == {("a", "o-o", "b"), ("b", "o-o", "c")}
    printed = attention_covariance(attention, "printed")
    assert printed[0, 2] > max(printed[0, 1], printed[1, 2])
    precision = np.linalg.inv(attention_covariance(attention))
    assert precision[0, 2] == pytest.approx(0.0, abs=1e-12)
    assert precision[0, 1] < 0


def test_uniform_attention_says_nothing():
    assert not abcd(np.full((4, 4), 0.25), 1000).skeleton.any()
    # The head that exceeds the uniform share counts, though the others hide it in the mean.
    heads = np.full((4, 3, 3), 1 / 3)
    heads[0, 0] = [0.0, 1.0, 0.0]
    assert abcd(heads, 10_000).skeleton.sum() == 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("read_as", ["printed", "mended"])
def test_any_attention_has_a_covariance(read_as: str, seed: int):
    sharp = rows_that_sum((2, 2, 6, 6), seed) ** 4
    covariance = attention_covariance(sharp / sharp.sum(axis=-1, keepdims=True), read_as)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
    assert np.linalg.eigvalsh(covariance)[0] > -1e-10


def test_bad_attention():
    with pytest.raises(TypeError, match="attention must hold real numbers"):
        abcd([["a"]], 10)
    with pytest.raises(ValueError, match=r"attention has shape \(2, 3\)"):
        abcd(np.ones((2, 3)), 10)
    with pytest.raises(ValueError, match="rows that sum to 1; one is off by 1"):
        abcd(np.ones((2, 2)), 10)
    with pytest.raises(ValueError, match="finite and not negative"):
        abcd([[2.0, -1.0], [0.0, 1.0]], 10)
    with pytest.raises(ValueError, match="read_as is 'read'; it must be one of printed, mended"):
        abcd(np.eye(2), 10, read_as="read")
    with pytest.raises(ValueError, match="rows is 0"):
        abcd(np.eye(2), 0)
    for read_as in ("printed", "mended"):
        with pytest.raises(ValueError, match=r"alpha is 1\.5"):
            abcd(np.eye(2), 10, alpha=1.5, read_as=read_as)


# -------------------------------------------------------------------- the models


def test_what_is_hidden_is_not_seen():
    model = train_rows(chain(), SMALL)
    tokens = torch.randn(4, 3)
    hidden = torch.zeros(4, 3, dtype=torch.bool)
    hidden[:, 1] = True
    other = tokens.clone()
    other[:, 1] = 9.0
    assert torch.equal(model.predict(tokens, hidden), model.predict(other, hidden))
    assert not torch.equal(model.predict(tokens, ~hidden), model.predict(other, ~hidden))
    sessions = np.random.default_rng(0).integers(5, size=(20, 4))
    items = train_items(sessions, 5, SMALL)
    first, second = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[0, 1, 4, 3]])
    gone = torch.tensor([[False, False, True, False]])
    assert torch.equal(items.predict(first, gone), items.predict(second, gone))


def test_rows_of_attention_are_those_of_the_pass_in_which_the_token_is_hidden():
    model = train_rows(chain(), SMALL)
    tokens = torch.randn(2, 3)
    together = model.read_hidden(tokens)
    assert together.shape == (2, 2, 3, 3)
    np.testing.assert_allclose(together.sum(dim=-1), 1.0, rtol=1e-5)
    for j in range(3):
        hidden = torch.zeros(2, 3, dtype=torch.bool)
        hidden[:, j] = True
        alone = model.read(tokens, hidden)[:, :, j]
        np.testing.assert_allclose(together[:, :, j], alone, atol=1e-6)


def test_training_is_deterministic_and_leaves_the_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    options = ModelOptions(embed_dim=8, steps=3, batch=8, seed=1)
    one, two = train_rows(chain(), options), train_rows(chain(), options)
    assert torch.equal(torch.rand(2), expected)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


class Regression(RowModel):
    """Predicts each variable by the regression on the others that a covariance has."""

    def __init__(self, covariance: np.ndarray) -> None:
        super().__init__(len(covariance), SMALL)
        precision = np.linalg.inv(covariance)
        slopes = -precision / precision.diagonal()[:, None]
        np.fill_diagonal(slopes, 0.0)
        self.slopes = torch.from_numpy(slopes.astype(np.float32))

    def predict(self, tokens: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        return tokens @ self.slopes.T


def test_a_linear_model_implies_the_covariance_it_was_made_of():
    x = chain(5000)
    covariance = np.cov(x.T)
    tokens = torch.from_numpy((x - x.mean(axis=0)).astype(np.float32))
    found = Regression(covariance).implied_covariance(tokens)
    np.testing.assert_allclose(found, covariance, rtol=1e-2)


def test_bad_models():
    with pytest.raises(ValueError, match="num_heads is 3; it must divide embed_dim=8"):
        train_rows(chain(), ModelOptions(embed_dim=8, num_heads=3))
    with pytest.raises(ValueError, match=r"values must be \(N, n\) finite"):
        train_rows([[np.nan]], SMALL)
    with pytest.raises(ValueError, match="sessions must hold items from 0 to 4"):
        train_items([[7]], 5, SMALL)
    with pytest.raises(ValueError, match=r"sessions must be \(N, length\) integers"):
        train_items([[0.5]], 5, SMALL)
    assert isinstance(train_items([[1, 2]], 5, SMALL), ItemModel)


# -------------------------------------------------------------------- the learner


def test_learner_keeps_a_graph_of_the_names():
    learner = make_learner("abcd", steps=2, embed_dim=8, rows_read=16)
    graph = learner.fit(chain())
    assert learner.equivalence_class_.names == graph.names == ("X1", "X2", "X3")
    assert learner.attention_.shape == (16, 2, 3, 3)
    assert not learner.equivalence_class_.bidirected.any()
    assert not graph.lagged.any()
    printed = make_learner("abcd", read_as="printed", steps=0, embed_dim=8)
    printed.fit(chain())
    expected = abcd(printed.attention_, 8, read_as="printed", names=graph.names)
    assert printed.equivalence_class_ == expected
    with pytest.raises(ValueError, match="embed_dim is 0"):
        make_learner("abcd", embed_dim=0)
    with pytest.raises(ValueError, match="read_as is 'x'"):
        make_learner("abcd", read_as="x")


@pytest.mark.slow
def test_a_trained_model_finds_a_chain_in_a_table():
    learner = make_learner("abcd")
    learner.fit(chain(2000))
    skeleton = learner.equivalence_class_.skeleton
    assert skeleton[0, 1]
    assert skeleton[1, 2]
