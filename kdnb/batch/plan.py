"""Plans: a TOML file that names the runs of a sweep, each checked before the first one starts.

``kdnb sweep plan`` shows what is in one.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from kdnb.batch.papermill_runs import code_digest
from kdnb.batch.run_spec import VERSION, SweepSpec
from kdnb.core.errors import UserError, did_you_mean
from kdnb.core.notebook_files import parameters_of
from kdnb.core.runs import digest
from kdnb.core.settings import Settings, project_root

__all__ = ["Part", "Plan", "read_plan"]

MAX_RUNS = 100_000
Values = Annotated[list[Any], Field(min_length=1)]


class _PartKeys(BaseModel):
    """What a plan's file says of the runs of one notebook."""

    model_config = ConfigDict(strict=True, extra="forbid")
    name: str = ""
    notebook: str = ""
    table: str = ""
    seeds: Values = []
    fixed: dict[str, Any] = {}
    grid: dict[str, Values] = {}
    zip: dict[str, Values] = {}
    exclude: list[dict[str, Any]] = []


class _FileKeys(_PartKeys):
    """What a plan's file may hold: runs of one notebook, or several parts.

    For these notebook, table and fixed hold.
    """

    version: int
    start_timeout: PositiveInt = 120
    cell_timeout: NonNegativeInt = 0
    attempts: PositiveInt = 3
    part: list[_PartKeys] = []

    @property
    def parts(self) -> list[_PartKeys]:
        """The parts with what the file says for all; the file itself where it names none."""
        if not self.part:
            return [self]
        stray = [name for name in ("seeds", "grid", "zip", "exclude") if getattr(self, name)]
        if stray:
            raise UserError(f"{', '.join(stray)} beside [[part]]: move it into the parts it is for")
        parts = []
        for part in self.part:
            shared = {
                "fixed": self.fixed | part.fixed,
                "table": part.table or self.table,
                "notebook": part.notebook or self.notebook,
            }
            parts.append(part.model_copy(update=shared))
        return parts


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

    def specs(self, root: Path) -> list[SweepSpec]:
        """The runs as specs.

        Raises:
            UserError: If a data set cannot be found, or two runs are the same.
        """
        root = Path(root).expanduser().absolute()
        identities: dict[str, str] = {}
        specs = []
        for part in self.parts:
            code = code_digest(part.notebook)
            for parameters in part.runs:
                upstream = []
                if "dataset" in parameters:
                    upstream = [_identity(parameters, identities)]
                spec = SweepSpec(
                    notebook=str(part.notebook),
                    parameters=parameters,
                    code=code,
                    root=str(root),
                    upstream=upstream,
                    varied=list(part.varied),
                    part=part.name,
                    **self.limits,
                )
                specs.append(spec)
        counts = Counter(spec.run.id for spec in specs)
        same = [spec for spec in specs if counts[spec.run.id] > 1]
        if same:
            raise UserError(
                f"plan '{self.name}' has the same run {counts[same[0].run.id]} times ({same[0]}): "
                "remove what repeats"
            )
        return specs


def _identity(parameters: Mapping[str, Any], known: dict[str, str]) -> str:
    """Changes when the run's data change; the data set must be there.

    Args:
        parameters: Of the run.
        known: What was found before, which this call adds to.
    """
    # torch loads for seconds: a typo is told before
    from kdnb.data.registry import data_identity, phantom_plan

    settings = _settings(parameters)
    drawn = ""
    if settings.dataset.startswith("phantom_"):
        drawn = repr(phantom_plan(settings))
    key = digest([settings.dataset, settings.data, settings.image_size, drawn])
    if key not in known:
        known[key] = digest(data_identity(settings))
    return known[key]


def _settings(parameters: Mapping[str, Any]) -> Settings:
    """The study's settings among the parameters of a notebook, checked."""
    known = {name: value for name, value in parameters.items() if name in Settings.model_fields}
    return Settings.checked(known)


