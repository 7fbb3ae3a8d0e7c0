"""One fit loop with checkpoint and resume, and what it leaves behind: weights, history, predictions (notebooks 02, 03).

The validation part selects the epoch. The test part is opened once, after training, and that is recorded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kdnb.core.errors import UserError
from kdnb.core.progress import say, track
from kdnb.core.runs import Run, atomic_path, write_json
from kdnb.data.dataset import ImageSet
from kdnb.data.transforms import Batch, batches
from kdnb.training.modules import evaluating, load_weights, save_weights
from kdnb.training.precision import autocast

__all__ = ["Loss", "Schedule", "fit", "predict", "saved_logits"]

Loss = Callable[[Tensor, Batch], Tensor]  # logits (B, K) and their batch -> scalar
CHECKPOINTS = ("checkpoint.pt", "previous.pt")
WARM_UP = 0.15  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; ``views`` augmented views of each image are shown in turn."""

    epochs: int
    batch_size: int
    learning_rate: float
    views: int
    seed: int
    precision: str = "float32"  # or "bfloat16": of the forward pass in training
    weight_decay: float = 0.02

    def rate(self, progress: float) -> float:
        """Learning rate at a share of all steps in [0, 1]: linear warm-up, then cosine to zero.

        >>> Schedule(1, 1, 0.1, 1, 0).rate(0.15)
        0.1
        """
        if progress < WARM_UP:
            return self.learning_rate * max(progress / WARM_UP, 1e-3)
        return (
            self.learning_rate
            * 0.5
            * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
        )


