"""A checkpoint's folder in the Hugging Face layout, loaded without running anything it holds.

Weights are safetensors only; a configuration that names code is refused, whatever flag was given
(`trust_remote_code=False` alone has been got around more than once); the model type must be on the
allow-list of students/transformers_models.py.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from training.engine import language, tokenization
from training.engine.errors import ModelError
from training.engine.job_config import Problem
from training.engine.language import LanguagePreprocessing
from training.engine.pixels import ImagePreprocessing
from training.engine.sounds import HIGHEST, LONGEST, SoundPreprocessing, reach
from training.engine.students import transformers_models
from training.engine.tokenization import TextPreprocessing
from training.engine.words import WordPreprocessing

JSON = dict[str, Any]
ALLOWED = {".json", ".safetensors", ".txt", ".model", ".md", ".jinja"}
MOST_JSON = 64 << 20  # bytes; a tokenizer of 250 000 words has 17 MB


def refuse_unsafe(folder: Path) -> None:
    """Raise ModelError when a folder holds anything but data."""
    if not folder.is_dir():
        raise ModelError("The model's folder is missing from the job.")
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_dir():
            continue
        if path.suffix.lower() not in ALLOWED and not path.name.startswith("."):
            raise ModelError(
                f"{name} is refused: only safetensors weights, configuration and tokenizer files "
                "are read, because pickles and scripts run what they hold."
            )
        if path.suffix == ".safetensors":
            _refuse_bad_weights(path)
        if path.suffix == ".json":
            _refuse_code(read_json(path), str(name))


def _refuse_bad_weights(path: Path) -> None:
    try:
        with safe_open(path, framework="pt") as file:
            if not list(file.keys()):
                raise ModelError(f"{path.name} holds no weights.")
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path.name} is not a whole safetensors file ({error}). A pickle that was renamed is "
            "refused as well."
        ) from error


def read_json(path: Path) -> Any:
    if path.stat().st_size > MOST_JSON:
        raise ModelError(f"{path.name} is larger than any configuration or tokenizer should be.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path.name} is not plain JSON ({error}).") from error


NAMES_CODE = {"auto_map", "custom_pipelines", "trust_remote_code"}


def _refuse_code(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        return
    found = sorted(NAMES_CODE & set(value))
    if found:
        raise ModelError(f"{name} is refused: its {found[0]} names code to run.")
    for part in value.values():
        _refuse_code(part, name)


def config_of(folder: Path) -> JSON:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError("The model's folder has no config.json.")
    said = read_json(path)
    if not isinstance(said, dict):
        raise ModelError("config.json must hold an object.")
    return said


def model_type(folder: Path, task: str) -> str:
    """The architecture's key. Raises ModelError when it is not on the allow-list."""
    kind = config_of(folder).get("model_type")
    if kind not in transformers_models.allowed(task):
        raise ModelError(f"A model of type {kind!r} cannot be used for {task} here.")
    return str(kind)


def labels(folder: Path) -> tuple[str, ...]:
    """The labels its last layer was trained on, by id."""
    said = config_of(folder).get("id2label") or {}
    names = [str(said[key]) for key in sorted(said, key=int)]
    return tuple(names) or ("LABEL_0", "LABEL_1")


#: What transformers calls a problem, and what it is here.
PROBLEM_TYPES: dict[str, Problem] = {
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
    "regression": "regression",
}


def problem(folder: Path) -> Problem:
    """What its last layer answers: as `problem_type` says, else a number where it has one output,
    as transformers itself reads it. Raises ModelError for several numbers."""
    config = config_of(folder)
    said = config.get("problem_type")
    outputs = len(config.get("id2label") or ()) or int(config.get("num_labels") or 2)
    found = PROBLEM_TYPES.get(str(said))
    if said is not None and found is None:
        known = ", ".join(PROBLEM_TYPES)
        raise ModelError(f"config.json says problem_type {said!r}; known are {known}.")
    if found is None:
        found = "regression" if outputs == 1 and _classifies(config) else "single_label"
    if found == "regression" and outputs > 1:
        raise ModelError(
            f"The model answers {outputs} numbers at once; a row has one number as its label here. "
            "Take a model with one output."
        )
    return found


def _classifies(config: JSON) -> bool:
    """Whether it has a last layer of classification, which numbers share with classes."""
    kinds = config.get("architectures") or []
    return any(str(kind).endswith("Classification") for kind in kinds)


def has_head(folder: Path) -> bool:
    """Whether its last layer was trained for a classification, so that it can be asked: its own
    labels (ours), or an architecture that names one and labels that are more than LABEL_0."""
    if (folder / "distillhub.json").exists():
        return True
    named = not all(name.startswith("LABEL_") for name in labels(folder))
    return _classifies(config_of(folder)) and named


def plain_config(folder: Path) -> JSON:
    """Its configuration's own numbers and words, for a page."""
    kept = (int, float, str, bool)
    return {name: value for name, value in config_of(folder).items() if isinstance(value, kept)}


def preprocessing(
    folder: Path, task: str
) -> TextPreprocessing | ImagePreprocessing | SoundPreprocessing | LanguagePreprocessing:
    """How it wants its inputs, from its own files."""
    if task in ("text-classification", "feature-extraction"):
        return _text(folder)
    if task == "token-classification":
        text = _text(folder)
        return WordPreprocessing(
            tokenizer=text.tokenizer,
            max_length=text.max_length,
            pad=text.pad,
            names=labels(folder),
        )
    if task == "audio-classification":
        return _sound(folder)
    if task == "text-generation":
        return _language(folder)
    return _image(folder)


