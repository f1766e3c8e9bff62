"""What describes a text, a picture or a sound in a number or a word: one file each, found by
itself. `descriptor.py` says what one must do."""

from training.engine.descriptors.descriptor import DESCRIPTORS, READS, Descriptor

__all__ = ["DESCRIPTORS", "READS", "Descriptor"]
