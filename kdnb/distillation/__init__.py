"""Distillation: losses, teacher's logits and their controls, students, the grid (notebook 03)."""

from kdnb.distillation.answer import (
    brief,
    distillation_answer,
    ladder_widths,
    published_controls,
    published_grid,
)
from kdnb.distillation.fidelity import fidelity, fidelity_by
from kdnb.distillation.grid import (
    Cell,
    compare_students,
    grid_table,
    train_controls,
    train_grid,
)
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
from kdnb.distillation.predictions import (
    predicted_classes,
    training_histories,
    training_records,
)
from kdnb.distillation.soft_loss_mistakes import (
    MEASURED,
    measure_soft_loss,
    soft_loss_mistakes,
)
from kdnb.distillation.teacher_logits import (
    cache_logits,
    controlled_logits,
    find_logits,
    find_teacher_or_control,
    train_teacher_or_control,
)
from kdnb.distillation.teacher_worth import error_transfer, teacher_worth, worth_sentence
from kdnb.distillation.train_student import find_student, train_student

__all__ = [
    "Cell",
    "LOSSES",
    "MEASURED",
    "as_coded_loss",
    "attention_loss",
    "brief",
    "cache_logits",
    "compare_students",
    "controlled_logits",
    "distillation_answer",
    "dkd_loss",
    "error_transfer",
    "fidelity",
    "fidelity_by",
    "find_logits",
    "find_student",
    "find_teacher_or_control",
    "grid_table",
    "kd_loss",
    "ladder_widths",
    "measure_soft_loss",
    "predicted_classes",
    "published_controls",
    "published_grid",
    "soft_gradient",
    "soft_loss",
    "soft_loss_mistakes",
    "standardised_loss",
    "teacher_worth",
    "train_controls",
    "train_grid",
    "train_student",
    "train_teacher_or_control",
    "training_histories",
    "training_records",
    "usable_losses",
    "worth_sentence",
]
