"""Static files: hashed names, compressed once when they are collected."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedAndCompressed(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Compresses only the hashed copies, which are what pages ask for: half of the work (brotli's
    best level takes 3 s for plotly alone).

    Files may be collected while web processes begin and run: they find the old list of names or the
    new one, and look again for a name that theirs lacks.
    """

    manifest_name: str

    def compress_files(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        hashed = set(self.hashed_files.values())
        yield from super().compress_files(path for path in paths if path in hashed)

    def save_manifest(self) -> None:
        """Django removes the old list before it writes the new one. A process that began in between
        would answer every page with 500 as long as it lives."""
        name = self.manifest_name
        self.manifest_name = f"{name}.new"
        try:
            super().save_manifest()
            written = Path(self.manifest_storage.path(self.manifest_name))
        finally:
            self.manifest_name = name
        written.replace(self.manifest_storage.path(name))

    def stored_name(self, name: str) -> str:
        try:
            return str(super().stored_name(name))
        except ValueError:
            self.hashed_files, self.manifest_hash = self.load_manifest()
            return str(super().stored_name(name))
