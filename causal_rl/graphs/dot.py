"""CausalGraph to and from DOT, the language of Graphviz.

Written is one digraph with an attribute list on every node and edge; read is any digraph of plain
node and edge statements, with default attributes, chains ``a -> b -> c`` and comments.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

from causal_rl.graphs.exchange import Edge, edge_list, fields_from_edges, read_edge
from causal_rl.graphs.kinds import Kind
from causal_rl.graphs.structure import GraphStructure

_SHAPES: dict[Kind, str] = {
    "state": "ellipse",
    "action": "box",
    "context": "diamond",
    "reward": "doubleoctagon",
    "hidden": "ellipse",
}
_TOKEN = re.compile(
    r"""
    (?P<skip>\s+ | //[^\n]* | /\*.*?\*/ | ^\#[^\n]*)
  | (?P<quoted>"(?:\\.|[^"\\])*")
  | (?P<word>-?(?:\.\d+|\d+(?:\.\d*)?) | [^\W\d]\w*)
  | (?P<mark>->|--|[{}\[\];,=])
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)


def to_dot(graph: GraphStructure) -> str:
    """Write a graph as DOT text; see `CausalGraph.to_dot`.

    Args:
        graph: the graph.

    Returns:
        The text of one digraph, ending in a newline.
    """
    lines = ["digraph causal_graph {"]
    if graph.allow_cycles:
        lines.append("  allow_cycles=true;")
    for name, kind in zip(graph.names, graph.kinds, strict=True):
        style = ", style=dashed" if kind == "hidden" else ""
        lines.append(f"  {_quote(name)} [kind={kind}, shape={_SHAPES[kind]}{style}];")
    for edge in edge_list(graph):
        attributes = [f"lag={edge.lag}"]
        if edge.weight is not None:
            attributes.append(f'effect="{edge.weight!r}"')
        if edge.confidence is not None:
            attributes.append(f'confidence="{edge.confidence!r}"')
        if edge.lag:
            # Feedback over time must not turn the layout of the step upside down.
            attributes.append("style=dashed, constraint=false")
        ends = f"{_quote(edge.parent)} -> {_quote(edge.child)}"
        lines.append(f"  {ends} [{', '.join(attributes)}];")
    lines.append("}")
    return "\n".join(lines) + "\n"


def fields_from_dot(text: str) -> dict[str, Any]:
    """Read the arguments of `CausalGraph` from DOT text; see `CausalGraph.from_dot`.

    Args:
        text: the text of one digraph.

    Returns:
        Keyword arguments; the constructor checks their values.

    Raises:
        TypeError: text is not a string.
        ValueError: not such a digraph, or see `fields_from_edges`.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    return _Reader(text).fields()


def _quote(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class _Reader:
    """A recursive-descent reader of the part of DOT that a causal graph needs."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokenize(text))
        self._position = 0
        self._defaults: dict[str, dict[str, str]] = {"graph": {}, "node": {}, "edge": {}}
        self._nodes: dict[str, dict[str, str]] = {}
        self._edges: list[Edge] = []

    def fields(self) -> dict[str, Any]:
        if self._peek() == ("word", "strict"):
            self._next()
        if self._next() != ("word", "digraph"):
            raise ValueError("text must be a DOT digraph, and begin with: digraph")
        if self._peek() != ("mark", "{"):
            self._identifier()
        self._expect("{")
        while self._peek() != ("mark", "}"):
            self._statement()
        self._next()
        if self._peek() is not None:
            raise ValueError("text must be one DOT digraph, but goes on after its last brace")
        return {
            **fields_from_edges(
                list(self._nodes),
                [attributes.get("kind", "state") for attributes in self._nodes.values()],
                self._edges,
            ),
            "allow_cycles": self._defaults["graph"].get("allow_cycles") == "true",
        }

    def _statement(self) -> None:
        kind, name = self._peek() or (None, "the end of the text")
        if kind == "word" and name in self._defaults:
            self._next()
            self._defaults[name].update(self._attributes())
        elif (kind == "word" and name == "subgraph") or (kind, name) == ("mark", "{"):
            raise ValueError("text must not hold subgraphs: they are not read")
        else:
            chain = [self._identifier()]
            if self._accept("="):
                self._defaults["graph"][chain[0]] = self._identifier()
            else:
                while self._accept("->"):
                    chain.append(self._identifier())
                self._add(chain, self._attributes())
        self._accept(";")

    def _add(self, chain: list[str], attributes: dict[str, str]) -> None:
        for name in chain:
            self._nodes.setdefault(name, dict(self._defaults["node"]))
        if len(chain) == 1:
            self._nodes[chain[0]].update(attributes)
        given = {**self._defaults["edge"], **attributes}
        # Graphviz keeps "weight" for its layout, where a negative one is an error.
        values = {**given, "weight": given.get("effect")}
        self._edges += [
            read_edge(parent, child, values) for parent, child in itertools.pairwise(chain)
        ]

    def _attributes(self) -> dict[str, str]:
        attributes: dict[str, str] = {}
        while self._accept("["):
            while not self._accept("]"):
                key = self._identifier()
                attributes[key] = self._identifier() if self._accept("=") else "true"
                if not self._accept(","):
                    self._accept(";")
        return attributes

    def _identifier(self) -> str:
        kind, value = self._next()
        if kind == "quoted":
            return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
        if kind != "word":
            raise ValueError(f"text must be DOT: expected a name, got {value!r}")
        return value

    def _peek(self) -> tuple[str, str] | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        if token is None:
            raise ValueError("text must be DOT: it ends too early")
        self._position += 1
        return token

    def _accept(self, mark: str) -> bool:
        if self._peek() != ("mark", mark):
            return False
        self._position += 1
        return True

    def _expect(self, mark: str) -> None:
        token = self._next()
        if token != ("mark", mark):
            raise ValueError(f"text must be DOT: expected {mark!r}, got {token[1]!r}")


def _tokenize(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"text must be DOT: cannot read {text[position : position + 20]!r}")
        if match.lastgroup is not None and match.lastgroup != "skip":
            yield match.lastgroup, match.group()
        position = match.end()
