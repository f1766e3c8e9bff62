"""What a person sees meanwhile: bars in a terminal or notebook, lines everywhere else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from distillhub.client.connection import JSON, Progress

if TYPE_CHECKING:
    from distillhub.client.runs import Run

SHOWN = ("train/loss", "val/accuracy", "val/loss")
RESTING = frozenset({"waiting", "queued", "paused"})


def watch(run: "Run", *, show: Callable[[str], Any] | None = None) -> None:
    """Until the run is over."""
    if show is None and (sys.stderr.isatty() or "ipykernel" in sys.modules):
        _in_a_bar(run)
    else:
        _in_lines(run, show or (lambda line: sys.stderr.write(f"{line}\n")))


def _in_a_bar(run: "Run") -> None:
    with tqdm(
        total=100.0, unit="%", bar_format="{l_bar}{bar}| {postfix}", dynamic_ncols=True
    ) as bar:
        for told in run.watched():
            bar.set_description_str(f"{run} {told['name']}")
            bar.n = round(100.0 * told["progress"]["fraction"], 1)
            bar.set_postfix_str(said(told))
            bar.refresh()


def _in_lines(run: "Run", show: Callable[[str], Any]) -> None:
    """One for each tenth, and for each change of its status."""
    before: tuple[str, int] | None = None
    for told in run.watched():
        now = (str(told["status"]), int(10 * told["progress"]["fraction"]))
        if now != before:
            before = now
            show(f"{run} {100 * told['progress']['fraction']:.0f} %: {said(told)}")


def said(told: JSON) -> str:
    """`training, step 120 of 400, 0:01:12 left, train/loss 0.5312`"""
    progress, parts = told["progress"], [str(told["status"])]
    if progress.get("step") and told["status"] not in RESTING:
        of = f" of {progress['steps']:,}" if progress.get("steps") else ""
        parts.append(f"step {progress['step']:,}{of}")
    if progress.get("eta_seconds") is not None and told["status"] not in RESTING:
        minutes, seconds = divmod(round(progress["eta_seconds"]), 60)
        hours, minutes = divmod(minutes, 60)
        parts.append(f"{hours}:{minutes:02}:{seconds:02} left")
    for name in SHOWN:
        value = told["metrics"].get(name)
        if isinstance(value, int | float):
            parts.append(f"{name} {value:.4g}")
    return ", ".join(parts)


@contextmanager
def moving(name: str) -> Iterator[Progress | None]:
    """A bar of bytes; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    with tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1024, dynamic_ncols=True) as bar:

        def moved(done: int, whole: int | None) -> None:
            if whole is not None:
                bar.total = whole
            bar.update(done - bar.n)

        yield moved
