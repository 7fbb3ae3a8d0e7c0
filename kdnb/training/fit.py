"""The one training loop, with checkpoint and resume, and what it leaves behind (notebooks 02, 03).

The validation part selects the epoch. The test part is opened once, after training, and that is
recorded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from kdnb.core.errors import UserError
from kdnb.core.progress import tell, track
from kdnb.core.runs import Run, atomic_path, write_json
from kdnb.data.dataset import ImageSet
from kdnb.data.transforms import Batch, batches
from kdnb.training.modules import evaluating, load_weights, save_weights
from kdnb.training.precision import autocast, emulation_warning

__all__ = [
    "Loss",
    "Schedule",
    "save_logits",
    "fit",
    "label_loss",
    "labels",
    "predict",
    "saved_logits",
    "train_step",
]

Loss = Callable[[Tensor, Batch], Tensor]  # logits (B, K) and their batch -> scalar
LATEST_CHECKPOINT = "checkpoint.pt"
PREVIOUS_CHECKPOINT = "previous.pt"
CHECKPOINTS = (LATEST_CHECKPOINT, PREVIOUS_CHECKPOINT)
WARM_UP = 0.15  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; ``views`` augmented views of each image are shown in turn."""

    epochs: int
    batch_size: int
    learning_rate: float  #: the highest, at the end of the warm-up
    views: int
    seed: int
    precision: str = "float32"  #: or "bfloat16": of the forward pass in training
    weight_decay: float = 0.02
    pretrained_rate: float = 1.0  #: learning rate of pretrained layers, as a share of the others'
    mixup: bool = False  #: whether views are mixed in pairs

    @property
    def parameters(self) -> dict[str, Any]:
        """What identifies a run; the options of later versions where they are used."""
        chosen = vars(self).copy()
        if self.pretrained_rate == 1:
            del chosen["pretrained_rate"]
        if not self.mixup:
            del chosen["mixup"]
        return chosen

    def rate(self, progress: float) -> float:
        """Learning rate at a share of all steps in [0, 1]: linear warm-up, then cosine to zero.

        >>> schedule = Schedule(epochs=1, batch_size=1, learning_rate=0.1, views=1, seed=0)
        >>> schedule.rate(0.15)
        0.1
        """
        if progress < WARM_UP:
            return self.learning_rate * max(progress / WARM_UP, 1e-3)
        angle = math.pi * (progress - WARM_UP) / (1 - WARM_UP)
        return self.learning_rate * 0.5 * (1 + math.cos(angle))


