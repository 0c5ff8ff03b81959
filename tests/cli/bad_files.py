"""Files that a user may hand to the program by mistake, and runs that were damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml

from causal_rl.graphs import CausalGraph

GARBAGE = bytes(range(256)) * 8


def write_files(folder: Path) -> None:
    """Tables, graphs, options and networks; nearly all of them bad, and named for what is."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=60)
    t = (rng.random(60) < 0.5).astype(int)
    rows = np.column_stack([a, a + rng.normal(size=60), rng.normal(size=60), t])
    good = [",".join([*(f"{v:.4f}" for v in row[:3]), str(int(row[3]))]) for row in rows]

    def table(name: str, lines: list[str], header: str = "a,b,c,t") -> None:
        (folder / f"{name}.csv").write_text("\n".join([header, *lines]) + "\n")

    table("good", good)
    table("header", [])
    table("one_row", good[:1])
    table("nan", [*good, "nan,1,2,0"])
    table("empty_cell", [*good, "1,,2,0"])
    table("infinite", [*good, "1,inf,2,0"])
    table("ragged", [*good, "1,2"])
    table("wide_row", [*good, "1,2,3,0,5"])
    table("twice", good, "a,b,a,t")
    table("nameless", good, "a,,c,t")
    table("words", [*good, "1,high,2,0"])
    table("constant", [line.rsplit(",", 2)[0] + ",7,0" for line in good])
    table("frozen", ["1,2,3,0"] * 9)
    table("one_column", [line.split(",")[0] for line in good], "a")
    table("sets", [f"{line},{'a;z' if i == 3 else ''}" for i, line in enumerate(good)], "a,b,c,t,s")
    (folder / "empty.csv").write_bytes(b"")
    (folder / "garbage.csv").write_bytes(GARBAGE)
    (folder / "utf16.csv").write_bytes("a,b\n1,2\n3,4\n".encode("utf-16"))
    (folder / "folder").mkdir()

    (folder / "prior_header.csv").write_text("from,to\na,b\n")
    (folder / "prior_rule.csv").write_text("rule,variable,to\nperhaps,a,b\n")
    (folder / "prior_name.csv").write_text("rule,variable,to\nrequired,a,z\n")
    (folder / "prior_both.csv").write_text("rule,variable,to\nrequired,a,b\nforbidden,a,b\n")
    (folder / "prior_cycle.csv").write_text("rule,variable,to\nrequired,a,b\nrequired,b,a\n")
    (folder / "prior_empty.csv").write_bytes(b"")

    plain = CausalGraph(np.eye(4, k=1, dtype=bool), names=("a", "b", "c", "t")).to_dict()
    strangers = CausalGraph(np.eye(2, k=1, dtype=bool), names=("p", "q")).to_dict()
    ring = np.roll(np.eye(4, dtype=int), 1, axis=1).tolist()
    graphs = {
        "known": plain,
        "cyclic": {**plain, "contemporaneous": ring},
        "strangers": strangers,
        "short": {**plain, "contemporaneous": [[0, 1], [0, 0]]},
        "twice": {**plain, "names": ["a", "a", "c", "t"]},
        "list": [1, 2],
        "keyless": {"format": plain["format"], "version": plain["version"]},
        "foreign": {**plain, "format": "another.graph"},
        "newer": {**plain, "version": 99},
        "surplus": {**plain, "colour": "red"},
        "words": {**plain, "contemporaneous": [["no"] * 4] * 4},
    }
    for name, content in graphs.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "broken.json").write_text('{"names": ["a"')
    (folder / "garbage.json").write_bytes(GARBAGE)
    (folder / "broken.dot").write_text("digraph { a -> ")
    (folder / "cyclic.dot").write_text("digraph { a; b; c; t; a -> b; b -> a }")

    options = {
        "unknown": "gama: 0.9\n",
        "typed": "steps: many\n",
        "ranged": "gamma: 2\n",
        "quoted": 'gamma: ".9"\n',
        "list": "- steps\n- 5\n",
        "scalar": "5\n",
        "broken": "steps: [1\n",
        "agent": "agent: dreamer\n",
        "planner": "agent: planner\nencoder: mlp\n",
        "object": "steps: !!python/object/apply:os.getcwd []\n",
    }
    for name, text in options.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "empty.yaml").write_bytes(b"")
    (folder / "garbage.yaml").write_bytes(GARBAGE)

    (folder / "garbage.pt").write_bytes(GARBAGE)
    (folder / "empty.pt").write_bytes(b"")
    torch.save({"some": "dict"}, folder / "other.pt")
    torch.save([1, 2], folder / "list.pt")
    (folder / "worlds.py").write_text("number = 3\n")
    (folder / "syntax.py").write_text("def world(:\n")


def _without(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def _holding(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda run: (run / name).write_bytes(content)


def _options(**changes: object) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        path = run / "config.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))

    return change


def _renamed(run: Path) -> None:
    path = run / "graph.json"
    graph = json.loads(path.read_text())
    path.write_text(json.dumps({**graph, "names": ["Z", *graph["names"][1:]]}))


def _hollow(*kept: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        path = run / "checkpoint.pt"
        whole = torch.load(path, weights_only=False)
        torch.save({**{key: whole[key] for key in kept}, "state": {}}, path)

    return change


def _half(run: Path) -> None:
    path = run / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:500])


#: What is done to a copy of a finished run.
DAMAGES: dict[str, Callable[[Path], object]] = {
    "whole": lambda run: None,
    "no_config": _without("config.yaml"),
    "no_graph": _without("graph.json"),
    "no_checkpoint": _without("checkpoint.pt"),
    "no_summary": _without("summary.json"),
    "no_transitions": _without("transitions.npz"),
    "half_checkpoint": _half,
    "empty_checkpoint": _holding("checkpoint.pt", b""),
    "garbage_checkpoint": _holding("checkpoint.pt", GARBAGE),
    "hollow_checkpoint": _hollow("format"),
    "stateless_checkpoint": _hollow("format", "world"),
    "garbage_config": _holding("config.yaml", GARBAGE),
    "empty_config": _holding("config.yaml", b""),
    "unknown_option": _options(gama=0.9),
    "other_world": _options(env="fork-scm"),
    "no_world": _options(env="chian-scm"),
    "wide_network": _options(embed_dim=16),
    "garbage_graph": _holding("graph.json", GARBAGE),
    "renamed_graph": _renamed,
    "garbage_summary": _holding("summary.json", GARBAGE),
    "empty_summary": _holding("summary.json", b""),
    "hollow_summary": _holding("summary.json", b"{}"),
    "listed_summary": _holding("summary.json", b"[]"),
    "garbage_transitions": _holding("transitions.npz", GARBAGE),
    "garbage_events": _holding("events.jsonl", b'{"half": '),
}


def damaged(run: Path, how: str, target: Path) -> Path:
    """A copy of a finished run to which that was done."""
    shutil.copytree(run, target)
    DAMAGES[how](target)
    return target
