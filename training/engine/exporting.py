"""Shipping a model: `python -m training.engine export JOB_DIR`.

`config.json`: {"format": 1, "task", "model": {"name", "path"}, "dataset" (as in a training job),
"export": {"format", "options", "compress"?: {"kind", "options"}}, "teacher"?: {"name", "path"},
"store"?, "threads"}; paths relative to the folder.

What is written lies in JOB_DIR/output. It is opened again, answers validation rows, and is held
against the network it came from: `result.json` is {"files", "report"}, or {"failed": {"code",
"sentence"}} with exit status 1. `journal.jsonl` tells the stages. Test rows are never looked at.
"""

import copy
import dataclasses
import importlib.metadata
import platform
import shutil
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.engine import (
    data,
    evaluate,
    export_config,
    gate,
    generation,
    inspection,
    job,
    methods,
    networks,
)
from training.engine.compressors import COMPRESSORS, Compressor, Material, tuning
from training.engine.data import Dataset, Indices, Inputs
from training.engine.errors import ModelError
from training.engine.events import Logged, Stage, finite
from training.engine.export_config import FALLING, Wish
from training.engine.exporters import EXPORTERS, Exporter, Rows, instructions
from training.engine.exporters.feeding import Fed, fed
from training.engine.exporters.onnx_graph import first_line
from training.engine.job_config import DatasetInput, Machine
from training.engine.journal import Journal
from training.engine.language import LanguagePreprocessing
from training.engine.language_teacher import LanguageTeacher
from training.engine.latency import BATCHES, energy_of
from training.engine.networks import Network, Place
from training.engine.tasks import TASKS
from training.engine.teacher_outputs import Teacher
from training.engine.windows import LanguageInputs

JSON = dict[str, Any]
Logits = NDArray[np.float32]
MOST_ROWS = 2000  # of the validation split, on which both answer
MOST_NUMBERS = 50_000_000  # that both may answer to these rows
SECONDS = 2.0  # spent on each batch size, both networks together
MOST_TURNS = 200
TOP_K = 64  # words a token of a teacher, where its answers take too much room
SLOWER = 1.1  # times as long, from which a form is called slower
LOSES = 0.01  # of the metric, from which a form is called worse


def run(folder: Path) -> NoReturn:
    """Export as the folder says, write `result.json`, and end the process."""

    def work(folder: Path) -> JSON:
        with Journal(folder / "journal.jsonl") as journal:
            return export(
                folder,
                stage=lambda name: journal.write(Stage(name)),
                say=lambda text: journal.write(Logged(text)),
            )

    inspection.answer(folder, work)


@dataclass(frozen=True, slots=True)
class Asked:
    task: str
    wish: Wish
    dataset: DatasetInput
    teacher: JSON | None
    threads: int
    machine: Machine


