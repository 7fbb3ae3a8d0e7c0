"""Training a student: from cached answers, with an online teacher, or on labels alone (notebook 03)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from kdnb.data import Batch, ImageSet
from kdnb.distillation.losses import LOSSES, attention_loss
from kdnb.distillation.teaching import cached_logits, controlled
from kdnb.errors import UserError
from kdnb.feature_maps import capture
from kdnb.models import load_weights, make_student
from kdnb.runs import Run, finished_runs, get_or_make
from kdnb.settings import Settings
from kdnb.training import Loss, finish, fit, label_loss, load_teacher, schedule_of

__all__ = ["distil", "load_student", "named_student"]


def distil(
    settings: Settings, image_set: ImageSet, teacher: Run | None, device: torch.device, *, alpha: float | None = None,
    online: bool = False,
) -> Run:  # fmt: skip
    """The student's run: trained now, or found.

    Args:
        settings: Name the student, the loss, alpha, temperature and the control.
        image_set: Images and their parts.
        teacher: Its run; a UserError if it is of other images. May be None where ``alpha`` is 1.
        device: Where to train.
        alpha: Replaces ``settings.alpha``. At 1 the student learns from labels alone and the teacher is not used, so
            that every KD result has its control: same initialisation, same order, same views.
        online: Ask the teacher for every batch instead of its cache: slower, the same within rounding.
    """
    alpha = settings.alpha if alpha is None else alpha
    schedule, classes = schedule_of(settings, settings.student_epochs, device), len(image_set.classes)
    if teacher is None and alpha < 1:
        raise UserError(f"alpha {alpha:g} needs a teacher: give its run, or alpha 1 for labels alone")
    if teacher is not None and image_set.hash not in teacher.json("spec.json")["upstream"]:
        raise UserError(f"teacher {teacher.id} was trained on another image set, split or size than "
                        f"{image_set.name}, {image_set.split}, {image_set.size} px: train one on these")  # fmt: skip
    _check(settings, online)
    built = {"name": settings.student, "width": settings.width, "image_size": image_set.size}
    loss, upstream, cache = {"loss": "labels"}, [image_set.hash], None
    if alpha != 1:
        loss = {"loss": settings.loss, "alpha": alpha}
        loss |= {} if settings.loss == "attention" else {"temperature": settings.temperature}
        loss |= {"control": settings.control} if settings.control else {}
        if online or settings.loss == "attention":
            loss |= {"online": True}
        else:
            cache = cached_logits(settings, image_set, teacher, device)
        upstream += [teacher.id if cache is None else cache.id]

    def make(run: Run) -> None:
        model = make_student(classes, seed=settings.seed + settings.student_seed, **built).to(device)
        with _teaching(settings, image_set, teacher, cache, alpha, model, device) as taught:
            fit(model, image_set, taught, schedule, run, device, order=settings.student_seed)
        finish(model, image_set, schedule, run, device)

    parameters = {"model": built, **loss, "schedule": vars(schedule), "student_seed": settings.student_seed}
    return get_or_make("student", parameters, make, root=settings.runs, upstream=upstream)


def _check(settings: Settings, online: bool) -> None:
    if settings.student == "as_coded" and settings.width != 1:
        raise UserError(f"width is for student 'five_conv', got {settings.width} with 'as_coded': leave it at 1")
    if settings.control in ("shuffled", "smoothing") and (online or settings.loss == "attention"):
        raise UserError(f"control '{settings.control}' changes cached answers: it can't be used with loss "
                        "'attention' or an online teacher")  # fmt: skip
    if settings.control == "smoothing" and settings.loss == "standardised":
        raise UserError("control 'smoothing' sets the size of the logits, which loss 'standardised' forgets: use 'kd'")


@contextmanager
def _teaching(
    settings: Settings, image_set: ImageSet, teacher: Run | None, cache: Run | None, alpha: float, student: nn.Module,
    device: torch.device,
) -> Iterator[Loss]:  # fmt: skip
    """The loss of a batch, for as long as the student trains."""
    if alpha == 1:
        yield label_loss
    elif cache is not None:
        yield _replayed(settings, image_set, cache, alpha)
    else:
        with torch.random.fork_rng():  # the student's dropout must not depend on who teaches
            model = load_teacher(teacher, len(image_set.classes), device)
        with capture(model) as seen, capture(student) as shown:
            yield _online(model, settings, alpha, seen, shown)


def _replayed(settings: Settings, image_set: ImageSet, cache: Run, alpha: float) -> Loss:
    logits, targets = np.load(cache.path("logits.npy")), image_set.table["target"].to_numpy()
    logits = controlled(logits, targets, settings.control, settings.temperature, seed=settings.seed)
    answers = torch.from_numpy(np.ascontiguousarray(logits))  # (V, N, K)

    def loss(student: Tensor, batch: Batch) -> Tensor:
        teacher, targets = answers[batch.view, batch.rows].to(student.device), batch.targets.to(student.device)
        return LOSSES[settings.loss](student, teacher, targets, alpha, settings.temperature)

    return loss


def _online(teacher: nn.Module, settings: Settings, alpha: float, seen: dict, shown: dict) -> Loss:
    def loss(student: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad():
            logits = teacher(batch.images.to(student.device)).float()
        if settings.loss == "attention":
            return alpha * label_loss(student, batch) + (1 - alpha) * attention_loss(shown, seen)
        targets = batch.targets.to(student.device)
        return LOSSES[settings.loss](student, logits, targets, alpha, settings.temperature)

    return loss


def load_student(run: Run, classes: int, device: torch.device) -> nn.Module:
    """The trained student of a run, in eval mode."""
    built = run.json("spec.json")["parameters"]["model"]
    return load_weights(make_student(classes, **built), run.path("model.safetensors")).to(device)


def named_student(root: Path, name: str) -> tuple[nn.Module, int]:
    """A trained student and the side of its images, px, by its run's id; ``student/<id>`` or its beginning will do.

    Raises:
        UserError: If not exactly one finished run is meant.
    """
    runs = finished_runs(root, "student")
    wanted = name.removeprefix("student/")
    found = [run for run in runs if wanted and run.id.startswith(wanted)]
    if len(found) != 1:
        known = ", ".join(run.id for run in runs[-5:]) or "none yet: run the study first (make study)"
        raise UserError(f"run must be the id of one student in '{Path(root) / 'student'}', got '{name}', which is "
                        f"{len(found) or 'none'} of them: the newest are {known}")  # fmt: skip
    with safe_open(found[0].path("model.safetensors"), "pt") as weights:
        classes = weights.get_slice("classifier.weight").get_shape()[0]
    size = found[0].json("spec.json")["parameters"]["model"]["image_size"]
    return load_student(found[0], classes, torch.device("cpu")), size
