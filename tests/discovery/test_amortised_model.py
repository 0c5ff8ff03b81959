"""The network of the amortised learner: symmetries, probabilities, files."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from causal_rl.discovery.amortised_model import (
    AmortisedModel,
    ModelSizes,
    edge_probabilities,
    likely_edges,
    load_model,
    pair_loss,
    save_model,
)

SMALL = ModelSizes(embed_dim=8, pair_dim=8, product_dim=3, num_blocks=2, num_heads=2)


def model(sizes: ModelSizes = SMALL) -> AmortisedModel:
    torch.manual_seed(0)
    return AmortisedModel(sizes).eval()


def table(d: int, rows: int = 40, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(d)
    values = torch.randn(batch, rows, d, generator=generator)
    do_target = torch.randint(d + 1, (batch, rows, 1), generator=generator) == torch.arange(d)
    return values, do_target


@torch.no_grad()
def answer(network: AmortisedModel, *arguments: torch.Tensor | None) -> torch.Tensor:
    return network(*arguments)[-1]


@pytest.mark.parametrize("d", [1, 5])
def test_permuting_variables_permutes_the_answer(d: int) -> None:
    values, do_target = table(d)
    past = torch.arange(d) >= (d + 2) // 2
    there = torch.randperm(d, generator=torch.Generator().manual_seed(1))
    plain = answer(model(), values, do_target, past)
    moved = answer(model(), values[..., there], do_target[..., there], past[there])
    torch.testing.assert_close(moved, plain[:, there][:, :, there], rtol=1e-4, atol=1e-5)


def test_the_order_of_rows_says_nothing() -> None:
    values, do_target = table(5)
    there = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    plain = answer(model(), values, do_target)
    moved = answer(model(), values[:, there], do_target[:, there])
    torch.testing.assert_close(moved, plain, rtol=1e-4, atol=1e-5)


def test_tables_of_a_batch_do_not_mix() -> None:
    values, do_target = table(4)
    both = answer(model(), values, do_target)
    alone = answer(model(), values[1:], do_target[1:])
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)


def test_what_was_set_matters() -> None:
    values, do_target = table(4)
    told = answer(model(), values, do_target)
    untold = answer(model(), values, torch.zeros_like(do_target))
    assert (told - untold)[:, ~torch.eye(4, dtype=torch.bool)].abs().max() > 1e-3


def test_far_off_settings_do_not_squeeze_all_else() -> None:
    values, do_target = table(4, rows=60)
    far = torch.where(do_target, 100.0 * values.sign(), values)
    squeezed = (far - far.mean(dim=1, keepdim=True)) / far.std(dim=1, keepdim=True)
    plain = answer(model(), far, do_target)
    torch.testing.assert_close(answer(model(), squeezed, do_target), plain, rtol=0.01, atol=0.01)


def test_impossible_edges_have_no_probability() -> None:
    values, do_target = table(4)
    past = torch.tensor([False, False, True, True])
    possible = torch.ones(4, 4, dtype=torch.bool)
    possible[0, 1] = False
    for guess in model()(values, do_target, past, possible):
        impossible = torch.isneginf(guess[0]).numpy()
        np.testing.assert_array_equal(
            impossible, [[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
        )
        assert (edge_probabilities(guess)[0].detach().numpy()[impossible] == 0).all()


def test_the_guess_modulates_the_attention() -> None:
    values, do_target = table(4)
    guided, free = model(), model(ModelSizes(**{**SMALL.__dict__, "modulated": False}))
    free.load_state_dict(guided.state_dict())
    torch.testing.assert_close(
        guided(values, do_target)[0], free(values, do_target)[0]
    )  # before any attention
    assert not torch.allclose(
        answer(guided, values, do_target), answer(free, values, do_target), atol=1e-5
    )


def test_bad_shapes_and_sizes_are_refused() -> None:
    values, do_target = table(3)
    with pytest.raises(ValueError, match="values and do_target must be"):
        model()(values, do_target[:, :5])
    with pytest.raises(ValueError, match="none of them 0"):
        model()(values[:, :0], do_target[:, :0])
    with pytest.raises(ValueError, match="num_blocks must be an integer >= 1, got 0"):
        ModelSizes(num_blocks=0)
    with pytest.raises(ValueError, match="num_heads must divide 32"):
        ModelSizes(num_heads=5)


def test_probabilities_are_those_of_three_choices() -> None:
    logits = torch.tensor(
        [[-torch.inf, 1.0, 90.0], [2.0, -torch.inf, -torch.inf], [88.0, 0.0, 0.0]]
    )
    found = edge_probabilities(logits).double().numpy()
    parts = np.exp([0.0, 1.0, 2.0])
    assert found[0, 1] == pytest.approx(parts[1] / parts.sum(), rel=1e-5)
    assert found[1, 0] == pytest.approx(parts[2] / parts.sum(), rel=1e-5)
    assert found[0, 2] == pytest.approx(1 / (1 + np.exp(-2.0)), rel=1e-5)
    assert found[1, 2] == 0.0
    assert found[2, 1] == pytest.approx(0.5)


def test_the_loss_is_the_cross_entropy_of_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 3, generator=generator).masked_fill(torch.eye(3).bool(), -torch.inf)
    logits[0, 2, 1] = -torch.inf
    graph = torch.tensor([[[0, 1, 0], [0, 0, 0], [1, 0, 0]]]).bool()
    p = edge_probabilities(logits)[0]
    expected = -(p[0, 1].log() + p[2, 0].log() + (1 - p[1, 2] - p[2, 1]).log()) / 3
    torch.testing.assert_close(pair_loss(logits, graph), expected)


def test_likely_edges_are_what_each_pair_most_probably_is() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        forth, back, none = rng.dirichlet(np.ones(3))
        drawn = likely_edges(np.array([[0.0, forth], [back, 0.0]]))
        chances = {(True, False): forth, (False, True): back, (False, False): none}
        assert chances[bool(drawn[0, 1]), bool(drawn[1, 0])] == max(forth, back, none)
    tie = likely_edges(np.array([[0.0, 0.45], [0.45, 0.0]]))
    np.testing.assert_array_equal(tie, [[False, True], [False, False]])
    assert not likely_edges(np.array([[0.0, 0.7], [0.1, 0.0]]), threshold=0.9).any()


def test_files_bring_the_network_back(tmp_path: Path) -> None:
    network, path = model(), tmp_path / "network.pt"
    save_model(network, path, {"steps": 3})
    again, about = load_model(path)
    assert about == {"steps": 3}
    assert again.sizes == network.sizes
    values, do_target = table(4)
    ours, theirs = (edge_probabilities(answer(m, values, do_target)) for m in (network, again))
    torch.testing.assert_close(ours, theirs, atol=0.01, rtol=0.0)  # half precision
    assert not torch.equal(ours, torch.zeros_like(ours))


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    text, other, broken = (tmp_path / name for name in ("a.pt", "b.pt", "c.pt"))
    text.write_text("no network")
    torch.save({"format": "another"}, other)
    save_model(model(), broken, {})
    payload = torch.load(broken, weights_only=True)
    payload["sizes"]["embed_dim"] = 16
    torch.save(payload, broken)
    expected = {
        tmp_path / "none.pt": "which is no file",
        tmp_path: "which is no file",
        text: "cannot be read as one",
        other: "is another file",
        broken: "is of another network",
    }
    for path, message in expected.items():
        with pytest.raises(ValueError, match=message) as refused:
            load_model(path)
        assert "\n" not in str(refused.value)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    path, trap = tmp_path / "evil.pt", tmp_path / "sprung"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (trap,))

    torch.save({"format": Evil()}, path)
    with pytest.raises(ValueError, match="cannot be read as one"):
        load_model(path)
    assert not trap.exists()


def test_all_sizes_of_tables_have_finite_answers() -> None:
    for d, rows in product((2, 3), (1, 2, 7)):
        values, do_target = table(d, rows)
        found = edge_probabilities(answer(model(), values, do_target))
        assert torch.isfinite(found).all()
        assert (found + found.transpose(1, 2)).max() <= 1 + 1e-5
