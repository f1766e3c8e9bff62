"""What the page of the run form shows around a draft: cards, fields, formulas, what will happen."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.engine import config as engine_config
from training.engine import terms as engine_terms
from training.forms import fields, presets, run_terms, run_yaml
from training.forms.run_draft import Draft
from training.forms.run_terms import Part, StageView, Term

MAIN_TRAINING = ("epochs", "batch_size", "learning_rate", "early_stopping", "seed")
#: How a teacher's answers are kept, in words.
OUTPUTS = {
    "auto": "stored, or live where that is faster",
    "stored": "asked once and stored",
    "live": "asked at every step",
    "logits": "stored: every logit",
    "hidden_states": "stored: last hidden states",
    "top_k": "stored: the likeliest few",
}
UNLIKE = (
    "Teacher and student are unlike, and a term compares their layers: this often hurts. Compare "
    "with soft targets alone."
)


@dataclass(frozen=True, slots=True)
class Told:
    """Something to put right: where, in words, and on which line of the YAML."""

    at: str
    sentence: str
    line: int | None = None


class RunDraft(Draft):
    """A draft with its page."""

    @property
    def preset_cards(self) -> presets.Cards:
        """Those that do not suit the chosen models say why."""
        chosen = [one for one in (self.chosen_student, *self.chosen_teachers[:1]) if one]
        told = [
            {**preset, "unfit": presets.unfit(preset, [one.architecture for one in chosen])}
            for preset in self.presets
        ]
        return presets.cards(told, self.preset)

    @property
    def teacher_faults(self) -> list[tuple[str, list[str]]]:
        """The path of each chosen teacher in the configuration, and what is wrong with it."""
        places = [f"teachers.{place}" for place in range(len(self.teachers))]
        return [(place, self.faults.get(place, [])) for place in places]

    @property
    def schemes(self) -> list[Mapping[str, Any]]:
        """Those of this task, the plain one first."""
        fitting = [one for one in self.methods["schemes"] if self.task in one["tasks"]]
        return sorted(fitting, key=lambda one: one["key"] not in ("offline", "staged"))

    @property
    def scheme_fields(self) -> list[fields.OptionField]:
        return fields.shown(
            self.chosen_scheme.get("options", []), self.scheme, at="scheme", faults=self.faults
        )

    @property
    def has_scheme_news(self) -> bool:
        changed = any(field.is_changed or field.errors for field in self.scheme_fields)
        return self.scheme["kind"] not in ("offline", "staged") or changed

    @property
    def terms(self) -> list[Term]:
        """The losses with their fields, their share of the weights and their formula in numbers.
        Of stages, the last one's."""
        return self._shown(self.parts[-1], "losses")

    @property
    def addable(self) -> list[tuple[str, list[Mapping[str, Any]]]]:
        return self._addable(self.parts[-1])

    @property
    def stages(self) -> list[StageView]:
        if not self.is_staged:
            return []
        return [
            StageView(
                place=place,
                part=part,
                terms=self._shown(part, f"stages.{place}.losses"),
                addable=self._addable(part),
                options=fields.shown(
                    self.stage_options,
                    part.typed,
                    at=f"stages.{place}",
                    faults=self.faults,
                    defaults={name: self.training[name] for name in part.typed},
                ),
                is_last=place == len(self.parts) - 1,
            )
            for place, part in enumerate(self.parts)
        ]

    @property
    def can_have_more_stages(self) -> bool:
        return len(self.parts) < engine_terms.MOST_STAGES

    def _shown(self, part: Part, at: str) -> list[Term]:
        return run_terms.shown(
            self.methods, part.losses, at=at, problem=self.problem, faults=self.faults
        )

    def _addable(self, part: Part) -> list[tuple[str, list[Mapping[str, Any]]]]:
        return run_terms.addable(self.methods, part.losses, task=self.task, problem=self.problem)

    @property
    def main_training(self) -> list[fields.OptionField]:
        shown = {field.name.removeprefix("training."): field for field in self._training_fields()}
        return [shown[name] for name in MAIN_TRAINING if name in shown]

    @property
    def advanced_training(self) -> list[fields.OptionField]:
        return [
            field
            for field in self._training_fields()
            if field.name.removeprefix("training.") not in MAIN_TRAINING
        ]

    def _training_fields(self) -> list[fields.OptionField]:
        return fields.shown(
            self.methods["training"],
            self.training,
            at="training",
            faults=self.faults,
            defaults=self.suited,
        )

    @property
    def has_advanced_news(self) -> bool:
        """Whether something in the folded part was changed or is wrong."""
        changed = any(field.is_changed or field.errors for field in self.advanced_training)
        chosen = [*self.exports, self.slices, self.teacher_outputs != "auto", self.gpus.strip("0")]
        chosen += [self.memory, self.priority != "normal"]
        return changed or any(chosen)

    @property
    def outputs(self) -> list[tuple[str, str]]:
        """How teacher outputs may be kept, with words for it."""
        return [(key, OUTPUTS[key]) for key in engine_config.outputs_of(self.task)]

    @property
    def export_choices(self) -> list[Mapping[str, Any]]:
        """Beside safetensors, which every run leaves: what the student can be shipped as, and what
        was ticked for another."""
        student = self.chosen_student.architecture if self.chosen_student else ""
        return [
            one
            for one in self.methods["exporters"]
            if one["key"] != "safetensors"
            and self.task in one["tasks"]
            and (student not in one["refusals"] or one["key"] in self.exports)
        ]

    @property
    def steps(self) -> int | None:
        """Optimizer steps of one run, where the numbers are numbers."""
        return self.estimates.get("steps")

    @property
    def compression(self) -> float | None:
        sizes = [teacher.parameters for teacher in self.chosen_teachers if teacher.parameters]
        student = self.chosen_student.parameters if self.chosen_student else None
        return max(sizes) / student if sizes and student else None

    @property
    def warnings(self) -> list[str]:
        """What may run but is probably not meant."""
        told: list[str] = []
        if self.replaced:
            told.append("There is no such model for this dataset's task here; another was chosen.")
        if self.compression is not None and self.compression < 1:
            told.append("The student has more parameters than its teacher.")
        if self.is_taught and not self.control:
            told.append("Without its control nobody can tell whether the teacher helped.")
        if self.brings_teacher and not self.listens:
            told.append("No term listens to a teacher: the students learn from the labels alone.")
        if self.listens and not self.chosen_scheme.get("hears_probabilities", True):
            told.append(
                f"{self.chosen_scheme['label']}: only labels are learned, whoever wrote them."
            )
        if len(self.teachers) < self.chosen_preset["teachers"]:
            told.append("This recipe is for several teachers: choose two or more.")
        if any(self.loss(kind).get("compares") == "layers" for kind in self._kinds()):
            student = self.chosen_student.architecture if self.chosen_student else ""
            if any(one.architecture != student for one in self.chosen_teachers):
                told.append(UNLIKE)
            if not self.chosen_scheme.get("compares_layers", True):
                told.append(f"{self.chosen_scheme['label']} compares answers only, not layers.")
        return told

    def _kinds(self) -> set[str]:
        return {term["kind"] for part in self.parts for term in part.losses}

    @property
    def told(self) -> list[Told]:
        """What is to be put right; of a YAML with the lines."""
        told = []
        for at, sentences in self.faults.items():
            line = None
            if self.unreadable is not None:
                line = self.unreadable.line
            elif self.is_written and at:
                line = run_yaml.line_of(self.text, at)
            told.append(Told(at, " ".join(sentences), line))
        return told

    @property
    def faults_json(self) -> str:
        return json.dumps(self.faults)

    @property
    def resolved_json(self) -> str:
        configuration = self.resolved
        if configuration is None:
            configuration = self.asked if self.is_written else self.configuration()
        return json.dumps(configuration or {}, indent=2, ensure_ascii=False)
