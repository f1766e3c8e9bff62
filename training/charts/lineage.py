"""Where the boxes and lines of a lineage stand: columns from what was first to what came last.

A box stands one column behind the last thing that it was made of; within a column, boxes stand
where their neighbours do, as far as there is room (the barycentre heuristic of Sugiyama, Tagawa,
Toda: Methods for Visual Understanding of Hierarchical System Structures, 1981).
"""

from collections.abc import Mapping, Sequence
from typing import Any

JSON = dict[str, Any]

WIDTH, HEIGHT = 184, 54  # of a box
ACROSS, DOWN = 84, 22  # between two boxes
EDGE = 12  # around all of them
SWEEPS = 4


def drawn(nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, str]]) -> JSON:
    """`{"width", "height", "boxes": {id: {"x", "y", "column"}}, "lines": [{"path", "as", "x", "y",
    "from", "to"}]}`, in pixels. Raises nothing: what would be a circle is drawn backwards."""
    ids = [str(one["id"]) for one in nodes]
    pairs = [(one["from"], one["to"]) for one in edges if one["from"] in ids and one["to"] in ids]
    columns = _columns(ids, pairs)
    stacks: list[list[str]] = [[] for _ in range(max(columns.values(), default=-1) + 1)]
    for one in ids:
        stacks[columns[one]].append(one)
    places = _ordered(stacks, pairs)
    tallest = max((len(stack) for stack in stacks), default=0)
    boxes = {}
    for column, stack in enumerate(stacks):
        above = (tallest - len(stack)) * (HEIGHT + DOWN) / 2
        for one in stack:
            boxes[one] = {
                "x": EDGE + column * (WIDTH + ACROSS),
                "y": EDGE + above + places[one] * (HEIGHT + DOWN),
                "column": column,
            }
    return {
        "width": 2 * EDGE + len(stacks) * (WIDTH + ACROSS) - ACROSS if stacks else 0,
        "height": 2 * EDGE + tallest * (HEIGHT + DOWN) - DOWN if tallest else 0,
        "box_width": WIDTH,
        "box_height": HEIGHT,
        "boxes": boxes,
        "lines": [_line(one, boxes) for one in edges if {one["from"], one["to"]} <= boxes.keys()],
    }


def _columns(ids: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way to each from what nothing was made into."""
    columns = dict.fromkeys(ids, 0)
    for _ in ids:  # no way is longer than there are boxes
        moved = False
        for one, other in pairs:
            if columns[other] <= columns[one] and columns[one] + 1 < len(ids):
                columns[other] = columns[one] + 1
                moved = True
        if not moved:
            break
    return columns


def _ordered(stacks: list[list[str]], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The place of each in its column, from the top. Sorts the stacks in place."""
    neighbours: dict[str, list[str]] = {}
    for one, other in pairs:
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    height = {one: _centred(place, stack) for stack in stacks for place, one in enumerate(stack)}
    for sweep in range(SWEEPS):
        for stack in stacks if sweep % 2 == 0 else reversed(stacks):
            wish = {
                one: sum(height[near] for near in neighbours.get(one, [one]))
                / len(neighbours.get(one, [one]))
                for one in stack
            }
            stack.sort(key=lambda one: (wish[one], one))
            height |= {one: _centred(place, stack) for place, one in enumerate(stack)}
    return {one: place for stack in stacks for place, one in enumerate(stack)}


def _centred(place: int, stack: Sequence[str]) -> float:
    return place - (len(stack) - 1) / 2


def _line(edge: Mapping[str, str], boxes: Mapping[str, JSON]) -> JSON:
    one, other = boxes[edge["from"]], boxes[edge["to"]]
    x, y = one["x"] + WIDTH, one["y"] + HEIGHT / 2
    to_x, to_y = other["x"], other["y"] + HEIGHT / 2
    bend = max(ACROSS / 2, (to_x - x) / 2)
    path = f"M{x:g} {y:g}C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x - 6:g} {to_y:g}"
    return {**edge, "path": path, "x": to_x - 10, "y": to_y - 5}
