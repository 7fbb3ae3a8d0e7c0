"""Training a student: from cached answers, an online teacher, or labels alone (notebook 03)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.runs import Run, Spec, find_run, get_or_make, run_of
from kdnb.core.settings import Settings
from kdnb.data.dataset import ImageSet
from kdnb.data.transforms import Batch
from kdnb.distillation.losses import LOSSES, attention_loss
from kdnb.distillation.teacher_logits import cache_logits, controlled_logits, logits_spec
from kdnb.training.fit import Loss, Schedule, finish, fit, label_loss
from kdnb.training.students import make_student
from kdnb.training.taps import capture
from kdnb.training.train_teacher import load_teacher, schedule_of

__all__ = ["train_student", "find_student"]


def train_student(
    settings: Settings,
    image_set: ImageSet,
    teacher: Run | None,
    device: torch.device,
    *,
    alpha: float | None = None,
    online: bool = False,
) -> Run:
    """The student's run: trained now, or found.

    Args:
        settings: Name the student, the loss, alpha, temperature and the control.
        image_set: Images and their parts.
        teacher: Its run; a UserError if it is of other images. May be None where ``alpha`` is 1.
        device: Where to train.
        alpha: Replaces ``settings.alpha``. At 1 the student learns from labels alone and the
            teacher is not used, so that every KD result has its control: same initialisation, same
            order, same views.
        online: Ask the teacher for every batch instead of its cache: slower, the same within
            rounding.
    """
    settings = _with_alpha(settings, alpha)
    online = online or settings.loss == "attention"
    schedule = schedule_of(settings, settings.student_epochs, device)
    _check_teacher(settings, image_set, teacher)
    settings.check_together(online)
    if settings.alpha == 1:
        asked = None
    elif online:
        asked = teacher
    else:
        asked = cache_logits(settings, image_set, teacher, device)

    def make(run: Run) -> None:
        built = _architecture(settings, image_set)
        seed = settings.seed + settings.student_seed
        model = make_student(len(image_set.classes), seed=seed, **built).to(device)
        with _teaching(settings, image_set, asked, online, model, device) as taught:
            fit(model, image_set, taught, schedule, run, device, order=settings.student_seed)
        finish(model, image_set, schedule, run, device)

    spec = _student_spec(settings, image_set, teacher, schedule, online=online)
    return get_or_make(spec.kind, spec.parameters, make, root=settings.runs, upstream=spec.upstream)


def find_student(
    settings: Settings,
    image_set: ImageSet,
    teacher: Run | None,
    device: torch.device,
    *,
    alpha: float | None = None,
    online: bool = False,
) -> Run | None:
    """The finished run that `train_student` would find with the same arguments, or None.

    Nothing is trained, and no logits are cached.
    """
    settings = _with_alpha(settings, alpha)
    online = online or settings.loss == "attention"
    schedule = schedule_of(settings, settings.student_epochs, device)
    _check_teacher(settings, image_set, teacher)
    spec = _student_spec(settings, image_set, teacher, schedule, online=online)
    return find_run(spec.kind, spec.parameters, root=settings.runs, upstream=spec.upstream)


def _with_alpha(settings: Settings, alpha: float | None) -> Settings:
    return settings if alpha is None else settings.model_copy(update={"alpha": alpha})


def _check_teacher(settings: Settings, image_set: ImageSet, teacher: Run | None) -> None:
    if teacher is None:
        if settings.alpha < 1:
            raise UserError(
                f"alpha {settings.alpha:g} needs a teacher: give its run, "
                "or alpha 1 for labels alone"
            )
        return
    if image_set.hash not in teacher.json("spec.json")["upstream"]:
        raise UserError(
            f"teacher {teacher.id} was trained on another image set, split or size than "
            f"{image_set.name}, {image_set.split}, {image_set.size} px: train one on these"
        )


def _student_spec(
    settings: Settings,
    image_set: ImageSet,
    teacher: Run | None,
    schedule: Schedule,
    *,
    online: bool,
) -> Spec:
    """What identifies a student's run; ``teacher`` counts where ``settings.alpha`` is below 1."""
    if settings.alpha == 1:
        loss = {"loss": "labels"}
        upstream = (image_set.hash,)
    else:
        loss = _told_loss(settings, online)
        if online:
            asked_id = teacher.id
        else:
            logits = logits_spec(settings, image_set, teacher)
            asked_id = run_of(
                logits.kind, logits.parameters, root=settings.runs, upstream=logits.upstream
            ).id
        upstream = (image_set.hash, asked_id)
    parameters = {
        "model": _architecture(settings, image_set),
        **loss,
        "schedule": vars(schedule),
        "student_seed": settings.student_seed,
    }
    return Spec("student", parameters, upstream)


def _architecture(settings: Settings, image_set: ImageSet) -> dict[str, object]:
    """The arguments of `make_student` that the weights must fit."""
    return {"name": settings.student, "width": settings.width, "image_size": image_set.size}


def _told_loss(settings: Settings, online: bool) -> dict[str, object]:
    """The loss with all that it depends on; what does not matter is left out."""
    told: dict[str, object] = {"loss": settings.loss, "alpha": settings.alpha}
    if settings.control:
        told["control"] = settings.control
    if online:
        told["online"] = True
    if settings.loss != "attention":
        told["temperature"] = settings.temperature
    return told


@contextmanager
def _teaching(
    settings: Settings,
    image_set: ImageSet,
    asked: Run | None,
    online: bool,
    student: nn.Module,
    device: torch.device,
) -> Iterator[Loss]:
    """The loss of a batch, for as long as the student trains."""
    if settings.alpha == 1:
        yield label_loss
    elif not online:
        logits = np.load(asked.path("logits.npy"))
        targets = image_set.table["target"].to_numpy()
        logits = controlled_logits(
            logits, targets, settings.control, settings.temperature, seed=settings.seed
        )
        answers = torch.from_numpy(np.ascontiguousarray(logits))  # (V, N, K)
        yield _loss(settings, lambda batch: answers[batch.view, batch.rows])
    else:
        with torch.random.fork_rng():  # the student's dropout must not depend on who teaches
            model = load_teacher(asked, len(image_set.classes), device)
        with capture(model) as seen, capture(student) as shown:
            yield _loss(settings, lambda batch: model(batch.images.to(device)).float(), shown, seen)


def _loss(settings: Settings, answer: Callable[[Batch], Tensor], *maps: dict[str, Tensor]) -> Loss:
    """Against the logits that ``answer`` gives for a batch, or maps of student and teacher.

    The maps are filled in passing.
    """

    def loss(student: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad():
            teacher = answer(batch).to(student.device)
        if settings.loss == "attention":
            hard = label_loss(student, batch)
            return settings.alpha * hard + (1 - settings.alpha) * attention_loss(*maps)
        targets = batch.targets.to(student.device)
        loss_of = LOSSES[settings.loss]
        return loss_of(student, teacher, targets, settings.alpha, settings.temperature)

    return loss
