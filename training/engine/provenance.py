"""What a run was made with: the versions of Python, of this engine and of what it computes with."""

import hashlib
import platform
from functools import lru_cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scipy", "pyarrow")


def made_with() -> dict[str, str]:
    """`{"python", "platform", "distillhub", "code", "torch", ...}`. `code` is a digest of the
    engine's source: between two releases, and where somebody changed a line, it tells apart what
    the version does not."""
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in ("distillhub", *PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # a source folder that nobody installed
            continue
    return found | {"code": code()}


@lru_cache(maxsize=1)
def code() -> str:
    """The first 16 hexadecimal digits of the sha256 of every source file of the engine, each with
    its path, in their order."""
    home = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(home).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]
