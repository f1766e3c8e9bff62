"""Everything transformers builds for a task, from its configuration class: the allow-list of model
types, and the few calls into the library (imported only when used: it takes seconds)."""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.engine.errors import ModelError

JSON = dict[str, Any]

TEXT = (
    *("albert", "bert", "big_bird", "camembert", "convbert", "data2vec-text", "deberta"),
    *("deberta-v2", "distilbert", "electra", "ernie", "fnet", "ibert", "longformer"),
    *("megatron-bert", "mobilebert", "modernbert", "mpnet", "nystromformer", "rembert"),
    *("roberta", "roberta-prelayernorm", "roformer", "xlm-roberta"),
    *("bloom", "gpt2", "gpt_neox", "llama", "mistral", "phi", "qwen2"),
)
TOKENS = (
    *("albert", "bert", "camembert", "convbert", "deberta", "deberta-v2", "distilbert"),
    *("electra", "ernie", "megatron-bert", "mobilebert", "modernbert", "mpnet", "rembert"),
    *("roberta", "roformer", "xlm-roberta"),
)
EMBEDDING = (
    *("albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "ernie"),
    *("modernbert", "mpnet", "roberta", "xlm-roberta"),
)
IMAGE = (
    *("beit", "bit", "convnext", "convnextv2", "cvt", "dinov2", "efficientnet"),
    *("focalnet", "mobilenet_v1", "mobilenet_v2", "mobilevit"),
    *("poolformer", "pvt", "pvt_v2", "regnet", "resnet", "swiftformer", "swinv2", "vit"),
)
AUDIO = (
    *("audio-spectrogram-transformer", "hubert", "sew", "unispeech", "wav2vec2", "wavlm"),
    "whisper",
)
GENERATION = ("gpt2", "gpt_neox", "llama", "mistral", "phi", "qwen2", "qwen3")
# No layer is dropped and no sample masked at random inside a model: augmentation.py masks outside.
STEADY: JSON = {"layerdrop": 0.0, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
STILL: dict[str, JSON] = {
    **dict.fromkeys(AUDIO[1:-1], STEADY),
    "whisper": {"encoder_layerdrop": 0.0, "apply_spec_augment": False},
}


#: Of these no map of attention between all places comes out, and of those no queries, keys and
#: values: convolutions, mixers, attention within blocks; projections that are one matrix.
UNMAPPED = (
    *("big_bird", "bit", "convnext", "convnextv2", "cvt", "efficientnet", "fnet", "focalnet"),
    *("longformer", "mobilenet_v1", "mobilenet_v2", "mobilevit", "poolformer", "pvt", "pvt_v2"),
    *("regnet", "resnet", "swiftformer"),
)
UNRELATED = (
    *("bit", "bloom", "convnext", "convnextv2", "cvt", "deberta", "efficientnet", "fnet"),
    *("focalnet", "gpt2", "gpt_neox", "mobilenet_v1", "mobilenet_v2", "modernbert", "mpnet"),
    *("poolformer", "regnet", "resnet", "swiftformer", "wavlm"),
)


def shows(kind: str) -> tuple[str, ...]:
    """What a model of this kind can be asked beside its logits (names of answers.Wanted)."""
    attention = () if kind in UNMAPPED else ("attention",)
    relations = () if kind in UNRELATED else ("relations",)
    return ("hidden", *attention, *relations, "embedding")


def allowed(task: str) -> tuple[str, ...]:
    if task == "audio-classification":
        return AUDIO
    if task == "text-generation":
        return GENERATION
    if task == "token-classification":
        return TOKENS
    if task == "feature-extraction":
        return EMBEDDING
    return TEXT if task == "text-classification" else IMAGE


#: Behind a model type: not the architecture that classifies texts, but the one that writes, or
#: that answers for every token.
SUFFIXES = {
    "text-generation": "-lm",
    "token-classification": "-tokens",
    "feature-extraction": "-embedding",
}


def key_of(kind: str, task: str) -> str:
    """The architecture's key of a model type."""
    return kind + SUFFIXES.get(task, "")


def model_type_of(key: str) -> str:
    for suffix in SUFFIXES.values():
        key = key.removesuffix(suffix)
    return key


class Wrapped(nn.Module):
    """A transformers model whose forward answers plain logits `[batch, classes]`, and that can be
    watched while it does."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._asked: dict[str, bool] = {}
        self._told: JSON = {}

    def forward(self, **inputs: Any) -> Tensor:
        said = self.model(**inputs, **self._asked)
        if self._asked:
            self._told.update((name[7:], said.get(name[7:])) for name in self._asked)
        logits: Tensor = said.logits
        return logits

    @contextlib.contextmanager
    def telling(self, *, hidden: bool, attention: bool) -> Iterator[JSON]:
        """Inside, a forward fills the yielded object with `hidden_states` and `attentions`."""
        if attention and self.model.config._attn_implementation != "eager":
            # Faster ways of attending never have the probabilities in memory.
            self.model.set_attn_implementation("eager")
        self._told = {}
        self._asked = {}
        if hidden:
            self._asked["output_hidden_states"] = True
        if attention:
            self._asked["output_attentions"] = True
        try:
            yield self._told
        finally:
            self._asked = {}


class Embedding(Wrapped):
    """An encoder whose forward answers one vector a text, `[batch, width]`: the mean of its last
    layer over the real tokens (Reimers, Gurevych: Sentence-BERT, 1908.10084, section 3)."""

    def forward(self, **inputs: Any) -> Tensor:
        said = self.model(**inputs, **self._asked)
        if self._asked:
            self._told.update((name[7:], said.get(name[7:])) for name in self._asked)
        hidden: Tensor = said.last_hidden_state
        inside = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        mean: Tensor = (hidden * inside).sum(dim=1) / inside.sum(dim=1).clamp_min(1.0)
        return mean


class Causal(Wrapped):
    """A language model: logits of the next token after each place, `[batch, time, vocabulary]`."""

    def forward(self, **inputs: Any) -> Tensor:
        """headless=True: what stands before the last layer, `[batch, time, width]`."""
        if not inputs.pop("headless", False):
            return super().forward(use_cache=False, **inputs)
        said = self.model.base_model(**inputs, use_cache=False, **self._asked)
        if self._asked:
            self._told.update((name[7:], said.get(name[7:])) for name in self._asked)
        hidden: Tensor = said.last_hidden_state
        return hidden

    def last(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the last layer."""
        head = self.model.get_output_embeddings()
        return head.weight, getattr(head, "bias", None)

    def begin(self, input_ids: Tensor, lengths: Tensor) -> tuple[Tensor, Any]:
        """Logits after each prompt, `[batch, vocabulary]`, and what it remembers of it. Prompts are
        padded behind; lengths: `[batch]`."""
        # The library's memory wants all prompts to end at the same place: padding moves to the
        # front, and places are counted from the first real token.
        longest = input_ids.shape[1]
        shift = longest - lengths
        places = torch.arange(longest, device=input_ids.device) - shift.unsqueeze(1)
        mask = (places >= 0).long()
        ids = input_ids.gather(1, places.remainder(longest))
        return self._next(ids, mask, places.clamp(min=0), None)

    def go_on(self, ids: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """The same after one more token of each row, `[batch]`."""
        cache, mask, place = memory
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        # A row that has ended goes along with the others, and may have no place left to go to.
        last = getattr(self.model.config, "max_position_embeddings", None)
        return self._next(ids.unsqueeze(1), mask, (place + 1).clamp(max=last and last - 1), cache)

    def _next(self, ids: Tensor, mask: Tensor, places: Tensor, cache: Any) -> tuple[Tensor, Any]:
        said = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return said.logits[:, -1], (said.past_key_values, mask, places[:, -1:])


def wrapped(model: Any, task: str) -> Wrapped:
    kinds = {"text-generation": Causal, "feature-extraction": Embedding}
    return kinds.get(task, Wrapped)(model)


MOST_LAYERS = 512
MOST = 4_000_000  # of any whole number, such as a vocabulary


def refuse_absurd(values: JSON, at: str = "") -> None:
    """Raise ModelError for a configuration whose numbers would keep a machine busy for ever, before
    anything is built of it."""
    for name, value in values.items():
        parts = value if isinstance(value, list) else [value]
        if len(parts) > 4096:
            raise ModelError(f"{at}{name} is longer than any model's.")
        for part in parts:
            if isinstance(part, dict):
                refuse_absurd(part, f"{at}{name}.")
            elif isinstance(part, int) and not isinstance(part, bool):
                most = MOST_LAYERS if LAYERS.search(name) else MOST
                if abs(part) > most and not name.endswith("_id") and part < 1 << 62:
                    raise ModelError(f"{at}{name} is {part}; the most that is built is {most}.")


LAYERS = re.compile(r"(layers?|depths?|depth|blocks|stages)$")


def build(kind: str, task: str, values: JSON) -> nn.Module:
    """A model drawn at random from a configuration. Raises ModelError when it cannot be."""
    refuse_absurd(values)
    with _quiet(), _explained(kind):
        attention = values.pop("attn_implementation", None)
        model = _auto(task).from_config(
            _configuration(kind, values),
            **({"attn_implementation": attention} if attention else {}),
        )
        return wrapped(model, task)


def _configuration(kind: str, values: JSON) -> Any:
    from transformers import AutoConfig  # noqa: PLC0415 - seconds, and only some runs need it

    return AutoConfig.for_model(kind, **values)


def _auto(task: str) -> Any:
    import transformers  # noqa: PLC0415

    if task == "text-classification":
        return transformers.AutoModelForSequenceClassification
    if task == "audio-classification":
        return transformers.AutoModelForAudioClassification
    if task == "text-generation":
        return transformers.AutoModelForCausalLM
    if task == "token-classification":
        return transformers.AutoModelForTokenClassification
    if task == "feature-extraction":
        return transformers.AutoModel
    return transformers.AutoModelForImageClassification


def load(folder: Path, task: str, classes: int) -> nn.Module:
    """A checkpoint from its folder: safetensors only, float32, nothing of it is run."""
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    refuse_absurd(said)
    with _quiet(), _explained(said.get("model_type", "model")):
        model, loaded = _auto(task).from_pretrained(
            folder,
            output_loading_info=True,
            **({} if task == "text-generation" else {"num_labels": classes}),
            ignore_mismatched_sizes=task != "text-generation",  # where the last layer starts anew
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            dtype=torch.float32,
            **STILL.get(str(said.get("model_type")), {}),
        )
    if len(loaded["missing_keys"]) > len(model.state_dict()) / 2:
        raise ModelError("Its weights are not those of the model that its config.json describes.")
    return wrapped(model, task)


def unfilled(folder: Path, task: str, classes: int) -> nn.Module:
    """The model that a checkpoint's configuration describes, its weights drawn at random."""
    from transformers import AutoConfig  # noqa: PLC0415

    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    refuse_absurd(said)
    with _quiet(), _explained(said.get("model_type", "model")):
        config = AutoConfig.from_pretrained(
            folder,
            num_labels=classes,
            trust_remote_code=False,
            local_files_only=True,
            **STILL.get(str(said.get("model_type")), {}),
        )
        return wrapped(_auto(task).from_config(config), task)


def save(
    module: nn.Module, folder: Path, names: tuple[str, ...], problem: str | None = None
) -> None:
    """`save_pretrained`'s layout, with the labels and what they are (`problem_type`) in its
    configuration."""
    assert isinstance(module, Wrapped)
    model = module.model
    if problem is not None:
        model.config.problem_type = problem
    if names:
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {name: place for place, name in enumerate(names)}
    with _quiet():
        model.save_pretrained(folder)


def write_tokenizer(folder: Path) -> None:
    """Turn a checkpoint's older tokenizer files (vocab.txt, ...) into tokenizer.json."""
    from transformers import AutoTokenizer  # noqa: PLC0415

    with _quiet(), _explained("tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True, use_fast=True
        )
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (MemoryError, ModelError):
        raise
    except Exception as error:  # the library raises whatever its many authors chose
        if "memory" in str(error).lower():
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"The {what} cannot be built from this configuration: {reason}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The library prints progress bars and reports; the journal is the place for words."""
    from transformers.utils import logging  # noqa: PLC0415

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with contextlib.redirect_stderr(io.StringIO()):
        yield