def read_plan(path: Path) -> Plan:
    """A plan from its TOML file, every run checked against the notebook's parameters.

    Raises:
        UserError: One line that names the plan, what it says and what is accepted.
    """
    path = Path(path)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"plan '{path}' cannot be read ({error.strerror}): give the path of a TOML file"
        ) from None
    except ValueError as error:  # TOML and UTF-8
        raise UserError(f"plan '{path}' is no TOML file ({error})") from None
    try:
        return _plan(path, found)
    except UserError as error:
        raise UserError(f"plan '{path}': {error}") from None


def _plan(path: Path, found: Mapping[str, Any]) -> Plan:
    """The plan of a file's content."""
    if found.get("version") != VERSION:
        got = repr(found["version"]) if "version" in found else "none"
        raise UserError(
            f"version must be the number {VERSION}, got {got}: "
            f"compare it with sweeps/grid.toml, then set version = {VERSION}"
        )
    try:
        keys = _FileKeys(**found)
    except ValidationError as error:
        raise UserError("; ".join(map(_explain, error.errors()))) from None
    parts = [_part(part, path.parent) for part in keys.parts]
    if len(parts) > 1:
        _require_names([part.name for part in parts])
    _require_few(sum(len(part.runs) for part in parts))
    return Plan(
        name=path.stem,
        parts=tuple(parts),
        limits=keys.model_dump(include={"start_timeout", "cell_timeout", "attempts"}),
    )


def _require_names(names: Sequence[str]) -> None:
    """Each of several parts has a name of its own."""
    counts = Counter(names)
    for name, count in counts.items():
        if count > 1 or not name:
            raise UserError(f"every part needs a name of its own, got {name!r} {count} times")


def _require_few(total: int) -> None:
    if total > MAX_RUNS:
        raise UserError(f"{total:,} runs are too many: accepted are {MAX_RUNS:,}")


def _explain(item: Mapping[str, Any]) -> str:
    """One of pydantic's errors in our words."""
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        accepted = _PartKeys if item["loc"][0] == "part" else _FileKeys
        fields = accepted.model_fields
        near = did_you_mean(str(item["loc"][-1]), fields)
        return f"unknown key {name!r}: accepted are {', '.join(fields)}{near}"
    if item["type"] == "too_short":
        return f"{name} is empty: give at least one value"
    return f"{name} {item['msg'].removeprefix('Input ')}, got {item['input']!r}"


def _part(keys: _PartKeys, folder: Path) -> Part:
    """A part with its runs, each of them checked.

    Args:
        keys: What the file says of it.
        folder: Where the file lies.
    """
    notebook = _find(keys.notebook, folder)
    declared = parameters_of(notebook)
    declared.pop("runs_dir", None)  # the folder of a sweep's runs is none of their parameters
    varied = _varied(keys, declared)
    runs = []
    defaults: dict[tuple[str, str], str] = {}
    for chosen in _combinations(keys):
        values = {}
        for name, default in declared.items():
            values[name] = _cast(name, chosen.get(name, default), default)
        settings = _settings(values)  # raises what is out of range
        if "dataset" in values and values.get("split") == "":
            values["split"] = _default_split(settings, defaults)
        runs.append(_located(values, folder))
    return Part(
        name=keys.name,
        notebook=notebook,
        table=keys.table,
        varied=varied,
        named=(*keys.fixed, *varied),
        runs=tuple(runs),
    )


def _default_split(settings: Settings, known: dict[tuple[str, str], str]) -> str:
    """The split that the data set decides, so that every record of a run names it.

    Args:
        settings: Of the run.
        known: What was found before, which this call adds to.
    """
    key = (settings.dataset, settings.sizes_of)
    if key not in known:
        from kdnb.data.default_split import resolve_split  # torch loads for seconds

        known[key] = resolve_split(settings).split
    return known[key]


def _find(name: str, folder: Path) -> Path:
    """A notebook of the study by its name, or any by its path from the plan's folder."""
    if not name:
        raise UserError("notebook is missing")
    for place in (project_root() / "notebooks" / f"{name}.ipynb", folder / name):
        if place.is_file():
            return place.absolute()
    raise UserError(
        f"notebook '{name}' is not found: "
        "give a name such as 03_distillation, or a path from the plan"
    )


