"""How fast should pretrained layers learn? Chosen on validation parts; no test part is opened.

A teacher with ImageNet weights is fine-tuned once for every share of the learning rate that its
pretrained layers get, with everything else as in the study. One row each: the best validation loss
and the accuracy of that epoch (the one the study would keep), and those of the last epoch. One
seed: a difference of a point of accuracy is noise.

Run: KDNB_DATA=... python benchmarks/recipes.py --dataset brain_tumor --split patients
         [--shares 0.03 0.1 0.3 1] [--epochs 4] [--size 96] [--out recipes.csv]
     python benchmarks/recipes.py --publish CSV ...    # as figures/teachers/recipes.csv
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
from common import publish_table, read_tables

from kdnb.core.profiles import LITE0
from kdnb.core.runs import Run
from kdnb.core.settings import Settings
from kdnb.data.dataset import load
from kdnb.training.fit import fit, label_loss
from kdnb.training.teachers import make_teacher
from kdnb.training.train_teacher import schedule_of


def fine_tuned(settings: Settings, share: float) -> dict[str, object]:
    """The validation scores of one fine-tuning."""
    image_set = load(settings)
    device = settings.activate()
    teacher = make_teacher(
        len(image_set.classes),
        name=settings.teacher,
        weights="imagenet",
        image_size=settings.image_size,
    )
    schedule = schedule_of(settings, settings.teacher_epochs, device)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(kind="teacher", id="trial", folder=Path(folder))
        history = fit(
            teacher,
            image_set,
            label_loss,
            replace(schedule, pretrained_rate=share),
            run,
            device,
            pretrained=teacher.pretrained,
        )
    best = history.loc[history["val_loss"].idxmin()]
    last = history.iloc[-1]
    return {
        "dataset": settings.dataset,
        "split": image_set.split,
        "share": share,
        "epochs": settings.teacher_epochs,
        "best_epoch": int(best["epoch"]) + 1,
        "val_loss": best["val_loss"],
        "val_accuracy": best["val_accuracy"],
        "last_val_loss": last["val_loss"],
        "last_val_accuracy": last["val_accuracy"],
        "seconds": history["seconds"].sum(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="brain_tumor")
    parser.add_argument("--split", default="patients")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.03, 0.1, 0.3, 1.0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--runs-dir", default="")
    parser.add_argument("--out", default="", help="a CSV for the table")
    parser.add_argument("--publish", nargs="+", metavar="CSV", help="only publish such tables")
    options = parser.parse_args()
    if options.publish:
        publish_table("teachers/recipes", read_tables(options.publish))
        return
    settings = Settings.checked(
        {
            "dataset": options.dataset,
            "split": options.split,
            "image_size": options.size,
            "batch_size": 32,
            "learning_rate": 2e-3,
            "views": 5,
            "teacher": LITE0,
            "weights": "imagenet",
            "teacher_epochs": options.epochs,
            "precision": "float32",
            "runs_dir": options.runs_dir,
        }
    )
    rows = []
    for share in options.shares:
        rows.append(fine_tuned(settings, share))
        print(rows[-1], flush=True)
    if options.out:
        pd.DataFrame(rows).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
