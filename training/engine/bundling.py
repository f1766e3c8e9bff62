"""What makes an export a bundle, which runs by itself: programs, settings, labels, pinned
requirements, and examples with the network's own answers, by which it checks itself.
"""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from training.engine import data
from training.engine.errors import ModelError
from training.engine.exporters import Rows
from training.engine.exporters.feeding import Answering
from training.engine.networks import Network
from training.engine.pixels import ImagePreprocessing
from training.engine.sounds import SoundPreprocessing
from training.engine.tables import TablePreprocessing
from training.engine.tokenization import TextPreprocessing

JSON = dict[str, Any]

PROGRAMS = Path(__file__).parent / "bundled"
TOLERANCE = 1e-4  # of probabilities, and of numbers and vectors times their size
SECONDS = 120  # that a check may take
#: What reads rows of a kind: its module in bundled/, the packages, and the column of a dataset.
KINDS: dict[type, tuple[str, tuple[str, ...], str]] = {
    TextPreprocessing: ("text", ("tokenizers",), "text"),
    ImagePreprocessing: ("images", ("pillow",), "image"),
    SoundPreprocessing: ("sounds", ("soundfile",), "audio"),
    TablePreprocessing: ("tables", (), ""),
}
MAGIC = {
    b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"BM": "bmp", b"fLaC": "flac",
    b"OggS": "ogg", b"ID3": "mp3",
}  # fmt: skip


def write(network: Network, rows: Rows, folder: Path, *, examples: int) -> None:
    """Beside model.onnx, which is there. Raises ModelError where rows of this kind have no program,
    and where the bundle does not answer its examples as the network does."""
    kind, packages, column = _kind(network)
    network.preprocessing.save(folder)
    shown = _examples(network, rows, folder, column, examples)
    reach = max((max(map(abs, _numbers(one["answer"]))) for one in shown), default=1.0)
    settings = {
        "format": 1,
        "model": network.name,
        "architecture": network.architecture,
        "task": network.task,
        "problem": network.problem,
        "preprocessing": network.preprocessing.as_dict(),
        "tolerance": TOLERANCE * max(1.0, float(reach)),
    }
    _write(folder / "bundle.json", settings)
    _write(folder / "labels.json", list(network.labels))
    _write(folder / "examples.json", shown)
    for name, to in (("predict", "predict"), (kind, "inputs")):
        text = (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")
        (folder / f"{to}.py").write_text(text, encoding="utf-8")
    pins = [f"{one}=={_version(one)}" for one in ("numpy", "onnxruntime", *packages)]
    (folder / "requirements.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")
    check(folder)


def check(folder: Path) -> str:
    """What `predict.py --check` says, in a process of its own. Raises ModelError for a no."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "predict.py", "--check"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    said = (done.stdout or done.stderr).strip().splitlines()
    if done.returncode:
        raise ModelError(
            f"The bundle does not answer as the model does: {said[-1] if said else 'it ended'} "
            "Export it as onnx."
        )
    return said[-1]


def _kind(network: Network) -> tuple[str, tuple[str, ...], str]:
    for one, found in KINDS.items():
        if type(network.preprocessing) is one:
            return found
    raise ModelError(f"There is no bundle for {network.task}. Export it as onnx.")


def _examples(network: Network, rows: Rows, folder: Path, column: str, many: int) -> list[JSON]:
    """Rows of the training split, evenly apart, and what the network answers them. Pictures and
    sounds become files of their own."""
    if not many or rows.path is None:
        return []
    places = np.linspace(0, len(rows.training) - 1, min(many, len(rows.training)))
    chosen = rows.training[places.astype(np.int64)]
    network.module.eval()
    batch = {name: value for name, value in rows.inputs.batch(chosen).items() if name != "targets"}
    with torch.inference_mode():
        logits = Answering(network)(**batch).double()
    if column:
        given = data.values(rows.path, column, chosen)
    else:
        given = _table_rows(rows.path, network.preprocessing, chosen)
    found = []
    for place, (one, answer) in enumerate(zip(given, logits, strict=True)):
        if isinstance(one, bytes):
            name = f"example-{place}.{_extension(one)}"
            (folder / name).write_bytes(one)
            one = {"file": name}
        found.append({"input": one, "answer": _answer(network, answer)})
    return found


def _table_rows(path: Path, preprocessing: Any, chosen: data.Indices) -> list[JSON]:
    names = [*preprocessing.numeric, *preprocessing.categorical]
    table = pq.read_table(path, columns=names).take(chosen)
    return [dict(row) for row in table.to_pylist()]


def _answer(network: Network, logits: torch.Tensor) -> JSON:
    match network.problem:
        case "regression":
            return {"value": float(logits[0])}
        case "embedding":
            return {"vector": logits.tolist()}
        case "multi_label":
            shares = torch.sigmoid(logits).tolist()
            known = zip(network.labels, shares, strict=True)
            labels = [label for label, share in known if share > 0.5]
            return {"labels": labels, "probabilities": shares}
    sure = torch.softmax(logits, dim=-1)
    return {"label": network.labels[int(sure.argmax())], "probabilities": sure.tolist()}


def _numbers(answer: JSON) -> list[float]:
    found = answer.get("vector") or [answer.get("value", 0.0)]
    return [float(one) for one in found]


def _extension(content: bytes) -> str:
    for magic, name in MAGIC.items():
        if content.startswith(magic):
            return name
    return "wav" if content.startswith(b"RIFF") and content[8:12] == b"WAVE" else "bin"


def _version(package: str) -> str:
    """Without what stands behind a plus: registries do not know it."""
    return importlib.metadata.version(package).partition("+")[0]


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
