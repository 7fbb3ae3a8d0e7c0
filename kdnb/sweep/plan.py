"""Plans: a TOML file that names the runs of a sweep, each checked before the first one starts (``kdnb sweep plan``)."""

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from kdnb.batch import code_digest
from kdnb.errors import UserError
from kdnb.notebook_files import parameters_of
from kdnb.runs import digest
from kdnb.settings import Settings, project_root
from kdnb.sweep.spec import VERSION, Spec

__all__ = ["Part", "Plan", "read_plan"]

MAX_RUNS = 100_000
Values = Annotated[list[Any], Field(min_length=1)]


class _Part(BaseModel):
    """Runs of one notebook."""

    model_config = ConfigDict(strict=True, extra="forbid")
    name: str = ""
    notebook: str = ""
    table: str = ""
    seeds: Values = []
    fixed: dict[str, Any] = {}
    grid: dict[str, Values] = {}
    zip: dict[str, Values] = {}
    exclude: list[dict[str, Any]] = []


class _File(_Part):
    """What a plan's file may hold: runs of one notebook, or several parts, for which notebook, table, fixed hold."""

    version: int
    start_timeout: PositiveInt = 120
    cell_timeout: NonNegativeInt = 0
    attempts: PositiveInt = 3
    part: list[_Part] = []

    @property
    def parts(self) -> list[_Part]:
        """The parts with what the file says for all of them; the file itself where it names none."""
        if not self.part:
            return [self]
        if stray := [name for name in ("seeds", "grid", "zip", "exclude") if getattr(self, name)]:
            raise UserError(f"{', '.join(stray)} beside [[part]]: move it into the parts it is for")
        return [part.model_copy(update={"fixed": self.fixed | part.fixed, "table": part.table or self.table,
                                        "notebook": part.notebook or self.notebook})
                for part in self.part]  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Checked runs of one notebook in order, without the folder that they go to."""

    name: str
    notebook: Path
    table: str
    varied: tuple[str, ...]
    named: tuple[str, ...]  # what the plan sets, varied or not
    runs: tuple[dict[str, Any], ...]  # every parameter of the notebook but runs_dir


@dataclass(frozen=True)
class Plan:
    """A checked plan."""

    name: str
    parts: tuple[Part, ...]
    limits: dict[str, int]

    def specs(self, root: Path) -> list[Spec]:
        """The runs as specs.

        Raises:
            UserError: If a data set cannot be found, or two runs are the same.
        """
        root, identities, specs = Path(root).expanduser().absolute(), {}, []
        for part in self.parts:
            code = code_digest(part.notebook)
            for parameters in part.runs:
                upstream = [_identity(parameters, identities)] if "dataset" in parameters else []
                specs.append(Spec(str(part.notebook), parameters, code, str(root), upstream, list(part.varied),
                                  part.name, **self.limits))  # fmt: skip
        names = Counter(spec.run.id for spec in specs)
        if same := [str(spec) for spec in specs if names[spec.run.id] > 1]:
            raise UserError(f"plan '{self.name}' has the same run {len(same)} times ({same[0]}): remove what repeats")
        return specs


def _identity(parameters: Mapping[str, Any], known: dict[str, str]) -> str:
    """Changes when the run's data change; the data set must be there."""
    from kdnb.data.registry import open_source  # torch loads for seconds: a typo is told before

    settings = Settings.checked({k: v for k, v in parameters.items() if k in Settings.model_fields})
    drawn = [settings.patients, settings.slices, settings.seed] if settings.dataset.startswith("phantom_") else []
    key = digest([settings.dataset, settings.data, settings.image_size, drawn])
    if key not in known:
        known[key] = digest(open_source(settings).identity)
    return known[key]


def read_plan(path: Path) -> Plan:
    """A plan from its TOML file, every run checked against the notebook's parameters and their ranges.

    Raises:
        UserError: One line that names the plan, what it says and what is accepted.
    """
    path = Path(path)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"plan '{path}' cannot be read ({error.strerror}): give the path of a TOML file") from None
    except ValueError as error:  # TOML and UTF-8
        raise UserError(f"plan '{path}' is no TOML file ({error})") from None
    try:
        return _plan(path, found)
    except UserError as error:
        raise UserError(f"plan '{path}': {error}") from None


def _plan(path: Path, found: Mapping[str, Any]) -> Plan:
    version = found.get("version", "none")
    if version != VERSION:
        age = "a newer" if isinstance(version, int) and version > VERSION else "an older"
        raise UserError(f"version must be {VERSION}, got {version}: it was written for {age} kdnb; "
                        f"compare it with sweeps/grid.toml, then set version = {VERSION}")  # fmt: skip
    try:
        file = _File(**found)
    except ValidationError as error:
        raise UserError("; ".join(map(_explain, error.errors()))) from None
    parts = [_checked(part, path.parent) for part in file.parts]
    names = Counter(part.name for part in parts)
    if len(parts) > 1 and (twice := [name for name, count in names.items() if count > 1 or not name]):
        raise UserError(f"every part needs a name of its own, got {twice[0]!r} {names[twice[0]]} times")
    if (total := sum(len(part.runs) for part in parts)) > MAX_RUNS:
        raise UserError(f"{total:,} runs are too many: accepted are {MAX_RUNS:,}")
    return Plan(path.stem, tuple(parts), file.model_dump(include={"start_timeout", "cell_timeout", "attempts"}))


