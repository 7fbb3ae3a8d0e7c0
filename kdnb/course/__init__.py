"""Teaching: exercises that check an answer, student and instructor builds, grades (notebooks 01-06)."""

from kdnb.course.checking import Outcome, check, progress

__all__ = ["Outcome", "check", "progress"]
