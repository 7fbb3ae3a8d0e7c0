"""Steppers and explorers of layers, explanations, soft targets and twins (notebooks 01, 03-05)."""

from kdnb.widgets.explanation_panel import explorer_data
from kdnb.widgets.explorer import ExplanationExplorer, explorer_table, static_explorer
from kdnb.widgets.image_page import analysed_stepper_data, write_image_page
from kdnb.widgets.layer_maps import stepper_data
from kdnb.widgets.soft_targets import Answers, SoftTargetExplorer, static_soft_targets
from kdnb.widgets.stepper import LayerStepper, exported_state, static_stepper
from kdnb.widgets.stepper_numbers import StepperState
from kdnb.widgets.twins import twin_browser, twin_pairs

__all__ = [
    "Answers",
    "ExplanationExplorer",
    "LayerStepper",
    "SoftTargetExplorer",
    "StepperState",
    "analysed_stepper_data",
    "explorer_data",
    "explorer_table",
    "exported_state",
    "static_explorer",
    "static_soft_targets",
    "static_stepper",
    "stepper_data",
    "twin_browser",
    "twin_pairs",
    "write_image_page",
]
