"""MedMNIST: the two-dimensional sets of the medmnist package as a source, read from their .npz file (01_data)."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kdnb.data.layout import Entry
from kdnb.data.sources import Source, file_hash
from kdnb.errors import UserError

__all__ = ["PREFIX", "medmnist_about", "medmnist_source"]

PREFIX = "medmnist:"
SIZES = (28, 64, 128, 224)  # px, as published


def medmnist_source(flag: str, place: Path, size: int) -> Source:
    """A MedMNIST set (Yang et al. 2023, doi:10.1038/s41597-022-01721-8) with its own train, val and test parts.

    Of the files in `place` the smallest that holds at least `size` px is taken, or else the largest; where there is
    none, the package downloads one.

    Args:
        flag: The package's name of the set, such as "breastmnist".
        place: A folder with ``<flag>.npz`` or ``<flag>_<size>.npz``, or such a file.
        size: px, what the networks will see.

    Raises:
        UserError: no package, an unknown, three-dimensional or multi-label set, no file and no network, a broken file.
    """
    kind, info = _package(flag)
    folder = place.parent if place.suffix == ".npz" else place
    files = {s: folder / (f"{flag}.npz" if s == SIZES[0] else f"{flag}_{s}.npz") for s in SIZES}
    there = [s for s, file in files.items() if file.is_file() and place in (folder, file)]
    if place != folder and not there:
        raise UserError(f"'{place}' is no file of {flag}: accepted are {flag}.npz and {flag}_<64, 128 or 224>.npz")
    taken = next((s for s in there or SIZES if s >= size), max(there or SIZES))
    file = files[taken]
    if not there:
        _download(kind, file, taken, info)
    try:
        parts = {part: kind(part, root=str(folder), size=taken) for part in ("train", "val", "test")}
        images = {part: found.imgs for part, found in parts.items()}  # (N, s, s) or (N, s, s, 3) uint8
        labels = {int(number): name for number, name in info["label"].items()}
        entries = [Entry(f"{part}/{i:06}", f"{part}/{i}", labels[int(number)], part)
                   for part, found in parts.items() for i, number in enumerate(found.labels.ravel())]  # fmt: skip
    except Exception as error:  # a cut file, another set's labels: the package and numpy raise many types
        raise UserError(f"'{file}' is no complete file of {flag} ({_line(error)}): delete it and run again") from None

    def read(path: str) -> bytes:  # as a PGM or PPM file: equal pixels are equal bytes
        part, _, row = path.partition("/")
        image = images[part][int(row)]
        return b"P%d %d %d 255\n" % (5 + (image.ndim == 3), *image.shape[1::-1]) + image.tobytes()

    return Source(PREFIX + flag, file_hash(file), entries, read)


def _download(kind: type, file: Path, size: int, info: dict[str, Any]) -> None:
    """Fetch and check the file beside its place, then move it there: nothing half-written is ever found."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=file.parent) as folder:
            kind("test", root=folder, size=size, download=True)
            Path(folder, file.name).replace(file)
    except Exception as error:  # no network, no space, another checksum: the package raises many types
        raise UserError(f"{file.name} is not to be had ({_line(error)}): check the network, or get it by hand from "
                        f"{info['url'].partition('/files')[0]} into '{file.parent}'") from None  # fmt: skip


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def medmnist_about(flag: str) -> dict[str, str]:
    """What the package says of a set: title, licence, url, citation, notes."""
    _, info = _package(flag)
    return {"title": info["python_class"], "licence": info["license"], "url": info["url"].partition("/files")[0],
            "citation": "Yang et al. 2023, doi:10.1038/s41597-022-01721-8", "notes": info["description"]}  # fmt: skip


def _package(flag: str) -> tuple[type, dict[str, Any]]:
    """The package's class of a set and what it says of it."""
    try:
        import medmnist  # optional: only these sets need it
    except ImportError:
        raise UserError("MedMNIST sets need the package medmnist: pip install medmnist") from None
    flat = [f for f, i in medmnist.INFO.items() if not f.endswith("3d") and not i["task"].startswith("multi-label")]
    if flag not in flat:
        raise UserError(f"MedMNIST set {flag!r} cannot be used: accepted are {', '.join(flat)}")
    info = medmnist.INFO[flag]
    return getattr(medmnist, info["python_class"]), info
