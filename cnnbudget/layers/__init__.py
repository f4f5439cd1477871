"""The layers: frozen values that describe operations, one family a module."""
