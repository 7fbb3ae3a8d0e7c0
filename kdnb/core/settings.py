"""The parameters of a notebook as one validated, frozen object; device, threads, seeds (01-07)."""

from __future__ import annotations

import ast
import os
import random
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from kdnb.core.errors import UserError, did_you_mean
from kdnb.core.freed_memory import keep_freed_memory
from kdnb.core.live import cell_is_named
from kdnb.core.profiles import LITE0, LITE0_NAMES, PROFILES

__all__ = [
    "CONTROLS",
    "LOSS_NAMES",
    "PARAMETERS_MARK",
    "SPLITS",
    "STUDENTS",
    "Settings",
    "TEACHERS",
    "TIMM",
    "project_root",
]

PARAMETERS_MARK = "# What to run"  # first line of a notebook's parameters cell
CONTROLS = ("", "shuffled", "random", "smoothing", "early")
LOSS_NAMES = ("kd", "as_coded", "dkd", "standardised", "attention")
STUDENTS = ("five_conv", "as_coded")
TEACHERS = ("densenet121", "resnet50", "vgg16_bn", "efficientnet_b0")
TIMM = "timm:"  # before the name of a model of timm; timm itself knows which there are
TEACHER_FORM = rf"^({'|'.join(TEACHERS)}|{TIMM}\w[\w.]*)$"
DIFFICULTY = 0.45  # of the phantoms, chosen on seeds 0 to 4: figures/difficulty/seeds.csv
TIMED_SAMPLES = 20  # of a timed SHAP call at most
SPLITS = ("grouped", "random", "published", "deduplicated", "patients")
QUOTED = re.compile(r"'([^']*)'")  # of accepted words in pydantic's messages
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def _as_number(value: Any) -> Any:
    """A text that is a number as that number: to YAML, 1e-3 without a point is text.

    >>> _as_number("1e-3"), _as_number("a third")
    (0.001, 'a third')
    """
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value


def _as_window(ends: list[float]) -> list[float]:
    if ends and not (len(ends) == 2 and -np.inf < ends[0] < ends[1] < np.inf):
        raise ValueError("not a low and a high end")
    return ends


Number = Annotated[float, BeforeValidator(_as_number)]
Temperature = Annotated[Number, Field(gt=0, le=1000)]
Width = Annotated[Number, Field(ge=0.125, le=4)]


