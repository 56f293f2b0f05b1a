"""Where the boxes and lines of the topology picture go: pure, deterministic, and the template only writes it down.

Layers by ``level``, causes on the left and what suffers on the right, so the picture reads the way a failure spreads.
A crowded level takes several columns; the order within a column follows the neighbours to keep crossings few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import east_asian_width

from foreshock.service.views import GraphEdge, GraphNode, GraphView

BOX_WIDTH, BOX_HEIGHT = 170, 56
GAP_X, GAP_Y = 94, 16
MARGIN = 14
COLUMN_MAX = 9
LABEL_WIDTH, DETAIL_WIDTH, EDGE_WIDTH = 16, 21, 16
"""Half-width characters that fit; the template clips what a wide font still lets out."""
LABELLED_EDGES = 14
"""More lines than this stay without their type in the picture: it stands in the table."""
SWEEPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One CI. x, y: upper left corner, pixels. label (one or two lines), detail: cut to the box; ``node`` has all."""

    node: GraphNode
    x: int
    y: int
    label: tuple[str, ...]
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The way a failure spreads: from what is needed to what needs it. hot: both ends are part of the incident."""

    edge: GraphEdge
    path: str
    label: str
    label_x: int
    label_y: int
    hot: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Pixels. labelled: whether there is room for the types of the relationships."""

    width: int
    height: int
    box_width: int
    box_height: int
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    labelled: bool


def draw(graph: GraphView) -> Picture:
    """Lay the graph out. Edges to nodes that are not in it are left away."""
    nodes = {node.id: node for node in graph.nodes}
    edges = [
        edge for edge in graph.edges if edge.source in nodes and edge.target in nodes and edge.source != edge.target
    ]
    columns = _columns(graph.nodes, edges)
    tallest = max((len(column) for column in columns), default=0)
    height = 2 * MARGIN + tallest * BOX_HEIGHT + max(tallest - 1, 0) * GAP_Y
    width = 2 * MARGIN + len(columns) * BOX_WIDTH + max(len(columns) - 1, 0) * GAP_X
    boxes: dict[str, Box] = {}
    column_of: dict[str, int] = {}
    for number, column in enumerate(columns):
        used = len(column) * BOX_HEIGHT + (len(column) - 1) * GAP_Y
        top = (height - used) // 2
        for row, ci in enumerate(column):
            node = nodes[ci]
            column_of[ci] = number
            boxes[ci] = Box(
                node=node,
                x=MARGIN + number * (BOX_WIDTH + GAP_X),
                y=top + row * (BOX_HEIGHT + GAP_Y),
                label=fold(node.label or node.id, LABEL_WIDTH),
                detail=cut(_detail(node), DETAIL_WIDTH),
            )
    lines = tuple(_line(edge, boxes, column_of) for edge in edges)
    if any(column_of[edge.source] == column_of[edge.target] for edge in edges):
        width += GAP_X // 2  # room for the arcs beside the last column
    return Picture(
        width=width,
        height=height,
        box_width=BOX_WIDTH,
        box_height=BOX_HEIGHT,
        boxes=tuple(boxes.values()),
        lines=lines,
        labelled=len(lines) <= LABELLED_EDGES,
    )


def cut(text: str, width: int) -> str:
    """The text, ended with … where it is wider than ``width`` half-width characters."""
    used = 0
    for index, character in enumerate(text):
        used += 2 if east_asian_width(character) in "WF" else 1
        if used > width:
            return text[: max(index - 1, 0)].rstrip() + "…"
    return text


def fold(text: str, width: int) -> tuple[str, ...]:
    """The text in one line or two, broken between words; what does not fit into the second is cut."""
    first = text
    while cut(first, width) != first and " " in first.rstrip():
        first = first.rstrip().rpartition(" ")[0]
    if first == text or cut(first, width) != first:
        return (cut(text, width),)
    return (first, cut(text[len(first) :].strip(), width))


def _detail(node: GraphNode) -> str:
    if node.role == "cause":
        return f"cause · {node.kind}"
    return f"{node.kind} · {node.severity}" if node.severity else node.kind


def _columns(nodes: Sequence[GraphNode], edges: Sequence[GraphEdge]) -> list[list[str]]:
    levels: dict[int, list[str]] = {}
    for node in sorted(nodes, key=lambda node: (node.level, node.role == "context", node.id)):
        levels.setdefault(node.level, []).append(node.id)
    neighbours: dict[str, list[str]] = {node.id: [] for node in nodes}
    for edge in edges:
        neighbours[edge.source].append(edge.target)
        neighbours[edge.target].append(edge.source)
    layers = [levels[level] for level in sorted(levels)]
    for sweep in range(SWEEPS):
        place = {ci: row - len(layer) / 2 for layer in layers for row, ci in enumerate(layer)}
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            middles = {ci: _middle(ci, neighbours, place) for ci in layer}
            layer.sort(key=middles.__getitem__)
            place.update({ci: row - len(layer) / 2 for row, ci in enumerate(layer)})
    return [
        layer[start : start + size]
        for layer in layers
        for size in (_chunk(len(layer)),)
        for start in range(0, len(layer), size)
    ]


def _chunk(count: int) -> int:
    """Rows per column, so that a level's columns are equally long."""
    columns = -(-count // COLUMN_MAX)
    return -(-count // columns)


def _middle(ci: str, neighbours: Mapping[str, Sequence[str]], place: Mapping[str, float]) -> float:
    rows = [place[other] for other in neighbours[ci]]
    return sum(rows) / len(rows) if rows else place[ci]


def _line(edge: GraphEdge, boxes: Mapping[str, Box], column_of: Mapping[str, int]) -> Line:
    upstream, suffering = boxes[edge.target], boxes[edge.source]
    y1, y2 = upstream.y + BOX_HEIGHT // 2, suffering.y + BOX_HEIGHT // 2
    if column_of[edge.target] == column_of[edge.source]:
        x = upstream.x + BOX_WIDTH
        bend = x + GAP_X // 2
        path = f"M{x} {y1}C{bend} {y1} {bend} {y2} {x + 2} {y2}"
        middle = x + GAP_X // 3
    else:
        forward = column_of[edge.target] < column_of[edge.source]
        x1 = upstream.x + (BOX_WIDTH if forward else 0)
        x2 = suffering.x + (-2 if forward else BOX_WIDTH + 2)
        bend = GAP_X // 2 if forward else -GAP_X // 2
        path = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
        middle = (x1 + x2) // 2
    return Line(
        edge=edge,
        path=path,
        label=cut(edge.type.replace("_", " "), EDGE_WIDTH),
        label_x=middle,
        label_y=(y1 + y2) // 2 - 4,
        hot="context" not in {upstream.node.role, suffering.node.role},
    )
