"""Sound architectures of transformers, drawn at random from a configuration.

Options carry the names of the library's own configuration, with defaults for a CPU; any other key
of it may be given too. Rate and length of the sounds come from the data, unless asked otherwise.
Layers are never dropped at random, and nothing is masked inside the model: both would draw from
numpy's own generator, and a run could not be repeated.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from training.engine import sounds
from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape, transformers_models
from training.engine.students.sound_options import Sounds

JSON = dict[str, Any]
OWN = ("sampling_rate", "seconds")  # ours, not the configuration's


@dataclass(frozen=True, slots=True)
class Waves(Sounds):
    conv_dim: tuple[int, ...] = option(
        (32, 32, 32, 32, 32),
        minimum=4,
        maximum=4096,
        label="Convolutions",
        help="Channels of each layer that turns samples into frames.",
    )
    conv_stride: tuple[int, ...] = option(
        (5, 4, 2, 2, 2),
        minimum=1,
        maximum=64,
        label="Strides",
        help="Of each such layer; together 160 samples a frame.",
    )
    conv_kernel: tuple[int, ...] = option(
        (10, 8, 4, 4, 4), minimum=1, maximum=128, label="Kernels", help="Of each such layer."
    )
    hidden_size: int = option(64, minimum=16, maximum=8192, label="Width", help="Of every layer.")
    num_hidden_layers: int = option(2, minimum=1, maximum=128, label="Layers", help="Blocks.")
    num_attention_heads: int = option(
        4, minimum=1, maximum=128, label="Heads", help="Must divide the width."
    )
    intermediate_size: int = option(
        128, minimum=4, maximum=65_536, label="Inner width", help="Two to four times the width."
    )
    classifier_proj_size: int = option(
        64, minimum=1, maximum=8192, label="Last width", help="Before the last layer."
    )


@dataclass(frozen=True, slots=True)
class Patches(Sounds):
    num_mel_bins: int = option(
        64, minimum=16, maximum=512, label="Bands", help="Of the spectrogram, on the mel scale."
    )
    hidden_size: int = option(64, minimum=4, maximum=8192, label="Width", help="Of every layer.")
    num_hidden_layers: int = option(2, minimum=1, maximum=128, label="Layers", help="Blocks.")
    num_attention_heads: int = option(
        4, minimum=1, maximum=128, label="Heads", help="Must divide the width."
    )
    intermediate_size: int = option(
        128, minimum=4, maximum=65_536, label="Inner width", help="Two to four times the width."
    )


@dataclass(frozen=True, slots=True)
class Whisper(Sounds):
    num_mel_bins: int = option(
        80, minimum=16, maximum=512, label="Bands", help="Of the spectrogram, on the mel scale."
    )
    d_model: int = option(64, minimum=4, maximum=8192, label="Width", help="Of every layer.")
    encoder_layers: int = option(2, minimum=1, maximum=128, label="Layers", help="Blocks.")
    encoder_attention_heads: int = option(
        4, minimum=1, maximum=128, label="Heads", help="Must divide the width."
    )
    encoder_ffn_dim: int = option(
        128, minimum=4, maximum=65_536, label="Inner width", help="Two to four times the width."
    )
    classifier_proj_size: int = option(
        64, minimum=1, maximum=8192, label="Last width", help="Before the last layer."
    )


class TransformersAudio(Architecture):
    kind = "transformers"
    open = True
    tasks = ("audio-classification",)
    recommended: ClassVar[JSON] = {"epochs": 20, "batch_size": 32, "learning_rate": 1e-3}
    recommended_trained: ClassVar[JSON] = {"epochs": 8, "batch_size": 32, "learning_rate": 1e-4}
    derived: ClassVar[JSON] = {}  # settings that a small model of this type needs
    Options: ClassVar[type] = Waves

    @classmethod
    def wished_sounds(cls, options: JSON) -> sounds.Wish:
        """Waveforms, each to mean 0 and deviation 1, and a mask of what is real."""
        return sounds.Wish(
            rate=options["sampling_rate"],
            seconds=options["seconds"],
            minimum=sounds.reach(options["conv_kernel"], options["conv_stride"]),
            scaled=True,
            masked=True,
            trimmed=True,
        )

    @classmethod
    def build(cls, options: JSON, shape: Shape) -> nn.Module:
        values = {name: value for name, value in options.items() if name not in OWN}
        return transformers_models.build(
            cls.key,
            "audio-classification",
            {
                **transformers_models.STILL.get(cls.key, {}),
                **cls.derived,
                **values,
                **cls.sized(values, shape),
                "num_labels": shape.classes,
            },
        )

    @classmethod
    def sized(cls, values: JSON, shape: Shape) -> JSON:
        """What follows from the data."""
        del shape
        return {"num_feat_extract_layers": len(values["conv_dim"])}


class Spectrogram(TransformersAudio):
    Options: ClassVar[type] = Patches

    @classmethod
    def wished_sounds(cls, options: JSON) -> sounds.Wish:
        return sounds.Wish(
            features="kaldi",
            rate=options["sampling_rate"],
            seconds=options["seconds"],
            mels=options["num_mel_bins"],
            frames=PATCH,
        )

    @classmethod
    def sized(cls, values: JSON, shape: Shape) -> JSON:
        return {"max_length": shape.frames}


class WhisperEncoder(TransformersAudio):
    Options: ClassVar[type] = Whisper

    @classmethod
    def wished_sounds(cls, options: JSON) -> sounds.Wish:
        return sounds.Wish(
            features="whisper",
            rate=options["sampling_rate"],
            seconds=options["seconds"],
            mels=options["num_mel_bins"],
            frames=2,
            multiple=2,
        )

    @classmethod
    def sized(cls, values: JSON, shape: Shape) -> JSON:
        # The decoder is configured, too, though only the encoder is built.
        return {"max_source_positions": shape.frames // 2}


PATCH = 16  # frames and bands of one patch of the Audio Spectrogram Transformer


LABELS = {
    "audio-spectrogram-transformer": ("Audio Spectrogram Transformer", "Gong et al., 2104.01778"),
    "hubert": ("HuBERT", "Hsu et al., 2106.07447"),
    "sew": ("SEW", "Wu et al., 2109.06870"),
    "unispeech": ("UniSpeech", "Wang et al., 2101.07597"),
    "wav2vec2": ("wav2vec 2.0", "Baevski et al., 2006.11477"),
    "wavlm": ("WavLM", "Chen et al., 2110.13900"),
    "whisper": ("Whisper encoder", "Radford et al., 2212.04356"),
}
BASES: dict[str, type[TransformersAudio]] = {
    "audio-spectrogram-transformer": Spectrogram,
    "whisper": WhisperEncoder,
}
# Norms over each frame alone, so that padding changes no answer, and few places to look around.
LAYERED = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
NEAR = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
DERIVED: dict[str, JSON] = {
    **dict.fromkeys(("hubert", "unispeech", "wav2vec2", "wavlm"), LAYERED | NEAR),
    "sew": NEAR | {"feat_extract_norm": "layer"},
}


def _declare(key: str) -> type[TransformersAudio]:
    label, paper = LABELS[key]
    summary = f"{label} as transformers builds it, from any configuration, with random weights."
    return type(
        "".join(filter(str.isalnum, label)) + "Audio",
        (BASES.get(key, TransformersAudio),),
        {
            "key": key,
            "label": label,
            "summary": summary,
            "paper": paper,
            "shows": transformers_models.shows(key),
            "derived": DERIVED.get(key, {}),
            "__doc__": summary,
        },
    )


for _key in transformers_models.AUDIO:
    ARCHITECTURES.register(_declare(_key))
