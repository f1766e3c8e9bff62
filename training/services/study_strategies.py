"""Studies of strategies: which way to a small model is worth it?

Every way has the same student, dataset, seeds and epochs; they differ in who says what is right,
and in what learns:

- `control`: the student learns the labels.
- `frozen`: the same, and only its head learns; for students that have weights.
- `pseudo_labels`: rows without a label learn the one that the teacher names; where there are any.
- `distilled`: the student learns from the teacher as it is.
- `taught_by_tuned`: … after the teacher was trained on the same data (`teacher`).
"""

from collections.abc import Mapping
from typing import Any

from distillhub.lib.errors import Invalid
from projects.models import Project, User
from training import catalog
from training.engine import transfer
from training.models import Study
from training.services import launching, references
from training.services.launching import Member
from training.services.references import Asked
from training.services.study_parts import LONGEST_NAME, Kind, mapping, seeded, wrong

#: Of a configuration, what the teacher's own training has in common with it.
SHARED = ("task", "dataset", "resources", "priority")
FROZEN, PSEUDO, TUNED = "frozen", "pseudo_labels", "taught_by_tuned"
#: Beside labels alone and distilling, which are always there.
MORE = (FROZEN, PSEUDO, TUNED)
ARMS = {
    "control": "Labels alone",
    FROZEN: "Labels alone, frozen backbone",
    PSEUDO: "Labels that the teacher names",
    "distilled": "Distilled",
    "teacher": "Teacher, trained first",
    TUNED: "Distilled from the trained teacher",
}


