from training.models.artifact import Artifact
from training.models.console import RunConsole
from training.models.export import Export
from training.models.gate import TeacherGate
from training.models.metric import LogChunk, MetricChunk, MetricOutline, MetricSeries
from training.models.run import Run, RunEvent
from training.models.teacher_outputs import TeacherOutputs
from training.models.worker import Worker, WorkerEvent, WorkerLoad

__all__ = [
    "Artifact", "Export", "LogChunk", "MetricChunk", "MetricOutline", "MetricSeries", "Run",
    "RunConsole", "RunEvent", "TeacherGate", "TeacherOutputs", "Worker", "WorkerEvent",
    "WorkerLoad",
]  # fmt: skip
