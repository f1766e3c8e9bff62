"""Studies of strategies: which way to a small model is worth it?"""

from collections.abc import Mapping
from typing import Any

from distillhub.lib.errors import Invalid
from projects.models import Project, User
from training.models import Study
from training.services import runs
from training.services.runs import Member
from training.services.study_parts import LONGEST_NAME, Kind, mapping, seeded, wrong

#: Of a configuration, what the teacher's own training has in common with it.
SHARED = ("task", "dataset", "resources", "priority")


def _understand(asked: Mapping[str, Any]) -> dict[str, Any]:
    tuned = asked.get("teacher_training", {})
    if not isinstance(tuned, Mapping):
        raise wrong("teacher_training", "It must be an object: keys of training.")
    return {"teacher_training": dict(tuned)}


def _plan(project: Project, asked: Mapping[str, Any], study: Study, by: User) -> None:
    base, tuned = asked["base"], asked["teacher_training"]
    teachers = base.get("teachers")
    if not isinstance(teachers, list) or len(teachers) != 1:
        sentence = "Strategies are compared with one teacher."
        raise Invalid(sentence, fields={"teachers": [sentence]})
    first, *_ = asked["seeds"]
    own = {
        **{name: base[name] for name in SHARED if name in base},
        "name": f"{study.name}: teacher"[:LONGEST_NAME],
        "student": teachers[0] if isinstance(teachers[0], str) else teachers[0].get("model"),
        "training": {**mapping(base.get("training")), **tuned, "seed": first},
        "control": False,
    }
    teacher = runs.launch(
        project=project, configuration=own, by=by, member=Member(study, "teacher")
    )
    for seed in asked["seeds"]:
        config = seeded(base, seed, study.name)
        member = Member(study, "distilled")
        runs.launch(project=project, configuration=config | {"control": True}, by=by, member=member)
        config |= {"teachers": [f"run/{teacher.number}"], "control": False}
        config["name"] = f"{study.name}: trained teacher, seed {seed}"[:LONGEST_NAME]
        member = Member(study, "taught_by_tuned")
        runs.launch(project=project, configuration=config, by=by, member=member)
    study.asked["comparisons"] = [
        ["distilled", "control"], ["taught_by_tuned", "control"], ["taught_by_tuned", "distilled"],
    ]  # fmt: skip


KIND = Kind(
    key="strategies",
    question="Labels alone, distil, or train the teacher first?",
    plan=_plan,
    arms={
        "control": "Labels alone",
        "distilled": "Distilled",
        "teacher": "Teacher, trained first",
        "taught_by_tuned": "Distilled from the trained teacher",
    },
    knows=frozenset({"teacher_training"}),
    understand=_understand,
)