class Settings(BaseModel):
    """One run of the study, every value checked; see the field descriptions for units and ranges.

    >>> Settings.checked({"alpha": 0.4}).alpha
    0.4
    >>> Settings.checked({"profile": "quick"}).image_size
    64
    >>> Settings.checked({"alpha": 1.4})
    Traceback (most recent call last):
    kdnb.core.errors.UserError: alpha must be a number in [0, 1], got 1.4
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    dataset: str = Field(
        "phantom_brain", min_length=1, description="the name of a data set, or 'custom'"
    )
    data: str = Field(
        "", description="the path of an archive, a folder or a CSV; '' for the default place"
    )
    split: Literal["", *SPLITS] = Field(
        "", description=f"one of {', '.join(SPLITS)}, or '' for the data set's own default"
    )
    sizes_of: Literal["", "patients"] = Field(
        "", description="patients, for parts of that split's sizes under random or grouped, or ''"
    )
    fold: int = Field(
        5, ge=0, le=9_999, description="a whole number in [0, 9999], a fold that the set has"
    )
    profile: Literal[tuple(PROFILES)] = Field("quick", description=f"one of {', '.join(PROFILES)}")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="a whole number in [0, 2147483647]")
    image_size: int = Field(
        0, ge=32, le=512, description="a whole number of pixels in [32, 512], or 0"
    )
    patients: int = Field(0, ge=24, le=9_999, description="a whole number in [24, 9999], or 0")
    slices: int = Field(0, ge=1, le=64, description="a whole number in [1, 64], or 0")
    difficulty: Number = Field(
        DIFFICULTY, ge=0, le=1, description="a number in [0, 1], 0 for phantoms that are easy"
    )
    test_share: Number = Field(0.0, ge=0.1, le=0.8, description="a number in [0.1, 0.8], or 0")
    window: Annotated[list[Number], AfterValidator(_as_window)] = Field(
        [], description="a list of two numbers, what becomes black and what white, or []"
    )
    max_broken: Number = Field(0.0, ge=0, le=1, description="a number in [0, 1], 0 for 0.01")
    teacher_epochs: int = Field(0, ge=1, le=1000, description="a whole number in [1, 1000], or 0")
    teacher_seed: int = Field(
        0, ge=0, le=2**31 - 1, description="a whole number in [0, 2147483647]"
    )
    student_epochs: int = Field(0, ge=1, le=1000, description="a whole number in [1, 1000], or 0")
    batch_size: int = Field(0, ge=2, le=1024, description="a whole number in [2, 1024], or 0")
    learning_rate: Number = Field(0.0, gt=0, le=1, description="a number in (0, 1], or 0")
    views: int = Field(0, ge=1, le=1000, description="a whole number in [1, 1000], or 0")
    fraction: Number = Field(1.0, gt=0, le=1, description="a number in (0, 1]")
    teacher: str = Field(
        "",
        pattern=TEACHER_FORM,
        description=f"one of {', '.join(TEACHERS)}, or {TIMM}NAME, such as {LITE0}, or ''",
    )
    student: Literal[STUDENTS] = Field("five_conv", description=f"one of {', '.join(STUDENTS)}")
    width: Width = Field(1.0, description="a number in [0.125, 4]")
    loss: Literal[LOSS_NAMES] = Field("kd", description=f"one of {', '.join(LOSS_NAMES)}")
    control: Literal[CONTROLS] = Field(
        "", description=f"one of {', '.join(filter(None, CONTROLS))}, or ''"
    )
    alphas: list[Annotated[Number, Field(ge=0, lt=1)]] = Field(
        [], description="a list of numbers in [0, 1), or []"
    )
    temperatures: list[Temperature] = Field([], description="a list of numbers in (0, 1000], or []")
    widths: list[Width] = Field([], description="a list of numbers in [0.125, 4], or []")
    controls: list[Literal[CONTROLS[1:]]] = Field(
        [], description=f"a list of {', '.join(CONTROLS[1:])}, or []"
    )
    student_seeds: int = Field(1, ge=1, le=100, description="a whole number in [1, 100]")
    student_seed: int = Field(
        0, ge=0, le=2**31 - 1, description="a whole number in [0, 2147483647]"
    )
    alpha: Number = Field(0.7, ge=0, le=1, description="a number in [0, 1]")
    temperature: Temperature = Field(10.0, description="a number in (0, 1000]")
    mixup: bool = Field(
        False, description="True or False: whether a student learns from images mixed in pairs"
    )
    explained_images: int = Field(0, ge=1, le=512, description="a whole number in [1, 512], or 0")
    graded_images: int = Field(0, ge=2, le=10_000, description="a whole number in [2, 10000], or 0")
    shap_samples: int = Field(
        0, ge=10, le=10_000, description="a whole number in [10, 10000], or 0"
    )
    timing_repeats: int = Field(0, ge=3, le=1000, description="a whole number in [3, 1000], or 0")
    timing_seconds: Number = Field(
        0.0, gt=0, le=3600, description="a number of seconds in (0, 3600], or 0"
    )
    weights: Literal["none", "auto", "imagenet", ""] = Field(
        "", description="one of none, auto, imagenet, or ''"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="one of auto, float32, bfloat16"
    )
    teacher_precision: Literal["", "auto", "float32", "bfloat16"] = Field(
        "", description="one of auto, float32, bfloat16, or '' for that of precision"
    )
    threads: int = Field(
        0,
        ge=0,
        le=256,
        description="a whole number in [0, 256]; 0 takes OMP_NUM_THREADS or all cores",
    )
    runs_dir: str = Field("", description="a folder path; '' takes runs/ of the project")

    @model_validator(mode="before")
    @classmethod
    def _take_profile(cls, values: Any) -> Any:
        filled = dict(values)
        with suppress(TypeError, ValueError):  # what is no seed, its own check refuses
            if float(values.get("teacher_seed", 0)) >= 0:
                # another teacher has other students
                filled.setdefault("student_seed", values.get("teacher_seed", 0))
        profile = str(values.get("profile", "quick"))
        decided = PROFILES.get(profile, {})  # the field's own check refuses an unknown one
        for name, value in decided.items():
            if values.get(name, 0) in (0, ""):
                filled[name] = value
        if filled.get("teacher") in LITE0_NAMES and not values.get("weights"):
            filled["weights"] = "auto"  # there is always a place to take them from
        return filled

    @property
    def per_student_seed(self) -> list[Settings]:
        """One copy for each of ``student_seeds``, counted from ``student_seed``."""
        seeds = range(self.student_seed, self.student_seed + self.student_seeds)
        return [self.model_copy(update={"student_seed": seed}) for seed in seeds]

    @property
    def timed_samples(self) -> int:
        """Gradient samples, or evaluations, of a timed SHAP call; its time grows in proportion."""
        return min(TIMED_SAMPLES, max(10, self.shap_samples // 4))

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from plain values.

        Raises:
            UserError: If a value is wrong; it names the parameter and what is accepted.
        """
        try:
            settings = cls(**values)
        except ValidationError as error:
            faults = error.errors()
            if any(fault["loc"][0] == "profile" for fault in faults):
                # what is 0 or empty stands for the profile's value: no fault of its own
                faults = [one for one in faults if one["input"] or one["loc"][0] == "profile"]
            raise UserError("; ".join(_explain(cls, fault) for fault in faults)) from None
        settings.check_together()
        return settings

    def check_together(self, online: bool = False) -> None:
        """Refuse a student, loss and control that cannot be together; ``online`` is of the teacher.

        Raises:
            UserError: If two of them contradict each other.
        """
        for width in (self.width, *self.widths):
            if self.student == "as_coded" and width != 1:
                raise UserError(
                    f"width is for student 'five_conv', got {width:g} with 'as_coded': "
                    "leave it at 1"
                )
        for control in (self.control, *self.controls):
            if control in ("shuffled", "smoothing") and (online or self.loss == "attention"):
                raise UserError(
                    f"control '{control}' changes cached answers: it can't be used with loss "
                    "'attention' or an online teacher"
                )
            if control == "smoothing" and self.loss == "standardised":
                raise UserError(
                    "control 'smoothing' sets the size of logits, which 'standardised' forgets: "
                    "use 'kd'"
                )
        if self.mixup and self.loss in ("dkd", "as_coded"):
            raise UserError(
                f"loss '{self.loss}' needs one class per image: it can't be used with mixup, "
                "set loss to kd or standardised"
            )
        for control in (self.control, *self.controls):
            if self.mixup and control in ("shuffled", "smoothing"):
                raise UserError(
                    f"control '{control}' goes by the class of an image, and a mixed image has "
                    "two: set mixup to False"
                )
        if self.loss == "attention" and len(self.temperatures) > 1:
            raise UserError(
                f"loss 'attention' has no temperature: got temperatures {self.temperatures}, "
                "give one"
            )

    @classmethod
    def of_notebook(cls, history: Sequence[str], namespace: Mapping[str, Any]) -> Settings:
        """Settings of a notebook run: what its parameters cell declares, with the values now.

        The parameters cell is known by its first line, `PARAMETERS_MARK`. What papermill injects
        after it must be declared there: papermill itself only warns of an unknown name. A run with
        an injected cell is not `is_live`, also if papermill was started from within JupyterLab;
        unless a person opens the executed copy and runs it again.

        Args:
            history: IPython's ``In``. Papermill's injected cell starts with the line
                ``# Parameters``.
            namespace: The notebook's variables, ``globals()``.

        Raises:
            UserError: If no parameters cell was run, or a parameter is unknown, of the wrong type
                or out of range.

        >>> history = ["", "# What to run\\nalpha = 0.7", "# Parameters\\nalhpa = 0.4\\n"]
        >>> Settings.of_notebook(history, {"alpha": 0.7, "alhpa": 0.4})
        Traceback (most recent call last):
        kdnb.core.errors.UserError: unknown parameter 'alhpa': this notebook accepts alpha; \
did you mean alpha?
        """
        declaring = [cell for cell in history if _first_line(cell).startswith(PARAMETERS_MARK)]
        if not declaring:
            raise UserError(
                "no parameters cell was run: "
                f"run the cell that begins with '{PARAMETERS_MARK}' first"
            )
        declared = _assigned_names(declaring[-1])
        injected = [cell for cell in history if _first_line(cell) == "# Parameters"]
        if injected:
            if not cell_is_named():
                os.environ.setdefault("KDNB_LIVE", "0")  # first, so that a fault is told at once
            unknown = [name for name in _assigned_names(injected[-1]) if name not in declared]
            if unknown:
                told = ", ".join(map(repr, unknown))
                accepted = ", ".join(sorted(declared))
                near = did_you_mean(unknown[0], declared)
                raise UserError(f"unknown parameter {told}: this notebook accepts {accepted}{near}")
        return cls.checked({name: namespace[name] for name in declared})

    @property
    def runs(self) -> Path:
        """The folder that holds every computed run."""
        if self.runs_dir:
            return Path(self.runs_dir).expanduser().absolute()
        return project_root() / "runs"

    def activate(self) -> Any:
        """Set threads, seeds, full float32 and `keep_freed_memory`; returns a ``torch.device``.

        Threads: those of the parameter, else of ``OMP_NUM_THREADS`` (a sweep's budget for each
        run), else all cores.
        """
        import torch

        keep_freed_memory()
        budget = os.environ.get("OMP_NUM_THREADS", "")
        given = int(budget) if budget.isdecimal() else 0
        torch.set_num_threads(self.threads or given or os.cpu_count() or 1)
        torch.backends.cudnn.allow_tf32 = False  # ledger and SHAP are held to what float32 can do
        random.seed(self.seed)
        np.random.seed(self.seed)
        torch.manual_seed(self.seed)
        # never mps, which lacks the explanations' float64
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def table(self) -> Any:
        """What was chosen, the rest folded away, for display (``IPython.display.HTML``)."""
        from IPython.display import HTML

        from kdnb.core.settings_table import settings_html

        return HTML(settings_html(dict(self), dict(type(self)(profile=self.profile))))


