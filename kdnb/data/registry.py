"""Registry: the data sets that the study knows, and where their files are (01_data)."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kdnb.core.errors import UserError, did_you_mean
from kdnb.core.settings import Settings, project_root
from kdnb.data.figshare import figshare_source
from kdnb.data.image_csv import csv_source
from kdnb.data.medmnist import PREFIX, medmnist_about, medmnist_source
from kdnb.data.phantoms.plan import FAMILIES, PhantomPlan
from kdnb.data.sources import Source, folder_source, phantom_source, special_kind, zip_source

__all__ = [
    "about",
    "at_hand",
    "dataset_names",
    "download",
    "locate",
    "open_source",
    "phantom_plan",
    "registered",
]

LISTS = (".tsv", ".txt", ".tab")  # endings of lists that are no CSV
PLANTED = {  # end of a phantom set's name → what is planted in it
    "": {},
    "_shortcut": {"shortcut": 1.0},
    "_distractor": {"distractor": True},
}
PHANTOMS = {  # name → arguments of its PhantomPlan
    f"phantom_{family}{end}": {"family": family, **planted}
    for end, planted in PLANTED.items()
    for family in FAMILIES
}


def registered() -> dict[str, dict[str, Any]]:
    """The entries of data/registry.toml by name; the file explains their fields."""
    here = Path(__file__).resolve()
    folders = [project_root() / "data", here.parents[2] / "data", here.parent]  # last: installed
    paths = [folder / "registry.toml" for folder in folders]
    path = next(path for path in paths if path.is_file())
    return tomllib.loads(path.read_text(encoding="utf-8"))


def dataset_names() -> list[str]:
    """What the parameter ``dataset`` accepts."""
    return [*PHANTOMS, *registered(), f"{PREFIX}<name>", "custom"]


def about(name: str) -> dict[str, str]:
    """Title, licence, url, citation and notes of a data set, as far as they are known."""
    if name.startswith(PREFIX):
        return medmnist_about(name.removeprefix(PREFIX))
    if name in PHANTOMS:
        return {"title": f"{name}, drawn by kdnb", "licence": "MIT"}
    return registered().get(name, {"title": name, "licence": "that of your own data"})


def phantom_plan(settings: Settings) -> PhantomPlan:
    """The plan of the phantoms that the settings name: patients, slices, seed, what is planted."""
    if settings.dataset not in PHANTOMS:
        accepted = ", ".join(PHANTOMS)
        raise UserError(
            f"dataset {settings.dataset!r} is not drawn by kdnb: accepted here are {accepted}"
        )
    return PhantomPlan(
        **PHANTOMS[settings.dataset],
        patients=settings.patients,
        slices=settings.slices,
        seed=settings.seed,
        difficulty=settings.difficulty,
    )


def open_source(settings: Settings) -> Source:
    """The source that the settings name: its list of images checked, no image read."""
    name = settings.dataset
    if name in PHANTOMS:
        if settings.data:
            raise UserError(
                f"dataset {name!r} takes no data, got {settings.data!r}: "
                "name the data set, or 'custom'"
            )
        return phantom_source(phantom_plan(settings))
    if name.startswith(PREFIX):
        return _open_medmnist(settings)
    known = registered().get(name, {})
    if not known and name != "custom":
        accepted = ", ".join(dataset_names())
        near = did_you_mean(name, dataset_names())
        raise UserError(f"dataset {name!r} is not known: accepted are {accepted}{near}")
    path = locate(name, known, settings.data)
    kind = special_kind(path)
    if kind:
        raise UserError(f"'{path}' is {kind}: accepted are an archive, a folder or a CSV")
    try:
        if known.get("reader") == "figshare":
            return figshare_source(path, known)
        if path.is_dir():
            return folder_source(path, known)
        if path.suffix.casefold() == ".csv":
            return csv_source(path)
        if path.suffix.casefold() in LISTS:
            raise UserError(
                f"'{path}' is named {path.suffix}: a list of images must be a .csv, with commas "
                "between its columns"
            )
        return zip_source(path, known)
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be read ({error.strerror}): check its permissions"
        ) from None


def _open_medmnist(settings: Settings) -> Source:
    places = seen(settings.data or os.environ.get("KDNB_DATA") or "data")
    place = _first_there(places) or places[-1]
    if settings.data and not place.exists():
        raise UserError(
            f"data {settings.data!r} does not exist: name the folder of the .npz file, or leave it"
        )
    flag = settings.dataset.removeprefix(PREFIX)
    return medmnist_source(flag, place.absolute(), settings.image_size)


def download(name: str) -> Path:
    """Fetch a registered set with the user's own Kaggle token; returns its folder."""
    handles = {one: known["kaggle"] for one, known in registered().items() if "kaggle" in known}
    if name not in handles:
        accepted = ", ".join(handles)
        near = did_you_mean(name, handles)
        raise UserError(f"dataset {name!r} cannot be downloaded: accepted are {accepted}{near}")
    handle = handles[name]
    os.environ["KAGGLEHUB_CACHE"] = str(_kaggle_folder())
    try:
        import kagglehub  # optional: only a download needs it

        return Path(kagglehub.dataset_download(handle))
    except ImportError:
        raise UserError(
            "a download needs kagglehub: pip install kagglehub, or get the file by hand"
        ) from None
    except Exception as error:  # kagglehub and its network layer raise many types
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"no download of '{handle}' ({reason}): check your Kaggle token and the network"
        ) from None


