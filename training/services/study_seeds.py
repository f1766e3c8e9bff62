"""Studies of seeds: one configuration with several, each beside its control."""

from collections.abc import Mapping
from typing import Any

from projects.models import Project, User
from training.models import Study
from training.services import launching
from training.services.launching import Member
from training.services.study_parts import Kind, is_taught, seeded


def _plan(project: Project, asked: Mapping[str, Any], study: Study, by: User) -> None:
    taught = is_taught(asked["base"])
    member = Member(study, "distilled" if taught else "trained")
    for seed in asked["seeds"]:
        config = seeded(asked["base"], seed, study.name) | {"control": taught}
        launching.launch(project=project, configuration=config, by=by, member=member)
    study.asked["comparisons"] = [["distilled", "control"]] if taught else []


KIND = Kind(
    key="seeds",
    question="Does it help, whichever seed one takes?",
    plan=_plan,
    arms={"control": "Labels alone", "trained": "Trained", "distilled": "Distilled"},
)
