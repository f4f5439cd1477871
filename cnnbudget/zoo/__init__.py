"""The zoo: networks as functions that return a :class:`~cnnbudget.Net`, one family a module."""

from cnnbudget.zoo.exercise import textbook_exercise

__all__ = ["textbook_exercise"]