def seen(path: str) -> list[Path]:
    """A path from the working folder (``notebooks/`` in a notebook) and from the project's."""
    return [folder / Path(path).expanduser() for folder in (Path.cwd(), project_root())]


def locate(name: str, known: dict[str, Any], data: str) -> Path:
    """Where a data set lies.

    That is what `data` names, else the set's archive or a folder of its name in KDNB_DATA, in data/
    or where `download` puts it; ``known`` is the set's entry in the registry, or empty.
    """
    if data or not known:
        found = _first_there(seen(data)) if data else None
        fault = f"data {data!r} does not exist" if data else f"dataset {name!r} needs data"
        lost = f"{fault}: give the path of an archive, a folder of class folders or a CSV"
        lost += did_you_mean(data, dataset_names()) if data else " (--data PATH, or DATA=PATH)"
    else:
        homes = [*seen(os.environ.get("KDNB_DATA") or "data"), project_root() / "data"]
        found = _first_there(_registered_places(name, known, homes))
        searched = " or ".join(sorted({str(home) for home in homes}))
        wanted = f"Kaggle's '{known['kaggle']}'" if "kaggle" in known else f"it from {known['url']}"
        lost = (
            f"'{known['archive']}' of dataset '{name}' is not in {searched}: "
            f"get {wanted} and name the file with data (DATA=path)"
        )
    if found is None:
        raise UserError(lost)
    return found.absolute()


def at_hand(name: str) -> bool:
    """Whether a registered data set lies where `locate` looks for it."""
    if name not in registered():
        return False
    try:
        locate(name, registered()[name], "")
    except UserError:
        return False
    return True


def data_identity(settings: Settings) -> Any:
    """Changes when a set's data do, or when what its images were made from comes to hand."""
    identity = open_source(settings).identity
    originals = registered().get(settings.dataset, {}).get("origins", "")
    if not originals or not at_hand(originals):
        return identity
    others = {"dataset": originals, "data": "", "window": []}
    return [identity, open_source(settings.model_copy(update=others)).identity]


def _registered_places(name: str, known: dict[str, Any], homes: Iterable[Path]) -> list[Path]:
    """Where a registered set may lie: in a home as archive or folder, then what was downloaded."""
    archive = Path(known["archive"])
    places = []
    for home in homes:
        places += [home / archive, home / archive.stem, home / name]
    if "kaggle" not in known:
        return places
    versions = (_kaggle_folder() / "datasets" / known["kaggle"] / "versions").glob("*")
    newest_first = sorted(versions, key=lambda folder: -folder.stat().st_mtime)
    return places + newest_first


def _first_there(places: Iterable[Path]) -> Path | None:
    return next((place for place in places if place.exists()), None)


def _kaggle_folder() -> Path:
    return Path(os.environ.get("KAGGLEHUB_CACHE") or project_root() / "data" / "kagglehub")
