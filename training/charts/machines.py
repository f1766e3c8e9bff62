"""How busy machines are over time, as figures: of a worker, and of one run's processes.

Their horizontal axis is the time of day in UTC, as the console's is: `steps` of their points are
milliseconds since the epoch.
"""

from collections.abc import Mapping
from typing import Any

from training.charts.figures import PALETTE, Figure, Points, figure, line, plain

Chart = dict[str, Any]
Series = Mapping[str, Points]

TIME = {"type": "date", "tickformat": "%H:%M", "hoverformat": "%H:%M:%S", "nticks": 6}
PERCENT = {"ticksuffix": " %", "hoverformat": ".0f", "rangemode": "tozero"}
WHOLE = {**PERCENT, "range": [0, 100]}
BYTES = {"tickformat": "~s", "ticksuffix": "B", "hoverformat": ".3s", "rangemode": "tozero"}
RATE = {**BYTES, "ticksuffix": "B/s"}
WATTS = {"ticksuffix": " W", "hoverformat": ".1f", "rangemode": "tozero"}
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
            [_line(series, "system/cpu_percent", "", "of one core", "student")],
            PERCENT,
            note="100 % is one core at work",
        ),
        _chart(
            "memory",
            "Memory",
            [
                _line(series, "system/memory_bytes", "", "this run", "student"),
                _line(series, "system/memory_free_bytes", "", "free on the machine", "control"),
            ],
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
    ]
    cards = sorted({name.split("/")[1] for name in series if name.startswith("system/gpu")})
    for ending, title, axis in OF_CARDS if cards else ():
        lines = [
            _line(series, f"system/{card}/{ending}", "", f"GPU {place + 1} of the run", tone)
            for place, (card, tone) in enumerate(zip(cards, _tones(len(cards)), strict=True))
        ]
        made.append(_chart(f"gpu-{ending}", title, lines, axis))
    return made


def _line(series: Series, name: str, at: str, title: str, tone: str) -> dict[str, Any]:
    return line(series.get(name), name=title, series=f"{at}{name}", tone=tone)


def _chart(
    name: str, title: str, lines: list[dict[str, Any]], axis: Mapping[str, Any], note: str = ""
) -> Chart:
    drawn: Figure = figure(lines, x=TIME, y=axis)
    return {"name": name, "title": title, "note": note, "figure": drawn}


def _tones(count: int) -> list[str]:
    tones = ("student", *PALETTE)
    return [tones[place % len(tones)] for place in range(count)]
