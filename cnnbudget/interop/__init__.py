"""Models in and out: PyTorch, ONNX, Keras, Darknet, JSON, TOML, and drawings."""

from cnnbudget.interop.darknet import from_darknet
from cnnbudget.interop.drawings import to_dot, to_mermaid, to_networkx
from cnnbudget.interop.json_text import from_json, json_schema, to_json
from cnnbudget.interop.keras import from_keras
from cnnbudget.interop.limits import Limits
from cnnbudget.interop.onnx import from_onnx
from cnnbudget.interop.opaque import Opaque
from cnnbudget.interop.toml_text import from_toml, to_toml
from cnnbudget.interop.torch import from_torch, to_torch

__all__ = [
    "Limits",
    "Opaque",
    "from_darknet",
    "from_json",
    "from_keras",
    "from_onnx",
    "from_toml",
    "from_torch",
    "json_schema",
    "to_dot",
    "to_json",
    "to_mermaid",
    "to_networkx",
    "to_toml",
    "to_torch",
]
