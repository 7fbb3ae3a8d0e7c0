"""Training a student: from cached logits, an online teacher, or labels alone (notebook 03)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.progress import tell
from kdnb.core.run_list import run_words
from kdnb.core.runs import Run, Spec, find_run, get_or_make, run_of
from kdnb.core.settings import Settings
from kdnb.data.dataset import ImageSet
from kdnb.data.transforms import Batch
from kdnb.distillation.losses import LOSSES, attention_loss
from kdnb.distillation.teacher_logits import cache_logits, controlled_logits, logits_spec
from kdnb.training.fit import Loss, Schedule, fit, label_loss, labels, save_logits
from kdnb.training.students import make_student
from kdnb.training.taps import capture
from kdnb.training.train_teacher import load_teacher, schedule_of

__all__ = ["find_student", "train_student"]


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
    schedule = _schedule(settings, device)
    _check_teacher(settings, image_set, teacher)
    settings.check_together(online)
    spec = _student_spec(settings, image_set, teacher, schedule, online=online)
    cached = None
    if settings.alpha < 1 and not online:
        cached = cache_logits(settings, image_set, teacher, device)

    def make(run: Run) -> None:
        words = run_words(spec.kind, spec.parameters)  # a study trains several
        tell(f"student on {image_set.name}: {words}")
        architecture = _architecture(settings, image_set)
        seed = settings.seed + settings.student_seed
        model = make_student(len(image_set.classes), seed=seed, **architecture).to(device)
        if settings.alpha == 1:
            context = nullcontext(label_loss)
        elif online:
            context = _online_loss(settings, image_set, teacher, model, device)
        else:
            context = nullcontext(_cached_loss(settings, image_set, cached))
        with context as loss:
            fit(model, image_set, loss, schedule, run, device, order=settings.student_seed)
        save_logits(model, image_set, schedule, run, device)

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
    schedule = _schedule(settings, device)
    _check_teacher(settings, image_set, teacher)
    spec = _student_spec(settings, image_set, teacher, schedule, online=online)
    return find_run(spec.kind, spec.parameters, root=settings.runs, upstream=spec.upstream)


def _schedule(settings: Settings, device: torch.device) -> Schedule:
    """That of the settings; only students learn from mixed images."""
    schedule = schedule_of(settings, settings.student_epochs, device)
    return replace(schedule, mixup=settings.mixup)


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
        loss = _loss_parameters(settings, online)
        if online:
            source = teacher
        else:
            logits = logits_spec(settings, image_set, teacher)
            source = run_of(
                logits.kind, logits.parameters, root=settings.runs, upstream=logits.upstream
            )
        upstream = (image_set.hash, source.id)
    parameters = {
        "model": _architecture(settings, image_set),
        **loss,
        "schedule": schedule.parameters,
        "student_seed": settings.student_seed,
    }
    return Spec(kind="student", parameters=parameters, upstream=upstream)


def _architecture(settings: Settings, image_set: ImageSet) -> dict[str, object]:
    """The arguments of `make_student` that the weights must fit."""
    return {"name": settings.student, "width": settings.width, "image_size": image_set.size}


def _loss_parameters(settings: Settings, online: bool) -> dict[str, object]:
    """The loss with all that it depends on; what does not matter is left out."""
    parameters: dict[str, object] = {"loss": settings.loss, "alpha": settings.alpha}
    if settings.control:
        parameters["control"] = settings.control
    if online:
        parameters["online"] = True
    if settings.loss != "attention":
        parameters["temperature"] = settings.temperature
    return parameters


def _cached_loss(settings: Settings, image_set: ImageSet, cached: Run) -> Loss:
    """The loss of a batch against the cached logits, or what a control makes of them."""
    targets = image_set.table["target"].to_numpy()
    logits = controlled_logits(
        np.load(cached.path("logits.npy")),
        targets,
        settings.control,
        settings.temperature,
        seed=settings.seed,
    )
    logits = torch.from_numpy(np.ascontiguousarray(logits))  # (V, N, K)
    return _logits_loss(settings, lambda batch: logits[batch.view, batch.rows])


@contextmanager
def _online_loss(
    settings: Settings,
    image_set: ImageSet,
    teacher: Run,
    student: nn.Module,
    device: torch.device,
) -> Iterator[Loss]:
    """The loss of a batch against a teacher that sees every batch, too.

    Attention transfer reads both networks at their taps for as long as the student trains.
    """
    model = load_teacher(teacher, len(image_set.classes), device)

    def teacher_logits(batch: Batch) -> Tensor:
        return model(batch.images.to(device)).float()

    if settings.loss != "attention":
        yield _logits_loss(settings, teacher_logits)
        return
    with capture(model) as teacher_maps, capture(student) as student_maps:

        def loss(student_logits: Tensor, batch: Batch) -> Tensor:
            with torch.no_grad():
                teacher_logits(batch)  # fills teacher_maps; the student's are there already
            hard = label_loss(student_logits, batch)
            soft = attention_loss(student_maps, teacher_maps)
            return settings.alpha * hard + (1 - settings.alpha) * soft

        yield loss


def _logits_loss(settings: Settings, teacher_logits: Callable[[Batch], Tensor]) -> Loss:
    """The loss of a batch against the logits (B, K) that ``teacher_logits`` gives for it."""
    loss_of = LOSSES[settings.loss]

    def loss(student: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad():
            teacher = teacher_logits(batch).to(student.device)
        targets = labels(batch, student.shape[1]).to(student.device)
        return loss_of(student, teacher, targets, settings.alpha, settings.temperature)

    return loss
