"""Training a teacher, and loading it again (notebook 02)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from kdnb.core.runs import Run, Spec, atomic_path, find_run, get_or_make
from kdnb.core.settings import Settings
from kdnb.data.dataset import ImageSet
from kdnb.training.fit import Schedule, fit, label_loss, save_logits
from kdnb.training.imagenet_weights import resolve_weights, resolve_weights_offline
from kdnb.training.modules import generators_kept, load_weights, save_weights
from kdnb.training.precision import resolve_precision
from kdnb.training.teachers import make_teacher

__all__ = [
    "find_teacher",
    "find_untrained_teacher",
    "load_teacher",
    "make_untrained_teacher",
    "schedule_of",
    "train_teacher",
]


def schedule_of(settings: Settings, epochs: int, device: torch.device) -> Schedule:
    """The schedule that the settings ask for, on this device."""
    return Schedule(
        epochs=epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        views=settings.views,
        seed=settings.seed,
        precision=resolve_precision(settings, device),
    )


def train_teacher(settings: Settings, image_set: ImageSet, device: torch.device) -> Run:
    """The teacher's run: trained now, or found.

    ImageNet weights by the rule of ``settings.weights``. They are looked for where a teacher has to
    be trained; with "auto" also where the one that is there had none.
    """
    found = find_teacher(settings, image_set, device)
    offline = resolve_weights_offline(settings.weights, settings.teacher)
    if found is not None and (settings.weights != "auto" or offline == "imagenet"):
        return found
    weights = resolve_weights(settings.weights, settings.teacher)
    schedule = _schedule(settings, settings.teacher_epochs, device)
    seed = settings.seed + settings.teacher_seed

    def make(run: Run) -> None:
        classes = len(image_set.classes)
        model = make_teacher(
            classes,
            name=settings.teacher,
            seed=seed,
            weights=weights,
            image_size=settings.image_size,
        )
        # layers with ImageNet weights learn as fast as the others: the often advised tenth of the
        # rate was worse on the validation parts of two sets (figures/teachers/recipes.csv)
        fit(model, image_set, label_loss, schedule, run, device, order=settings.teacher_seed)
        save_logits(model.to(device), image_set, schedule, run, device)

    spec = _teacher_spec(settings, image_set, schedule, weights)
    return get_or_make(spec.kind, spec.parameters, make, root=settings.runs, upstream=spec.upstream)


def find_teacher(settings: Settings, image_set: ImageSet, device: torch.device) -> Run | None:
    """The finished run that `train_teacher` would find, or None; nothing is trained or fetched."""
    weights = resolve_weights_offline(settings.weights, settings.teacher)
    schedule = _schedule(settings, settings.teacher_epochs, device)
    spec = _teacher_spec(settings, image_set, schedule, weights)
    return find_run(spec.kind, spec.parameters, root=settings.runs, upstream=spec.upstream)


def make_untrained_teacher(settings: Settings, image_set: ImageSet, device: torch.device) -> Run:
    """The run of a teacher as it is initialised, never trained: a control. Made now, or found."""
    schedule = _schedule(settings, 0, device)
    seed = settings.seed + settings.teacher_seed

    def make(run: Run) -> None:
        model = make_teacher(len(image_set.classes), name=settings.teacher, seed=seed)
        with atomic_path(run.path("model.safetensors")) as path:
            save_weights(model, path)
        save_logits(model.to(device), image_set, schedule, run, device)

    spec = _teacher_spec(settings, image_set, schedule, "untrained")
    return get_or_make(spec.kind, spec.parameters, make, root=settings.runs, upstream=spec.upstream)


def find_untrained_teacher(
    settings: Settings, image_set: ImageSet, device: torch.device
) -> Run | None:
    """The finished run that `make_untrained_teacher` would find, or None; nothing is made."""
    schedule = _schedule(settings, 0, device)
    spec = _teacher_spec(settings, image_set, schedule, "untrained")
    return find_run(spec.kind, spec.parameters, root=settings.runs, upstream=spec.upstream)


def _schedule(settings: Settings, epochs: int, device: torch.device) -> Schedule:
    """That of the settings, in the number format of teachers."""
    wanted = settings.teacher_precision or settings.precision
    own = settings.model_copy(update={"precision": wanted})
    return replace(
        schedule_of(settings, epochs, device),
        precision=resolve_precision(own, device, settings.teacher),
    )


def _teacher_spec(
    settings: Settings, image_set: ImageSet, schedule: Schedule, weights: str
) -> Spec:
    """What identifies a teacher's run; ``weights`` are "imagenet", "none" or "untrained"."""
    parameters = {"model": settings.teacher, "weights": weights, "schedule": schedule.parameters}
    if settings.teacher_seed:  # another initialisation and order; the split is that of the seed
        parameters["teacher_seed"] = settings.teacher_seed
    return Spec(kind="teacher", parameters=parameters, upstream=(image_set.hash,))


def load_teacher(run: Run, classes: int, device: torch.device) -> nn.Module:
    """The trained teacher of a run, in eval mode; random generators stay as they are."""
    name = run.json("spec.json")["parameters"]["model"]
    with generators_kept():
        model = make_teacher(classes, name=name)
    return load_weights(model, run.path("model.safetensors")).to(device)
