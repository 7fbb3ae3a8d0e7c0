"""How hard the default phantoms are: accuracy of teacher, students and memory by difficulty.

    python benchmarks/difficulty.py --difficulty 0.4 0.5 --seeds 0 1 2 3 4

One row per difficulty and seed of the data. Trainings are kept in the folder of the runs, so a
second call is quick. On two cores a row takes three to four minutes.
"""

from __future__ import annotations

import argparse

import pandas as pd

from kdnb.core.settings import Settings
from kdnb.study import MODELS, Study


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--difficulty", type=float, nargs="+", default=[0.5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--dataset", default="phantom_brain")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--runs-dir", default="")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=NUMBER", help="such as student_epochs=3"
    )
    given = parser.parse_args()
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
            for chosen in given.set:
                name, _, number = chosen.partition("=")
                values[name] = int(number) if number.isdigit() else float(number)
            rows.append(row_of(Study(Settings.checked(values))))
            print(rows[-1], flush=True)
    print(pd.DataFrame(rows).to_string(index=False))


def row_of(study: Study) -> dict[str, object]:
    """What came out for one seed."""
    trained = study.train()
    row: dict[str, object] = {
        "difficulty": study.settings.difficulty,
        "seed": study.settings.seed,
    }
    for model in MODELS:
        value, low, high = study.scores.loc[(model, "accuracy"), ["value", "low", "high"]]
        row[model] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
    row["memory"] = f"{study.memory_alone:.3f}"
    row["KD - labels"] = f"{study.kd_gain:+z.3f}"
    row["test images"] = len(study.test_targets)
    row["seconds"] = round(sum(run.seconds for run in trained))
    return row


if __name__ == "__main__":
    main()
