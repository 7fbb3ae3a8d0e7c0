"""The soft-target explorer: what alpha, temperature and loss do to an image; static twin (03)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from traitlets import Dict, Float, Int, Unicode, observe, validate

from kdnb.core.errors import UserError
from kdnb.core.model_names import TEACHER
from kdnb.core.number_text import number
from kdnb.core.plots import Picture, colours_of, plain
from kdnb.core.statistics import softmax
from kdnb.distillation.losses import LOSSES, usable_losses
from kdnb.widgets.base import ViewWidget, one_of, script, taken_back, within

__all__ = [
    "Answers",
    "SoftTargetExplorer",
    "SoftTargetPanel",
    "SoftTargetState",
    "soft_target_panel",
    "static_soft_targets",
]


@dataclass(frozen=True, eq=False)
class Answers:
    """What teacher and student say of N images of K classes.

    Raises:
        UserError: If a logit is not finite.
    """

    teacher: np.ndarray  #: logits (N, K)
    student: np.ndarray  #: logits (N, K)
    targets: tuple[int, ...]  #: (N,) true class numbers
    titles: tuple[str, ...]  #: (N,)
    classes: tuple[str, ...]  #: (K,) names

    def __post_init__(self) -> None:
        """Refuse logits of which no answer can be made."""
        for name, logits in ("teacher", self.teacher), ("student", self.student):
            if not np.isfinite(logits).all():
                raise UserError(
                    f"the {name}'s logits are not finite for these images: "
                    "check its weights and the input range"
                )


@dataclass(frozen=True)
class SoftTargetState:
    """Which image, and with which loss it is learned."""

    image: int = 0
    alpha: float = 0.7  #: in [0, 1]
    temperature: float = 10.0  #: in [1, 50]
    loss: str = "kd"  #: one of LOSSES


class SoftTargetPanel(NamedTuple):
    """All that is shown; ``hard`` and ``soft`` are the parts of how training pushes each logit.

    A push is minus the loss's gradient at the student's logits.
    """

    sure: np.ndarray  #: (K,) float64: the teacher's answer at T = 1
    teacher: np.ndarray  #: (K,) float64, softened by T
    student: np.ndarray  #: (K,) float64, softened by T
    hard: np.ndarray  #: (K,) float64: the labels' push
    soft: np.ndarray  #: (K,) float64: the teacher's push
    sentence: str


def soft_target_panel(answers: Answers, state: SoftTargetState) -> SoftTargetPanel:
    """The probabilities and pushes of one state, gradients by autograd in float64.

    Raises:
        UserError: If the state asks for what is not there, or the loss does not suit the number of
            classes.
    """
    _check(answers, state)
    teacher_logits = answers.teacher[state.image : state.image + 1]  # (1, K)
    student_logits = answers.student[state.image : state.image + 1]  # (1, K)
    teacher = torch.as_tensor(teacher_logits, dtype=torch.float64)
    student = torch.as_tensor(student_logits, dtype=torch.float64).requires_grad_()
    target = torch.tensor([answers.targets[state.image]])
    hard_loss = cross_entropy(student, target)
    soft_loss = LOSSES[state.loss](student, teacher, target, 0.0, state.temperature)
    soft_loss = soft_loss + 0.0 * student.sum()  # so that a dead loss has a gradient, zero
    hard = _push(hard_loss, student, share=state.alpha)
    soft = _push(soft_loss, student, share=1 - state.alpha)
    panel = SoftTargetPanel(
        sure=softmax(teacher_logits)[0],
        teacher=softmax(teacher_logits, state.temperature)[0],
        student=softmax(student_logits, state.temperature)[0],
        hard=hard,
        soft=soft,
        sentence="",
    )
    return panel._replace(sentence=_sentence(answers, state, panel))


def _push(loss: Tensor, student: Tensor, share: float) -> np.ndarray:
    """(K,) float64: how a share of a loss pushes the student's logits (1, K)."""
    (gradient,) = torch.autograd.grad(loss, student)
    return -share * gradient[0].numpy() + 0.0  # no minus zero


def _sentence(answers: Answers, state: SoftTargetState, panel: SoftTargetPanel) -> str:
    best_two = np.argsort(-panel.teacher)[:2]
    said = ", then ".join(f"{answers.classes[k]} {panel.teacher[k]:.2f}" for k in best_two)
    labels_push = float(np.linalg.norm(panel.hard))
    teacher_push = float(np.linalg.norm(panel.soft))
    remark = ""
    if len(answers.classes) == 1:
        remark = ": with one class there is nothing to learn"
    elif teacher_push == 0 and state.alpha < 1 and (panel.teacher != panel.student).any():
        remark = ": this loss is dead"
    return (
        f"{answers.titles[state.image]} ({answers.classes[answers.targets[state.image]]}), "
        f"loss {state.loss}, alpha {state.alpha:.2f}, T {state.temperature:g}: "
        f"the teacher says {said}; the labels push with {number(labels_push)}, "
        f"the teacher with {number(teacher_push)}{remark}"
    )


