"""Draws the rule graphs and the import graph of these pages from the rule files and the library's imports.

Run it from the repository: ``python docs/make_figures.py``. The drawings are SVG without fonts or dates: equal rules
give equal bytes, and a test compares them with what is committed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("bids", "preprocess", "measures", "pretrain", "evaluate", "report")
# Inputs that a rule asks a function or the plan for, and the rules that make them.
ASKED = {
    "index_scans": ["bids"],
    "index_excluded": ["bids"],
    "raw_image": ["bids"],
    "embedding_files": ["embed", "embed_untrained", "rival"],
    "changed_files": ["embed_perturbed", "rival_perturbed"],
    "PLAN.methods.decoded": ["decode"],
    "PLAN.tasks.shaken": ["perturbed"],
    "maps_made": ["preprocess_chunk"],
    "PLAN.cohort.exclusions": ["preprocess", "measures", "pack"],
    "PLAN.tasks.maps": ["interpret", "interpret_measures"],
}
ROW, CHARACTER, HIGH, GAP, MARGIN = 34, 7.4, 24, 46, 12
Graph = dict[str, set[str]]


def rules() -> dict[str, tuple[str, str]]:
    """Stage and text of every rule, in the order of the files."""
    found = {}
    for stage in STAGES:
        files = sorted((ROOT / "rules").glob(f"{stage}*.smk"))
        text = "".join(file.read_text(encoding="utf-8") for file in files)
        for match in re.finditer(r"^rule (\w+):\n((?:    .*\n|\n)+)", text, re.MULTILINE):
            found[match[1]] = (stage, match[2])
    return found


def patterns(body: str, part: str) -> list[str]:
    """Path patterns in one part of a rule, wildcards as ``*``."""
    block = re.search(rf"^    {part}:\n((?:        .*\n)+)", body, re.MULTILINE)
    texts = re.findall(r'"(results/[^"]+)"', block[1]) if block else []
    return [re.sub(r"\{+[^{}]*\}+", "*", text) for text in texts]


def rule_graph() -> tuple[Graph, dict[str, str]]:
    """Rules and the rules they need; the stage of each."""
    found = rules()
    makes = {name: patterns(body, "output") for name, (_, body) in found.items()}
    graph: Graph = {}
    for name, (_, body) in found.items():
        block = re.search(r"^    input:\n((?:        .*\n)+)", body, re.MULTILINE)
        wanted = patterns(body, "input")
        needs = {maker for maker, outputs in makes.items() for out in outputs if any(fnmatch(w, out) for w in wanted)}
        for word, makers in ASKED.items():
            needs |= set(makers) if block and re.search(rf"\b{re.escape(word)}\b", block[1]) else set()
        graph[name] = needs - {name}
    return graph, {name: stage for name, (stage, _) in found.items()}


def import_graph() -> Graph:
    """Parts of the library and the parts that they import."""
    parts = sorted(path.name for path in (ROOT / "anatcl").iterdir() if (path / "__init__.py").is_file())
    graph: Graph = {}
    for part in parts:
        text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "anatcl" / part).rglob("*.py")))
        named = re.findall(r"^ *(?:from|import) anatcl\.(\w+)", text, re.MULTILINE)
        named += re.findall(r"^ *from anatcl import (\w+)", text, re.MULTILINE)
        graph[part] = {name for name in named if name in parts} - {part}
    return graph


def reduced(graph: Mapping[str, Iterable[str]]) -> Graph:
    """The graph without shortcuts: an edge goes when a longer way leads to the same place."""

    def reach(name: str, seen: set[str]) -> set[str]:
        for need in graph.get(name, ()):
            if need not in seen:
                seen.add(need)
                reach(need, seen)
        return seen

    far = {name: reach(name, set()) for name in graph}
    return {name: {n for n in needs if not any(n in far[m] for m in needs if m != n)} for name, needs in graph.items()}


def part_of(graph: Graph, stages: Mapping[str, str], wanted: Sequence[str]) -> Graph:
    """The rules of some stages with what they need of others; of one stage that needs nothing, those that need it."""
    own = {name: needs for name, needs in graph.items() if stages[name] in wanted}
    others: Graph = {need: set() for need in sorted(set().union(*own.values()) - set(own))}
    if not others and len(wanted) == 1:
        others = {name: needs & set(own) for name, needs in graph.items() if name not in own and needs & set(own)}
    return own | others


def columns(graph: Graph) -> list[list[str]]:
    """Names by their distance from what needs nothing."""
    depth: dict[str, int] = {}

    def deep(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((deep(need) for need in graph[name]), default=-1)
        return depth[name]

    for name in graph:
        deep(name)
    found: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in graph:
        found[depth[name]].append(name)
    return found


def draw(graph: Graph, title: str, strong: Iterable[str]) -> str:
    """SVG of a graph, from left to right; names in `strong` are drawn full, others faint."""
    strong, place = set(strong), {}
    x, rows = float(MARGIN), max(len(column) for column in columns(graph))
    for column in columns(graph):
        wide = max(len(name) for name in column) * CHARACTER + 18
        top = MARGIN + (rows - len(column)) * ROW / 2
        for index, name in enumerate(column):
            place[name] = (x, top + index * ROW, wide)
        x += wide + GAP
    width, height = x - GAP + MARGIN, rows * ROW + 2 * MARGIN - (ROW - HIGH)
    lines = [_edge(place[need], place[name]) for name in sorted(graph) for need in sorted(graph[name])]
    boxes = [_box(name, *place[name], name in strong) for name in sorted(graph)]
    style = (
        "text{font:13px ui-monospace,monospace;fill:#12302c}path{fill:none;stroke:#6b8f89;stroke-width:1.4}"
        "rect{fill:#d9efe9;stroke:#2f7d6f}.o rect{fill:#f4f4f2;stroke:#a9a9a2}.p{fill:#fff;stroke:none}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
    mark = '<marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    mark += '<path d="M0 0L8 4L0 8z" style="fill:#6b8f89;stroke:none"/></marker>'
    body = f'<rect class="p" width="100%" height="100%"/><defs>{mark}</defs>' + "".join(lines + boxes)
    head += f' role="img" aria-label="{escape(title)}"><title>{escape(title)}</title><style>{style}</style>'
    return f"{head}{body}</svg>\n"


def _edge(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    x0, y0, x1, y1 = start[0] + start[2], start[1] + HIGH / 2, end[0], end[1] + HIGH / 2
    bend = max(14.0, (x1 - x0) / 2)
    way = f"M{x0:.0f} {y0:.0f}C{x0 + bend:.0f} {y0:.0f} {x1 - bend:.0f} {y1:.0f} {x1:.0f} {y1:.0f}"
    return f'<path d="{way}" marker-end="url(#a)"/>'


def _box(name: str, x: float, y: float, wide: float, strong: bool) -> str:
    text = f'<text x="{x + wide / 2:.0f}" y="{y + 16.5:.1f}" text-anchor="middle">{escape(name)}</text>'
    box = f'<rect x="{x:.0f}" y="{y:.0f}" width="{wide:.0f}" height="{HIGH}" rx="5"/>'
    return f"<g{'' if strong else ' class=' + chr(34) + 'o' + chr(34)}>{box}{text}</g>"


def figures() -> dict[str, str]:
    """All drawings by file name."""
    graph, stages = rule_graph()
    found = {}
    # One drawing of all would be too wide to read.
    for name, wanted in {"scans": STAGES[:3], "cohort": STAGES[3:], **{stage: (stage,) for stage in STAGES}}.items():
        own = [rule for rule in graph if stages[rule] in wanted]
        title = f"Rules of {', '.join(wanted)}"
        found[f"rules-{name}.svg"] = draw(reduced(part_of(graph, stages, wanted)), title, own)
    imports = import_graph()
    found["imports.svg"] = draw(reduced(imports), "Parts of the library and their imports", imports)
    return found


def main() -> None:
    """Write all drawings to ``docs/images``."""
    for name, text in figures().items():
        (ROOT / "docs" / "images" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
