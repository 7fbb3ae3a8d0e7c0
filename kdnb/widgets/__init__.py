"""Interactive views of the data and of what a model computes, and their static twins (notebooks 01, 03-05)."""

from kdnb.widgets.explained import Choice, ExplorerData, ExplorerState, explorer_data, explorer_panel
from kdnb.widgets.explorer import ExplanationExplorer, explorer_table, static_explorer
from kdnb.widgets.image_page import explain_image, known_stepper
from kdnb.widgets.layers import StepperData, stepper_data
from kdnb.widgets.page import to_html
from kdnb.widgets.render import Panel, StepperState, panel
from kdnb.widgets.soft_targets import Answers, SoftTargetExplorer, SoftTargetState, static_soft_targets
from kdnb.widgets.stepper import LayerStepper, exported_state, static
from kdnb.widgets.twins import TwinBrowser, static_twins, twin_browser, twin_pairs

__all__ = ["Answers", "Choice", "ExplanationExplorer", "ExplorerData", "ExplorerState", "LayerStepper", "Panel",
           "SoftTargetExplorer", "SoftTargetState", "StepperData", "StepperState", "TwinBrowser", "explain_image", "explorer_data",
           "explorer_panel", "explorer_table", "exported_state", "known_stepper", "panel", "static", "static_explorer",
           "static_soft_targets", "static_twins", "stepper_data", "to_html", "twin_browser", "twin_pairs"]  # fmt: skip
