"""What all widgets share: each one's traits are the fields of its state, with the same defaults."""

from dataclasses import asdict

import pytest
from anywidget import AnyWidget

from kdnb.widgets.soft_targets import SoftTargetExplorer, SoftTargetState
from kdnb.widgets.stepper import LayerStepper
from kdnb.widgets.stepper_numbers import StepperState


@pytest.mark.parametrize(
    ("widget", "state", "others"),
    [
        (LayerStepper, StepperState(), {"spec", "smooth"}),
        (SoftTargetExplorer, SoftTargetState(), {"spec", "panel"}),
    ],
    ids=["stepper", "soft targets"],
)
def test_traits_are_the_fields_of_the_state(widget, state, others):
    fields = asdict(state)
    synced = {name for name in widget.class_trait_names(sync=True) if not name.startswith("_")}
    assert synced - set(AnyWidget.class_trait_names(sync=True)) - others == set(fields)
    traits = widget.class_traits()
    for name, default in fields.items():
        found = traits[name].default()
        assert (tuple(found) if isinstance(found, list) else found) == default
        assert type(found) is type(default) or isinstance(default, tuple), name
