"""Training a teacher, and loading it again (notebook 02)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import nn
from torchvision.models import get_model_weights

from kdnb.core.errors import UserError
from kdnb.core.progress import say
from kdnb.core.runs import Run, Spec, atomic_path, find_run, get_or_make
from kdnb.core.settings import Settings
from kdnb.data.dataset import ImageSet
from kdnb.training.fit import Schedule, finish, fit, label_loss
from kdnb.training.modules import load_weights, save_weights
from kdnb.training.precision import resolve_precision
from kdnb.training.teachers import imagenet_state, make_teacher

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

    ImageNet weights by the rule of ``settings.weights``.
    """
    schedule = schedule_of(settings, settings.teacher_epochs, device)
    weights = resolve_weights(settings.weights, settings.teacher)
    seed = settings.seed + settings.teacher_seed

    def make(run: Run) -> None:
        classes = len(image_set.classes)
        model = make_teacher(classes, name=settings.teacher, seed=seed, weights=weights)
        fit(model, image_set, label_loss, schedule, run, device, order=settings.teacher_seed)
        finish(model.to(device), image_set, schedule, run, device)

    spec = _teacher_spec(settings, image_set, schedule, weights)
    return get_or_make(spec.kind, spec.parameters, make, root=settings.runs, upstream=spec.upstream)


def find_teacher(settings: Settings, image_set: ImageSet, device: torch.device) -> Run | None:
    """The finished run that `train_teacher` would find, or None; nothing is trained or fetched."""
    schedule = schedule_of(settings, settings.teacher_epochs, device)
    weights = weights_here(settings.weights, settings.teacher)
    spec = _teacher_spec(settings, image_set, schedule, weights)
    return find_run(spec.kind, spec.parameters, root=settings.runs, upstream=spec.upstream)


def make_untrained_teacher(settings: Settings, image_set: ImageSet, device: torch.device) -> Run:
    """The run of a teacher as it is initialised, never trained: a control. Made now, or found."""
    schedule = schedule_of(settings, 0, device)
    seed = settings.seed + settings.teacher_seed

    def make(run: Run) -> None:
        model = make_teacher(len(image_set.classes), name=settings.teacher, seed=seed)
        with atomic_path(run.path("model.safetensors")) as path:
            save_weights(model, path)
        finish(model.to(device), image_set, schedule, run, device)

    spec = _teacher_spec(settings, image_set, schedule, "untrained")
    return get_or_make(spec.kind, spec.parameters, make, root=settings.runs, upstream=spec.upstream)


def find_untrained_teacher(
    settings: Settings, image_set: ImageSet, device: torch.device
) -> Run | None:
    """The finished run that `make_untrained_teacher` would find, or None; nothing is made."""
    schedule = schedule_of(settings, 0, device)
    spec = _teacher_spec(settings, image_set, schedule, "untrained")
    return find_run(spec.kind, spec.parameters, root=settings.runs, upstream=spec.upstream)


def _teacher_spec(
    settings: Settings, image_set: ImageSet, schedule: Schedule, weights: str
) -> Spec:
    """``weights`` are "imagenet", "none" or "untrained"."""
    parameters = {"model": settings.teacher, "weights": weights, "schedule": vars(schedule)}
    if settings.teacher_seed:  # another initialisation and order; the split is that of the seed
        parameters["teacher_seed"] = settings.teacher_seed
    return Spec("teacher", parameters, (image_set.hash,))


def resolve_weights(wanted: str, teacher: str = "densenet121") -> str:
    """``"imagenet"`` or ``"none"``, for ``"auto"`` ImageNet weights where they can be had.

    Says so if they cannot.
    """
    if wanted == "none":
        return wanted
    try:
        imagenet_state(teacher)
    except UserError as error:
        if wanted == "imagenet":
            raise
        say(f"no ImageNet weights, the teacher starts from scratch: {error}")
        return "none"
    return "imagenet"


def weights_here(wanted: str, teacher: str = "densenet121") -> str:
    """What `resolve_weights` said when it was last asked: ``"auto"`` looks into torch's hub cache.

    Weights that could be had are there since. Nothing is loaded or fetched.
    """
    if wanted != "auto":
        return wanted
    address = get_model_weights(teacher).DEFAULT.url
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(address).path).name)
    return "imagenet" if file.is_file() else "none"


def load_teacher(run: Run, classes: int, device: torch.device) -> nn.Module:
    """The trained teacher of a run, in eval mode."""
    name = run.json("spec.json")["parameters"]["model"]
    return load_weights(make_teacher(classes, name=name), run.path("model.safetensors")).to(device)
