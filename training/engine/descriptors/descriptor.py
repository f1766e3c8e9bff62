"""What every descriptor of inputs says and does. No torch here."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from training.engine.registry import Method, Registry

JSON = dict[str, Any]

READS: Mapping[str, str] = {"text": "texts", "image": "pictures", "audio": "sounds"}


class Descriptor(Method, ABC):
    """One number or word of each row, which a monitor watches as the signal `described.<key>`.

    It has no options: what is described otherwise would be another signal.
    """

    reads: ClassVar[str]  # of READS
    kind: ClassVar[str] = "numbers"  # or "categories", as sketches.BINS calls them
    unit: ClassVar[str] = ""
    needs_tokenizer: ClassVar[bool] = False  # the student's

    @classmethod
    def described(cls) -> JSON:
        return {
            **super().described(),
            "reads": cls.reads,
            "kind": cls.kind,
            "unit": cls.unit,
            "needs_tokenizer": cls.needs_tokenizer,
        }

    @abstractmethod
    def of(self, rows: Sequence[Any], tokenizer: Any = None) -> Sequence[Any]:
        """A number (or a word) of each row, None where it has none. Rows are texts, or what
        reading.py made of pictures and sounds; `tokenizer` is the student's, a
        `tokenizers.Tokenizer`. Never raises for what a row holds."""


DESCRIPTORS: Registry[type[Descriptor]] = Registry("descriptor", "training.engine.descriptors")
