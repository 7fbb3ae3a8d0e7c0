"""Registry: the data sets that the study knows, where their files are found, and how they are had (01_data)."""

import os
import tomllib
from pathlib import Path
from typing import Any

from kdnb.data.medmnist import PREFIX, medmnist_about, medmnist_source
from kdnb.data.sources import Source, csv_source, folder_source, phantom_source, zip_source
from kdnb.errors import UserError
from kdnb.phantoms import FAMILIES, PhantomPlan
from kdnb.settings import Settings, project_root

__all__ = ["about", "dataset_names", "download", "locate", "open_source", "phantom_plan", "registered"]

PLANTED = {"": {}, "_shortcut": {"shortcut": 1.0}, "_distractor": {"distractor": True}}
PHANTOMS = {f"phantom_{family}{end}": {"family": family} | more for end, more in PLANTED.items() for family in FAMILIES}


def registered() -> dict[str, dict[str, Any]]:
    """The entries of data/registry.toml by name; the file explains their fields."""
    here = Path(__file__).resolve()
    places = [project_root() / "data", here.parents[2] / "data", here.parent]  # the last one where installed
    path = next(place / "registry.toml" for place in places if (place / "registry.toml").is_file())
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
    """The plan of the phantoms that the settings name: their patients, slices and seed, and what is planted."""
    if settings.dataset not in PHANTOMS:
        raise UserError(f"dataset {settings.dataset!r} is not drawn by kdnb: accepted here are {', '.join(PHANTOMS)}")
    return PhantomPlan(**PHANTOMS[settings.dataset], **settings.model_dump(include={"patients", "slices", "seed"}))


def open_source(settings: Settings) -> Source:
    """The source that the settings name: its list of images checked, no image read."""
    name, known = settings.dataset, registered().get(settings.dataset, {})
    if name in PHANTOMS and settings.data:
        raise UserError(f"dataset {name!r} takes no data, got {settings.data!r}: name the data set, or 'custom'")
    if name in PHANTOMS:
        return phantom_source(phantom_plan(settings))
    if name.startswith(PREFIX):
        places = seen(settings.data or os.environ.get("KDNB_DATA") or "data")
        place = next(filter(Path.exists, places), places[-1])
        if settings.data and not place.exists():
            raise UserError(f"data {settings.data!r} does not exist: name the folder of the .npz file, or leave it")
        return medmnist_source(name.removeprefix(PREFIX), place.absolute(), settings.image_size)
    if not known and name != "custom":
        raise UserError(f"dataset {name!r} is not known: accepted are {', '.join(dataset_names())}")
    path = locate(name, known, settings.data)
    try:
        if path.is_dir():
            return folder_source(path, known)
        return csv_source(path) if path.suffix.casefold() == ".csv" else zip_source(path, known)
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror}): check its permissions") from None


def download(name: str) -> Path:
    """Fetch a registered set with the user's own Kaggle token into data/kagglehub; returns its folder."""
    if name not in registered():
        raise UserError(f"dataset {name!r} cannot be downloaded: accepted are {', '.join(registered())}")
    handle = registered()[name]["kaggle"]
    os.environ["KAGGLEHUB_CACHE"] = str(_kaggle_folder())
    try:
        import kagglehub  # optional: only a download needs it

        return Path(kagglehub.dataset_download(handle))
    except ImportError:
        raise UserError("a download needs kagglehub: pip install kagglehub, or get the file by hand") from None
    except Exception as error:  # kagglehub and its network layer raise many types; for the user they are one
        reason = str(error).partition("\n")[0]
        raise UserError(f"no download of '{handle}' ({reason}): check your Kaggle token and the network") from None


def seen(path: str) -> list[Path]:
    """A path from the working folder, which is ``notebooks/`` in a notebook, and from the project's folder."""
    return [folder / Path(path).expanduser() for folder in (Path.cwd(), project_root())]


def locate(name: str, known: dict[str, Any], data: str) -> Path:
    """What `data` names, else the set's archive or unpacked folder in KDNB_DATA, data/ or where `download` puts it."""
    if data or not known:
        places = seen(data) if data else []
        lost = f"data {data!r} does not exist: give the path of an archive, a folder of class folders or a CSV"
    else:
        homes = [*seen(os.environ.get("KDNB_DATA") or "data"), project_root() / "data"]
        places = [home / file for home in homes for file in (known["archive"], Path(known["archive"]).stem)]
        versions = (_kaggle_folder() / "datasets" / known["kaggle"] / "versions").glob("*")
        places += sorted(versions, key=lambda folder: -folder.stat().st_mtime)
        lost = f"'{known['archive']}' of dataset '{name}' is not in {' or '.join(sorted(set(map(str, homes))))}"
        lost += f": get Kaggle's '{known['kaggle']}' and name the file with data (DATA=path)"
    if not (found := next(filter(Path.exists, places), None)):
        raise UserError(lost)
    return found.absolute()


def _kaggle_folder() -> Path:
    return Path(os.environ.get("KAGGLEHUB_CACHE") or project_root() / "data" / "kagglehub")