def _check(answers: Answers, state: SoftTargetState) -> None:
    within("image", state.image, 0, len(answers.titles) - 1)
    within("alpha", state.alpha, 0, 1)
    within("temperature", state.temperature, 1, 50)
    one_of("loss", state.loss, usable_losses(len(answers.classes)))


class SoftTargetExplorer(ViewWidget):
    """Move alpha, temperature and loss and watch answers and pushes; the kernel computes each step.

    The traits are the fields of ``SoftTargetState``, with its defaults.
    """

    _esm = script("soft_targets.js")
    image = Int(0).tag(sync=True)
    alpha = Float(0.7).tag(sync=True)
    temperature = Float(10.0).tag(sync=True)
    loss = Unicode("kd").tag(sync=True)
    panel = Dict().tag(sync=True)

    def __init__(self, answers: Answers, state: SoftTargetState | None = None) -> None:
        """Show ``answers``; by default the first image under the study's usual loss."""
        self.answers = answers
        spec = {
            "classes": answers.classes,
            "targets": answers.targets,
            "titles": answers.titles,
            "losses": list(usable_losses(len(answers.classes))),
        }
        super().__init__(spec=spec, **asdict(state or SoftTargetState()))
        self._compute()

    def still(self) -> Picture:
        """The static twin of the state, at its temperature and at 1."""
        temperatures = sorted({1.0, self.temperature})
        return static_soft_targets(self.answers, self.state, temperatures)

    @property
    def state(self) -> SoftTargetState:
        """What is looked at now."""
        return SoftTargetState(
            image=self.image, alpha=self.alpha, temperature=self.temperature, loss=self.loss
        )

    @validate("image", "alpha", "temperature", "loss")
    def _valid(self, proposal: dict) -> Any:
        with taken_back():
            _check(self.answers, SoftTargetState(**{proposal["trait"].name: proposal["value"]}))
        return proposal["value"]

    @observe("image", "alpha", "temperature", "loss")
    def _compute(self, _change: Any = None) -> None:
        if not self.spec:  # not before all is there
            return
        told: dict[str, Any] = {}
        for name, value in soft_target_panel(self.answers, self.state)._asdict().items():
            told[name] = value if isinstance(value, str) else value.tolist()
        told["of"] = asdict(self.state)
        self.panel = told


def static_soft_targets(
    answers: Answers,
    state: SoftTargetState | None = None,
    temperatures: Sequence[float] = (1.0, 4.0, 15.0),
) -> Picture:
    """Answers (top) and pushes (bottom) of one image at several temperatures."""
    state = state or SoftTargetState()
    figure, axes = plt.subplots(
        nrows=2,
        ncols=len(temperatures),
        figsize=(3.1 * len(temperatures), 4.6),
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    said = []
    for (top, bottom), temperature in zip(axes.T, temperatures, strict=True):
        panel = soft_target_panel(answers, replace(state, temperature=temperature))
        _bars(top, answers.classes, {"teacher": panel.teacher, "student": panel.student})
        _bars(bottom, answers.classes, {"labels": panel.hard, "teacher": panel.soft})
        top.set_title(f"T = {temperature:g}", fontsize=10)
        said.append(panel.sentence)
    truth = plain(answers.classes[answers.targets[state.image]])
    figure.suptitle(f"{answers.titles[state.image]}, true class: {truth}", fontsize=10)
    axes[0, 0].set(ylabel="softened answer", ylim=(0, 1))
    axes[1, 0].set_ylabel("push on the student's logit")
    for row in axes:
        row[-1].legend(frameon=False, fontsize=8)
    return Picture(figure, ". ".join(said) + ".")


def _bars(ax: plt.Axes, classes: Sequence[str], pair: Mapping[str, np.ndarray]) -> None:
    """Two series (K,) of bars, side by side for each class."""
    place = np.arange(len(classes))
    colours = colours_of(pair)
    for i, (name, values) in enumerate(pair.items()):
        ax.bar(
            place + 0.4 * i - 0.2,
            values,
            0.38,
            label=name,
            color=colours[name],
            hatch="//" if name == TEACHER else "",
            edgecolor="white",
        )
    ax.set_xticks(place, [plain(name) for name in classes], rotation=30, ha="right", fontsize=8)
    ax.axhline(0, color="#777777", lw=0.8)
