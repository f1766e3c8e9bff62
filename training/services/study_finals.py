"""Finals: two configurations, each the best of its own search, on the same seeds and test rows. A
sweep that searched for the control as long as for the student ends in one."""

from collections.abc import Mapping
from typing import Any

from projects.models import Project, User
from training.models import Study
from training.services import launching
from training.services.launching import Member
from training.services.study_parts import Kind, seeded, wrong


def _understand(asked: Mapping[str, Any]) -> dict[str, Any]:
    against = asked.get("against")
    if not isinstance(against, Mapping):
        raise wrong("against", "It must be a run configuration: the best on labels alone.")
    return {"against": dict(against)}


def _plan(project: Project, asked: Mapping[str, Any], study: Study, by: User) -> None:
    sides = (("distilled", asked["base"]), ("control", asked["against"]))
    for seed in asked["seeds"]:
        for arm, side in sides:
            config = seeded(side, seed, f"{study.name}, {KIND.arms[arm].lower()}")
            config["control"] = False
            launching.launch(
                project=project, configuration=config, by=by, member=Member(study, arm)
            )
    study.asked["comparisons"] = [["distilled", "control"]]


KIND = Kind(
    key="finals",
    question="Does it help, when both ways were searched for as long?",
    plan=_plan,
    arms={"control": "Labels alone", "distilled": "Distilled"},
    knows=frozenset({"against"}),
    understand=_understand,
)
