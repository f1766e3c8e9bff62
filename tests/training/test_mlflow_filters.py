"""The language of filters: read as MLflow's own parser reads it, true of the runs of which its own
file store says so."""

import re
from datetime import timedelta
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils import search_utils

from distillhub.lib.errors import Invalid
from projects.models import Project, User
from tests import make
from training.mlflow.calls import EPOCH
from training.models import Experiment
from training.services import experiment_runs, experiment_search, tracking_filters
from training.services.experiment_runs import Given
from training.worker.metrics import Measured

THEIRS: Any = search_utils.SearchUtils

READ = [
    "metrics.loss < 2",
    "metric.loss>=2.5",
    "metrics.`val/accuracy` != -1e-3",
    'metrics."val loss" = 0.5',
    "params.lr = '0.001'",
    'parameters.lr != "0.001"',
    "param.`net name` LIKE '%cnn_'",
    "parameter.lr ILIKE 'A%'",
    "params.lr IS NULL",
    "tags.`mlflow.source.name` IS NOT NULL",
    "tags.kind is null",
    "tag.kind = 'a = b and c'",
    "attributes.run_id IN ('a', 'b')",
    "attributes.run_id NOT IN ('a')",
    "run.status = 'FINISHED'",
    "status = 'FINISHED'",
    "attr.start_time > 1664067852747",
    "attribute.end_time <= 12",
    "created > 5",
    "attributes.run_name ILIKE '%x%'",
    "attributes.\"Run Name\" = 'x'",
    "attributes.artifact_uri LIKE 'mlflow-artifacts:%'",
    "datasets.name = 'digits'",
    "dataset.digest IN ('a', 'b')",
    "datasets.context LIKE 'train%'",
    "metrics.loss < 2 and params.lr = '0.001' AND tags.a = 'b'",
    "  metrics.loss < 2   and   status != 'x'  ",
    "params.quoted = 'it''s'",
    'params.quoted = "it\'s"',
]
REFUSED = [
    "foo bar",
    "metrics.loss < 'a'",
    "metrics.loss LIKE 'a'",
    "params.lr > '1'",
    "params.lr = 1",
    "params.lr = bare",
    "metrics.loss < 2 or metrics.loss > 3",
    "nothing.x = 'y'",
    "attributes.password = 'x'",
    "metrics.loss IS NULL",
    "attributes.run_id IN (1)",
    "start_time = 'x'",
    "status > 'x'",
    "datasets.source = 'x'",
    "params.lr",
    "= 'x'",
    "params.lr = ",
    "metrics.loss <",
]


def theirs(text: str) -> list[dict[str, Any]]:
    """With what MLflow does between reading and comparing."""
    found: list[dict[str, Any]] = THEIRS.parse_search_filter(text)
    for one in found:
        one["comparator"] = one["comparator"].upper()
        one["key"] = THEIRS.translate_key_alias(one["key"])
        kind, key, word = one["type"], one["key"], one["comparator"]
        known = (
            THEIRS.is_metric(kind, word)
            or THEIRS.is_param(kind, word)
            or THEIRS.is_tag(kind, word)
            or THEIRS.is_attribute(kind, key, word)
            or THEIRS.is_dataset(kind, word)
        )
        assert known
        if kind == "metric":
            one["value"] = float(one["value"])
        if isinstance(one["value"], tuple):
            one["value"] = list(one["value"])
    return found


@pytest.mark.parametrize("text", READ)
def test_what_mlflow_reads_is_read_as_there(text: str) -> None:
    ours = [
        {"type": one.kind, "key": one.key, "comparator": one.comparator, "value": one.value}
        for one in tracking_filters.parse(text, tracking_filters.RUNS)
    ]
    assert ours == theirs(text)


@pytest.mark.parametrize("text", REFUSED)
def test_what_mlflow_refuses_is_refused(text: str) -> None:
    with pytest.raises(MlflowException):
        theirs(text)
    with pytest.raises(Invalid):
        tracking_filters.parse(text, tracking_filters.RUNS)