def _checked(file: _Part, folder: Path) -> Part:
    notebook = _find(file.notebook, folder)
    declared = {name: value for name, value in parameters_of(notebook).items() if name != "runs_dir"}
    varied = _varied(file, declared)
    runs = []
    for chosen in _combinations(file):
        values = {name: _cast(name, chosen.get(name, default), default) for name, default in declared.items()}
        Settings.checked({name: value for name, value in values.items() if name in Settings.model_fields})
        runs.append(_located(values, folder))
    return Part(file.name, notebook, file.table, varied, (*file.fixed, *varied), tuple(runs))


def _explain(item: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        accepted = _Part if item["loc"][0] == "part" else _File
        return f"unknown key {name!r}: accepted are {', '.join(accepted.model_fields)}"
    if item["type"] == "too_short":
        return f"{name} is empty: give at least one value"
    return f"{name} {item['msg'].removeprefix('Input ')}, got {item['input']!r}"


def _find(name: str, folder: Path) -> Path:
    """A notebook of the study by its name, or any by its path from the plan's folder."""
    if not name:
        raise UserError("notebook is missing")
    for place in (project_root() / "notebooks" / f"{name}.ipynb", folder / name):
        if place.is_file():
            return place.absolute()
    raise UserError(f"notebook '{name}' is not found: give a name such as 03_distillation, or a path from the plan")


def _varied(file: _Part, declared: Mapping[str, Any]) -> tuple[str, ...]:
    """The parameters in which the runs differ, the slowest first."""
    varied = (*file.zip, *file.grid, *(["seed"] if file.seeds else []))
    names = Counter([*varied, *file.fixed])
    unknown = [name for name in (*names, *(n for rule in file.exclude for n in rule)) if name not in declared]
    if unknown:
        raise UserError(f"unknown parameter {', '.join(map(repr, dict.fromkeys(unknown)))}: the notebook accepts "
                        f"{', '.join(sorted(declared))}")  # fmt: skip
    if twice := [name for name, count in names.items() if count > 1]:
        raise UserError(f"{', '.join(twice)} is set twice: keep one of fixed, grid, zip and seeds")
    if len({len(values) for values in file.zip.values()}) > 1:
        lengths = ", ".join(f"{name} has {len(values)}" for name, values in file.zip.items())
        raise UserError(f"lists in zip must be equally long: {lengths}")
    return varied


def _combinations(file: _Part) -> list[dict[str, Any]]:
    """The chosen parameters of every run that is left; the last key changes fastest."""
    rows = [dict(zip(file.zip, row, strict=True)) for row in zip(*file.zip.values(), strict=True)] or [{}]
    grid = file.grid | ({"seed": file.seeds} if file.seeds else {})
    if (total := len(rows) * prod(map(len, grid.values()))) > MAX_RUNS:
        raise UserError(f"{total:,} runs are too many: accepted are {MAX_RUNS:,}")
    every = [{**file.fixed, **row, **dict(zip(grid, values, strict=True))}
             for row, values in product(rows, product(*grid.values()))]  # fmt: skip
    if idle := [rule for rule in file.exclude if not any(_matches(chosen, rule) for chosen in every)]:
        raise UserError(f"exclude {idle[0]} matches no run: mend or remove it")
    left = [chosen for chosen in every if not any(_matches(chosen, rule) for rule in file.exclude)]
    if not left:
        raise UserError("no run is left: every one is excluded")
    return left


def _matches(chosen: Mapping[str, Any], rule: Mapping[str, Any]) -> bool:
    """Whether an exclusion holds; a list in it stands for any of its values."""
    return all(chosen.get(k) == v or (isinstance(v, list) and chosen.get(k) in v) for k, v in rule.items())


def _cast(name: str, value: Any, default: Any) -> Any:
    """The value in the type that the notebook declares, so that 1 and 1.0 are the same run."""
    if type(default) is float and type(value) is int:
        return float(value)
    if type(value) is not type(default) and name not in Settings.model_fields:  # Settings say more clearly
        raise UserError(f"{name} must be {type(default).__name__}, as the notebook declares it, got {value!r}")
    return value


def _located(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths of data made absolute: from the plan's folder, or from the project."""
    data = values.get("data")
    places = [Path(data).expanduser(), folder / data, project_root() / data] if data else []
    there = [str(place.absolute()) for place in places if place.exists()]
    return values | {"data": there[0]} if there else values
