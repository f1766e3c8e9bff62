from dataclasses import dataclass
from typing import ClassVar, cast

import torch

from training.engine import sampling
from training.engine.data import Batch, Indices
from training.engine.errors import ConfigError, Fault
from training.engine.language import LanguagePreprocessing
from training.engine.options import option
from training.engine.schemes import SCHEMES, Classroom, Scheme, Texts
from training.engine.windows import LanguageInputs


@dataclass(frozen=True, slots=True)
class Options:
    temperature: float = option(
        1.0,
        minimum=0.0,
        maximum=10.0,
        label="Sampling temperature",
        help="At which the teacher writes: 1 is what it believes; 0 always takes the likeliest "
        "token, which suits tasks with one right answer.",
    )
    samples: int = option(
        1,
        minimum=1,
        maximum=64,
        label="Answers to a prompt",
        help="Written once, stored, and taken by turns.",
    )
    max_new_tokens: int = option(
        128, minimum=1, maximum=4096, help="The longest answer; shorter where the window ends."
    )
    prompt_tokens: int = option(
        16,
        minimum=1,
        maximum=4096,
        help="Of plain text, how much of a window the teacher goes on from; at most half of it. "
        "Completions and chats have prompts of their own.",
    )
    own_share: float = option(
        0.0,
        minimum=0.0,
        maximum=1.0,
        label="Share of the dataset's words",
        help="Of batches that keep the answers the dataset has.",
    )


@SCHEMES.register
class SequenceLevel(Scheme):
    """Nothing of the teacher is needed but what it writes, so it may read another vocabulary, or
    stand behind an address. Terms that need its probabilities have none to look at here."""

    key = "sequence_level"
    label = "On the teacher's words"
    summary = "The teacher answers the prompts, and the student learns its answers as if given."
    formula = "hard labels on y ~ teacher(x)"
    paper = "Kim, Rush: Sequence-Level Knowledge Distillation, 1606.07947, p. 4, section 3.2"
    tasks = ("text-generation",)
    compares_layers = False
    needs_teacher = True
    hears_probabilities = False
    Options: ClassVar[type] = Options

    @property
    def texts(self) -> Texts:
        options = self.options
        return Texts(
            temperature=options.temperature,
            samples=options.samples,
            most=options.max_new_tokens,
            prompt_tokens=options.prompt_tokens,
        )

    def meet(self, classroom: Classroom) -> None:
        if not classroom.teachers:
            sentence = "Somebody has to write the answers: choose a teacher."
            raise ConfigError([Fault("teachers", sentence)])
        self._room = classroom

    def rewrite(self, rows: Indices, number: int) -> Batch | None:
        """The prompts of these rows with what a teacher has written after them."""
        room = self._room
        chance = sampling.chance_of(room.seed, number, int(rows[0]))
        kept, turn, who = torch.rand(3, generator=chance).tolist()
        if kept < self.options.own_share:
            return None
        inputs = room.inputs
        assert isinstance(inputs, LanguageInputs)
        said = cast(LanguagePreprocessing, room.student.preprocessing)
        teacher = room.teachers[int(who * len(room.teachers))]
        sample = int(turn * self.options.samples)
        pairs = []
        for row, (prompt, _) in zip(
            rows.tolist(), inputs.prompts(rows, self.options.prompt_tokens), strict=True
        ):
            text, ended = teacher.text(row, sample)
            answer = said.answer(text, ended=ended)[: said.max_length + 1 - len(prompt)]
            pairs.append((prompt, answer))
        return inputs.assembled(pairs, known=True)