def export(
    folder: Path,
    *,
    stage: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> JSON:
    """`{"files", "report"}` of a job folder, whose output/ is then full. Raises the errors of
    errors.py."""
    raw = job.read_config(folder)
    asked = _read(raw)
    torch.set_num_threads(asked.threads)
    cpu = Place(torch.device("cpu"))

    # -- the network, and real rows for it ------------------------------------------------------
    stage("reading the model")
    model = raw["model"]
    home = folder / str(model["path"])
    network = networks.load(str(model["name"]), home, asked.task)
    dataset = data.open_dataset(folder, asked.dataset, TASKS[asked.task].unit)
    inputs = network.preprocessing.prepare(dataset.path, folder / "prepared")
    whole = dataset
    if isinstance(inputs, LanguageInputs):
        dataset = inputs.divided(dataset)
    rows = Rows(inputs, dataset.splits["train"], dataset.path)
    before = copy.deepcopy(network)
    cpu.settle(before)

    # -- smaller ---------------------------------------------------------------------------------
    compressor = _compressor(asked.wish)
    told = []
    if compressor is not None:
        stage("compressing")
        teacher = _teacher(raw, asked.wish, folder, whole, network, say)
        material = Material(dataset, inputs, Place.choose("auto"), teacher, say)
        network, said = compressor.compress(network, material)
        network.module.to("cpu").eval()
        told.append(said)

    # -- written, and opened again ----------------------------------------------------------------
    stage("writing")
    output = folder / "output"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    method = EXPORTERS[asked.wish.format]
    exporter = method(method.Options(**asked.wish.options))
    exporter.write(network, rows, output)
    if compressor is not None:
        told.append(compressor.finish(output / exporter.weights, rows))
    how = fed(network, rows)
    if exporter.weights != networks.WEIGHTS:
        instructions.write(network, exporter, how, output)
    after = exporter.open(network, output, asked.threads).eval()
    refuse_rigid(after, how)

    # -- held against what it came from -----------------------------------------------------------
    stage("comparing answers")
    judged = _judged(dataset, inputs, before.outputs)
    if isinstance(inputs, LanguageInputs):
        report = compare_writing(before, after, inputs, judged)
    else:
        answers = evaluate.predict(before, inputs, judged, cpu)
        meant = dataclasses.replace(before, scale=(0.0, 1.0))  # what was opened scales by itself
        theirs = evaluate.predict(meant, inputs, judged, cpu, module=after)
        report = compare(before, dataset, inputs, judged, answers, theirs)
    stage("measuring speed")
    same = compressor is None and exporter.weights == networks.WEIGHTS
    times = race(before, None if same else after, inputs, judged, asked.machine)
    files = [inspection.file_of(one, output) for one in sorted(output.iterdir())]
    report |= {
        **asked.wish.as_dict(),
        "said": " ".join(part for part in told if part),
        "parameters": {"before": before.parameters, "after": network.parameters},
        "size": sizes(home, output, exporter),
        **times,
        "threads": asked.threads,
        "made_with": _made_with(exporter),
    }
    return {"files": files, "report": finite(report | verdict(report))}


def _read(raw: JSON) -> Asked:
    task, _, dataset = gate.read(raw)
    wish = export_config.read(raw.get("export"), methods.describe(), task)
    threads = max(1, int(raw.get("threads") or 1))
    machine = Machine(**raw.get("machine") or {})
    return Asked(task, wish, dataset, raw.get("teacher"), threads, machine)


def _compressor(wish: Wish) -> Compressor | None:
    if wish.compress is None:
        return None
    method = COMPRESSORS[wish.compress["kind"]]
    return method(method.Options(**wish.compress["options"]))


def _teacher(
    raw: JSON,
    wish: Wish,
    folder: Path,
    dataset: Dataset,
    student: Network,
    say: Callable[[str], None],
) -> Teacher | None:
    """The teacher, whose answers are in the store or go there. Raises ModelError for one that reads
    other tokens than a student that writes."""
    said = raw.get("teacher")
    if not said:
        return None
    home = folder / str(said["path"])
    network = networks.load(str(said["name"]), home, str(raw["task"]))
    store = Path(raw["store"]) if raw.get("store") else folder / "teacher-outputs"
    teacher: Teacher
    if isinstance(network.preprocessing, LanguagePreprocessing):
        if getattr(student.preprocessing, "rationales", False):  # both read every prompt twice
            network.preprocessing = dataclasses.replace(network.preprocessing, rationales=True)
        if network.preprocessing.digest != student.preprocessing.digest:
            raise ModelError(
                f"{network.name} cuts texts into other tokens than {student.name}, so its answers "
                "cannot be learnt from. Name another teacher, or the version itself."
            )
        teacher = LanguageTeacher(network, home, 1.0, dataset, Place.choose("auto"))
        teacher.prepare(folder / "prepared")
        teacher.seat(dataset)
        assert wish.compress is not None
        softens = tuning.temperature(wish.compress["options"].get("temperature"), student)
        teacher.choose("auto", TOP_K, [softens], store)
    else:
        teacher = Teacher(network, home, 1.0, dataset, Place.choose("auto"))
    say(f"Asking {network.name}")
    for split in ("train", "validation"):
        for _ in teacher.ask(split, store, folder / "prepared", lambda: False):
            pass
    return teacher


def refuse_rigid(after: nn.Module, how: Fed) -> None:
    """Raise ModelError for a form that does not answer one row, or the shortest."""
    for batch in how.small():
        try:
            with torch.inference_mode():
                after(**batch)
        except Exception as error:  # a runtime has errors of its own
            shapes = ", ".join(str(list(value.shape)) for value in batch.values())
            raise ModelError(
                f"What was written does not answer inputs of shape {shapes}: "
                f"{first_line(error)} Choose another form."
            ) from error


def _judged(dataset: Dataset, inputs: Inputs, outputs: int) -> Indices:
    """Validation rows, evenly apart where there are many."""
    rows = dataset.splits["validation"]
    units = data.offsets(inputs, rows)[-1] / len(rows)
    # Of texts that are written, logits are looked at and forgotten: only the time is a limit.
    numbers = 10 * MOST_NUMBERS if isinstance(inputs, LanguageInputs) else MOST_NUMBERS
    most = int(min(MOST_ROWS, max(1, numbers // (units * outputs))))
    places = np.linspace(0, len(rows) - 1, min(most, len(rows)))
    return rows[places.astype(np.int64)]


def compare(
    network: Network,
    dataset: Dataset,
    inputs: Inputs,
    rows: Indices,
    before: Logits,
    after: Logits,
) -> JSON:
    """How much the answers to some rows differ: `agreement`, `difference` of the logits, and
    `metric` before and after. The metric is None where the network has other labels; of vectors it
    is their cosine with what they were."""
    apart = np.abs(before.astype(np.float64) - after)
    close = evaluate.fidelity(after, before, network.problem)
    return {
        "rows": len(rows),
        "split": "validation",
        # Of vectors: the share of each row's nearest rows that are still its nearest.
        "agreement": close.get("agreement", close.get("neighbours")),
        "kl": close.get("kl"),
        "difference": {"max": float(apart.max()), "mean": float(apart.mean())},
        "metric": _metric(network, dataset, inputs, rows, before, after),
    }


def compare_writing(
    network: Network, after: nn.Module, inputs: LanguageInputs, rows: Indices
) -> JSON:
    """The same of a network that writes. Its `metric` is bits a character, or perplexity where no
    token stands for a character, and `metrics` are all it is judged by, token by token."""
    found = generation.apart(network, after, inputs, rows, Place(torch.device("cpu")))
    metrics = [
        {"name": name, "before": first, "after": then, "change": then - first}
        for name, (first, then) in found.scores().items()
    ]
    return {
        "rows": len(rows),
        "tokens": found.units,
        "split": "validation",
        "agreement": found.agreement,
        "kl": found.kl,
        "difference": {"max": found.most, "mean": found.mean},
        "metric": metrics[0],
        "metrics": metrics,
    }


def _metric(
    network: Network,
    dataset: Dataset,
    inputs: Inputs,
    rows: Indices,
    before: Logits,
    after: Logits,
) -> JSON | None:
    if network.problem == "embedding":
        same = evaluate.fidelity(after, before, "embedding")["cosine"]
        return {"name": "cosine", "before": 1.0, "after": same, "change": same - 1.0}
    name = TASKS[network.task].metrics.get(dataset.problem, ("",))[0]
    if network.problem != dataset.problem:
        return None
    try:
        columns = networks.columns(network, dataset.names)
    except ModelError:
        return None
    truth = evaluate.truths(dataset, inputs, rows)
    first, then = (
        float(
            evaluate.score(
                said[:, columns],
                truth,
                dataset.problem,
                names=dataset.names,
                starts=evaluate.word_starts(inputs, rows),
            ).get(name, np.nan)
        )
        for said in (before, after)
    )
    if not (np.isfinite(first) and np.isfinite(then)):
        return None
    return {"name": name, "before": first, "after": then, "change": then - first}


def race(
    before: Network,
    after: nn.Module | None,
    inputs: Inputs,
    rows: Indices,
    machine: Machine,
) -> JSON:
    """`latency_ms` of both by batch size, median and 95th percentile, and how many times as fast
    the second is. They take turns on the same rows, so that a machine that is busy for a while is
    busy for both. Inputs are there already: reading and tokenising cost both the same. None is the
    same network again, which is not slower for being busy in its turn.

    Of texts that are written, whole logits are answered, of `places` tokens at most."""
    place = Place(torch.device("cpu"))
    before.module.eval()
    times: dict[str, JSON] = {"before": {}, "after": {}}
    speed_up = {}
    places = None
    if isinstance(inputs, LanguageInputs):
        longest = int(inputs.lengths[rows].max())
        places = min(longest, max(1, MOST_NUMBERS // (BATCHES[-1] * before.outputs)))

    def batch_of(size: int, turn: int) -> dict[str, Any]:
        batch = inputs.batch(rows[(np.arange(size) + turn * size) % len(rows)])
        return {
            name: value if places is None else value[:, :places]
            for name, value in batch.items()
            if name != "targets"
        }

    def answer(name: str, given: dict[str, Any]) -> None:
        if name == "before" or after is None:
            place.logits(before, given)
        else:
            after(**given)

    with torch.inference_mode():
        for size in BATCHES:
            spent: dict[str, list[float]] = {"before": [], "after": []}
            until = time.perf_counter() + SECONDS
            for turn in range(MOST_TURNS + 4):
                given = batch_of(size, turn)
                # The second to read a row finds it in the processor's cache: they swap.
                for name in ("before", "after") if turn % 2 else ("after", "before"):
                    began = time.perf_counter()
                    answer(name, given)
                    if turn >= 4:  # the first answers warm caches up
                        spent[name].append((time.perf_counter() - began) * 1000.0)
                if len(spent["after"]) > 1 and time.perf_counter() > until:
                    break
            if after is None:
                spent["after"] = spent["before"] = spent["before"] + spent["after"]
            for name, found in spent.items():
                times[name][str(size)] = {
                    "median": round(float(np.median(found)), 4),
                    "p95": round(float(np.percentile(found, 95)), 4),
                }
            medians = [times[name][str(size)]["median"] for name in ("before", "after")]
            speed_up[str(size)] = round(medians[0] / max(medians[1], 1e-4), 3)
        widest = batch_of(BATCHES[-1], 0)
        energy = {"before": energy_of(partial(answer, "before", widest), BATCHES[-1], machine)}
        energy["after"] = energy["before"]
        if after is not None:
            energy["after"] = energy_of(partial(answer, "after", widest), BATCHES[-1], machine)
    told: JSON = {} if places is None else {"places": places}
    told["energy_per_million_wh"] = {name: used for name, (used, _) in energy.items()}
    told["energy_source"] = energy["after"][1]
    return {"latency_ms": times, "speed_up": speed_up, **told}


def sizes(home: Path, output: Path, exporter: Exporter) -> JSON:
    """Bytes of the weights before and after, of all files, and of the weights once packed."""
    stored = sum(one.stat().st_size for one in home.glob("*.safetensors"))
    written = sum(
        one.stat().st_size for one in output.iterdir() if one.name.startswith(exporter.weights)
    )
    return {
        "before": stored,
        "after": written,
        "share": round(written / max(1, stored), 4),
        "files": sum(one.stat().st_size for one in output.iterdir()),
        "packed": _packed(output / exporter.weights),
    }


def _packed(path: Path) -> int:
    """Bytes it takes in a zip; what zeros are worth."""
    packer, total = zlib.compressobj(6), 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            total += len(packer.compress(piece))
    return total + len(packer.flush())


def verdict(report: JSON) -> JSON:
    """`recommended`, and `sentence`: what a person should know before shipping it, the faults
    first."""
    alone, many = report["speed_up"][str(BATCHES[0])], report["speed_up"][str(BATCHES[-1])]
    faults, others = [], []
    metric = report["metric"]
    if metric is not None and _lost(metric) > LOSES:
        then, now = (_spelt(metric["name"], metric[when]) for when in ("before", "after"))
        name = metric["name"].replace("_", " ")
        faults.append(f"Worse: its {name} is {now} instead of {then} on validation rows.")
    elif report["agreement"] is not None:
        close = f"{100 * report['agreement']:.1f} % of"
        if "tokens" in report:
            others.append(f"It foresees {close} {report['tokens']:,} tokens as the model does.")
        else:
            others.append(
                f"It answers {close} {report['rows']:,} validation rows as the model does."
            )
    if alone < 1.0 / SLOWER:
        faults.append(
            f"Slower: one row takes {1.0 / alone:.1f} times as long as in the model it came from."
        )
    elif alone > SLOWER:
        others.append(f"It is {alone:.1f} times as fast.")
    if alone >= 1.0 / SLOWER and many < 1.0 / SLOWER:
        others.append(f"{BATCHES[-1]} rows at once take {1.0 / many:.1f} times as long.")
    share = report["size"]["share"]
    if share < 0.95:
        others.append(f"Its file has {100 * share:.0f} % of the bytes.")
    elif share > 1.05:
        others.append(f"Its file is {share:.1f} times as large.")
    return {"recommended": not faults, "sentence": " ".join([*faults, *others])}


def _spelt(name: str, value: float) -> str:
    """Shares in per cent, errors as they are."""
    return f"{value:.4g}" if name in FALLING else f"{100 * value:.1f} %"


def _lost(metric: JSON) -> float:
    """Of the metric, how much is gone: points of a share, and the share of an error."""
    if metric["name"] in FALLING:
        return float(metric["change"] / max(abs(metric["before"]), 1e-9))
    return float(-metric["change"])


def _made_with(exporter: Exporter) -> JSON:
    names = ["torch", *(("onnx", "onnxruntime") if exporter.is_onnx else ())]
    versions = {name: importlib.metadata.version(name) for name in names}
    return {**versions, "processor": platform.machine()}
