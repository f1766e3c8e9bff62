"""DistillHub from a program or a notebook, over its public REST API alone.

    from distillhub.client import Hub

    hub = Hub("https://hub.example.org", token="dh_...")    # Hub(): as `distillhub login` keeps it
    project = hub.project("intents")
    project.upload("mails.csv", name="mails", task="text-classification").wait()
    run = project.run(
        task="text-classification", dataset="mails", student="tiny@1", teachers=["big@2"]
    )
    run.watch()
    run.download("student.zip")

    with project.track("elsewhere", params={"lr": 1e-3}) as run:    # a training of your own
        for step in range(100):
            run.log({"train/loss": ...}, step=step)

Nothing of Django, torch or this installation is imported.
"""

from distillhub.client.connection import Refused, Unreachable
from distillhub.client.hub import DatasetVersion, Hub, Import, ModelVersion, Project
from distillhub.client.runs import Failed, Run
from distillhub.client.tracked import TrackedRun

__all__ = [
    "DatasetVersion",
    "Failed",
    "Hub",
    "Import",
    "ModelVersion",
    "Project",
    "Refused",
    "Run",
    "TrackedRun",
    "Unreachable",
]
