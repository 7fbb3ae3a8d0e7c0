"""Distillation: losses, what teaches (cached, controls), students, the grid (notebook 03)."""

from kdnb.distillation.grid import Cell, answer, compare, grid_table, train_controls, train_grid
from kdnb.distillation.losses import (
    LOSSES,
    as_coded_loss,
    attention_loss,
    dkd_loss,
    kd_loss,
    soft_gradient,
    soft_loss,
    standardised_loss,
    usable_losses,
)
from kdnb.distillation.students import distil, find_student, load_student, named_student
from kdnb.distillation.teaching import (
    cache_logits,
    controlled,
    find_logits,
    find_teacher_or_control,
    train_teacher_or_control,
)

__all__ = [
    "Cell",
    "LOSSES",
    "answer",
    "as_coded_loss",
    "attention_loss",
    "cache_logits",
    "compare",
    "controlled",
    "distil",
    "dkd_loss",
    "find_logits",
    "find_student",
    "find_teacher_or_control",
    "grid_table",
    "kd_loss",
    "load_student",
    "named_student",
    "soft_gradient",
    "soft_loss",
    "standardised_loss",
    "train_controls",
    "train_grid",
    "train_teacher_or_control",
    "usable_losses",
]
