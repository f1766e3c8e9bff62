"""What lies beside an export, so that it can be used without this code: `export.json`, which says
how inputs are made and what the outputs mean, the tokenizer, and a README with an example that runs
as it stands.
"""

import json
from pathlib import Path
from typing import Any

from training.engine.exporters import Exporter
from training.engine.exporters.feeding import Fed
from training.engine.networks import Network
from training.engine.pixels import ImagePreprocessing
from training.engine.tokenization import TextPreprocessing

JSON = dict[str, Any]
README = "README.txt"


def write(network: Network, exporter: Exporter, how: Fed, folder: Path) -> None:
    """Beside the file that the exporter has written."""
    network.preprocessing.save(folder)
    inputs = [
        {
            "name": name,
            "type": str(value.dtype).removeprefix("torch."),
            "shape": [how.axes[name].get(axis, size) for axis, size in enumerate(value.shape)],
        }
        for name, value in how.example.items()
    ]
    said = {
        "format": 1,
        "export": exporter.key,
        "model": network.name,
        "architecture": network.architecture,
        "task": network.task,
        "problem": network.problem,
        "labels": list(network.labels),
        "inputs": inputs,
        "outputs": [{"name": "logits", "means": _meaning(network)}],
        "preprocessing": network.preprocessing.as_dict(),
    }
    (folder / "export.json").write_text(
        json.dumps(said, indent=1, ensure_ascii=False), encoding="utf-8"
    )
    (folder / README).write_text(readme(network, exporter, inputs), encoding="utf-8")


def readme(network: Network, exporter: Exporter, inputs: list[JSON]) -> str:
    """How to feed it, in words and as a program."""
    fed = "\n".join(f"    {one['name']}  {one['type']} {one['shape']}" for one in inputs)
    parts = [
        f"{network.name}, as {exporter.label}",
        f"A {network.architecture} for {network.task}. {exporter.weights} holds the network, "
        "export.json its\nlabels and how its inputs are made.",
        f"Inputs, in this order:\n\n{fed}",
        f"Output: logits. {_meaning(network)}",
    ]
    example = _example(network, exporter)
    if example:
        parts.append(f"In Python, in this folder (needs {_needs(network, exporter)}):\n\n{example}")
    return "\n\n".join(parts) + "\n"


def _meaning(network: Network) -> str:
    if network.problem == "regression":
        return "One number a row: the answer itself."
    if network.problem == "multi_label":
        return "A number for each label, in their order: the label holds where it is above 0."
    if network.labels:
        return "A number for each label, in their order: the largest is the answer."
    return "The numbers that the network answers."


def _needs(network: Network, exporter: Exporter) -> str:
    opens = "onnxruntime" if exporter.is_onnx else "torch"
    if isinstance(network.preprocessing, TextPreprocessing):
        return f"{opens}, numpy and tokenizers"
    return f"{opens}, numpy and pillow"


TEXT = """\
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({longest})
tokenizer.enable_padding(pad_id={pad})
encoded = tokenizer.encode_batch(["a text", "another one"])
inputs = {{
    "input_ids": np.array([one.ids for one in encoded], dtype=np.int64),
    "attention_mask": np.array([one.attention_mask for one in encoded], dtype=np.int64),
}}
"""
IMAGE = """\
from PIL import Image

picture = Image.open({name!r}).convert({mode!r})
picture = picture.resize(({width}, {height}), Image.Resampling.BILINEAR)
pixels = np.asarray(picture, dtype=np.float32).reshape({height}, {width}, {channels}) / 255.0
pixels = (pixels - np.array({mean}, dtype=np.float32)) / np.array({std}, dtype=np.float32)
inputs = {{"pixel_values": pixels.transpose(2, 0, 1)[None].copy()}}
"""
ONNX = """\
import onnxruntime

session = onnxruntime.InferenceSession({weights!r})
wanted = [one.name for one in session.get_inputs()]
logits = session.run(None, {{name: inputs[name] for name in wanted}})[0]
"""
TORCH = """\
import torch

network = torch.export.load({weights!r}).module()
with torch.no_grad():
    logits = network(*(torch.from_numpy(one) for one in inputs.values())).numpy()
"""
SINGLE = """\
with open("export.json", encoding="utf-8") as file:
    labels = json.load(file)["labels"]
print([labels[place] for place in logits.argmax(axis=-1).reshape(-1)])
"""


def _example(network: Network, exporter: Exporter) -> str:
    """A program for texts and pictures; other inputs are described by export.json alone."""
    seen = network.preprocessing
    if isinstance(seen, TextPreprocessing):
        feed = TEXT.format(longest=seen.max_length, pad=seen.pad)
    elif isinstance(seen, ImagePreprocessing):
        feed = IMAGE.format(
            name="picture.png",
            mode="L" if seen.channels == 1 else "RGB",
            width=seen.width,
            height=seen.height,
            channels=seen.channels,
            mean=list(seen.mean),
            std=list(seen.std),
        )
    else:
        return ""
    ask = (ONNX if exporter.is_onnx else TORCH).format(weights=exporter.weights)
    told = SINGLE if network.problem == "single_label" and network.labels else "print(logits)\n"
    lines = f"import json\n\nimport numpy as np\n{feed}\n{ask}\n{told}"
    return "\n".join(f"    {line}".rstrip() for line in lines.splitlines())