def label_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy with the labels; of a mixed image with both of its labels, by their shares."""
    return cross_entropy(logits, labels(batch, logits.shape[1]).to(logits.device))


def labels(batch: Batch, classes: int) -> Tensor:
    """Class numbers (B,) int64, or of mixed images the share of every class, (B, K) float32."""
    if batch.share is None:
        return batch.targets
    own = one_hot(batch.targets, classes) * batch.share[:, None]
    return own + one_hot(batch.partner_targets, classes) * (1 - batch.share[:, None])


def fit(
    model: nn.Module,
    image_set: ImageSet,
    loss: Loss,
    schedule: Schedule,
    run: Run,
    device: torch.device,
    *,
    order: int = 0,
    pretrained: Collection[str] = (),
) -> pd.DataFrame:
    """Train ``model`` in place; it ends with the weights of its best validation loss, in eval mode.

    A checkpoint is kept in ``run.folder`` after every epoch: a training that was killed goes on
    after its last finished epoch and ends as if it had not been (order, views and learning rate
    depend on the seed and the epoch alone).

    Args:
        model: Student or teacher.
        image_set: Its training part is learned, its validation part selects the epoch.
        loss: From the logits of a batch and the batch to a scalar.
        schedule: How long and how fast.
        run: Where files go.
        device: Where to train.
        order: Another one shows the same views in another order.
        pretrained: Names of the parameters that were trained on other images before; they learn at
            ``schedule.pretrained_rate`` of the learning rate (``benchmarks/recipes.py``).

    Returns:
        One row per epoch: epoch, learning_rate, train_loss, train_accuracy, val_loss, val_accuracy,
        seconds, images_per_second (training part). Also written as ``history.csv``.

    Raises:
        UserError: If the loss was finite in no epoch.
    """
    model.to(device)
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, schedule, pretrained),
        lr=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
        fused=True,  # all parameters in one kernel: a step takes a tenth less time
    )
    history = _resume(run, model, optimizer)
    warning = emulation_warning(schedule.precision, device)
    if warning and len(history) < schedule.epochs:
        tell(warning)
    first = len(history) if _has_finite_weights(model) else schedule.epochs  # it had diverged
    for epoch in track(range(first, schedule.epochs), f"{run.kind} epochs"):
        trained = _train_epoch(
            model, image_set, loss, schedule, optimizer, device, epoch=epoch, order=order
        )
        validated = _validate(model, image_set, schedule.batch_size, device)
        row = {"epoch": epoch, **trained, **validated}
        finite = [earlier["val_loss"] for earlier in history if math.isfinite(earlier["val_loss"])]
        if row["val_loss"] <= min(finite, default=math.inf):
            with atomic_path(run.path("model.safetensors")) as path:
                save_weights(model, path)
        history.append(row)
        _save_checkpoint(run, model, optimizer, history)
        _tell_epoch(run, schedule, row)
        if not _has_finite_weights(model):
            tell(f"{run.kind} training diverged in epoch {epoch + 1}: no later one can mend that")
            break
    table = pd.DataFrame(history)
    if not np.isfinite(table["val_loss"]).any():
        raise UserError(
            f"{run.kind} training diverged (loss {table['train_loss'].iloc[-1]}): "
            f"lower learning_rate, got {schedule.learning_rate}"
        )
    with atomic_path(run.path("history.csv")) as path:
        table.to_csv(path, index=False)
    load_weights(model, run.path("model.safetensors"))
    return table


def _tell_epoch(run: Run, schedule: Schedule, row: dict[str, float]) -> None:
    tell(
        f"{run.kind} epoch {row['epoch'] + 1}/{schedule.epochs}: loss {row['train_loss']:.3f}, "
        f"val loss {row['val_loss']:.3f}, val accuracy {row['val_accuracy']:.3f}, "
        f"{row['images_per_second']:.0f} images/s"
    )


def _has_finite_weights(model: nn.Module) -> bool:
    return all(bool(weight.isfinite().all()) for weight in model.parameters())


def _parameter_groups(
    model: nn.Module, schedule: Schedule, pretrained: Collection[str]
) -> list[dict[str, Any]]:
    """New and pretrained parameters, each with its ``share`` of the learning rate."""
    new = []
    old = []
    for name, parameter in model.named_parameters():
        (old if name in pretrained else new).append(parameter)
    groups = [{"params": new, "share": 1.0}, {"params": old, "share": schedule.pretrained_rate}]
    return [group for group in groups if group["params"]]


def _train_epoch(
    model: nn.Module,
    image_set: ImageSet,
    loss: Loss,
    schedule: Schedule,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    *,
    epoch: int,
    order: int,
) -> dict[str, float]:
    """One pass over the training part; its row of the history, but for epoch and validation."""
    rows = image_set.rows("train")
    steps = math.ceil(len(rows) / schedule.batch_size)
    shuffled = batches(
        image_set,
        rows,
        schedule.batch_size,
        seed=schedule.seed,
        epoch=epoch,
        view=epoch % schedule.views,
        order=order,
        mixup=schedule.mixup,
    )
    total_loss = right = seen = 0.0
    start = time.perf_counter()
    model.train()
    for step, batch in enumerate(track(shuffled, f"epoch {epoch + 1}", steps)):
        if len(batch.rows) < 2:
            continue  # batch norm needs two values per channel
        rate = schedule.rate((epoch * steps + step) / (schedule.epochs * steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"]
        images = batch.images.to(device)
        value, logits = train_step(
            model, optimizer, images, lambda logits, of=batch: loss(logits, of), schedule.precision
        )
        predictions = logits.argmax(1).cpu()
        total_loss += value * len(batch.rows)
        right += (predictions == batch.targets).sum().item()
        seen += len(batch.rows)
    seconds = time.perf_counter() - start
    return {
        "learning_rate": rate,
        "train_loss": total_loss / seen,
        "train_accuracy": right / seen,
        "seconds": seconds,
        "images_per_second": seen / seconds,
    }


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    loss: Callable[[Tensor], Tensor],
    precision: str = "float32",
) -> tuple[float, Tensor]:
    """One step of training: forward, loss, backward, step. All training of the study is this.

    Args:
        model: In train mode; its weights change.
        optimizer: Of its weights.
        images: (B, 3, S, S), on the model's device.
        loss: From logits (B, K) float32 to a scalar.
        precision: Of the forward pass: "float32" or "bfloat16".

    Returns:
        The loss before the step, and the logits (B, K), detached.
    """
    with autocast(precision, images.device):
        logits = model(images)
    value = loss(logits.float())
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    optimizer.step()
    return value.item(), logits.detach()


def _validate(
    model: nn.Module, image_set: ImageSet, batch_size: int, device: torch.device
) -> dict[str, float]:
    """Loss with the labels and accuracy on the validation part."""
    rows = image_set.rows("val")
    logits = torch.from_numpy(predict(model, image_set, rows, batch_size, device))
    targets = torch.from_numpy(image_set.table["target"].to_numpy(np.int64)[rows])
    accuracy = (logits.argmax(1) == targets).double().mean()
    return {"val_loss": cross_entropy(logits, targets).item(), "val_accuracy": accuracy.item()}


def _save_checkpoint(
    run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, history: list[dict]
) -> None:
    """Keep the state, and the one before it in case this file is damaged later."""
    random_state: dict[str, Any] = {"cpu": torch.get_rng_state()}  # dropout draws from it
    if torch.cuda.is_available():
        random_state["cuda"] = torch.cuda.get_rng_state_all()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
        "random": random_state,
    }
    latest = run.path(LATEST_CHECKPOINT)
    if latest.is_file():
        latest.replace(run.path(PREVIOUS_CHECKPOINT))
    with atomic_path(latest) as path:
        torch.save(state, path)


def _resume(run: Run, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict]:
    """Take up the last checkpoint that can be read; returns its history, empty without one."""
    initial_weights = {name: value.clone() for name, value in model.state_dict().items()}
    initial_optimizer = deepcopy(optimizer.state_dict())
    for name in CHECKPOINTS:
        path = run.path(name)
        if not path.is_file():
            continue
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"]["cpu"])
            of_cards = state["random"].get("cuda", [])
            torch.cuda.set_rng_state_all(of_cards[: torch.cuda.device_count()])
        except Exception as error:  # a damaged file: zip, pickle and torch raise many types
            tell(f"checkpoint '{path}' is damaged ({type(error).__name__}): trying the one before")
            continue
        tell(f"resumed after epoch {len(state['history'])}")
        return state["history"]
    # a damaged checkpoint may have been loaded in part
    model.load_state_dict(initial_weights)
    optimizer.load_state_dict(initial_optimizer)
    return []


def predict(
    model: nn.Module,
    image_set: ImageSet,
    rows: np.ndarray,
    batch_size: int,
    device: torch.device,
    *,
    seed: int = 0,
    view: int = -1,
    mixup: bool = False,
) -> np.ndarray:
    """Logits (N, K) float32 of rows (N,), in their order.

    ``view`` is the number of an augmented view, -1 for the plain images; ``seed`` is that of the
    views; with ``mixup``, they are mixed in pairs.
    """
    # without gradients, twice as many fit into memory
    in_order = batches(image_set, rows, 2 * batch_size, seed=seed, view=view, mixup=mixup)
    with evaluating(model), torch.inference_mode():
        logits = [model(batch.images.to(device)).float().cpu() for batch in in_order]
    return torch.cat(logits).numpy()


def save_logits(
    model: nn.Module, image_set: ImageSet, schedule: Schedule, run: Run, device: torch.device
) -> None:
    """Write the logits of the validation and the test part, and that the test part was opened."""
    targets = image_set.table["target"].to_numpy()
    logits = {}
    metrics: dict[str, Any] = {}
    for part in ("val", "test"):
        rows = image_set.rows(part)
        logits[part] = predict(model, image_set, rows, schedule.batch_size, device)
        right = logits[part].argmax(1) == targets[rows]
        metrics[f"{part}_accuracy"] = float(right.mean())
    with atomic_path(run.path("logits.npz")) as path, path.open("wb") as file:
        np.savez(file, **logits)
    metrics["test_opened"] = 1
    metrics["device"] = str(device)
    # what a list of runs tells a person; no result depends on it
    metrics["images"] = {
        "dataset": image_set.name,
        "split": image_set.split,
        "size": image_set.size,
        "seed": schedule.seed,
        "classes": list(image_set.classes),
        "ranges": dict(image_set.ranges),
    }
    write_json(run.path("metrics.json"), metrics)
    for name in CHECKPOINTS:  # not before: a kill until here repeats no training
        run.path(name).unlink(missing_ok=True)


def saved_logits(run: Run, part: str = "test") -> np.ndarray:
    """Logits (N, K) float32 that a finished run left for ``"val"`` or ``"test"``."""
    with np.load(run.path("logits.npz")) as file:
        return file[part]
