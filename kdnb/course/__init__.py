"""Exercises that check an answer (notebooks 01-06)."""

from kdnb.course.checks import Outcome, check, progress

__all__ = ["Outcome", "check", "progress"]
