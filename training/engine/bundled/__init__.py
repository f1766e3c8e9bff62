"""Programs that go into a bundle, and run there without this code: `predict.py`, and as `inputs.py`
the module that makes a network's inputs of one kind of rows. They import numpy, ONNX Runtime and
what reads their rows (tokenizers, Pillow, soundfile), nothing of ours, and each says again what the
engine's preprocessing says: the bundle's own examples check that both mean the same.
"""