def _understand(asked: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("teacher_training", "frozen_training"):
        value = asked.get(name, {})
        if not isinstance(value, Mapping):
            raise wrong(name, "It must be an object: keys of training.")
        found[name] = dict(value)
    if "arms" in asked:
        arms = asked["arms"]
        if not isinstance(arms, list) or any(one not in MORE for one in arms):
            raise wrong("arms", f"It must be a list of some of {', '.join(MORE)}.")
        found["arms"] = list(dict.fromkeys(arms))
    return found


def _plan(project: Project, asked: Mapping[str, Any], study: Study, by: User) -> None:
    base = asked["base"]
    teachers = base.get("teachers")
    if not isinstance(teachers, list) or len(teachers) != 1:
        sentence = "Strategies are compared with one teacher."
        raise Invalid(sentence, fields={"teachers": [sentence]})
    understood = references.understand(project=project, asked=_without(base, "priority"))
    arms = _arms(study, understood)
    launch = _Launcher(project, asked, study, by)
    if TUNED in arms:
        launch.teacher()
    for seed in asked["seeds"]:
        launch.distilled(seed)
        if FROZEN in arms:
            launch.frozen(seed, understood.config)
        if PSEUDO in arms:
            launch.pseudo(seed, understood.config)
        if TUNED in arms:
            launch.tuned(seed)
    study.asked["comparisons"] = [
        pair
        for pair in (
            ["distilled", "control"], ["distilled", PSEUDO], [PSEUDO, "control"],
            [FROZEN, "control"], [TUNED, "control"], [TUNED, "distilled"],
        )
        if {"distilled", "control", *arms} >= set(pair)
    ]  # fmt: skip


def _arms(study: Study, understood: Asked) -> set[str]:
    """Those that are trained beside the two. What was asked for and cannot be is refused; what was
    not asked for is left out, and `study.asked` says why."""
    reasons = {FROZEN: _unfrozen, PSEUDO: _unnamed, TUNED: _untuned}
    wanted = study.asked.get("arms")
    told = {arm: reasons[arm](understood) for arm in wanted or MORE} if wanted != [] else {}
    refused = [sentence for sentence in told.values() if sentence]
    if wanted and refused:
        raise wrong("arms", refused[0])
    study.asked["left_out"] = [
        {"arm": arm, "label": ARMS[arm], "sentence": sentence}
        for arm, sentence in told.items()
        if sentence
    ]
    return {arm for arm, sentence in told.items() if not sentence}


def _unfrozen(asked: Asked) -> str:
    """Why a frozen backbone is no way of this study; empty where it is one."""
    if not asked.student.has_weights:
        return (
            f"{asked.student.reference} has no weights yet: frozen, its backbone would stay as it "
            "is drawn, at random."
        )
    if asked.parsed.task == "text-generation":
        return "Of a network that writes the last layer is hardly apart from its words."
    alone = launching.on_labels_alone(asked.config)["training"]
    if alone["freeze"] != "none":
        return "Its backbone is frozen in every way already."
    probe = _Training(alone["lora_rank"], alone["sharding"])
    faults = transfer.check(probe, asked.parsed.task, (), (), catalog.methods())
    return faults[0].sentence if faults else ""


def _unnamed(asked: Asked) -> str:
    """Why no label is to be named by the teacher."""
    method = catalog.find("losses", PSEUDO) or {"tasks": (), "problems": ()}
    problem = catalog.problem_of(asked.parsed.task, asked.dataset.problem)
    if asked.parsed.task not in method["tasks"] or problem not in method["problems"]:
        return "The teacher names classes; here an answer is something else."
    train = asked.dataset.splits.get("train") or {}
    rows = train.get("rows", 0)
    if train.get("labelled", rows) >= rows:
        return (
            f"Every training row of {asked.dataset.reference} has a label, so that the teacher has "
            "none to name."
        )
    return ""


def _untuned(asked: Asked) -> str:
    """Why the teacher is not trained first."""
    can = [one.version is None or one.version.has_network for one in asked.teachers]
    if can != [True]:
        return "The teacher is no network that could be trained here."
    return ""


class _Training:
    """A frozen training, as far as it matters whether there can be one."""

    freeze = "backbone"

    def __init__(self, lora_rank: int | None, sharding: str) -> None:
        self.lora_rank, self.sharding = lora_rank, sharding


class _Launcher:
    """Launches the runs of one study."""

    def __init__(self, project: Project, asked: Mapping[str, Any], study: Study, by: User) -> None:
        self.project, self.asked, self.study, self.by = project, asked, study, by
        self.base: Mapping[str, Any] = asked["base"]
        self.tuned_as = ""  # the run that trains the teacher

    def teacher(self) -> None:
        base, (first, *_) = self.base, self.asked["seeds"]
        one = base["teachers"][0]
        training = {**mapping(base.get("training")), **self.asked["teacher_training"]}
        config = {
            **{name: base[name] for name in SHARED if name in base},
            "name": f"{self.study.name}: teacher"[:LONGEST_NAME],
            "student": one if isinstance(one, str) else one.get("model"),
            "training": {**training, "freeze": "none", "seed": first},
            "control": False,
        }
        self.tuned_as = f"run/{self._run(config, 'teacher')}"

    def distilled(self, seed: int) -> None:
        self._run(seeded(self.base, seed, self.study.name) | {"control": True}, "distilled")

    def tuned(self, seed: int) -> None:
        config = seeded(self.base, seed, f"{self.study.name}: trained teacher")
        self._run(config | {"teachers": [self.tuned_as], "control": False}, TUNED)

    def frozen(self, seed: int, complete: dict[str, Any]) -> None:
        alone = launching.on_labels_alone(complete)
        training = {**alone["training"], **self.asked["frozen_training"], "freeze": "backbone"}
        config = seeded(alone | {"training": training}, seed, f"{self.study.name}: frozen")
        self._run(config, FROZEN)

    def pseudo(self, seed: int, complete: dict[str, Any]) -> None:
        alone = launching.on_labels_alone(complete)
        config = seeded(alone, seed, f"{self.study.name}: named labels")
        config["teachers"] = complete["teachers"]
        self._run(config | {"losses": [{"kind": PSEUDO, "weight": 1.0}]}, PSEUDO)

    def _run(self, config: Mapping[str, Any], arm: str) -> int:
        if "priority" in self.base:
            config = {**config, "priority": self.base["priority"]}
        member = Member(self.study, arm)
        run = launching.launch(
            project=self.project, configuration=dict(config), by=self.by, member=member
        )
        return run.number


def _without(base: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in base.items() if key != name}


KIND = Kind(
    key="strategies",
    question="Labels alone, a frozen backbone, distil, or train the teacher first?",
    plan=_plan,
    arms=ARMS,
    knows=frozenset({"teacher_training", "frozen_training", "arms"}),
    understand=_understand,
)
