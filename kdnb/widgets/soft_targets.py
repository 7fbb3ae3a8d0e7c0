"""The soft-target explorer: what alpha, temperature and loss do to one image; and its static twin (03)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn.functional import cross_entropy
from traitlets import Dict, observe, validate

from kdnb.distillation import LOSSES, usable_losses
from kdnb.figures.output import PALETTE, Picture
from kdnb.metrics import softmax
from kdnb.widgets.render import number
from kdnb.widgets.view import one_of, script, widget_of, within

__all__ = ["Answers", "SoftTargetExplorer", "SoftTargetState", "soft_target_panel", "static_soft_targets"]


@dataclass(frozen=True, eq=False)
class Answers:
    """Logits (N, K) of teacher and student for N images with true class numbers (N,) and titles."""

    teacher: np.ndarray
    student: np.ndarray
    targets: tuple[int, ...]
    titles: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class SoftTargetState:
    """Which image, and with which loss it is learned; alpha in [0, 1], temperature in [1, 50]."""

    image: int = 0
    alpha: float = 0.7
    temperature: float = 10.0
    loss: str = "kd"


class SoftTargetPanel(NamedTuple):
    """All that is shown, (K,) float64 each, and the live line.

    ``sure`` is the teacher's answer at T = 1; ``teacher`` and ``student`` are softened by T. ``hard`` and ``soft`` are
    the parts of minus the loss's gradient at the student's logits: how training pushes each logit.
    """

    sure: np.ndarray
    teacher: np.ndarray
    student: np.ndarray
    hard: np.ndarray
    soft: np.ndarray
    sentence: str


def soft_target_panel(answers: Answers, state: SoftTargetState) -> SoftTargetPanel:
    """The probabilities and pushes of one state, gradients by autograd in float64.

    Raises:
        UserError: If the state asks for what is not there, or the loss does not suit the number of classes.
    """
    _check(answers, state)
    rows = slice(state.image, state.image + 1)
    teacher = torch.as_tensor(answers.teacher[rows], dtype=torch.float64)
    student = torch.as_tensor(answers.student[rows], dtype=torch.float64).requires_grad_()
    target = torch.tensor([answers.targets[state.image]])
    soft = LOSSES[state.loss](student, teacher, target, 0.0, state.temperature) + 0.0 * student.sum()
    hard, soft = (
        -share * torch.autograd.grad(loss, student)[0][0].numpy() + 0.0  # no minus zero
        for share, loss in ((state.alpha, cross_entropy(student, target)), (1 - state.alpha, soft))
    )
    named = [softmax(z[rows], t)[0] for z, t in ((answers.teacher, 1.0), (answers.teacher, state.temperature),
                                                 (answers.student, state.temperature))]  # fmt: skip
    return SoftTargetPanel(*named, hard, soft, _sentence(answers, state, named, hard, soft))


def _sentence(answers: Answers, state: SoftTargetState, named: list, hard: np.ndarray, soft: np.ndarray) -> str:
    name = answers.classes[answers.targets[state.image]]
    said = ", then ".join(f"{answers.classes[k]} {named[1][k]:.2f}" for k in np.argsort(-named[1])[:2])
    lengths = [float(np.linalg.norm(push)) for push in (hard, soft)]
    dead = lengths[1] == 0 and state.alpha < 1
    return (f"{answers.titles[state.image]} ({name}), loss {state.loss}, alpha {state.alpha:.2f}, "
            f"T {state.temperature:g}: the teacher says {said}; the labels push with {number(lengths[0])}, "
            f"the teacher with {number(lengths[1])}{': this loss is dead' * dead}")  # fmt: skip


def _check(answers: Answers, state: SoftTargetState) -> None:
    within("image", state.image, 0, len(answers.titles) - 1)
    within("alpha", state.alpha, 0, 1)
    within("temperature", state.temperature, 1, 50)
    one_of("loss", state.loss, LOSSES)


class SoftTargetExplorer(widget_of(SoftTargetState)):
    """Move alpha, temperature and loss and watch answers and pushes; the kernel computes every step.

    The traits are the fields of ``SoftTargetState``; ``state`` is what is looked at now.
    """

    _esm = script("soft_targets.js")
    panel = Dict().tag(sync=True)

    def __init__(self, answers: Answers, state: SoftTargetState | None = None) -> None:
        """Show ``answers``; by default the first image under the study's usual loss."""
        self.answers = answers
        losses = list(usable_losses(len(answers.classes)))
        spec = {"classes": answers.classes, "targets": answers.targets, "titles": answers.titles, "losses": losses}
        super().__init__(spec=spec, **asdict(state or SoftTargetState()))
        self._compute()

    @validate("image", "alpha", "temperature", "loss")
    def _valid(self, proposal: dict) -> Any:
        _check(self.answers, SoftTargetState(**{proposal["trait"].name: proposal["value"]}))
        return proposal["value"]

    @observe("image", "alpha", "temperature", "loss")
    def _compute(self, _change: Any = None) -> None:
        if self.spec:  # not before all is there
            found = soft_target_panel(self.answers, self.state)._asdict()
            told = {name: value if isinstance(value, str) else value.tolist() for name, value in found.items()}
            self.panel = {**told, "of": asdict(self.state)}


def static_soft_targets(
    answers: Answers, state: SoftTargetState | None = None, temperatures: Sequence[float] = (1.0, 4.0, 15.0)
) -> Picture:
    """Answers (top) and pushes (bottom) of one image at several temperatures."""
    state = state or SoftTargetState()
    figure, axes = plt.subplots(2, len(temperatures), figsize=(3.1 * len(temperatures), 4.6), sharey="row",
                                squeeze=False, layout="constrained")  # fmt: skip
    place, said = np.arange(len(answers.classes)), []
    for column, temperature in enumerate(temperatures):
        panel = soft_target_panel(answers, replace(state, temperature=temperature))
        shown = {"teacher": panel.teacher, "student": panel.student}, {"labels": panel.hard, "teacher": panel.soft}
        for ax, pair in zip(axes[:, column], shown, strict=True):
            for i, (name, values) in enumerate(pair.items()):
                ax.bar(place + 0.4 * i - 0.2, values, 0.38, label=name, color=PALETTE[i], hatch=("", "//")[i],
                       edgecolor="white")  # fmt: skip
            ax.set_xticks(place, answers.classes, rotation=30, ha="right", fontsize=8)
            ax.axhline(0, color="#777777", lw=0.8)
        axes[0, column].set_title(f"T = {temperature:g}", fontsize=10)
        said.append(panel.sentence)
    axes[0, 0].set(ylabel="softened answer", ylim=(0, 1))
    axes[1, 0].set_ylabel("push on the student's logit")
    for row in axes:
        row[-1].legend(frameon=False, fontsize=8)
    return Picture(figure, ". ".join(said) + ".")
