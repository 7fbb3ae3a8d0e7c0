"""Training: teachers, students, taps, the one fit loop, evaluation, model cost (notebook 02)."""

from kdnb.training.answer import confusion_sentence, teacher_answer, wrong_answers
from kdnb.training.evaluation import (
    absent_classes,
    balanced_accuracy,
    confusion,
    ece,
    macro_f1,
    paired_difference,
    scores,
)
from kdnb.training.fit import (
    Loss,
    Schedule,
    fit,
    label_loss,
    predict,
    save_logits,
    saved_logits,
    train_step,
)
from kdnb.training.imagenet_weights import (
    imagenet_state,
    resolve_weights,
    resolve_weights_offline,
)
from kdnb.training.model_cost import closed_form_macs, cost_table, flops_of, macs
from kdnb.training.modules import (
    count_parameters,
    depth,
    evaluating,
    load_weights,
    modules_at,
    save_weights,
)
from kdnb.training.precision import autocast, resolve_precision
from kdnb.training.students import AsCodedNet, FiveConv, make_student
from kdnb.training.taps import capture, check_targets, features, gradients_at_taps, logits_and_taps
from kdnb.training.teachers import TappedDenseNet121, make_teacher
from kdnb.training.train_teacher import (
    find_teacher,
    find_untrained_teacher,
    load_teacher,
    make_untrained_teacher,
    schedule_of,
    train_teacher,
)
from kdnb.training.trained_students import load_named_student, load_student

__all__ = [
    "AsCodedNet",
    "FiveConv",
    "Loss",
    "Schedule",
    "TappedDenseNet121",
    "absent_classes",
    "autocast",
    "balanced_accuracy",
    "capture",
    "check_targets",
    "closed_form_macs",
    "confusion",
    "confusion_sentence",
    "cost_table",
    "count_parameters",
    "depth",
    "ece",
    "evaluating",
    "features",
    "find_teacher",
    "find_untrained_teacher",
    "save_logits",
    "fit",
    "flops_of",
    "gradients_at_taps",
    "imagenet_state",
    "label_loss",
    "load_named_student",
    "load_student",
    "load_teacher",
    "load_weights",
    "logits_and_taps",
    "macro_f1",
    "macs",
    "make_student",
    "make_teacher",
    "make_untrained_teacher",
    "modules_at",
    "paired_difference",
    "predict",
    "resolve_precision",
    "resolve_weights",
    "resolve_weights_offline",
    "save_weights",
    "saved_logits",
    "schedule_of",
    "scores",
    "teacher_answer",
    "train_step",
    "train_teacher",
    "wrong_answers",
]