def _text(folder: Path) -> TextPreprocessing:
    config = config_of(folder)
    if not (folder / "tokenizer.json").is_file():
        transformers_models.write_tokenizer(folder)
    longest = int(config.get("max_position_embeddings") or config.get("n_positions") or 512)
    said = folder / "tokenizer_config.json"
    stated = read_json(said).get("model_max_length", longest) if said.is_file() else longest
    longest = min(longest - (2 if config.get("model_type") in PAD_OFFSET else 0), 512)
    if isinstance(stated, int) and 0 < stated < longest:
        longest = stated
    return tokenization.load(folder, longest, int(config.get("pad_token_id") or 0))


LONGEST_WINDOW = 512  # tokens; checkpoints that see more would train in more memory than most have


def _language(folder: Path) -> LanguagePreprocessing:
    """A language model's tokenizer with its special tokens, and windows it can see at once."""
    config = config_of(folder)
    if not (folder / "tokenizer.json").is_file():
        transformers_models.write_tokenizer(folder)
    stated = folder / "tokenizer_config.json"
    said = read_json(stated) if stated.is_file() else {}
    separate = folder / "chat_template.jinja"
    template = separate.read_text(encoding="utf-8") if separate.is_file() else ""
    longest = int(config.get("max_position_embeddings") or config.get("n_positions") or 512)
    end = _first(config.get("eos_token_id"))
    pad = _first(config.get("pad_token_id"))
    return language.of_checkpoint(
        folder,
        max_length=min(longest, LONGEST_WINDOW),
        end=end,
        pad=end if pad is None else pad,
        template=template or str(said.get("chat_template") or ""),
    )


def _first(value: Any) -> int | None:
    """An id, of several the first; what is no id is none."""
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, int) and value >= 0 else None


PAD_OFFSET = {"roberta", "xlm-roberta", "camembert", "data2vec-text"}  # positions start at pad + 1


def _image(folder: Path) -> ImagePreprocessing:
    config = config_of(folder)
    path = folder / "preprocessor_config.json"
    said = read_json(path) if path.is_file() else {}
    size = said.get("size") or config.get("image_size") or 224
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge") or 224
    channels = int(config.get("num_channels") or 3)
    mean = said.get("image_mean") or [0.5] * channels
    std = said.get("image_std") or [0.5] * channels
    return ImagePreprocessing(
        height=int(size),
        width=int(size),
        channels=channels,
        mean=tuple(float(one) for one in mean[:channels]),
        std=tuple(float(one) for one in std[:channels]),
    )


def _sound(folder: Path) -> SoundPreprocessing:
    config = config_of(folder)
    path = folder / "preprocessor_config.json"
    said = read_json(path) if path.is_file() else {}
    kind, rate = config.get("model_type"), int(said.get("sampling_rate") or HIGHEST)
    if kind == "audio-spectrogram-transformer":
        frames, window, hop = int(config.get("max_length") or 1024), rate // 40, rate // 100
        return SoundPreprocessing(
            features="kaldi",
            rate=rate,
            samples=(frames - 1) * hop + window,
            minimum=window,
            mels=int(config.get("num_mel_bins") or 128),
            window=window,
            hop=hop,
            # What it learned on, AudioSet, where it does not say otherwise.
            mean=(float(said.get("mean", -4.2677393)),),
            std=(2 * float(said.get("std", 4.5689974)),),
        )
    if kind == "whisper":
        hop = int(said.get("hop_length") or rate // 100)
        return SoundPreprocessing(
            features="whisper",
            rate=rate,
            samples=2 * int(config.get("max_source_positions") or 1500) * hop,
            mels=int(config.get("num_mel_bins") or 80),
            window=int(said.get("n_fft") or rate // 40),
            hop=hop,
        )
    layered = config.get("feat_extract_norm") == "layer"
    masked = bool(said.get("return_attention_mask", layered))
    kernels, strides = config.get("conv_kernel") or [], config.get("conv_stride") or []
    return SoundPreprocessing(
        features="waveform",
        rate=rate,
        samples=round(LONGEST * rate),
        minimum=reach(kernels, strides),
        scaled=bool(said.get("do_normalize", True)),
        masked=masked,
        trimmed=masked and layered,  # other norms look at padding, too
    )


def load(folder: Path, task: str, *, classes: int) -> nn.Module:
    """The checkpoint with a last layer of `classes`: its own when the number fits, a fresh one
    otherwise."""
    refuse_unsafe(folder)
    model_type(folder, task)
    return transformers_models.load(folder, task, classes)


def unfilled(folder: Path, task: str, *, classes: int) -> nn.Module:
    """The model of a checkpoint's configuration, with weights drawn at random."""
    refuse_unsafe(folder)
    model_type(folder, task)
    return transformers_models.unfilled(folder, task, classes)


def save(
    module: nn.Module, folder: Path, names: tuple[str, ...], problem: Problem = "single_label"
) -> None:
    called = {ours: theirs for theirs, ours in PROBLEM_TYPES.items()}
    transformers_models.save(module, folder, names, called.get(problem) if names else None)
