from training.models.artifact import Artifact
from training.models.card_edit import CardEdit
from training.models.checkpoint import Checkpoint
from training.models.console import RunConsole
from training.models.experiment import (
    Experiment,
    ExperimentRun,
    LoggedModel,
    RegistryNote,
    RunInput,
    TrackedFile,
)
from training.models.export import Export
from training.models.gate import TeacherGate
from training.models.incident import (
    AlertChannel,
    AlertMessage,
    Incident,
    IncidentEvent,
    SignalAlert,
)
from training.models.metric import LogChunk, MetricChunk, MetricOutline, MetricSeries
from training.models.monitor import (
    InferenceBatch,
    InferencePart,
    Monitor,
    MonitorLook,
    MonitorWindow,
)
from training.models.promotion import Promotion
from training.models.publication import Publication
from training.models.report import Report
from training.models.retraining import Retraining
from training.models.row_map import RowMap
from training.models.run import Run, RunEvent
from training.models.run_import import ImportedRun, RunImport
from training.models.run_slice import RunSlice
from training.models.saved_view import SavedView
from training.models.storage_use import StorageUse
from training.models.study import Study
from training.models.teacher_answer import TeacherAnswer
from training.models.teacher_outputs import TeacherOutputs
from training.models.teacher_question import TeacherQuestion
from training.models.trial import Trial
from training.models.worker import Worker, WorkerEvent, WorkerLoad

__all__ = [
    "AlertChannel",
    "AlertMessage",
    "Artifact",
    "CardEdit",
    "Checkpoint",
    "Experiment",
    "ExperimentRun",
    "Export",
    "ImportedRun",
    "Incident",
    "IncidentEvent",
    "InferenceBatch",
    "InferencePart",
    "LogChunk",
    "LoggedModel",
    "MetricChunk",
    "MetricOutline",
    "MetricSeries",
    "Monitor",
    "MonitorLook",
    "MonitorWindow",
    "Promotion",
    "Publication",
    "RegistryNote",
    "Report",
    "Retraining",
    "RowMap",
    "Run",
    "RunConsole",
    "RunEvent",
    "RunImport",
    "RunInput",
    "RunSlice",
    "SavedView",
    "SignalAlert",
    "StorageUse",
    "Study",
    "TeacherAnswer",
    "TeacherGate",
    "TeacherOutputs",
    "TeacherQuestion",
    "TrackedFile",
    "Trial",
    "Worker",
    "WorkerEvent",
    "WorkerLoad",
]
