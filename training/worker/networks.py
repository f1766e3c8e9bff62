"""Inspecting a model version: build the network once, in a child process, and note what it is."""

from training.worker import dispatch

INSPECT = "training.inspect_model_version"


def ask(version_id: int) -> None:
    dispatch.call(INSPECT, version_id=version_id)


def inspect(version_id: int) -> None:
    raise NotImplementedError