@pytest.mark.parametrize(
    "text", ["metrics.val/accuracy > 0.9", "params.net-name = 'x'", "status IN ('FINISHED')"]
)
def test_more_is_read_than_mlflow_reads(text: str) -> None:
    assert tracking_filters.parse(text, tracking_filters.RUNS)


@pytest.mark.parametrize(
    "text",
    ["metrics.loss", "metrics.`val loss` DESC", "params.lr asc", "tags.`a b`", "start_time DESC",
     "attributes.run_name", "Created ASC"],
)  # fmt: skip
def test_orders_are_read_as_mlflow_reads_them(text: str) -> None:
    kind, key, ascending = THEIRS.parse_order_by_for_search_runs(text)
    key = THEIRS.translate_key_alias(key)
    assert tracking_filters.parse_order(text, tracking_filters.RUNS) == (kind, key, ascending)


@pytest.mark.parametrize("text", ["metrics.a SIDEWAYS", "password", "metrics.a DESC, b", "", "a.b"])
def test_other_orders_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        tracking_filters.parse_order(text, tracking_filters.RUNS)


@pytest.mark.parametrize(
    "pattern", ["", "%", "a%", "%a", "%a%", "_", "a_c", "%%", "a.c", "[a]", "*"]
)
@pytest.mark.parametrize("text", ["", "a", "abc", "a.c", "[a]", "xaby", "A", "*"])
def test_patterns_are_those_of_sql(text: str, pattern: str) -> None:
    asked = "".join({"%": ".*", "_": "."}.get(one, re.escape(one)) for one in pattern)
    assert tracking_filters.is_like(text, pattern) == bool(re.fullmatch(asked, text, re.DOTALL))


def test_a_pattern_made_to_take_for_ever_does_not() -> None:
    assert not tracking_filters.is_like("a" * 8000, "%a" * 400 + "b")
    with pytest.raises(Invalid):
        tracking_filters.parse(f"params.x LIKE '{'%a' * 400}'", tracking_filters.RUNS)


# What is found ---------------------------------------------------------------------------------

