"""How hard the default phantoms are: accuracy of teacher, students and memory by difficulty.

    python benchmarks/difficulty.py --difficulty 0.4 0.5 --seeds 0 1 2 3 4 --out seeds.csv
    python benchmarks/difficulty.py --publish CSV ...

The second command puts such tables into ``figures/difficulty/seeds.csv`` and docs/results.md, which
tell of the default study: rows of another data set, profile, difficulty or --set are refused.
One row per difficulty and seed of the data. Trainings are kept in the folder of the runs, so a
second call is quick. On two cores a row takes about three minutes.
"""

from __future__ import annotations

import argparse

import pandas as pd
from common import publish_table, read_tables

from kdnb.cli.options import parse_sets
from kdnb.core.errors import UserError, ends_in_one_line
from kdnb.core.settings import DIFFICULTY, Settings, project_root
from kdnb.results.build import put_between
from kdnb.results.draws import draws_lines
from kdnb.study import MODELS, Study

PUBLISHED = {"dataset": "phantom_brain", "profile": "quick", "difficulty": DIFFICULTY, "set": ""}


def main() -> None:
    """Print the table, write it to a file, or publish such files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--difficulty", type=float, nargs="+", default=[DIFFICULTY])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--dataset", default="phantom_brain")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--runs-dir", default="")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="such as student_epochs=3"
    )
    parser.add_argument("--out", default="", help="a CSV for the table")
    parser.add_argument("--publish", nargs="+", metavar="CSV", help="only publish such tables")
    given = parser.parse_args()
    if given.publish:
        publish_draws(read_tables(given.publish))
        return
    rows = []
    for difficulty in given.difficulty:
        for seed in given.seeds:
            values = {
                "dataset": given.dataset,
                "profile": given.profile,
                "seed": seed,
                "difficulty": difficulty,
                "runs_dir": given.runs_dir,
            }
            values |= parse_sets(given.set)
            rows.append(row_of(Study(Settings.checked(values)), " ".join(given.set)))
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    print(table.round(3).T.to_string())
    if given.out:
        table.to_csv(given.out, index=False)


def publish_draws(table: pd.DataFrame) -> None:
    """Put rows of the default study into the published table and on the page.

    Raises:
        UserError: If a row is of another study.
    """
    chosen = table.reindex(columns=list(PUBLISHED)).astype(object)
    chosen = chosen.where(chosen.notna(), "")
    for name, wanted in PUBLISHED.items():
        others = [str(value) for value in chosen[name].unique() if value != wanted]
        if others:
            raise UserError(
                f"{name} must be '{wanted}' in every row that is published, the default study's, "
                f"got '{', '.join(others)}': leave those rows out"
            )
    publish_table("difficulty/seeds", table)
    published = pd.read_csv(project_root() / "figures" / "difficulty" / "seeds.csv")
    put_between(project_root() / "docs" / "results.md", "difficulty", draws_lines(published))


def row_of(study: Study, chosen: str) -> dict[str, object]:
    """What came out for one seed; ``chosen`` are the values of --set."""
    trained = study.train()
    row: dict[str, object] = {
        "dataset": study.settings.dataset,
        "profile": study.settings.profile,
        "set": chosen,
        "difficulty": study.settings.difficulty,
        "seed": study.settings.seed,
    }
    for model in MODELS:
        value, low, high = study.scores.loc[(model, "accuracy"), ["value", "low", "high"]]
        row |= {model: value, f"{model}, low": low, f"{model}, high": high}
    row["memory"] = study.memory_alone
    gains = {"teacher - labels": teacher_lead(study), "KD - labels": study.kd_gain}
    for name, gain in gains.items():
        value, low, high = gain
        row |= {name: value, f"{name}, low": low, f"{name}, high": high}
    row["test images"] = len(study.test_targets)
    row["test patients"] = len(set(study.test_groups.names))
    row["seconds"] = round(sum(run.seconds for run in trained))
    return row


def teacher_lead(study: Study) -> tuple[float, float, float]:
    """Accuracy of the teacher minus the label-only student's, with its 95 % interval."""
    worth = study.teacher_worth.loc["a student on labels alone"]
    return worth["difference"], worth["difference_low"], worth["difference_high"]


if __name__ == "__main__":
    with ends_in_one_line("difficulty.py"):
        main()
