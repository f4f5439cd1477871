"""Models in and out: PyTorch and JSON."""

from cnnbudget.interop.json_text import from_json, json_schema, to_json
from cnnbudget.interop.limits import Limits
from cnnbudget.interop.torch import to_torch

__all__ = ["Limits", "from_json", "json_schema", "to_json", "to_torch"]
