"""kdnb: a study of knowledge distillation for transparent medical image classifiers."""

__version__ = "0.2.0"
