"""The teachers, the students, and the named taps of each (notebooks 02-06).

A tap is a place where activations are read.
"""

from kdnb.models.modules import (
    count_parameters,
    depth,
    evaluating,
    load_weights,
    modules_at,
    save_weights,
)
from kdnb.models.students import STUDENTS, AsCodedNet, FiveConv, make_student
from kdnb.models.teachers import TEACHERS, TappedDenseNet121, imagenet_state, make_teacher

__all__ = [
    "STUDENTS",
    "TEACHERS",
    "AsCodedNet",
    "FiveConv",
    "TappedDenseNet121",
    "count_parameters",
    "depth",
    "evaluating",
    "imagenet_state",
    "load_weights",
    "make_student",
    "make_teacher",
    "modules_at",
    "save_weights",
]
