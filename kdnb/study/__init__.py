"""The runs of one setting, behind every notebook: data, teacher, students, costs, results folder.

Verbs (`train`, `train_ladder`, `measure_costs`) do work; names only read what is there. A notebook
explains its own step with the functions of the package; what it needs from earlier steps it takes
here.
"""

from kdnb.study.runs import MODELS, Study

__all__ = ["MODELS", "Study"]
