"""Where the boxes and lines of a lineage stand: columns from what was first to what came last.

A box stands one column behind the last thing that it was made of; within a column, boxes stand
where their neighbours do, as far as there is room (the barycentre heuristic of Sugiyama, Tagawa,
Toda: Methods for Visual Understanding of Hierarchical System Structures, 1981).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

JSON = dict[str, Any]

WIDTH, HEIGHT = 168, 54  # of a box
ACROSS, DOWN = 56, 22  # between two boxes
EDGE = 12  # around all of them
SWEEPS = 6

Pair = tuple[str, str]


def drawn(nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, str]]) -> JSON:
    """`{"width", "height", "boxes": {id: {"x", "y", "column"}}, "lines": [{"path", "as", "x", "y",
    "from", "to"}]}`, in pixels. Raises nothing: what would be a circle is drawn backwards."""
    ids = [str(one["id"]) for one in nodes]
    there = [one for one in edges if {one["from"], one["to"]} <= set(ids)]
    columns = _columns(ids, [(one["from"], one["to"]) for one in there])
    ways = {(one["from"], one["to"]): _way(one["from"], one["to"], columns) for one in there}
    stacks: list[list[str]] = [[] for _ in range(max(columns.values(), default=-1) + 1)]
    for one, column in columns.items():
        stacks[column].append(one)
    for way in ways.values():
        for point in way[1:-1]:
            stacks[int(point.rpartition(" ")[2])].append(point)
    steps = [pair for way in ways.values() for pair in pairwise(way)]
    places = _ordered(stacks, steps)
    tallest = max((len(stack) for stack in stacks), default=0)

    def spot(one: str, column: int) -> JSON:
        above = (tallest - len(stacks[column])) * (HEIGHT + DOWN) / 2
        return {
            "x": EDGE + column * (WIDTH + ACROSS),
            "y": EDGE + above + places[one] * (HEIGHT + DOWN),
            "column": column,
        }

    spots = {one: spot(one, column) for column, stack in enumerate(stacks) for one in stack}
    return {
        "width": 2 * EDGE + len(stacks) * (WIDTH + ACROSS) - ACROSS if stacks else 0,
        "height": 2 * EDGE + tallest * (HEIGHT + DOWN) - DOWN if tallest else 0,
        "box_width": WIDTH,
        "box_height": HEIGHT,
        "boxes": {one: spots[one] for one in ids},
        "lines": [
            _line(one, [spots[point] for point in ways[one["from"], one["to"]]]) for one in there
        ],
    }


def _columns(ids: Sequence[str], pairs: Sequence[Pair]) -> dict[str, int]:
    """The longest way to each from what nothing was made into; and that stands right before what
    first used it."""
    columns = dict.fromkeys(ids, 0)
    for _ in ids:  # no way is longer than there are boxes
        moved = False
        for one, other in pairs:
            if columns[other] <= columns[one] and columns[one] + 1 < len(ids):
                columns[other] = columns[one] + 1
                moved = True
        if not moved:
            break
    made = {other for _, other in pairs}
    for one in ids:
        used = [columns[other] for first, other in pairs if first == one]
        if one not in made and used:
            columns[one] = max(0, min(used) - 1)
    return columns


def _way(one: str, other: str, columns: Mapping[str, int]) -> list[str]:
    """From one box to another, with a point in every column between: boxes make room for it."""
    between = range(columns[one] + 1, columns[other])
    return [one, *(f"{one} {other} {column}" for column in between), other]


def _ordered(stacks: list[list[str]], pairs: Sequence[Pair]) -> dict[str, int]:
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


def _line(edge: Mapping[str, str], spots: Sequence[JSON]) -> JSON:
    """A curve from the right side of the first to the left side of the last, level across every
    column between."""
    x, y = spots[0]["x"] + WIDTH, spots[0]["y"] + HEIGHT / 2
    path = f"M{x:g} {y:g}"
    for place, spot in enumerate(spots[1:], 1):
        is_last = place == len(spots) - 1
        to_x, to_y = spot["x"] - (6 if is_last else 0), spot["y"] + HEIGHT / 2
        bend = max(ACROSS / 2, (to_x - x) / 2)
        path += f"C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x:g} {to_y:g}"
        x, y = spot["x"] + WIDTH, to_y
        if not is_last:
            path += f"H{x:g}"
    end = spots[-1]
    return {**edge, "path": path, "x": end["x"] - 9, "y": end["y"] + HEIGHT / 2 - 5}
