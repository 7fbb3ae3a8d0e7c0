"""Which files of a source are images, by ending or content, and notes on all others (01_data)."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = [
    "HEAD",
    "IMAGE_ENDINGS",
    "Listing",
    "Sorted",
    "counted",
    "is_document",
    "is_junk",
    "is_other_archive",
    "notes_on",
    "sort_files",
    "steps_of",
]

# the usual ones first
IMAGE_ENDINGS = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
    ".jfif",
    ".jpe",
)
DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
VOLUME_ENDINGS = (".nii", ".nii.gz", ".mha", ".nrrd")
OTHER_ARCHIVES = (".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".rar", ".7z")
# what lies beside images and is none: a folder of these alone is no lost class
DOCUMENTS = (
    ".csv",
    ".tsv",
    ".xls",
    ".xlsx",
    ".ods",
    ".txt",
    ".md",
    ".rst",
    ".pdf",
    ".doc",
    ".docx",
    ".json",
    ".xml",
    ".yaml",
    ".yml",
    ".toml",
    ".ini",
    ".cfg",
    ".log",
    ".html",
    ".htm",
    ".bib",
    ".py",
    ".ipynb",
    ".sh",
    ".m",
    ".r",
    ".db",
)
JUNK = ("__macosx", "thumbs.db", "desktop.ini")
OTHER_ARCHIVE_STARTS = (
    b"\x1f\x8b",  # gzip
    b"BZh",  # bzip2
    b"\xfd7zXZ\0",  # xz
    b"\x28\xb5\x2f\xfd",  # zstd
    b"Rar!\x1a\x07",
    b"7z\xbc\xaf\x27\x1c",
)
HEAD = 262  # bytes that tell what a file is
STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")
DICOM_HELP = (
    "DICOM is not read: save each image as PNG with the window that shows the finding, "
    "such as with dcmtk's dcmj2pnm or with pydicom"
)
VOLUME_HELP = "volumes are not read: save the slices as PNG, with the window that shows the finding"


class Listing(NamedTuple):
    """What lies in a source; paths have "/" between their steps, a folder's ends with "/"."""

    names: list[str]  #: files and folders, without junk
    read: Callable[..., bytes]  #: path, and how many bytes from its start → bytes
    links: tuple[str, ...] = ()  #: that are not followed; one to a folder ends with "/"
    hidden: tuple[str, ...] = ()  #: files that an operating system or a notebook server keeps


class Sorted(NamedTuple):
    """The files of a listing."""

    images: list[str]
    others: list[str]
    dicom: frozenset[str]  #: those of the others that are DICOM


def steps_of(path: str) -> list[str]:
    """The steps of a path.

    >>> steps_of("./a//b/")
    ['a', 'b']
    """
    return [step for step in path.split("/") if step not in ("", ".")]


def is_junk(name: str) -> bool:
    """Whether a path is what an operating system or a notebook server left behind.

    >>> is_junk("set/.ipynb_checkpoints/a.jpg"), is_junk("__MACOSX/a.jpg"), is_junk("./set/a b.JPG")
    (True, True, False)
    """
    return any(step.startswith(".") or step.casefold() in JUNK for step in steps_of(name))


def is_document(name: str) -> bool:
    """Whether a file is text or a table, by its ending."""
    return _ending(name) in DOCUMENTS


def is_other_archive(name: str, start: bytes) -> bool:
    """Whether a file is an archive of another kind than zip, by its name or its first `HEAD` bytes.

    >>> is_other_archive("set.zip", b"BZh9"), is_other_archive("a.TGZ", b"")
    (True, True)
    """
    is_tar = start[257:262] == b"ustar"
    by_content = is_tar or start.startswith(OTHER_ARCHIVE_STARTS)
    return by_content or name.casefold().endswith(OTHER_ARCHIVES)


def sort_files(listing: Listing) -> Sorted:
    """The images of a listing, and its other files.

    An ending tells; a file without one, or with a number as DICOM files have it, is opened.
    """
    images = []
    others = []
    dicom = []
    for name in listing.names:
        if name.endswith("/"):
            continue
        ending = _ending(name)
        kind = ""
        if ending in IMAGE_ENDINGS:
            kind = "image"
        elif ending in DICOM_ENDINGS:
            kind = "dicom"
        elif not ending:
            kind = _kind_by_content(listing, name)
        if kind == "image":
            images.append(name)
        else:
            others.append(name)
        if kind == "dicom":
            dicom.append(name)
    return Sorted(images=images, others=others, dicom=frozenset(dicom))


def notes_on(listing: Listing, found: Sorted) -> list[str]:
    """Notes that count what is passed over: other files by their endings, links, hidden images."""
    notes = []
    if found.others:
        notes.append(f"passed over: {counted(found.others, found.dicom)}")
    if listing.links:
        some = ", ".join(listing.links[:3])
        notes.append(f"links are not followed, passed over: {len(listing.links):,} ({some})")
    hidden = [name for name in listing.hidden if _ending(name) in IMAGE_ENDINGS]
    # __MACOSX and ._<name> hold no image of their own
    hidden = [name for name in hidden if not posixpath.basename(name).startswith("._")]
    if hidden:
        notes.append(f"hidden images, passed over: {len(hidden):,} ({', '.join(hidden[:3])})")
    return notes


def counted(files: Sequence[str], dicom: frozenset[str] = frozenset()) -> str:
    """How many files there are of each ending, examples, and what to do with some of them.

    >>> counted(["c/a.txt", "c/b.txt", "c/README"])
    '3 files (2 .txt, 1 without ending: c/a.txt, c/b.txt, c/README)'
    """
    endings = Counter(_ending(name) or "without ending" for name in files)
    told = ", ".join(f"{count:,} {ending}" for ending, count in endings.most_common())
    text = f"{len(files):,} file{'' if len(files) == 1 else 's'} ({told}: {', '.join(files[:3])})"
    if not dicom.isdisjoint(files):
        text += f"; {DICOM_HELP}"
    volumes = [name for name in files if name.casefold().endswith(VOLUME_ENDINGS)]
    if volumes:
        text += f"; {VOLUME_HELP}"
    others = set(files) - set(volumes)
    if any(_ending(name) in (".zip", *OTHER_ARCHIVES) for name in others):
        text += "; an archive inside is not opened: unpack it"
    return text


def _ending(name: str) -> str:
    """The ending in small letters; "" for none, and for a number.

    >>> _ending("a/IM.0012"), _ending("a.b/c"), _ending("a/x.JPG")
    ('', '', '.jpg')
    """
    ending = posixpath.splitext(name)[1].casefold()
    return "" if ending[1:].isdecimal() else ending.rstrip(". ")


def _kind_by_content(listing: Listing, name: str) -> str:
    try:
        head = listing.read(name, HEAD)
    except (ValueError, OSError):
        return ""
    if head[128:132] == b"DICM":
        return "dicom"
    bitmap = head[:2] == b"BM" and head[6:10] == bytes(4)
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return "image" if bitmap or webp or head.startswith(STARTS) else ""
