"""Interactive views of the data and of what a model computes, and their static twins (notebooks 01, 03, 04)."""

from kdnb.widgets.render import Panel, StepperData, StepperState, panel, stepper_data
from kdnb.widgets.soft_targets import Answers, SoftTargetExplorer, SoftTargetState, static_soft_targets
from kdnb.widgets.stepper import LayerStepper, static
from kdnb.widgets.twins import TwinBrowser, static_twins, twin_browser, twin_pairs

__all__ = ["Answers", "LayerStepper", "Panel", "SoftTargetExplorer", "SoftTargetState", "StepperData", "StepperState",
           "TwinBrowser", "panel", "static", "static_soft_targets",
           "static_twins", "stepper_data", "twin_browser", "twin_pairs"]  # fmt: skip
