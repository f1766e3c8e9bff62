"""The facts of a model's card, as Markdown: read from the rows each time, so that they are never
old. What people wrote is model_cards.py's.

One function a section; a section that knows nothing is left out. Names of labels and runs are
people's words: they stand as code, where Markdown means nothing.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from distillhub.lib.errors import DomainError
from distillhub.templatetags import ui
from projects.models import DatasetVersion, ModelVersion
from training import catalog
from training.engine import shares
from training.models import Export, Run
from training.services import artifacts, exports, lineage, scores, verdicts
from training.services.card_words import begun, code, formula, origin, plain, scheme, table, times

JSON = dict[str, Any]

MOST_LABELS = 60
WEAKEST = 5  # labels
MOST_SLICES = 30
#: What a run says of the code that made it, as far as others may want it.
PACKAGES = ("distillhub", "code", "python", "torch", "transformers")


class Known:
    """What is known of a version, read once."""

    def __init__(self, version: ModelVersion) -> None:
        self.version = version
        self.run: Run | None = exports.maker(version)
        self.evaluation: JSON = {}
        if self.run is not None:
            with suppress(DomainError):  # it was not evaluated, or storage has lost the file
                self.evaluation = artifacts.evaluation(run=self.run)
        self.exports = [
            one
            for one in Export.objects.filter(version=version, status=Export.Status.READY)
            if one.report
        ]

    @property
    def student(self) -> Mapping[str, Any]:
        summary = self.run.summary if self.run is not None else {}
        return summary.get("student") or {}

    @property
    def headline(self) -> str:
        return scores.headline(self.run) if self.run is not None else ""

    @property
    def split(self) -> str:
        return str((self.run.summary if self.run is not None else {}).get("split", "test"))


def markdown(known: Known) -> str:
    """All sections, from what it is for to how it is loaded."""
    parts = (
        _intended(known),
        _data(known),
        _recipe(known),
        _results(known),
        _parts(known),
        _calibration(known),
        _speed(known),
        _limits(known),
        _loading(known),
    )
    return "\n\n".join(part for part in parts if part)


def metadata(known: Known) -> JSON:
    """The YAML front matter that a Hugging Face style hub reads."""
    version, run = known.version, known.run
    transformers = (catalog.find("architectures", version.architecture) or {}).get("kind")
    found: JSON = {
        "pipeline_tag": version.model.task,
        "tags": ["distillhub", *(["distillation"] if run is not None and _teachers(run) else [])],
    }
    if transformers == "transformers" and "altered" not in version.config:
        found["library_name"] = "transformers"
    if bases := _bases(known):
        found["base_model"] = bases if bases[1:] else bases[0]
    hub = (run.dataset_version.reading.get("hub") if run and run.dataset_version else None) or {}
    if hub.get("id"):
        found["datasets"] = [hub["id"]]
    metrics = [
        {"type": name, "value": round(value, 6), "name": ui.measure(name)}
        for name in _judged(known)
        if (value := scores.number(known.student.get(name))) is not None
    ]
    if run is not None and run.dataset_version is not None and metrics:
        data = run.dataset_version
        found["model-index"] = [
            {
                "name": version.model.name,
                "results": [
                    {
                        "task": {"type": version.model.task},
                        "dataset": {
                            "name": data.reference,
                            "type": str(hub.get("id") or data.dataset.name),
                            "split": known.split,
                            "revision": str(hub.get("commit") or data.fingerprint),
                        },
                        "metrics": metrics,
                    }
                ],
            }
        ]
    return found


# -- sections -------------------------------------------------------------------------------------


def _intended(known: Known) -> str:
    version = known.version
    lines = [f"## What it is for\n\nA model for {ui.words(version.model.task)}"]
    problem = {
        "multi_label": ", which gives each input any number of labels",
        "regression": ", which answers a number",
        "embedding": ", which answers a vector",
    }.get(version.problem, "")
    lines[0] += f"{problem}: {code(version.architecture or 'unknown')}"
    lines[0] += f", {ui.grouped(version.parameters)} weights." if version.parameters else "."
    if version.labels:
        shown = ", ".join(code(one) for one in version.labels[:MOST_LABELS])
        more = len(version.labels) - MOST_LABELS
        rest = f" and {more} more" if more > 0 else ""
        lines.append(f"It knows {len(version.labels)} labels: {shown}{rest}.")
    return "\n\n".join(lines)


def _data(known: Known) -> str:
    graph = lineage.of_version(version=known.version)
    versions = [one for one in graph["nodes"] if one["kind"] == "dataset"]
    if not versions:
        return ""
    rows = [
        (
            code(one["id"]),
            ui.grouped(one["rows"]),
            plain(one["told"]),
            code(one["fingerprint"]),
        )
        for one in versions
    ]
    found = [
        "## Data",
        table(("Version", "Rows", "How it came about", "Fingerprint"), rows),
    ]
    data = known.run.dataset_version if known.run is not None else None
    if data is not None:
        splits = ", ".join(
            f"{ui.grouped(part['rows'])} {ui.SPLITS.get(name, name)}"
            for name, part in data.splits.items()
        )
        found.append(f"It was trained on {code(data.reference)}: {splits} rows.")
    return "\n\n".join(found)


def _recipe(known: Known) -> str:
    run = known.run
    if run is None:
        return f"## How it was made\n\n{origin(known.version)}"
    config = run.config
    training = config.get("training", {})
    taught = _teachers(run)
    lines = [
        ("Run", f"{run.number}, {code(run.name)}"),
        (
            "Teacher",
            ", ".join(code(one) for one in taught) or "none: it learnt from labels alone",
        ),
        ("Scheme", scheme(config.get("scheme"))),
        ("Loss", code(formula(config.get("losses", [])))),
        *(
            (
                f"Stage {code(str(one.get('name', at + 1)))}",
                code(formula(one.get("losses", []))),
            )
            for at, one in enumerate(config.get("stages", []))
        ),
        (
            "Training",
            f"{training.get('epochs')} epochs of batches of {training.get('batch_size')}, "
            f"{training.get('optimizer')} at {training.get('learning_rate')}, seed "
            f"{training.get('seed')}",
        ),
        ("Configuration", code(f"sha256 {lineage.configuration_digest(run)}")),
    ]
    made = run.summary.get("made_with") or {}
    packages = ", ".join(f"{name} {made[name]}" for name in PACKAGES if name in made)
    if packages:
        lines.append(("Made with", packages))
    return "## How it was made\n\n" + table(("What", "How"), lines)


def _results(known: Known) -> str:
    run = known.run
    if run is None or not known.student:
        return ""
    control = (known.evaluation.get("control") or {}).get("student")
    teacher = run.summary.get("teacher")
    players = [("This model", known.student), ("Its teacher", teacher)]
    players += [("The same on labels alone", control)]
    there = [(who, found) for who, found in players if found]
    names = [name for name in _judged(known) if name in known.student]
    rows = [
        (
            begun(ui.measure(name)),
            *(ui.metric(found.get(name), name) for _, found in there),
        )
        for name in names
    ]
    parts = [
        f"## Results\n\nOn {ui.grouped(run.summary.get('rows', 0))} {known.split} rows of "
        f"{code(str(run.config.get('dataset', '')))}, which it was never trained or chosen on."
        if known.split == "test"
        else f"## Results\n\nOn {ui.grouped(run.summary.get('rows', 0))} {known.split} rows.",
        table(("Measure", *(who for who, _ in there)), rows),
    ]
    if interval := known.student.get("accuracy_interval"):
        parts.append(f"95 % interval of its accuracy: {ui.span(interval)}.")
    kept, agreement = run.summary.get("retention"), run.summary.get("agreement")
    if kept is not None:
        sure = run.summary.get("retention_interval")
        within = f" (95 % within {ui.span(sure)})" if sure else ""
        parts.append(f"It keeps {ui.percent(kept)} of its teacher's score{within}.")
    if agreement is not None:
        parts.append(f"It answers {ui.percent(agreement)} of the rows as its teacher does.")
    if verdict := verdicts.of_run(run):
        parts.append(f"**{plain(verdict['sentence'])}**")
    return "\n\n".join(parts)


def _parts(known: Known) -> str:
    parts = []
    slices = [
        one
        for one in known.evaluation.get("saved_slices", [])
        if (one["scores"] or {}).get("student")
    ]
    if slices:
        name = str(slices[0]["scores"].get("metric") or known.headline)
        rows = [
            (
                code(one["name"]),
                plain(one["told"]),
                ui.grouped(one["scores"]["labelled"]),
                ui.metric(one["scores"]["student"].get(name), name)
                + (" (few rows)" if one["scores"]["labelled"] < shares.FEW else ""),
            )
            for one in slices[:MOST_SLICES]
        ]
        parts.append(table(("Slice", "Rows where", "Rows", begun(ui.measure(name))), rows))
    per_class = [
        one
        for one in (known.evaluation.get("student") or {}).get("per_class") or []
        if one.get("rows") and scores.number(one.get("f1")) is not None
    ]
    weakest = sorted(per_class, key=lambda one: one["f1"])[:WEAKEST]
    if weakest and weakest[0]["f1"] < 1.0:
        labels = [
            (
                code(str(one["label"])),
                ui.grouped(one["rows"]),
                *(ui.percent(one.get(name)) for name in ("precision", "recall", "f1")),
            )
            for one in weakest
        ]
        parts.append("The labels that it knows least:")
        parts.append(table(("Label", "Rows", "Precision", "Recall", "F1"), labels))
    return "\n\n".join(["## Where it is weaker", *parts]) if parts else ""


def _calibration(known: Known) -> str:
    ece = scores.number(known.student.get("ece"))
    if ece is None:
        return ""
    teacher = (
        scores.number((known.run.summary.get("teacher") or {}).get("ece")) if known.run else None
    )
    beside = f"; its teacher's is {ui.percent(teacher)}" if teacher is not None else ""
    return (
        f"## Calibration\n\nIts confidence is off by {ui.percent(ece)} on average (expected "
        f"calibration error on the {known.split} rows{beside})."
    )


def _speed(known: Known) -> str:
    rows = []
    latency = known.student.get("latency_ms")
    if latency:
        rows.append(("PyTorch", ui.filesize(known.version.size_bytes), *times(latency), ""))
    for export in known.exports:
        report = export.report or {}
        found = catalog.find("exporters", export.format)
        how = f" after {export.compress['kind']}" if export.compress else ""
        agreement = scores.number(report.get("agreement"))
        rows.append(
            (
                (found["label"] if found else export.format) + how,
                ui.filesize((report.get("size") or {}).get("after")),
                *times((report.get("latency_ms") or {}).get("after") or {}),
                ui.percent(agreement) if agreement is not None else "",
            )
        )
    if not rows:
        return ""
    head = ("Form", "Weights", "One row (p95)", "32 rows (p95)", "Same answers")
    return (
        "## Size and speed\n\nMeasured on the machine that made it, on a CPU unless it trained on "
        f"a GPU; yours will differ.\n\n{table(head, rows)}"
    )


def _limits(known: Known) -> str:
    """What nobody knows, and what is known to be weak."""
    run, said = known.run, []
    if run is None:
        said.append("No run here trained or tested it: nothing here says how good it is.")
    else:
        verdict = verdicts.of_run(run)
        answer = (verdict or {}).get("answer")
        if _teachers(run) and verdict is None:
            said.append(
                "No control was trained beside it, so nothing here says whether distilling helped."
            )
        elif answer == "no_evidence":
            said.append("There is no evidence that distilling helped.")
        elif answer == "hurt":
            said.append("Distilling hurt: the same model trained on labels alone is better.")
        if known.split != "test":
            said.append("Its dataset has no test rows: its scores are of rows it was chosen by.")
        if run.study_id is None:
            said.append("It was trained with one seed; another could score otherwise.")
        data = run.dataset_version
        if data is not None:
            said += _of_data(data)
    few = [
        one["name"]
        for one in known.evaluation.get("saved_slices", [])
        if one["scores"] and one["scores"].get("labelled", 0) < shares.FEW
    ]
    if few:
        said.append(f"Of {', '.join(map(code, few[:5]))} there were too few rows to say much.")
    said.append("It knows nothing of inputs unlike the rows named above.")
    return "## Limits\n\n" + "\n".join(f"- {one}" for one in said)


def _of_data(data: DatasetVersion) -> list[str]:
    found = [
        f"{code(data.reference)}: {plain(one['detail'])}"
        for one in data.issues
        if one["severity"] != "info"
    ]
    return found[:10]


def _loading(known: Known) -> str:
    version = known.version
    parts = ["## How to use it"]
    if any(one.format == "bundle" for one in known.exports):
        parts.append(
            "The bundle runs by itself, with ONNX Runtime and without PyTorch:\n\n"
            "```\npip install -r requirements.txt\npython predict.py --check\n"
            'python predict.py "..."\n```'
        )
    if metadata(known).get("library_name") == "transformers":
        auto = {
            "text-classification": "AutoModelForSequenceClassification",
            "token-classification": "AutoModelForTokenClassification",
            "text-generation": "AutoModelForCausalLM",
            "image-classification": "AutoModelForImageClassification",
            "audio-classification": "AutoModelForAudioClassification",
        }.get(version.model.task, "AutoModel")
        parts.append(
            "Its own files open with transformers:\n\n"
            f"```python\nfrom transformers import {auto}\n\n"
            f'model = {auto}.from_pretrained("the folder of these files")\n```'
        )
    elif version.files:
        parts.append(
            f"Its own files open with DistillHub's engine:\n\n```python\n"
            "from pathlib import Path\n\nfrom training.engine import networks\n\n"
            f'network = networks.load("{version.model.name}", Path("the folder of these files"), '
            f'"{version.model.task}")\n```\n\nFor other programs, ship it as ONNX or as a bundle.'
        )
    return "\n\n".join(parts) if parts[1:] else ""


# -- words ----------------------------------------------------------------------------------------


def _judged(known: Known) -> Sequence[str]:
    """What the task is judged by, the headline first."""
    run = known.run
    if run is None:
        return ()
    names = [known.headline, *catalog.metrics_of(run.task, run.problem)]
    return list(dict.fromkeys(name for name in names if name))


def _teachers(run: Run) -> list[str]:
    return [
        one if isinstance(one, str) else str(one.get("model"))
        for one in run.config.get("teachers", [])
    ]


def _bases(known: Known) -> list[str]:
    """Repositories of a hub that its teachers and its first weights came from."""
    if known.run is None:
        return []
    used = [*known.run.teachers.all(), *([known.run.student] if known.run.student else [])]
    ids = [str(one.source["id"]) for one in used if one.source.get("kind") == "hub"]
    return list(dict.fromkeys(ids))
