"""Widgets to step through layers, explanations, soft targets and twins, and their static twins (notebooks 01, 03-05)."""

from kdnb.widgets.explanation_panel import (
    Choice,
    ExplorerData,
    ExplorerState,
    explorer_data,
    explorer_panel,
)
from kdnb.widgets.explorer import ExplanationExplorer, explorer_table, static_explorer
from kdnb.widgets.image_page import analysed_stepper_data, write_image_page
from kdnb.widgets.layer_maps import StepperData, stepper_data
from kdnb.widgets.page import to_html
from kdnb.widgets.soft_targets import (
    Answers,
    SoftTargetExplorer,
    SoftTargetState,
    static_soft_targets,
)
from kdnb.widgets.stepper import LayerStepper, exported_state, static_stepper
from kdnb.widgets.stepper_numbers import Panel, StepperState, stepper_panel
from kdnb.widgets.twins import TwinBrowser, static_twins, twin_browser, twin_pairs

__all__ = [
    "Answers",
    "Choice",
    "ExplanationExplorer",
    "ExplorerData",
    "ExplorerState",
    "LayerStepper",
    "Panel",
    "SoftTargetExplorer",
    "SoftTargetState",
    "StepperData",
    "StepperState",
    "TwinBrowser",
    "write_image_page",
    "explorer_data",
    "explorer_panel",
    "explorer_table",
    "exported_state",
    "analysed_stepper_data",
    "stepper_panel",
    "static_stepper",
    "static_explorer",
    "static_soft_targets",
    "static_twins",
    "stepper_data",
    "to_html",
    "twin_browser",
    "twin_pairs",
]
