"""Interactive views of what a model computes, and their static twins (notebook 04)."""

from kdnb.widgets.render import Panel, StepperData, StepperState, panel, stepper_data
from kdnb.widgets.stepper import LayerStepper, layer_stepper, static

__all__ = ["LayerStepper", "Panel", "StepperData", "StepperState", "layer_stepper", "panel", "static", "stepper_data"]
