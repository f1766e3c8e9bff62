from training.engine.presets import PRESETS, Preset


@PRESETS.register
class Speech(Preset):
    key = "speech"
    family = "whole"
    rank = 2
    label = "Speech to a small device"
    summary = "Soft targets from a large model of sounds, shipped in eight bits."
    when = "For wav2vec 2.0, HuBERT or the like as teacher, and a spectrogram convnet as student."
    paper = "Hinton, Vinyals, Dean, 1503.02531; Baevski et al.: wav2vec 2.0, 2006.11477"
    tasks = ("audio-classification",)
    losses = (
        {"kind": "soft_targets", "weight": 0.9, "temperature": 2.0},
        {"kind": "hard_labels", "weight": 0.1, "label_smoothing": 0.0},
    )
    exports = ("onnx-int8",)
