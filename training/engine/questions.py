"""Asking a lesson's teachers before the student is trained: their answers are stored, where that is
worth it, and those that were stored before are proven against live ones."""

import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from training.engine import asking, data, teacher_precision, teacher_scores
from training.engine.augmentation import View
from training.engine.errors import AskedToStop, DataError
from training.engine.events import Event, Logged
from training.engine.language_teacher import LanguageTeacher
from training.engine.lesson import Lesson
from training.engine.progress import Clock
from training.engine.recorded import Recorded
from training.engine.teacher_outputs import Teacher

CLOSE = 0.02  # of the logits' range: how far stored answers may lie from live ones


class Questions:
    """What is asked of the teachers of one lesson, in the folder of its job."""

    def __init__(
        self, lesson: Lesson, folder: Path, clock: Clock, asked_to_stop: AskedToStop
    ) -> None:
        self.lesson, self.folder, self.clock = lesson, folder, clock
        self.asked_to_stop = asked_to_stop
        shared = "" if lesson.plan.teacher == "previous" else lesson.config.store
        self.store = Path(shared) if shared else folder / "teacher-outputs"
        self.home = folder / "prepared"

    def ask(self, *, first: bool = True) -> Iterator[Event]:
        """Have every teacher's answers to all splits stored; tell, at the first stage, how good the
        teachers are."""
        lesson, config = self.lesson, self.lesson.config
        asked = [one for one in data.SPLITS if one != "test" or config.evaluate]
        splits = [one for one in asked if len(lesson.dataset.splits[one])]
        asks_live = lesson.asks_live or not lesson.needs_teacher
        for one in lesson.recorded:
            yield from self._told(one, splits)
        for teacher in lesson.live:
            if isinstance(teacher, LanguageTeacher):
                teacher.choose(
                    config.teacher_outputs, config.top_k, lesson.temperatures, self.store
                )
                continue
            known = splits[1:] if asks_live or lesson.views else splits
            sentence = teacher_precision.choose(
                teacher, lesson.temperature, config.training.precision, self.store, self.home, known
            )
            if sentence:
                yield Logged(sentence)
        yield from self._written()
        if lesson.live and lesson.needs_teacher and lesson.augments and not lesson.views:
            yield Logged(
                "Live: rows change in every epoch. With frozen views (augmentation_views) the "
                "teacher could be asked once."
            )
        for teacher in lesson.live:
            if not asks_live:
                yield from self._decide(teacher)
            stored = not asks_live and lesson.decisions[-1].stored
            yield from self._ask(teacher, splits if stored else splits[1:])
        lesson.read_route()
        if lesson.plan.teacher == "given" and first:
            yield from teacher_scores.told(lesson, self.folder)

    def _told(self, teacher: Recorded, splits: Sequence[str]) -> Iterator[Event]:
        """Of how many rows it has an answer, and what follows for the others."""
        lesson = self.lesson
        counted = {split: teacher.counted(split) for split in splits}
        shown = ", ".join(f"{said:,} of {all_:,} {one}" for one, (said, all_) in counted.items())
        yield Logged(f"{teacher.name} is recorded: answers to {shown} rows.")
        said, every = counted["train"]
        if lesson.needs_teacher and said < every:
            yield Logged(
                f"{every - said:,} training rows have no answer of {teacher.name}: they learn from "
                "other teachers, or from their label where a term does; else they are left out."
            )
        if lesson.augments:
            yield Logged(
                f"{teacher.name} said what it said of rows as they were; they are changed now, and "
                "it is taken to say the same.",
                "warning",
            )

    def _decide(self, teacher: Teacher) -> Iterator[Event]:
        """Whether its answers to training rows are stored."""
        lesson, config = self.lesson, self.lesson.config
        plan = asking.Plan(
            wanted=lesson.wanted,
            reads=lesson.reads,
            views=lesson.views or (None,),
            epochs=lesson.epochs,
            runs=config.runs_sharing,
            batch_size=config.training.batch_size,
        )
        decision = asking.decide(teacher, plan, config.teacher_outputs, self.store, self.home)
        lesson.decisions.append(decision)
        if decision.sentence:
            whose = f"{teacher.network.name}: " if len(lesson.teachers) > 1 else ""
            yield Logged(f"{whose}{decision.sentence}")

    def _ask(self, teacher: Teacher, splits: Sequence[str]) -> Iterator[Event]:
        """Have its answers to these splits stored, those to training rows with their layers."""
        lesson, clock = self.lesson, self.clock
        told: list[tuple[str, View | None]] = [
            (split, view)
            for split in splits
            for view in ((lesson.views if split == "train" else ()) or (None,))
        ]
        reads = lesson.reads
        rows = {split: len(lesson.dataset.splits[split]) for split in splits}
        clock.rows_left = sum(rows[one] * (1 + bool(reads and one == "train")) for one, _ in told)
        for split, view in told:
            before, anew = clock.rows_left, False
            if reads and split == "train":
                layers = teacher.ask_layers(
                    split, lesson.wanted, reads, self.store, self.home, self.asked_to_stop, view
                )
                anew = yield from _watched(layers, clock)
                clock.rows_left = before = before - rows[split]
            asked_now = yield from _watched(
                teacher.ask(split, self.store, self.home, self.asked_to_stop, view), clock
            )
            clock.rows_left = before - rows[split]
            what = "windows" if lesson.writes else "rows"
            shown = f"{rows[split]:,} {split} {what}{_as_view(view)}{teacher.remark(split)}"
            how = "answered" if asked_now else "had answered before (stored):"
            yield Logged(f"{teacher.network.name} {how} {shown}.")
            if not asked_now and split == "train":
                yield self._prove(teacher, view)
            if reads and split == "train":
                yield self._prove_layers(teacher, view, anew=anew)

    def _written(self) -> Iterator[Event]:
        """Have the teachers write what the scheme wants to train on."""
        lesson, clock = self.lesson, self.clock
        wanted = lesson.scheme.texts
        if wanted is None:
            return
        rows = lesson.dataset.splits["train"]
        clock.rows_left = len(lesson.live) * len(rows) * wanted.samples
        for teacher in lesson.live:
            assert isinstance(teacher, LanguageTeacher)
            before = clock.rows_left
            assert lesson.inputs is not None
            writing = teacher.write(
                lesson.inputs, lesson.dataset, wanted, self.store, self.asked_to_stop
            )
            asked = yield from _watched(writing, clock)
            clock.rows_left = before - len(rows) * wanted.samples
            how = "wrote" if asked else "had written before (stored):"
            answers = f"{len(rows) * wanted.samples:,} answers"
            yield Logged(f"{teacher.network.name} {how} {answers} to train on.")

    def _prove(self, teacher: Teacher, view: View | None) -> Event:
        """Stored answers are those of a live teacher, on a sample. Raises DataError."""
        apart = teacher.proven("train", self.home, view=view)
        if apart > CLOSE:
            raise DataError(
                f"The stored answers of {teacher.network.name} differ from what it says now by "
                f"{apart:.0%} of their range. Remove them from the store, and run again."
            )
        which = _as_view(view)
        return Logged(
            f"Stored answers of {teacher.network.name}{which} equal live ones on a sample."
        )

    def _prove_layers(self, teacher: Teacher, view: View | None, *, anew: bool) -> Event:
        """The same of its layers; where they differ, it is asked about them live."""
        apart = teacher.proven_layers("train", self.lesson.wanted, self.home, view=view)
        if apart > CLOSE:
            teacher.forget("train", view)
            return Logged(
                f"Stored layers of {teacher.network.name} differ from live ones by {apart:.0%}: "
                "what it says of a row depends on the rows beside it. It is asked about them live.",
                "warning",
            )
        how = "are stored, and equal" if anew else "were stored before, and equal"
        which = _as_view(view)
        return Logged(
            f"Layers of {teacher.network.name}{which} {how} live ones on a sample (to {apart:.2%})."
        )


def _as_view(view: View | None) -> str:
    return "" if view is None else f" in view {view.number}"


def _watched(answering: Generator[int, None, bool], clock: Clock) -> Generator[Event, None, bool]:
    """Pass a teacher's answers on as progress."""
    while True:
        began = time.perf_counter()
        try:
            rows = next(answering)
        except StopIteration as end:
            return bool(end.value)
        clock.rows_left -= rows
        clock.row_seconds = (time.perf_counter() - began) / rows
        if clock.due():
            yield clock.show()
