"""What a run says that it was made with."""

import platform
from importlib import metadata

import torch

from training.engine import provenance


def test_a_run_says_which_code_and_packages_made_it() -> None:
    made = provenance.made_with()
    assert made["python"] == platform.python_version()
    assert made["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert made["transformers"] == metadata.version("transformers")
    assert made["distillhub"] == metadata.version("distillhub")
    assert len(made["code"]) == 16
    provenance.code.cache_clear()
    assert provenance.code() == made["code"]  # the same files give the same digest
