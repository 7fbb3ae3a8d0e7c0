"""The answer of notebook 03, the published grid, and the default ladder."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdnb.core.intervals import Difference, Interval, points
from kdnb.core.settings import Settings, project_root
from kdnb.core.tables import read_table, with_intervals

__all__ = [
    "brief",
    "distillation_answer",
    "ladder_widths",
    "published_controls",
    "published_grid",
]

PUBLISHED = "brain_tumor"  # the data set whose grid is shown where a run has none
# as the published tables name who taught a student, and whom it is compared with
TAUGHT = "the teacher"
LABELS = "labels alone"
STUDENT_OF = "student of "
SEEDS = 3  # fewer cannot speak for the method
STEPS = (0.25, 0.5, 1.0)  # of the ladder, as shares of the student's width
NARROWEST = 0.125  # that a student may be


def published_grid() -> pd.DataFrame:
    """The grid of the brain set in ``figures/results``, as `grid_table`; without it no rows."""
    path = project_root() / "figures" / "results" / "grid.csv"
    if not path.is_file():
        return pd.DataFrame()
    table = read_table(path)
    return table[table["dataset"] == PUBLISHED].reset_index(drop=True)


def published_controls() -> pd.DataFrame:
    """By how much students of the teacher are above students of controls, as published.

    On the brain set by patient, all classes, with all training patients.

    Returns:
        Index ``in the teacher's place``; the ``gain`` with its 95 % interval as text, p, seeds, px
        (the width of an image). No rows where no control is published yet.
    """
    folder = project_root() / "figures" / "results"
    found = []
    if (folder / "gains.csv").is_file():
        gains = read_table(folder / "gains.csv").query("dataset == @PUBLISHED and fraction == 1")
        controls = gains[(gains["taught_by"] == TAUGHT) & (gains["against"] != LABELS)]
        found.append(controls.assign(control=controls["against"]))
    if (folder / "differences.csv").is_file():
        by_patient = "dataset == @PUBLISHED and split == 'patients' and counted == 'all classes'"
        differences = read_table(folder / "differences.csv").query(by_patient)
        controls = differences[differences["rival"].str.startswith(STUDENT_OF)]
        found.append(controls.assign(control=controls["rival"].str.removeprefix(STUDENT_OF)))
    if not found:
        return pd.DataFrame()
    rows = pd.concat(found, ignore_index=True)
    rows["gain"] = _signed(rows, "difference")
    named = rows.rename(columns={"control": "in the teacher's place", "size_px": "px"})
    return named.set_index("in the teacher's place")[["gain", "p", "seeds", "px"]]


def brief(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `grid_table` or `compare_students` that fits a screen: intervals as text.

    In ``gain`` they have three digits behind the point, since gains are small.
    """
    cells = ["alpha", "temperature"] if "alpha" in table else []
    short = table[[*cells, "seeds", "val_accuracy"]].copy()
    short["accuracy"] = with_intervals(table, "accuracy", "accuracy_low", "accuracy_high")
    short["gain over labels alone"] = _signed(table, "gain")
    short = short.join(table[["p", "agreement", "kl", "ece"]])
    if "alpha" in table:
        reference = table["alpha"] == 1  # compared with itself
        short.loc[reference, "gain over labels alone"] = "labels alone"
        short.loc[reference, "p"] = np.nan
    return short


def _signed(table: pd.DataFrame, name: str) -> list[str]:
    """Differences with their intervals as text, with sign and three digits: they are small."""
    numbers = table[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
    return [f"{Difference(row):+z.3f}" for row in numbers]


def ladder_widths(settings: Settings) -> list[float]:
    """The widths of the ladder: those asked for, or a quarter, half and all of the student's.

    The network of the earlier public code has one width alone.
    """
    if settings.widths:
        return settings.widths
    if settings.student != "five_conv":
        return [settings.width]
    return sorted({max(NARROWEST, step * settings.width) for step in STEPS})


def distillation_answer(
    grid: pd.DataFrame,
    worth: pd.DataFrame,
    tested: str,
    *,
    loss: str = "kd",
    control: str = "",
) -> tuple[str, str]:
    """Does the student learn from the teacher what the labels do not give, and how sure is that?

    Args:
        grid: Of `kdnb.distillation.grid.grid_table`.
        worth: Of `kdnb.distillation.teacher_worth.teacher_worth`.
        tested: Patients or families of the test part, counted in words.
        loss: What the students learned with.
        control: What stood in the teacher's place, if anything did.
    """
    cells = grid[grid["alpha"] < 1]
    if cells.empty:
        return (
            "Nothing can be told: alpha 1 is training on labels alone.",
            "Take an alpha below 1.",
        )
    best = cells.loc[cells["val_accuracy"].idxmax()]
    gain = Difference(best[["gain", "gain_low", "gain_high"]])
    side = gain.side()
    taught_by = f"the control '{control}'" if control else "the teacher"
    of_accuracy = f"{points(gain)} of accuracy over labels alone"
    if side == "unknown":
        text = f"Cannot tell: {of_accuracy}, of too few patients."
    elif side == "tie":
        text = "Cannot tell: no test image tells it from the student on labels alone."
    elif side == "above":
        text = f"Yes, here: {taught_by} adds {of_accuracy}."
    elif side == "below":
        text = f"No, here {taught_by} harms: {of_accuracy}."
    else:
        text = f"Cannot tell: {of_accuracy}, and the interval holds zero."
    teacher = Interval(worth.iloc[-1][["difference", "difference_low", "difference_high"]])
    if teacher.side() != "above":
        text += " The teacher is not shown to know more than the student finds out alone."
    seeds = int(best["seeds"])
    sure = f"{seeds} seed{'s' if seeds > 1 else ''} and {tested}"
    sure += f", alpha {best['alpha']:g} and T {best['temperature']:g}"
    if loss != "kd":
        sure += f", loss {loss}"
    if len(cells) > 1:
        sure += f", chosen among {len(cells)} on the validation part"
    if seeds < SEEDS:
        sure += f"; fewer than {SEEDS} seeds cannot speak for the method"
    return text, f"{sure}."
