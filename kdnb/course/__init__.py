"""Teaching: exercises that check an answer, and where the learner stands (notebooks 01-06)."""

from kdnb.course.checking import Outcome, check, progress

__all__ = ["Outcome", "check", "progress"]