def label_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy with the labels."""
    return cross_entropy(logits, batch.targets.to(logits.device))


def fit(
    model: nn.Module,
    image_set: ImageSet,
    loss: Loss,
    schedule: Schedule,
    run: Run,
    device: torch.device,
    *,
    order: int = 0,
) -> pd.DataFrame:
    """Train ``model`` in place and leave it with the weights of its best validation loss, in eval mode.

    Checkpoints after every epoch in ``run.folder``; a training that was killed goes on after its last finished epoch
    and ends as if it had not been (order, views and learning rate depend on the seed and the epoch alone). Another
    ``order`` shows the same views in another order.

    Returns:
        One row per epoch: epoch, learning_rate, train_loss, train_accuracy, val_loss, val_accuracy, seconds,
        images_per_second (training part). Also written as ``history.csv``.
    """
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    history = _resume(run, model, optimizer)
    for epoch in track(range(len(history), schedule.epochs), f"{run.kind} epochs"):
        row = {
            "epoch": epoch,
            **_train_epoch(model, image_set, loss, schedule, optimizer, order, epoch, device),
        }
        row |= _validate(model, image_set, schedule.batch_size, device)
        if row["val_loss"] <= min((r["val_loss"] for r in history), default=math.inf):
            with atomic_path(run.path("model.safetensors")) as path:
                save_weights(model, path)
        history.append(row)
        _checkpoint(
            run,
            {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history},
        )
        say(
            f"  {run.kind} epoch {epoch + 1}/{schedule.epochs}: loss {row['train_loss']:.3f}, "
            f"val loss {row['val_loss']:.3f}, val accuracy {row['val_accuracy']:.3f}, "
            f"{row['images_per_second']:.0f} images/s"
        )
    table = pd.DataFrame(history)
    if not np.isfinite(table["val_loss"]).any():
        raise UserError(
            f"{run.kind} training diverged (loss {table['train_loss'].iloc[-1]}): lower learning_rate, "
            f"got {schedule.learning_rate}"
        )
    with atomic_path(run.path("history.csv")) as path:
        table.to_csv(path, index=False)
    load_weights(model, run.path("model.safetensors"))
    return table


def _checkpoint(run: Run, state: dict) -> None:
    """Keep the state, and the one before it in case this file is damaged later."""
    random = {"cpu": torch.get_rng_state()}  # dropout draws from it
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state_all()
    latest, before = map(run.path, CHECKPOINTS)
    if latest.is_file():
        latest.replace(before)
    with atomic_path(latest) as path:
        torch.save({**state, "random": random}, path)


def _resume(run: Run, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict]:
    """Take up the last checkpoint that can be read; the history it holds, empty where there is none."""
    fresh, empty = (
        {k: v.clone() for k, v in model.state_dict().items()},
        deepcopy(optimizer.state_dict()),
    )
    for path in filter(Path.is_file, map(run.path, CHECKPOINTS)):
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"]["cpu"])
            torch.cuda.set_rng_state_all(
                state["random"].get("cuda", [])[: torch.cuda.device_count()]
            )
        except Exception as error:  # a damaged file: zip, pickle and torch raise many types
            say(f"  checkpoint '{path}' is damaged ({type(error).__name__}): trying the one before")
            continue
        say(f"  resumed after epoch {len(state['history'])}")
        return state["history"]
    model.load_state_dict(fresh)
    optimizer.load_state_dict(empty)
    return []


def _train_epoch(
    model, image_set, loss, schedule, optimizer, order, epoch, device
) -> dict[str, float]:  # noqa: ANN001
    rows = image_set.rows("train")
    steps = math.ceil(len(rows) / schedule.batch_size)
    total = right = seen = 0.0
    start = time.perf_counter()
    model.train()
    view = epoch % schedule.views
    shown = batches(
        image_set,
        rows,
        schedule.batch_size,
        seed=schedule.seed,
        epoch=epoch,
        view=view,
        order=order,
    )
    for step, batch in enumerate(track(shown, f"epoch {epoch + 1}", steps)):
        if len(batch.rows) < 2:
            continue  # batch norm needs two values per channel
        rate = schedule.rate((epoch * steps + step) / (schedule.epochs * steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        with autocast(schedule.precision, device):
            logits = model(batch.images.to(device))
        value = loss(logits.float(), batch)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        total += value.item() * len(batch.rows)
        right += (logits.detach().argmax(1).cpu() == batch.targets).sum().item()
        seen += len(batch.rows)
    seconds = time.perf_counter() - start
    return {
        "learning_rate": rate,
        "train_loss": total / seen,
        "train_accuracy": right / seen,
        "seconds": seconds,
        "images_per_second": seen / seconds,
    }


def _validate(
    model: nn.Module, image_set: ImageSet, batch_size: int, device: torch.device
) -> dict[str, float]:
    rows = image_set.rows("val")
    logits = torch.from_numpy(predict(model, image_set, rows, batch_size, device))
    targets = torch.from_numpy(image_set.table["target"].to_numpy(np.int64)[rows])
    accuracy = (logits.argmax(1) == targets).double().mean()
    return {"val_loss": cross_entropy(logits, targets).item(), "val_accuracy": accuracy.item()}


def predict(
    model: nn.Module,
    image_set: ImageSet,
    rows: np.ndarray,
    batch_size: int,
    device: torch.device,
    *,
    seed: int = 0,
    view: int = -1,
) -> np.ndarray:
    """Logits (len(rows), K) float32 in the order of ``rows``; of augmented view ``view`` if that is not -1."""
    with evaluating(model), torch.inference_mode():
        shown = batches(image_set, rows, 2 * batch_size, seed=seed, view=view)
        return torch.cat([model(batch.images.to(device)).float().cpu() for batch in shown]).numpy()


def finish(
    model: nn.Module, image_set: ImageSet, schedule: Schedule, run: Run, device: torch.device
) -> None:
    """Write the logits of the validation and the test part and record that the test part was opened."""
    targets, logits, accuracy = image_set.table["target"].to_numpy(), {}, {}
    for part in ("val", "test"):
        rows = image_set.rows(part)
        logits[part] = predict(model, image_set, rows, schedule.batch_size, device)
        accuracy[f"{part}_accuracy"] = float((logits[part].argmax(1) == targets[rows]).mean())
    with atomic_path(run.path("logits.npz")) as path, path.open("wb") as file:
        np.savez(file, **logits)
    write_json(run.path("metrics.json"), {**accuracy, "test_opened": 1, "device": str(device)})
    for name in CHECKPOINTS:  # not before: a kill until here repeats no training
        run.path(name).unlink(missing_ok=True)


def saved_logits(run: Run, part: str = "test") -> np.ndarray:
    """Logits (N, K) float32 that a finished run left for ``"val"`` or ``"test"``."""
    with np.load(run.path("logits.npz")) as file:
        return file[part]
