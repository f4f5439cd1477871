"""Advice: does it fit, and if not, what is the smallest change that makes it fit."""
