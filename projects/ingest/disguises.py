"""Files that are something else than their name says, by their first bytes."""

UPLOADS = (
    "Upload a table (CSV, TSV, JSON, JSON Lines, Parquet, Arrow, Excel), words with tags (CoNLL), "
    "running text, or a zip of images or sounds in class folders."
)
SOUND = "a single sound. Put sounds in one folder per class and zip the folders"

_SIGNATURES: list[tuple[bytes, str]] = [
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Excel or Word file. In Excel, choose File, Save as, CSV UTF-8, and upload that",
    ),
    (b"\x1f\x8b", "compressed with gzip. Unpack it (gunzip) and upload what is inside"),
    (b"BZh", "compressed with bzip2. Unpack it and upload what is inside"),
    (b"\xfd7zXZ\x00", "compressed with xz. Unpack it and upload what is inside"),
    (b"(\xb5/\xfd", "compressed with zstd. Unpack it and upload what is inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive. Unpack it and upload what is inside, or a zip"),
    (b"Rar!\x1a\x07", "a RAR archive. Unpack it and upload what is inside, or a zip"),
    (b"PAR1", "a Parquet file that cannot be read"),
    (b"PARE", "an encrypted Parquet file. Save it without encryption"),
    (b"ARROW1", "an Arrow file that cannot be read"),
    (b"\xff\xff\xff\xff", "an Arrow stream that cannot be read"),
    (b"FEA1", "a Feather file of version 1. Save it as version 2, or as Parquet"),
    (b"Obj\x01", "an Avro file. Save its rows as Parquet or CSV"),
    (b"ORC", "an ORC file. Save its rows as Parquet or CSV"),
    (b"%PDF-", "a PDF document"),
    (b"\x89PNG", "a single picture. Put pictures in one folder per class and zip the folders"),
    (b"\xff\xd8\xff", "a single picture. Put pictures in one folder per class and zip the folders"),
    (b"GIF8", "a single picture. Put pictures in one folder per class and zip the folders"),
    (b"RIFF", SOUND),
    (b"fLaC", SOUND),
    (b"OggS", SOUND),
    (b"ID3", SOUND),
    (b"\x93NUMPY", "a NumPy array. Save its rows as CSV and upload that"),
    (b"SQLite format 3\x00", "an SQLite database. Save a table as CSV and upload that"),
    (b"\x89HDF", "an HDF5 file. Save its rows as CSV and upload that"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x80\x02", "a Python pickle, which is never opened. Save the rows as CSV"),
    (b"\x80\x04", "a Python pickle, which is never opened. Save the rows as CSV"),
    (b"\x80\x05", "a Python pickle, which is never opened. Save the rows as CSV"),
]


def what(head: bytes, name: str) -> str:
    """What a file is, as the end of a sentence that begins "This is"; empty where it may well be
    a text."""
    del name
    for signature, phrase in _SIGNATURES:
        if head.startswith(signature):
            return phrase
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return (
            "a Git LFS pointer, which stands for the file and does not hold it. Run "
            "`git lfs pull` and upload the file itself"
        )
    if head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in {b"{", b"["} and b'"' in head[:200]:
        return (
            "JSON without objects. Rows are read from a list of objects, or of one object a line, "
            'such as {"text": "good day", "label": "greeting"}'
        )
    if head.lstrip(b"\xef\xbb\xbf \r\n\t")[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, perhaps an error page saved instead of the file"
    return ""


def sentence(head: bytes, name: str) -> str:
    phrase = what(head, name)
    if phrase:
        return f"{name} is {phrase}."
    return f"{name} is of a kind that cannot be read. {UPLOADS}"
