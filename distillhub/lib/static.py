"""Static files: hashed names, compressed once when they are collected."""

from collections.abc import Iterable, Iterator

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedAndCompressed(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Compresses only the hashed copies, which are what pages ask for: half of the work (brotli's
    best level takes 3 s for plotly alone)."""

    def compress_files(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        hashed = set(self.hashed_files.values())
        yield from super().compress_files(path for path in paths if path in hashed)