RUNS: list[dict[str, Any]] = [
    {"name": "one", "metrics": {"loss": 0.5, "val/acc": 1}, "params": {"lr": "0.001", "n": "3"},
     "tags": {"kind": "Small", "a b/c": "yes"}, "data": ("digits", "d1", "training")},
    {"name": "two", "metrics": {"loss": 2.0}, "params": {"lr": "5e-05", "net": "cnn_big"},
     "tags": {"kind": "small [x]"}, "status": "FAILED", "data": ("digits", "d2", "evaluation")},
    {"name": "Three", "metrics": {"loss": -1.5, "f1": 0.25},
     "params": {"lr": "0.01", "net": "cnnXbig"}, "tags": {"kind": "o'clock"}},
    {"name": "four", "metrics": {}, "params": {"lr": "1e-3", "n": "30"}, "tags": {},
     "status": "KILLED"},
    {"name": "50% off", "metrics": {"loss": 2.0}, "params": {"n": "3.0"},
     "tags": {"kind": "small*"}},
]  # fmt: skip
ASKED = [
    "metrics.loss > 0", "metrics.loss >= 2", "metrics.loss = 2", "metrics.loss != 2",
    "metrics.loss < 0", "metrics.loss <= 0.5", "metrics.`val/acc` = 1", "metrics.nothing > 0",
    "params.lr = '0.001'", "params.lr != '0.001'", "params.lr = '1e-3'", "params.lr = '0.0010'",
    "params.lr = '5e-05'", "params.net LIKE 'cnn_big'", "params.net LIKE 'CNN%'",
    "params.net ILIKE 'CNN%'", "params.n IS NULL", "params.net IS NOT NULL", "params.n = '3'",
    "tags.kind = 'Small'", "tags.kind != 'Small'", "tags.kind LIKE 'small%'",
    "tags.kind ILIKE 'small%'", "tags.kind LIKE 'small [x]'", "tags.kind LIKE 'small*'",
    "tags.kind LIKE '%?%'", "tags.kind IS NULL", "tags.`a b/c` = 'yes'", 'tags.kind = "o\'clock"',
    "attributes.run_name = 'one'", "run_name LIKE '%o%'", "run_name ILIKE 'THREE'",
    "run_name LIKE '50!% off'", "status = 'FINISHED'", "status != 'FINISHED'", "status LIKE '%E%'",
    "user_id = 'robot'", "start_time > 1700000000001", "start_time >= 1700000000001",
    "start_time = 1700000000002", "start_time != 1700000000002", "start_time < 1700000000001.5",
    "end_time < 1700000001000", "artifact_uri LIKE '%artifacts'",
    "datasets.name = 'digits'", "datasets.digest = 'd1'", "datasets.digest != 'd1'",
    "datasets.context LIKE 'train%'", "datasets.name IN ('digits', 'other')",
    "datasets.digest NOT IN ('d1')", "metrics.loss > 0 and params.lr IS NULL",
    "metrics.loss > 0 and tags.kind ILIKE 'small%' and status = 'FINISHED'",
]  # fmt: skip
ORDERS = [
    ["metrics.loss ASC"], ["metrics.loss DESC"], ["metrics.`val/acc`"], ["params.net DESC"],
    ["params.net"], ["tags.kind"], ["tags.kind DESC", "metrics.loss"], ["run_name"],
    ["start_time"], ["start_time DESC"], ["status", "metrics.loss DESC"], [],
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """MLflow's own, with the same runs."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, RunStatus
    from mlflow.store.tracking import file_store

    opened: Any = file_store.FileStore
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        made = opened(str(tmp_path_factory.mktemp("store") / "own"))
    for place, one in enumerate(RUNS):
        run = made.create_run("0", "robot", 1_700_000_000_000 + place, [], one["name"])
        made.log_batch(
            run.info.run_id,
            [Metric(key, value, 1_700_000_000_000, 0) for key, value in one["metrics"].items()],
            [Param(key, value) for key, value in one["params"].items()],
            [RunTag(key, value) for key, value in one["tags"].items()],
        )
        if "data" in one:
            name, digest, context = one["data"]
            tags = [InputTag("mlflow.data.context", context)]
            given = DatasetInput(Dataset(name, digest, "local", "{}"), tags)
            made.log_inputs(run.info.run_id, [given])
        status = RunStatus.from_string(one.get("status", "FINISHED"))
        made.update_run_info(run.info.run_id, status, 1_700_000_000_500 + place, None)
    return made


@pytest.fixture
def filled(project: Project, erin: User) -> Project:
    experiment: Experiment = make.experiment(project)
    for place, one in enumerate(RUNS):
        begun = EPOCH + timedelta(milliseconds=1_700_000_000_000 + place)
        made = experiment_runs.begin(
            experiment=experiment, by=erin, name=one["name"], user="robot", started_at=begun
        )
        experiment_runs.log(
            project=project,
            key=made.key,
            points=[Measured(key, 0, value, 1.7e9) for key, value in one["metrics"].items()],
            params=one["params"],
            tags=one["tags"],
        )
        if "data" in one:
            name, digest, context = one["data"]
            given = Given(name, digest, {}, {"mlflow.data.context": context})
            experiment_runs.log_inputs(project=project, key=made.key, inputs=[given])
        experiment_runs.change(
            project=project,
            key=made.key,
            by=erin,
            status=one.get("status", "FINISHED"),
            ended_at=begun + timedelta(milliseconds=500),
        )
    return project


def found(project: Project, text: str = "", order: list[str] | None = None) -> list[str]:
    runs = experiment_search.search(
        project=project, experiments=[0], text=text, order_by=order or []
    )
    return [run.name for run in runs]


def test_searches_find_what_mlflows_own_store_finds(filled: Project, store: Any) -> None:
    wrong = []
    for text in ASKED:
        theirs = store.search_runs(["0"], text, ViewType.ACTIVE_ONLY, 100, [])
        wanted = [one.info.run_name for one in theirs]
        if (ours := found(filled, text)) != wanted:
            wrong.append((text, ours, wanted))
    assert not wrong


def test_orders_are_those_of_mlflows_own_store(filled: Project, store: Any) -> None:
    for order in ORDERS:
        theirs = store.search_runs(["0"], "", ViewType.ACTIVE_ONLY, 100, order)
        assert found(filled, order=order) == [one.info.run_name for one in theirs], order
