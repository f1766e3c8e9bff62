"""How busy machines are over time, as figures: of a worker, and of one run's processes.

Their horizontal axis is the time of day in UTC, as the console's is: `steps` of their points are
milliseconds since the epoch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from training.charts.figures import PALETTE, Figure, Points, figure, line, plain

Chart = dict[str, Any]
Series = Mapping[str, Points]

MINUTE = 60_000  # milliseconds; within one, ticks would all be called alike without seconds
TIME = {
    "type": "date",
    "title": {"text": "time, UTC", "standoff": 6},
    "tickformatstops": [
        {"dtickrange": [None, MINUTE - 1], "value": "%H:%M:%S"},
        {"dtickrange": [MINUTE, None], "value": "%H:%M"},
    ],
    "hoverformat": "%H:%M:%S",
    "nticks": 6,
}
PERCENT = {"ticksuffix": " %", "hoverformat": ".0f", "rangemode": "tozero"}
WHOLE = {**PERCENT, "range": [0, 100]}
BYTES = {"tickformat": "~s", "ticksuffix": "B", "hoverformat": ".3s", "rangemode": "tozero"}
RATE = {**BYTES, "ticksuffix": "B/s"}
WATTS = {"ticksuffix": " W", "hoverformat": ".1f", "rangemode": "tozero"}
ENERGY = {"ticksuffix": " Wh", "hoverformat": ".3f", "rangemode": "tozero"}
CELSIUS = {"ticksuffix": " °C", "hoverformat": ".0f"}

#: Of a GPU: what its series end in, the chart's title, and the axis.
OF_CARDS = (
    ("percent", "GPU load", WHOLE),
    ("memory_bytes", "GPU memory", BYTES),
    ("celsius", "GPU temperature", CELSIUS),
    ("watts", "GPU power", WATTS),
)
#: How a worker's history calls them.
AS_LOAD = {"percent": "load", "memory_bytes": "memory", "celsius": "celsius", "watts": "watts"}


def of_worker(worker_id: int, series: Series, cards: Mapping[int, str]) -> list[Chart]:
    """Charts of a worker. Its series are called `worker/ID/NAME` on a page; `cards` are its GPUs'
    names by number."""
    at = f"worker/{worker_id}/"
    both = [
        _line(series, "cpu", at, "processor", "student"),
        _line(series, "memory", at, "memory", "series-2"),
    ]
    made = [_chart(f"worker-{worker_id}", "Processor and memory", both, WHOLE)]
    for ending, title, axis in OF_CARDS if cards else ():
        lines = [
            _line(series, f"gpu{number}/{AS_LOAD[ending]}", at, plain(f"GPU {number}"), tone)
            for number, tone in zip(cards, _tones(len(cards)), strict=True)
        ]
        made.append(_chart(f"worker-{worker_id}-{ending}", title, lines, axis))
    return made


def of_run(series: Series) -> list[Chart]:
    """Charts of what a run's processes take; those of GPUs only where it has some."""
    made = [
        _chart(
            "cpu",
            "Processor",
            [_line(series, "system/cpu_percent", "", "this run", "student")],
            PERCENT,
            note="100 % is one core at work",
        ),
        _chart(
            "memory",
            "Memory",
            [_line(series, "system/memory_bytes", "", "this run", "series-2")],
            BYTES,
        ),
        _chart(
            "disk",
            "Disk",
            [
                _line(series, "system/read_bytes_per_second", "", "read", "series-6"),
                _line(series, "system/written_bytes_per_second", "", "written", "series-3"),
            ],
            RATE,
        ),
        _chart(
            "power", "Power", [_line(series, "system/watts", "", "this run", "series-4")], WATTS
        ),
        _chart(
            "free",
            "Free memory of the machine",
            [_line(series, "system/memory_free_bytes", "", "free", "control")],
            BYTES,
        ),
        _chart(
            "energy",
            "Energy",
            [_line(series, "system/energy_wh", "", "so far", "series-4")],
            ENERGY,
        ),
    ]
    cards = sorted({name.split("/")[1] for name in series if name.startswith("system/gpu")})
    for ending, title, axis in OF_CARDS if cards else ():
        lines = [
            _line(series, f"system/{card}/{ending}", "", f"its GPU {place + 1}", tone)
            for place, (card, tone) in enumerate(zip(cards, _tones(len(cards)), strict=True))
        ]
        made.append(_chart(f"gpu-{ending}", title, lines, axis))
    return made


def broken(times: Sequence[int], values: Sequence[Any], longest: int) -> dict[str, list[Any]]:
    """Points of a line with a break wherever more than `longest` milliseconds passed without one:
    nobody was there to look."""
    steps: list[int] = []
    shown: list[Any] = []
    for at, value in zip(times, values, strict=True):
        if steps and at - steps[-1] > longest:
            steps.append(steps[-1] + 1)
            shown.append(None)
        steps.append(at)
        shown.append(value)
    return {"steps": steps, "values": shown}


def _line(series: Series, name: str, at: str, title: str, tone: str) -> dict[str, Any]:
    return line(series.get(name), name=title, series=f"{at}{name}", tone=tone)


def _chart(
    name: str, title: str, lines: list[dict[str, Any]], axis: Mapping[str, Any], note: str = ""
) -> Chart:
    drawn: Figure = figure(
        lines, x=TIME, y=axis, caption=f"{title}, as its machine told it from time to time."
    )
    return {"name": name, "title": title, "note": note, "figure": drawn}


def _tones(count: int) -> list[str]:
    tones = ("student", *PALETTE)
    return [tones[place % len(tones)] for place in range(count)]
