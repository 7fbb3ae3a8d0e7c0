"""Distillation: the losses, what teaches (cached, controls), the student's training, the grid (notebook 03)."""

from kdnb.distillation.grid import Cell, answer, compare, control_runs, grid_runs, grid_table
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
from kdnb.distillation.students import distil, load_student, named_student
from kdnb.distillation.teaching import cached_logits, controlled, teacher_of

__all__ = ["Cell", "LOSSES", "answer", "as_coded_loss", "attention_loss", "cached_logits", "compare", "control_runs",
           "controlled", "distil", "dkd_loss", "grid_runs", "grid_table", "kd_loss", "load_student", "named_student",
           "soft_gradient", "soft_loss", "standardised_loss", "teacher_of", "usable_losses"]  # fmt: skip