def _varied(keys: _PartKeys, declared: Mapping[str, Any]) -> tuple[str, ...]:
    """The parameters in which the runs differ, the slowest first.

    Raises:
        UserError: If the notebook does not declare one that the plan names, if one is set twice,
            or if lists that go together differ in length.
    """
    varied = [*keys.zip, *keys.grid]
    if keys.seeds:
        varied.append("seed")
    counts = Counter([*varied, *keys.fixed])
    named = list(counts)
    for rule in keys.exclude:
        named.extend(rule)
    unknown = [name for name in dict.fromkeys(named) if name not in declared]
    if unknown:
        near = did_you_mean(unknown[0], declared)
        raise UserError(
            f"unknown parameter {', '.join(map(repr, unknown))}: the notebook accepts "
            f"{', '.join(sorted(declared))}{near}"
        )
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise UserError(f"{', '.join(twice)} is set twice: keep one of fixed, grid, zip and seeds")
    if len(set(map(len, keys.zip.values()))) > 1:
        lengths = ", ".join(f"{name} has {len(values)}" for name, values in keys.zip.items())
        raise UserError(f"lists in zip must be equally long: {lengths}")
    return tuple(varied)


def _combinations(keys: _PartKeys) -> list[dict[str, Any]]:
    """The chosen parameters of every run that is left; the last key changes fastest."""
    rows = _rows(keys.zip)
    grid = dict(keys.grid)
    if keys.seeds:
        grid["seed"] = keys.seeds
    _require_few(len(rows) * prod(map(len, grid.values())))
    every = []
    for row in rows:
        for values in product(*grid.values()):
            cell = dict(zip(grid, values, strict=True))
            every.append({**keys.fixed, **row, **cell})
    for rule in keys.exclude:
        if not any(_matches(chosen, rule) for chosen in every):
            raise UserError(f"exclude {rule} matches no run: mend or remove it")
    left = [chosen for chosen in every if not _is_excluded(chosen, keys.exclude)]
    if not left:
        raise UserError("no run is left: every one is excluded")
    return left


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Lists of equal length, row by row; one row without anything where there are no lists.

    >>> _rows({"alpha": [0.4, 0.7], "temperature": [5, 10]})
    [{'alpha': 0.4, 'temperature': 5}, {'alpha': 0.7, 'temperature': 10}]
    >>> _rows({})
    [{}]
    """
    length = max(map(len, columns.values()), default=1)
    rows = []
    for number in range(length):
        rows.append({name: values[number] for name, values in columns.items()})
    return rows


def _is_excluded(chosen: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> bool:
    return any(_matches(chosen, rule) for rule in rules)


def _matches(chosen: Mapping[str, Any], rule: Mapping[str, Any]) -> bool:
    """Whether an exclusion holds; a list in it stands for any of its values."""
    for name, excluded in rule.items():
        value = chosen.get(name)
        is_listed = isinstance(excluded, list) and value in excluded
        if value != excluded and not is_listed:
            return False
    return True


def _cast(name: str, value: Any, default: Any) -> Any:
    """The value in the type that the notebook declares, so that 1 and 1.0 are the same run."""
    if type(default) is float and type(value) is int:
        return float(value)
    if isinstance(value, list) and _holds_floats(name):
        return [float(number) if type(number) is int else number for number in value]
    if type(value) is not type(default) and name not in Settings.model_fields:
        # of its own fields Settings says more clearly what is wrong
        raise UserError(
            f"{name} must be {type(default).__name__}, as the notebook declares it, got {value!r}"
        )
    return value


def _holds_floats(name: str) -> bool:
    """Whether the setting of this name is a list of numbers."""
    if name not in Settings.model_fields:
        return False
    of_list = get_args(Settings.model_fields[name].annotation)
    return get_args(of_list[0])[:1] == (float,) if of_list else False


def _located(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths of data made absolute: from the plan's folder, else from the project."""
    data = values.get("data")
    if not data:
        return values
    path = Path(data).expanduser()
    for place in (folder / path, project_root() / path):
        if place.exists():
            return values | {"data": str(place.absolute())}
    return values
