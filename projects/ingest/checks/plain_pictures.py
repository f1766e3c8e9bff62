"""Pictures of one colour alone."""

from __future__ import annotations

import io
from array import array
from collections.abc import Mapping
from typing import ClassVar

from PIL import Image

from distillhub.lib.later import np
from projects.ingest import thumbnails
from projects.ingest.checks import check, registry
from projects.ingest.checks.check import Check, Found
from projects.ingest.formats import Plan, Row
from projects.ingest.issues import INFO

SPREAD = 8  # of 255, between the least and the most of every channel


@registry.register
class PlainPictures(Check):
    key = "plain_pictures"
    kinds: ClassVar[Mapping[str, tuple[str, str]]] = {
        "plain_picture": (
            INFO,
            "Pictures of one colour alone, such as a cap left on or a placeholder. Nothing can be "
            "learned from them: leave them out.",
        )
    }

    def __init__(
        self, plan: Plan, columns: list[dict[str, str]], measures: tuple[str, ...]
    ) -> None:
        super().__init__(plan, columns, measures)
        self.plain = array("q")

    @classmethod
    def suits(cls, plan: Plan, columns: list[dict[str, str]]) -> bool:
        return check.input_of(columns) == "image"

    def meet(self, row_id: int, row: Row) -> None:
        assert isinstance(row.input, bytes)
        if is_plain(row.input):
            self.plain.append(row_id)

    def finish(self, found: Found) -> None:
        found.tally.many("plain_picture", np.array(self.plain, dtype=np.int64))


def is_plain(encoded: bytes) -> bool:
    if np.ptp(thumbnails.small(encoded)) > SPREAD:  # most are told at a glance
        return False
    with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
        image.draft(None, (64, 64))
        seen: Image.Image = image.convert("RGB") if image.mode == "P" else image
        extrema = seen.getextrema()
    channels = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(high - low <= SPREAD for low, high in channels)
