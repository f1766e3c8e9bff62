"""An archive of sounds in class folders, as class_folders.py says.

WAV, FLAC, MP3 and Ogg files are kept to the byte. Sounds that do not decode to their end and files
that are no sounds are left out and listed.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, ClassVar

from distillhub.lib.later import Later, np
from projects.ingest import class_folders, compressed, registry
from projects.ingest.class_folders import Archive, ClassFolders, File
from projects.ingest.formats import BadFile, LeftOut, Look, Plan, Row

soundfile = Later("soundfile")

MOST_SOUND_BYTES = 64 << 20  # of one file
MOST_SECONDS = 600
MOST_RATE = 192_000  # samples a second
MOST_CHANNELS = 8
PIECE = 1 << 16  # samples of every channel, decoded at a time
PLAYED_SECONDS = 60  # of a sound, on a page

SUFFIXES = (".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus")
OTHER_SOUNDS = (".m4a", ".aac", ".wma", ".aiff", ".aif", ".amr", ".mp4", ".webm", ".au", ".caf")
#: What libsndfile calls them, and how they are called on pages.
KINDS = {"WAV": "WAV", "WAVEX": "WAV", "FLAC": "FLAC", "MP3": "MP3", "MPEG": "MP3", "OGG": "Ogg"}


class TooLarge(BadFile):
    """A sound is longer than any honest one: the whole upload is refused."""

    code = "sound_too_large"


@dataclass(frozen=True, slots=True)
class Sound:
    encoded: bytes
    key: bytes
    seconds: float
    rate: int
    kind: str  # "WAV, mono"
    is_silent: bool


@registry.register
class AudioFolder(ClassFolders):
    key = "audio_folder"
    label = "Sounds in class folders (zip, tar)"
    tasks: ClassVar[tuple[str, ...]] = ("audio-classification",)
    endings: ClassVar[tuple[str, ...]] = SUFFIXES
    noun = "sound"
    stranger = "not_a_sound"

    def inputs(self, plan: Plan) -> list[dict[str, str]]:
        return [
            {"name": "audio", "type": "audio", "role": "input"},
            {"name": "seconds", "type": "number", "role": "measure"},
        ]

    def measures(self, plan: Plan) -> tuple[str, ...]:
        return ("milliseconds", "rate")

    def look(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Look:
        with class_folders.opened(file, name) as archive:
            placed, left_out = self.placed(archive, name)
            look = self.look_of(placed, left_out)
            places = {id(one): place for place, one in enumerate(placed)}
            for one in class_folders.one_of_each(placed):
                try:
                    sound = read_sound(archive, one.info)
                except BadFile as error:
                    severity = "error" if isinstance(error, TooLarge) else "warning"
                    look.problems.append({"severity": severity, "detail": error.detail})
                    continue
                look.sounds.append(
                    {
                        "place": places[id(one)],
                        "label": one.label or "",
                        "name": one.info.filename,
                        "seconds": sound.seconds,
                        "rate": sound.rate,
                    }
                )
        return look

    def rows(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> Iterator[Row | LeftOut]:
        with class_folders.opened(file, name) as archive:
            placed, left_out = self.placed(archive, name)
            yield from left_out
            for one in placed:
                source = one.info.filename
                try:
                    sound = read_sound(archive, one.info)
                except TooLarge:
                    raise
                except BadFile as error:
                    yield LeftOut(source, "unreadable_sound", error.detail)
                    continue
                yield Row(
                    source=source,
                    input=sound.encoded,
                    key=sound.key,
                    label=one.label,
                    split=one.split,
                    others=(),
                    measures=(round(sound.seconds * 1000), sound.rate),
                    values=(sound.encoded, sound.seconds),
                    kind=sound.kind,
                    remarks=("silent_sound",) if sound.is_silent else (),
                )

    def row_size(self, row: Row) -> int:
        return len(row.input) + 300

    def without(self, name: str, names: list[str]) -> str:
        for one in names:
            if one.lower().endswith(OTHER_SOUNDS):
                return (
                    f"{name} holds {one}, a kind of sound that is not read. Make WAV, FLAC, MP3 "
                    "or Ogg files of its sounds, and zip the class folders."
                )
        return super().without(name, names)


def read_sound(archive: Archive, info: File) -> Sound:
    """One sound, decoded to its end and so known to be whole.

    Raises TooLarge for a sound that would take too much time and room, BadFile for a broken one.
    """
    if info.file_size > MOST_SOUND_BYTES:
        raise TooLarge(f"{info.filename} has more than {MOST_SOUND_BYTES >> 20} MiB.")
    try:
        with archive.open(info) as member:
            encoded = member.read(MOST_SOUND_BYTES + 1)
        return decoded(encoded, info.filename)
    except BadFile:
        raise
    # libsndfile and zlib fail on broken files in more ways than can be listed.
    except Exception as error:
        raise BadFile(f"{info.filename} cannot be decoded: {_reason(error)}.") from None


def of_upload(file: IO[bytes], name: str, place: int) -> bytes | None:
    """The encoded sound that stands at this place in an upload, or None. Raises BadFile."""
    form = registry.get(AudioFolder.key)
    assert isinstance(form, AudioFolder)
    with class_folders.opened(compressed.opened(file), name) as archive:
        placed, _ = form.placed(archive, name)
        if not 0 <= place < len(placed):
            return None
        return read_sound(archive, placed[place].info).encoded


def playable(encoded: bytes) -> bytes:
    """A stored sound as a WAV of one channel and sixteen bits, made anew from its samples alone,
    of at most PLAYED_SECONDS. Raises TooLarge, and whatever libsndfile raises for what is none."""
    with soundfile.SoundFile(io.BytesIO(encoded)) as file:
        rate, channels = file.samplerate, file.channels
        if rate > MOST_RATE or channels > MOST_CHANNELS:
            raise TooLarge(f"It has {rate:,} samples a second in {channels} channels.")
        samples = file.read(PLAYED_SECONDS * rate, dtype="float32", always_2d=True)
    out = io.BytesIO()
    soundfile.write(out, samples.mean(axis=1), rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def decoded(encoded: bytes, name: str) -> Sound:
    """A sound of one file's bytes, `name` for what is said of it. Raises BadFile, and whatever
    libsndfile raises for what is none."""
    with soundfile.SoundFile(io.BytesIO(encoded)) as file:
        rate, channels = file.samplerate, file.channels
        if file.format not in KINDS:
            raise BadFile(f"{name} is no WAV, FLAC, MP3 or Ogg file, whatever its name says.")
        if rate > MOST_RATE or channels > MOST_CHANNELS:
            raise TooLarge(
                f"{name} has {rate:,} samples a second in {channels} channels; at most "
                f"{MOST_RATE:,} in {MOST_CHANNELS} may be."
            )
        # Of two files with the same samples one may be FLAC: what is heard is compared.
        digest = hashlib.blake2b(f"{rate} {channels}".encode(), digest_size=8)
        samples, loudest = 0, 0.0
        while len(piece := file.read(PIECE, dtype="float32", always_2d=True)):
            samples += len(piece)
            if samples > MOST_SECONDS * rate:
                raise TooLarge(f"{name} is longer than {MOST_SECONDS} seconds.")
            if not np.isfinite(piece).all():
                raise BadFile(f"{name} holds samples that are no numbers.")
            loudest = max(loudest, float(np.abs(piece).max()))
            digest.update(np.rint(piece * 32_768).astype("<i4").tobytes())
        if not samples:
            raise BadFile(f"{name} is a sound of no length.")
        if (file.format == "FLAC" and samples < file.frames < 1 << 40) or _is_torn(encoded):
            raise BadFile(f"{name} ends earlier than it says itself; was it copied whole?")
        kind = f"{KINDS[file.format]}, {_channels(channels)}"
        return Sound(encoded, digest.digest(), samples / rate, rate, kind, loudest < 1e-4)


def _is_torn(encoded: bytes) -> bool:
    """Whether a WAV file promises more samples than it holds, which libsndfile passes over. Length
    0 or all ones is what programs write that do not know it yet."""
    if encoded[:4] != b"RIFF" or encoded[8:12] != b"WAVE":
        return False
    at = 12
    while at + 8 <= len(encoded):
        size = int.from_bytes(encoded[at + 4 : at + 8], "little")
        if encoded[at : at + 4] == b"data":
            return size != 0xFFFF_FFFF and at + 8 + size > len(encoded)
        at += 8 + size + size % 2
    return False


def _channels(count: int) -> str:
    return {1: "mono", 2: "stereo"}.get(count, f"{count} channels")


def _reason(error: Exception) -> str:
    if "Format not recognised" in str(error) or "unknown format" in str(error):
        return "it is no sound of a known kind"
    return class_folders.reason(error)
