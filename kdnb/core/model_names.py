"""What the networks of a study are called in tables, pictures and answers (all notebooks)."""

from __future__ import annotations

__all__ = ["KD_STUDENT", "LABEL_ONLY", "MODELS", "TEACHER"]

TEACHER = "teacher"
KD_STUDENT = "KD student"  # learned from labels and from the teacher's soft answers
LABEL_ONLY = "label-only student"  # learned from labels alone
MODELS = (TEACHER, KD_STUDENT, LABEL_ONLY)
