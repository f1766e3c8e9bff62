from dataclasses import dataclass
from typing import ClassVar, cast

import torch

from training.engine import sampling
from training.engine.data import Batch, Indices
from training.engine.errors import ConfigError, Fault
from training.engine.language import LanguagePreprocessing
from training.engine.options import option
from training.engine.schemes import SCHEMES, Classroom, Scheme
from training.engine.windows import LanguageInputs


@dataclass(frozen=True, slots=True)
class Options:
    share: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        label="Share of own words (λ)",
        help="Of batches whose answers the student writes itself; the others keep the dataset's.",
    )
    temperature: float = option(
        1.0,
        minimum=0.0,
        maximum=10.0,
        label="Sampling temperature",
        help="At which the student writes: 1 is what it believes, lower is surer of itself, 0 "
        "always takes the likeliest token.",
    )
    max_new_tokens: int = option(
        64, minimum=1, maximum=4096, help="The longest answer; shorter where the window ends."
    )
    prompt_tokens: int = option(
        16,
        minimum=1,
        maximum=4096,
        help="Of plain text, how much of a window it goes on from; at most half of it. Completions "
        "and chats have prompts of their own.",
    )


@SCHEMES.register
class OnPolicy(Scheme):
    """Trained on given texts alone, a student never sees what follows its own mistakes. Here it
    writes answers itself and its teacher, asked live, says token by token what it would have
    written: terms that need labels are silent there. Not differentiated through the sampling, as in
    the paper."""

    key = "on_policy"
    label = "On-policy"
    summary = "The student writes some of the answers, and the teacher corrects each token of them."
    formula = "E over y ~ student(x) with probability λ, else y of the dataset: D(t ‖ s)(y | x)"
    paper = "Agarwal et al.: On-Policy Distillation (GKD), 2306.13649, p. 4, algorithm 1"
    tasks = ("text-generation",)
    compares_layers = False
    needs_teacher = True
    Options: ClassVar[type] = Options

    def meet(self, classroom: Classroom) -> None:
        if not classroom.teachers:
            sentence = "Somebody has to score what the student writes: choose a teacher."
            raise ConfigError([Fault("teachers", sentence)])
        self._room = classroom

    def rewrite(self, rows: Indices, number: int) -> Batch | None:
        """Answers that the student has written after these rows' prompts."""
        room, options = self._room, self.options
        chance = sampling.chance_of(room.seed, number, int(rows[0]))
        if float(torch.rand((), generator=chance)) >= options.share:
            return None
        inputs = room.inputs
        assert isinstance(inputs, LanguageInputs)
        said = cast(LanguagePreprocessing, room.student.preprocessing)
        prompts = [prompt for prompt, _ in inputs.prompts(rows, options.prompt_tokens)]
        written = sampling.write(
            room.student.module,
            room.place,
            prompts,
            most=options.max_new_tokens,
            window=said.max_length + 1,
            temperature=options.temperature,
            end=said.end,
            chance=chance,
        )
        return inputs.assembled(list(zip(prompts, written, strict=True)), known=False)