def _explain(cls: type[BaseModel], item: Mapping[str, Any]) -> str:
    """One of pydantic's errors in the words of the field's description."""
    name = str(item["loc"][0])
    if item["type"] == "extra_forbidden":
        accepted = ", ".join(sorted(cls.model_fields))
        near = did_you_mean(name, cls.model_fields)
        return f"unknown parameter {name!r}: accepted are {accepted}{near}"
    given = item["input"]
    near = ""
    if isinstance(given, str):
        words = QUOTED.findall(item.get("ctx", {}).get("expected", ""))
        near = did_you_mean(given, TEACHERS if name == "teacher" else filter(None, words))
    return f"{name} must be {cls.model_fields[name].description}, got {given!r}{near}"


def _first_line(cell: str) -> str:
    return cell.lstrip().split("\n", 1)[0].strip()


def _assigned_names(cell: str) -> list[str]:
    """Names that a cell assigns, in order."""
    nodes = [node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Name)]
    return [node.id for node in nodes if isinstance(node.ctx, ast.Store)]


def project_root() -> Path:
    """The folder with ``notebooks/`` and ``data/``.

    It is ``KDNB_ROOT``, else the one beside the package, else the working folder.
    """
    named = os.environ.get("KDNB_ROOT")
    if named:
        return Path(named).resolve()
    beside = Path(__file__).resolve().parents[2]
    return beside if (beside / "notebooks").is_dir() else Path.cwd()
