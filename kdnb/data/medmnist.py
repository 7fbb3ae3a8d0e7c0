"""MedMNIST: the two-dimensional sets of the medmnist package, from their .npz file (01_data)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kdnb.core.errors import UserError, first_line
from kdnb.data.class_folders import Entry
from kdnb.data.sources import Source, file_hash

__all__ = ["PREFIX", "medmnist_about", "medmnist_source"]

PREFIX = "medmnist:"
SIZES = (28, 64, 128, 224)  # px, as published
PUBLISHED = ("train", "val", "test")


def medmnist_source(flag: str, place: Path, size: int) -> Source:
    """A MedMNIST set (Yang et al. 2023, doi:10.1038/s41597-022-01721-8) with its own three parts.

    Of the files in `place` the smallest that holds at least `size` px is taken, or else the
    largest; where there is none, the package downloads one.

    Args:
        flag: The package's name of the set, such as "breastmnist".
        place: A folder with ``<flag>.npz`` or ``<flag>_<size>.npz``, or such a file.
        size: px, what the networks will see.

    Raises:
        UserError: no package, an unknown, three-dimensional or multi-label set, no file and no
            network, a broken file.
    """
    dataset_class, info = _package(flag)
    folder = place.parent if place.suffix == ".npz" else place
    files = {side: folder / _file_name(flag, side) for side in SIZES}
    there = [s for s, file in files.items() if file.is_file() and place in (folder, file)]
    if place != folder and not there:
        raise UserError(
            f"'{place}' is no file of {flag}: "
            f"accepted are {flag}.npz and {flag}_<64, 128 or 224>.npz"
        )
    taken = _best_size(there or SIZES, size)
    file = files[taken]
    if not there:
        _download(dataset_class, file, taken, info)
    try:
        parts = {part: dataset_class(part, root=str(folder), size=taken) for part in PUBLISHED}
        images = {part: found.imgs for part, found in parts.items()}  # (N, s, s) or (N, s, s, 3)
        classes = {int(number): name for number, name in info["label"].items()}
        entries = []
        for part, found in parts.items():
            labels = [classes[int(number)] for number in found.labels.ravel()]
            entries += _entries(part, labels)
    except Exception as error:  # a cut file, another set's labels: many types are raised
        raise UserError(
            f"'{file}' is no complete file of {flag} ({first_line(error)}): delete it and run again"
        ) from None

    def read(path: str) -> bytes:
        """As a PGM or PPM file: equal pixels are equal bytes."""
        part, _, row = path.partition("/")
        image = images[part][int(row)]
        height, width = image.shape[:2]
        kind = b"P6" if image.ndim == 3 else b"P5"
        return b"%s %d %d 255\n" % (kind, width, height) + image.tobytes()

    return Source(name=PREFIX + flag, identity=file_hash(file), entries=entries, read=read)


def _file_name(flag: str, size: int) -> str:
    return f"{flag}.npz" if size == SIZES[0] else f"{flag}_{size}.npz"


def _best_size(sizes: list[int] | tuple[int, ...], wanted: int) -> int:
    large_enough = [size for size in sizes if size >= wanted]
    return min(large_enough) if large_enough else max(sizes)


def _entries(part: str, labels: list[str]) -> list[Entry]:
    return [
        Entry(image_id=f"{part}/{row:06}", path=f"{part}/{row}", label=label, published_split=part)
        for row, label in enumerate(labels)
    ]


def _download(dataset_class: type, file: Path, size: int, info: dict[str, Any]) -> None:
    """Fetch and check the file beside its place, then move it there: no half file is ever found."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=file.parent) as folder:
            dataset_class("test", root=folder, size=size, download=True)
            Path(folder, file.name).replace(file)
    except Exception as error:  # no network, no space, another checksum: many types are raised
        raise UserError(
            f"{file.name} is not to be had ({first_line(error)}): check the network, or get it "
            f"by hand from {_page(info)} into '{file.parent}'"
        ) from None


def _page(info: dict[str, Any]) -> str:
    """The web page of a set, whose files lie below it."""
    return info["url"].partition("/files")[0]


def medmnist_about(flag: str) -> dict[str, str]:
    """What the package says of a set: title, licence, url, citation, notes."""
    _, info = _package(flag)
    return {
        "title": info["python_class"],
        "licence": info["license"],
        "url": _page(info),
        "citation": "Yang et al. 2023, doi:10.1038/s41597-022-01721-8",
        "notes": info["description"],
    }


def _package(flag: str) -> tuple[type, dict[str, Any]]:
    """The package's class of a set and what it says of it."""
    try:
        import medmnist  # optional: only these sets need it
    except ImportError:
        raise UserError("MedMNIST sets need the package medmnist: pip install medmnist") from None
    usable = [
        name
        for name, info in medmnist.INFO.items()
        if not name.endswith("3d") and not info["task"].startswith("multi-label")
    ]
    if flag not in usable:
        raise UserError(f"MedMNIST set {flag!r} cannot be used: accepted are {', '.join(usable)}")
    info = medmnist.INFO[flag]
    return getattr(medmnist, info["python_class"]), info
