"""A repository of the Hugging Face hub (or a mirror), brought into a folder at a pinned revision.

Only configuration, tokenizer and safetensors files are fetched; a repository that has no
safetensors is refused, whatever else it offers: pickles run what they hold. The revision is
resolved to a commit first, and every file is of that commit.
"""

import fnmatch
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.engine.errors import ModelError

WANTED = (
    *("config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
    *("preprocessor_config.json", "distillhub.json"),
)
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
MOST_BYTES = 40 << 30


@dataclass(frozen=True, slots=True)
class Fetched:
    folder: Path
    commit: str  # the revision it is pinned to


def fetch(repository: str, revision: str, folder: Path, *, endpoint: str | None = None) -> Fetched:
    """Download a repository's wanted files into `folder`. Raises ModelError with what to do.

    `endpoint` is a mirror's address; by default HF_ENDPOINT, else the hub itself.
    """
    from huggingface_hub import HfApi, errors, snapshot_download  # noqa: PLC0415 - slow to import

    if not NAME.fullmatch(repository) or ".." in repository:
        raise ModelError(f"{repository!r} is no Hugging Face id, such as google/bert_uncased_L-2.")
    api = HfApi(endpoint=endpoint, token=False)
    try:
        found = api.model_info(repository, revision=revision, files_metadata=True, timeout=30)
        _refuse(repository, found)
        snapshot_download(
            repository,
            revision=found.sha,
            local_dir=folder,
            endpoint=endpoint,
            token=False,
            allow_patterns=list(WANTED),
            max_workers=4,
        )
    except errors.RepositoryNotFoundError as error:
        raise ModelError(f"The hub has no public model called {repository}.") from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{repository} has no revision {revision}.") from error
    except ModelError:
        raise
    except Exception as error:  # its HTTP client has a tree of exceptions of its own
        raise ModelError(
            f"The hub did not answer for {repository} ({type(error).__name__}). Try again later, "
            "set HF_ENDPOINT to a mirror, or upload the model's folder as a zip."
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return Fetched(folder, str(found.sha))


def _refuse(repository: str, found: Any) -> None:
    files = {one.rfilename: one.size or 0 for one in found.siblings}
    wanted = {
        name: size
        for name, size in files.items()
        if "/" not in name and any(fnmatch.fnmatch(name, pattern) for pattern in WANTED)
    }
    if not any(name.endswith(".safetensors") for name in wanted):
        raise ModelError(
            f"{repository} offers no safetensors weights. Other formats (.bin, .pt, .h5) are "
            "refused because loading them runs what they hold; ask its authors to convert it."
        )
    if "config.json" not in wanted:
        raise ModelError(f"{repository} has no config.json, so it cannot be built.")
    if sum(wanted.values()) > MOST_BYTES:
        raise ModelError(f"{repository} is larger than {MOST_BYTES >> 30} GB.")
