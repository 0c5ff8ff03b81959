"""CInA without fitting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from causal_rl.effects.cina_dual import solve_dual
from causal_rl.effects.cina_families import DataFamily
from causal_rl.effects.cina_kernel import gram_matrix
from causal_rl.effects.cina_zero_shot import (
    ZeroShotBalancer,
    ZeroShotTraining,
    balancing_gap,
    contrast,
    train_zero_shot,
)

SMALL = {"layers": 2, "width": 6, "channels": 2, "hidden": 12}


def drawn(count: int = 3, rows: int = 40, p: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    data = DataFamily(covariates=p).draw(count, rows, np.random.default_rng(0))
    return torch.as_tensor(data.X, dtype=torch.float32), torch.as_tensor(data.t)


def test_weights_are_feasible_whatever_the_network() -> None:
    X, t = drawn()
    a = ZeroShotBalancer(**SMALL)(X, t)
    assert a.min() >= 0
    assert a.max() <= 1
    signed = (a * (2 * t - 1)).sum(1)
    np.testing.assert_allclose(signed.detach(), np.zeros(3), atol=1e-5)


def test_order_of_rows_and_columns_names_of_arms_and_units_do_not_matter() -> None:
    X, t = drawn()
    network = ZeroShotBalancer(**SMALL)
    a = network(X, t).detach()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    near = {"atol": 2e-4, "rtol": 0.0}
    np.testing.assert_allclose(network(X[:, order], t[:, order]).detach(), a[:, order], **near)
    np.testing.assert_allclose(network(X.flip(2), t).detach(), a, **near)
    np.testing.assert_allclose(network(X, 1 - t).detach(), a, **near)
    np.testing.assert_allclose(network(3 * X + 1, t).detach(), a, **near)


def test_a_data_set_does_not_see_the_others_of_its_batch() -> None:
    X, t = drawn()
    network = ZeroShotBalancer(**SMALL)
    np.testing.assert_allclose(network(X[1:2], t[1:2])[0].detach(), network(X, t)[1].detach(),
                               atol=1e-4)  # fmt: skip


def test_one_network_takes_any_number_of_rows_and_covariates() -> None:
    network = ZeroShotBalancer(**SMALL)
    for rows, p in ((12, 2), (50, 9)):
        assert network(*drawn(2, rows, p)).shape == (2, rows)


def test_gap_is_that_of_the_exact_solver_and_closes_at_its_weights() -> None:
    X, t = drawn(2)
    for table, arms in zip(X, t, strict=True):
        exact = solve_dual(gram_matrix(table), 2.0 * arms.numpy() - 1, 0.3)
        batch = table[None], arms[None]
        at_best = balancing_gap(*batch, torch.as_tensor(exact.a[None], dtype=torch.float32), 0.3)
        assert at_best.item() == pytest.approx(0, abs=1e-4)
        even = torch.ones(1, 40) * torch.where(arms > 0, 1 / arms.sum(), 1 / (1 - arms).sum())
        assert balancing_gap(*batch, even * 5, 0.3).item() > 0.01


def test_contrast_of_even_weights_is_the_difference_of_means() -> None:
    t, y = torch.tensor([[0, 0, 1]]), torch.tensor([[1.0, 3.0, 7.0]])
    assert contrast(torch.ones(1, 3), t, y).item() == pytest.approx(5.0)


def test_training_closes_the_gap_and_is_repeatable() -> None:
    plan = ZeroShotTraining(rows=(24, 32), steps=16)
    gaps = [train_zero_shot(ZeroShotBalancer(**SMALL), plan) for _ in range(2)]
    assert gaps[0] == gaps[1]
    assert np.mean(gaps[0][-4:]) < 0.8 * np.mean(gaps[0][:4])


def test_supervision_changes_what_is_learned() -> None:
    found = []
    for supervision in (0.0, 100.0):
        network = ZeroShotBalancer(**SMALL)
        train_zero_shot(network, ZeroShotTraining(rows=(24, 32), steps=3, supervision=supervision))
        found.append(network(*drawn(1)).detach().numpy())
    assert np.abs(found[0] - found[1]).max() > 1e-4


def test_saved_network_gives_the_same_weights(tmp_path) -> None:
    X, t = drawn()
    network = ZeroShotBalancer(0.7, seed=3, **SMALL)
    network.save(tmp_path / "network.pt")
    loaded = ZeroShotBalancer.load(tmp_path / "network.pt")
    assert loaded.penalty == 0.7
    np.testing.assert_array_equal(loaded(X, t).detach(), network(X, t).detach())


def test_files_that_are_no_networks_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="no file"):
        ZeroShotBalancer.load(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(ValueError, match="no readable file"):
        ZeroShotBalancer.load(tmp_path / "text.pt")
    torch.save({"format": "other"}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="no zero-shot network"):
        ZeroShotBalancer.load(tmp_path / "other.pt")


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="layers is 0"):
        ZeroShotBalancer(layers=0)
    with pytest.raises(ValueError, match="penalty is"):
        ZeroShotBalancer(-1.0)
    with pytest.raises(ValueError, match="X has shape"):
        ZeroShotBalancer(**SMALL)(torch.ones(1, 4, 2), torch.ones(1, 3))
    with pytest.raises(TypeError, match="families must be"):
        ZeroShotTraining(families=())
    with pytest.raises(ValueError, match="steps is 0"):
        ZeroShotTraining(steps=0)
    with pytest.raises(ValueError, match=r"rows\[1\] is 9"):
        ZeroShotTraining(rows=(10, 9))


@pytest.mark.parametrize("structure", ["mixed", "er"])
def test_families_confound_and_say_the_effect(structure) -> None:
    family = DataFamily(structure, covariates=6, noise=0.0, heterogeneity=0.0)
    data = family.draw(5, 200, np.random.default_rng(1))
    assert data.X.shape == (5, 200, 6)
    assert set(np.unique(data.t)) == {0, 1}
    # Without noise, the outcome less the effect is a function of the covariates alone, of unit
    # variance; treated rows differ in it, which is the confounding.
    left = data.y - data.ate[:, None] * data.t
    np.testing.assert_allclose(left.std(1), 1.0, rtol=1e-9)
    means = [left[b][data.t[b] == 1].mean() - left[b][data.t[b] == 0].mean() for b in range(5)]
    assert np.abs(means).mean() > 0.2
    again = family.draw(5, 200, np.random.default_rng(1))
    np.testing.assert_array_equal(again.y, data.y)


def test_families_refuse_what_they_cannot_draw() -> None:
    with pytest.raises(ValueError, match="structure is 'sf'"):
        DataFamily("sf")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="covariates is 1"):
        DataFamily(covariates=1)
    with pytest.raises(ValueError, match="rows is 4"):
        DataFamily().draw(1, 4, np.random.default_rng(0))
