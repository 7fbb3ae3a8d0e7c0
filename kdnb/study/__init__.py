"""The runs behind every notebook, obtained and named for one setting (all notebooks)."""

from kdnb.study.study import MODELS, Study

__all__ = ["MODELS", "Study"]
