"""cnnbudget: how big is this convolutional network, how much memory does it need, and what makes it fit?

Start with :class:`Net`. Everything public is here; nothing is loaded before it is asked for, so that ``import cnnbudget``
costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnbudget.advice.architecture import PoolEarlier as PoolEarlier
    from cnnbudget.advice.architecture import PoolGlobally as PoolGlobally
    from cnnbudget.advice.architecture import RemoveBlock as RemoveBlock
    from cnnbudget.advice.architecture import SeparateConv as SeparateConv
    from cnnbudget.advice.architecture import SmallerInput as SmallerInput
    from cnnbudget.advice.budget import Device as Device
    from cnnbudget.advice.budget import budget as budget
    from cnnbudget.advice.budget import devices as devices
    from cnnbudget.advice.compare import Comparison as Comparison
    from cnnbudget.advice.conventions import Convention as Convention
    from cnnbudget.advice.conventions import Conventions as Conventions
    from cnnbudget.advice.conventions import conventions as conventions
    from cnnbudget.advice.diff import Change as Change
    from cnnbudget.advice.diff import NetworkDiff as NetworkDiff
    from cnnbudget.advice.diff import diff as diff
    from cnnbudget.advice.explain import Derivation as Derivation
    from cnnbudget.advice.explain import explain as explain
    from cnnbudget.advice.explain import explain_parameters as explain_parameters
    from cnnbudget.advice.fit import Advice as Advice
    from cnnbudget.advice.fit import fit as fit
    from cnnbudget.advice.limits import Limit as Limit
    from cnnbudget.advice.limits import largest as largest
    from cnnbudget.advice.limits import max_batch as max_batch
    from cnnbudget.advice.limits import max_depth as max_depth
    from cnnbudget.advice.limits import max_input_size as max_input_size
    from cnnbudget.advice.limits import max_width as max_width
    from cnnbudget.advice.measure import Option as Option
    from cnnbudget.advice.price import Price as Price
    from cnnbudget.advice.remedies import HalfPrecision as HalfPrecision
    from cnnbudget.advice.remedies import LargerStride as LargerStride
    from cnnbudget.advice.remedies import MoreDevices as MoreDevices
    from cnnbudget.advice.remedies import Remedy as Remedy
    from cnnbudget.advice.remedies import RemoveLayer as RemoveLayer
    from cnnbudget.advice.remedies import SmallerBatch as SmallerBatch
    from cnnbudget.advice.runtime import Accumulate as Accumulate
    from cnnbudget.advice.runtime import FreezeFirst as FreezeFirst
    from cnnbudget.advice.runtime import InPlaceActivations as InPlaceActivations
    from cnnbudget.advice.runtime import LighterOptimizer as LighterOptimizer
    from cnnbudget.advice.runtime import Recompute as Recompute
    from cnnbudget.advice.scenarios import ScenarioComparison as ScenarioComparison
    from cnnbudget.advice.scopes import with_repeats as with_repeats
    from cnnbudget.advice.sweep import sweep as sweep
    from cnnbudget.advice.sweep_result import Pivot as Pivot
    from cnnbudget.advice.sweep_result import Sweep as Sweep
    from cnnbudget.advice.width import FewerChannels as FewerChannels
    from cnnbudget.advice.width import with_width as with_width
    from cnnbudget.analysis.costs import CostTable as CostTable
    from cnnbudget.analysis.costs import CostVisitor as CostVisitor
    from cnnbudget.analysis.costs import NodeCost as NodeCost
    from cnnbudget.analysis.costs import costs as costs
    from cnnbudget.analysis.dense import DenseEquivalent as DenseEquivalent
    from cnnbudget.analysis.dense import DenseRow as DenseRow
    from cnnbudget.analysis.dense import dense_equivalent as dense_equivalent
    from cnnbudget.analysis.receptive import NodeField as NodeField
    from cnnbudget.analysis.receptive import ReceptiveField as ReceptiveField
    from cnnbudget.analysis.receptive import ReceptiveFieldVisitor as ReceptiveFieldVisitor
    from cnnbudget.analysis.receptive import receptive_field as receptive_field
    from cnnbudget.analysis.structure import NetworkStructure as NetworkStructure
    from cnnbudget.analysis.structure import structure as structure
    from cnnbudget.analysis.visitor import Use as Use
    from cnnbudget.analysis.visitor import Visitor as Visitor
    from cnnbudget.analysis.visitor import visits as visits
    from cnnbudget.analysis.walk import walk as walk
    from cnnbudget.derivations import Calculation as Calculation
    from cnnbudget.derivations import Derived as Derived
    from cnnbudget.derivations import Explanation as Explanation
    from cnnbudget.dtypes import AMP_BF16 as AMP_BF16
    from cnnbudget.dtypes import AMP_FP16 as AMP_FP16
    from cnnbudget.dtypes import BF16 as BF16
    from cnnbudget.dtypes import BFLOAT16 as BFLOAT16
    from cnnbudget.dtypes import BOOL as BOOL
    from cnnbudget.dtypes import FLOAT16 as FLOAT16
    from cnnbudget.dtypes import FLOAT32 as FLOAT32
    from cnnbudget.dtypes import FLOAT64 as FLOAT64
    from cnnbudget.dtypes import FP16 as FP16
    from cnnbudget.dtypes import FP32 as FP32
    from cnnbudget.dtypes import INT4 as INT4
    from cnnbudget.dtypes import INT8 as INT8
    from cnnbudget.dtypes import INT8_DTYPE as INT8_DTYPE
    from cnnbudget.dtypes import INT32 as INT32
    from cnnbudget.dtypes import INT64 as INT64
    from cnnbudget.dtypes import UINT8 as UINT8
    from cnnbudget.dtypes import DType as DType
    from cnnbudget.dtypes import Precision as Precision
    from cnnbudget.dtypes import Role as Role
    from cnnbudget.errors import CnnBudgetError as CnnBudgetError
    from cnnbudget.errors import ConformanceError as ConformanceError
    from cnnbudget.errors import FormatError as FormatError
    from cnnbudget.errors import InvalidTypeError as InvalidTypeError
    from cnnbudget.errors import InvalidValueError as InvalidValueError
    from cnnbudget.errors import MissingExtraError as MissingExtraError
    from cnnbudget.errors import MissingRuleError as MissingRuleError
    from cnnbudget.errors import ShapeError as ShapeError
    from cnnbudget.errors import SharedStorageError as SharedStorageError
    from cnnbudget.errors import UnknownNameError as UnknownNameError
    from cnnbudget.graph.block import At as At
    from cnnbudget.graph.block import Block as Block
    from cnnbudget.graph.block import Branch as Branch
    from cnnbudget.graph.block import Join as Join
    from cnnbudget.graph.block import Output as Output
    from cnnbudget.graph.block import Repeat as Repeat
    from cnnbudget.graph.block import Tap as Tap
    from cnnbudget.graph.edit import insert_after as insert_after
    from cnnbudget.graph.edit import remove_node as remove_node
    from cnnbudget.graph.edit import rename as rename
    from cnnbudget.graph.edit import replace_layer as replace_layer
    from cnnbudget.graph.edit import replace_layers as replace_layers
    from cnnbudget.graph.edit import subnetwork as subnetwork
    from cnnbudget.graph.edit import swap_head as swap_head
    from cnnbudget.graph.edit import with_input_shape as with_input_shape
    from cnnbudget.graph.idioms import separable_conv as separable_conv
    from cnnbudget.graph.nodes import Input as Input
    from cnnbudget.graph.nodes import Network as Network
    from cnnbudget.graph.nodes import Node as Node
    from cnnbudget.graph.shapes import specs as specs
    from cnnbudget.layers.activation import CELU as CELU
    from cnnbudget.layers.activation import ELU as ELU
    from cnnbudget.layers.activation import GELU as GELU
    from cnnbudget.layers.activation import SELU as SELU
    from cnnbudget.layers.activation import Hardsigmoid as Hardsigmoid
    from cnnbudget.layers.activation import Hardswish as Hardswish
    from cnnbudget.layers.activation import Hardtanh as Hardtanh
    from cnnbudget.layers.activation import LeakyReLU as LeakyReLU
    from cnnbudget.layers.activation import LogSoftmax as LogSoftmax
    from cnnbudget.layers.activation import Mish as Mish
    from cnnbudget.layers.activation import PReLU as PReLU
    from cnnbudget.layers.activation import ReLU as ReLU
    from cnnbudget.layers.activation import ReLU6 as ReLU6
    from cnnbudget.layers.activation import Sigmoid as Sigmoid
    from cnnbudget.layers.activation import SiLU as SiLU
    from cnnbudget.layers.activation import Softmax as Softmax
    from cnnbudget.layers.activation import Softplus as Softplus
    from cnnbudget.layers.activation import Tanh as Tanh
    from cnnbudget.layers.base import Alias as Alias
    from cnnbudget.layers.base import Autocast as Autocast
    from cnnbudget.layers.base import ElementwiseLayer as ElementwiseLayer
    from cnnbudget.layers.base import Gradient as Gradient
    from cnnbudget.layers.base import Layer as Layer
    from cnnbudget.layers.base import Saved as Saved
    from cnnbudget.layers.base import StatelessLayer as StatelessLayer
    from cnnbudget.layers.conv import Conv as Conv
    from cnnbudget.layers.conv import ConvTranspose as ConvTranspose
    from cnnbudget.layers.conv import DepthwiseConv as DepthwiseConv
    from cnnbudget.layers.linear import Linear as Linear
    from cnnbudget.layers.linear import RadialBasis as RadialBasis
    from cnnbudget.layers.local import LocallyConnected as LocallyConnected
    from cnnbudget.layers.local import TableConv as TableConv
    from cnnbudget.layers.merge import Add as Add
    from cnnbudget.layers.merge import Concat as Concat
    from cnnbudget.layers.merge import Maximum as Maximum
    from cnnbudget.layers.merge import Multiply as Multiply
    from cnnbudget.layers.norm import BatchNorm as BatchNorm
    from cnnbudget.layers.norm import GroupNorm as GroupNorm
    from cnnbudget.layers.norm import InstanceNorm as InstanceNorm
    from cnnbudget.layers.norm import LayerNorm as LayerNorm
    from cnnbudget.layers.norm import LocalResponseNorm as LocalResponseNorm
    from cnnbudget.layers.pool import AdaptiveAvgPool as AdaptiveAvgPool
    from cnnbudget.layers.pool import AdaptiveMaxPool as AdaptiveMaxPool
    from cnnbudget.layers.pool import AvgPool as AvgPool
    from cnnbudget.layers.pool import GlobalAvgPool as GlobalAvgPool
    from cnnbudget.layers.pool import GlobalMaxPool as GlobalMaxPool
    from cnnbudget.layers.pool import LPPool as LPPool
    from cnnbudget.layers.pool import MaxPool as MaxPool
    from cnnbudget.layers.rearrange import ChannelShuffle as ChannelShuffle
    from cnnbudget.layers.rearrange import Pad as Pad
    from cnnbudget.layers.rearrange import PixelShuffle as PixelShuffle
    from cnnbudget.layers.rearrange import PixelUnshuffle as PixelUnshuffle
    from cnnbudget.layers.rearrange import Unfold as Unfold
    from cnnbudget.layers.regularize import Dropout as Dropout
    from cnnbudget.layers.regularize import DropPath as DropPath
    from cnnbudget.layers.reshape import Crop as Crop
    from cnnbudget.layers.reshape import Flatten as Flatten
    from cnnbudget.layers.reshape import Permute as Permute
    from cnnbudget.layers.reshape import Reshape as Reshape
    from cnnbudget.layers.reshape import Slice as Slice
    from cnnbudget.layers.reshape import Split as Split
    from cnnbudget.layers.resize import Upsample as Upsample
    from cnnbudget.layers.scale import Identity as Identity
    from cnnbudget.layers.scale import Scale as Scale
    from cnnbudget.memory.allocator import Allocator as Allocator
    from cnnbudget.memory.allocator import AllocatorReport as AllocatorReport
    from cnnbudget.memory.allocator import CachingAllocator as CachingAllocator
    from cnnbudget.memory.allocator import Ideal as Ideal
    from cnnbudget.memory.arena import Arena as Arena
    from cnnbudget.memory.arena import ArenaReport as ArenaReport
    from cnnbudget.memory.checkpoint import Checkpoint as Checkpoint
    from cnnbudget.memory.devices import DataParallel as DataParallel
    from cnnbudget.memory.forward import ForwardPass as ForwardPass
    from cnnbudget.memory.limits import BatchLimit as BatchLimit
    from cnnbudget.memory.loss import BinaryCrossEntropy as BinaryCrossEntropy
    from cnnbudget.memory.loss import CrossEntropy as CrossEntropy
    from cnnbudget.memory.loss import Loss as Loss
    from cnnbudget.memory.loss import MeanSquaredError as MeanSquaredError
    from cnnbudget.memory.offload import Offload as Offload
    from cnnbudget.memory.optimizer import ElementwiseOptimizer as ElementwiseOptimizer
    from cnnbudget.memory.optimizer import Optimizer as Optimizer
    from cnnbudget.memory.optimizer import SteppedOptimizer as SteppedOptimizer
    from cnnbudget.memory.optimizer import Update as Update
    from cnnbudget.memory.optimizer_other import LAMB as LAMB
    from cnnbudget.memory.optimizer_other import LARS as LARS
    from cnnbudget.memory.optimizer_other import Adafactor as Adafactor
    from cnnbudget.memory.optimizer_other import Adam8bit as Adam8bit
    from cnnbudget.memory.optimizer_other import optimizer as optimizer
    from cnnbudget.memory.optimizer_torch import SGD as SGD
    from cnnbudget.memory.optimizer_torch import Adadelta as Adadelta
    from cnnbudget.memory.optimizer_torch import Adagrad as Adagrad
    from cnnbudget.memory.optimizer_torch import Adam as Adam
    from cnnbudget.memory.optimizer_torch import Adamax as Adamax
    from cnnbudget.memory.optimizer_torch import AdamW as AdamW
    from cnnbudget.memory.optimizer_torch import NAdam as NAdam
    from cnnbudget.memory.optimizer_torch import RAdam as RAdam
    from cnnbudget.memory.optimizer_torch import RMSprop as RMSprop
    from cnnbudget.memory.pipeline import PipelineProfile as PipelineProfile
    from cnnbudget.memory.pipeline import PipelineStage as PipelineStage
    from cnnbudget.memory.pipeline import pipeline as pipeline
    from cnnbudget.memory.profile import MemoryProfile as MemoryProfile
    from cnnbudget.memory.profile import profile as profile
    from cnnbudget.memory.retention import Autograd as Autograd
    from cnnbudget.memory.retention import Backprop as Backprop
    from cnnbudget.memory.retention import FreeAfterUse as FreeAfterUse
    from cnnbudget.memory.retention import KeepAll as KeepAll
    from cnnbudget.memory.retention import Retention as Retention
    from cnnbudget.memory.scenario import Inference as Inference
    from cnnbudget.memory.scenario import Scenario as Scenario
    from cnnbudget.memory.scenario import Training as Training
    from cnnbudget.memory.schedule import Phase as Phase
    from cnnbudget.memory.schedule import Schedule as Schedule
    from cnnbudget.memory.schedule import ScheduleBuilder as ScheduleBuilder
    from cnnbudget.memory.schedule import Step as Step
    from cnnbudget.memory.schedule import Storage as Storage
    from cnnbudget.memory.split import DeviceShare as DeviceShare
    from cnnbudget.memory.split import SplitProfile as SplitProfile
    from cnnbudget.memory.split import channel_parallel as channel_parallel
    from cnnbudget.memory.split import spatial_parallel as spatial_parallel
    from cnnbudget.memory.stream import Streamed as Streamed
    from cnnbudget.memory.stream import StreamedProfile as StreamedProfile
    from cnnbudget.memory.stream import streamed as streamed
    from cnnbudget.memory.timeline import Timeline as Timeline
    from cnnbudget.memory.witness import AliveStorage as AliveStorage
    from cnnbudget.memory.workspace import im2col as im2col
    from cnnbudget.memory.workspace import im2col_bytes as im2col_bytes
    from cnnbudget.net import Net as Net
    from cnnbudget.net import compare as compare
    from cnnbudget.render.arena import arena_svg as arena_svg
    from cnnbudget.render.summary import Summary as Summary
    from cnnbudget.render.summary import summary as summary
    from cnnbudget.tensors import Footprint as Footprint
    from cnnbudget.tensors import TensorSpec as TensorSpec
    from cnnbudget.units import Bytes as Bytes
    from cnnbudget.units import parse_bytes as parse_bytes

__version__ = "0.1.0"

_HOMES = {
    "advice.scenarios": ("ScenarioComparison",),
    "advice.diff": (
        "diff",
        "Change",
        "NetworkDiff",
    ),
    "advice.conventions": (
        "conventions",
        "Convention",
        "Conventions",
    ),
    "derivations": (
        "Calculation",
        "Derived",
        "Explanation",
    ),
    "advice.sweep_result": (
        "Sweep",
        "Pivot",
    ),
    "advice.sweep": ("sweep",),
    "advice.architecture": (
        "PoolEarlier",
        "PoolGlobally",
        "RemoveBlock",
        "SeparateConv",
        "SmallerInput",
    ),
    "advice.budget": (
        "Device",
        "budget",
        "devices",
    ),
    "advice.limits": (
        "Limit",
        "largest",
        "max_batch",
        "max_depth",
        "max_input_size",
        "max_width",
    ),
    "advice.price": ("Price",),
    "advice.runtime": (
        "Accumulate",
        "FreezeFirst",
        "InPlaceActivations",
        "LighterOptimizer",
        "Recompute",
    ),
    "advice.scopes": ("with_repeats",),
    "advice.width": (
        "FewerChannels",
        "with_width",
    ),
    "advice.compare": ("Comparison",),
    "advice.explain": (
        "Derivation",
        "explain",
        "explain_parameters",
    ),
    "advice.fit": (
        "Advice",
        "fit",
    ),
    "advice.measure": ("Option",),
    "advice.remedies": (
        "HalfPrecision",
        "LargerStride",
        "MoreDevices",
        "Remedy",
        "RemoveLayer",
        "SmallerBatch",
    ),
    "analysis.costs": (
        "CostTable",
        "CostVisitor",
        "NodeCost",
        "costs",
    ),
    "analysis.dense": (
        "DenseEquivalent",
        "DenseRow",
        "dense_equivalent",
    ),
    "analysis.receptive": (
        "NodeField",
        "ReceptiveField",
        "ReceptiveFieldVisitor",
        "receptive_field",
    ),
    "analysis.structure": (
        "NetworkStructure",
        "structure",
    ),
    "analysis.visitor": (
        "Use",
        "Visitor",
        "visits",
    ),
    "analysis.walk": ("walk",),
    "dtypes": (
        "BF16",
        "BFLOAT16",
        "BOOL",
        "DType",
        "FLOAT16",
        "FLOAT32",
        "FLOAT64",
        "FP16",
        "FP32",
        "INT32",
        "INT4",
        "INT64",
        "INT8",
        "INT8_DTYPE",
        "Precision",
        "Role",
        "UINT8",
        "AMP_FP16",
        "AMP_BF16",
    ),
    "errors": (
        "CnnBudgetError",
        "ConformanceError",
        "InvalidTypeError",
        "InvalidValueError",
        "MissingExtraError",
        "MissingRuleError",
        "ShapeError",
        "SharedStorageError",
        "UnknownNameError",
        "FormatError",
    ),
    "graph.block": (
        "At",
        "Block",
        "Branch",
        "Join",
        "Output",
        "Repeat",
        "Tap",
    ),
    "graph.edit": (
        "insert_after",
        "remove_node",
        "rename",
        "replace_layer",
        "replace_layers",
        "subnetwork",
        "swap_head",
        "with_input_shape",
    ),
    "graph.idioms": ("separable_conv",),
    "graph.nodes": (
        "Input",
        "Network",
        "Node",
    ),
    "graph.shapes": ("specs",),
    "layers.activation": (
        "CELU",
        "ELU",
        "GELU",
        "Hardsigmoid",
        "Hardswish",
        "Hardtanh",
        "LeakyReLU",
        "LogSoftmax",
        "Mish",
        "PReLU",
        "ReLU",
        "ReLU6",
        "SELU",
        "SiLU",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Tanh",
    ),
    "layers.base": (
        "Alias",
        "ElementwiseLayer",
        "Layer",
        "Saved",
        "StatelessLayer",
        "Gradient",
        "Autocast",
    ),
    "layers.conv": (
        "Conv",
        "ConvTranspose",
        "DepthwiseConv",
    ),
    "layers.linear": ("Linear", "RadialBasis"),
    "layers.local": ("LocallyConnected", "TableConv"),
    "layers.merge": (
        "Add",
        "Concat",
        "Maximum",
        "Multiply",
    ),
    "layers.norm": (
        "BatchNorm",
        "GroupNorm",
        "InstanceNorm",
        "LayerNorm",
        "LocalResponseNorm",
    ),
    "layers.pool": (
        "AdaptiveAvgPool",
        "AdaptiveMaxPool",
        "AvgPool",
        "GlobalAvgPool",
        "GlobalMaxPool",
        "LPPool",
        "MaxPool",
    ),
    "layers.rearrange": (
        "ChannelShuffle",
        "Pad",
        "PixelShuffle",
        "PixelUnshuffle",
        "Unfold",
    ),
    "layers.regularize": (
        "DropPath",
        "Dropout",
    ),
    "layers.reshape": (
        "Crop",
        "Flatten",
        "Permute",
        "Reshape",
        "Slice",
        "Split",
    ),
    "layers.resize": ("Upsample",),
    "layers.scale": (
        "Identity",
        "Scale",
    ),
    "memory.devices": ("DataParallel",),
    "memory.witness": ("AliveStorage",),
    "memory.limits": ("BatchLimit",),
    "memory.timeline": ("Timeline",),
    "memory.profile": (
        "MemoryProfile",
        "profile",
    ),
    "memory.forward": ("ForwardPass",),
    "memory.loss": (
        "Loss",
        "CrossEntropy",
        "MeanSquaredError",
        "BinaryCrossEntropy",
    ),
    "memory.allocator": (
        "Allocator",
        "AllocatorReport",
        "CachingAllocator",
        "Ideal",
    ),
    "memory.optimizer": (
        "Optimizer",
        "Update",
        "ElementwiseOptimizer",
        "SteppedOptimizer",
    ),
    "memory.optimizer_torch": (
        "SGD",
        "Adam",
        "AdamW",
        "Adamax",
        "RMSprop",
        "Adagrad",
        "Adadelta",
        "NAdam",
        "RAdam",
    ),
    "memory.optimizer_other": (
        "LARS",
        "LAMB",
        "Adafactor",
        "Adam8bit",
        "optimizer",
    ),
    "memory.workspace": (
        "im2col",
        "im2col_bytes",
    ),
    "memory.checkpoint": ("Checkpoint",),
    "memory.arena": (
        "Arena",
        "ArenaReport",
    ),
    "memory.pipeline": (
        "pipeline",
        "PipelineProfile",
        "PipelineStage",
    ),
    "memory.offload": ("Offload",),
    "memory.split": (
        "DeviceShare",
        "SplitProfile",
        "channel_parallel",
        "spatial_parallel",
    ),
    "memory.stream": (
        "Streamed",
        "StreamedProfile",
        "streamed",
    ),
    "memory.retention": (
        "Backprop",
        "FreeAfterUse",
        "KeepAll",
        "Retention",
        "Autograd",
    ),
    "memory.scenario": (
        "Inference",
        "Scenario",
        "Training",
    ),
    "memory.schedule": (
        "Phase",
        "Schedule",
        "ScheduleBuilder",
        "Step",
        "Storage",
    ),
    "net": (
        "Net",
        "compare",
    ),
    "render.arena": ("arena_svg",),
    "render.summary": (
        "Summary",
        "summary",
    ),
    "tensors": (
        "Footprint",
        "TensorSpec",
    ),
    "units": (
        "Bytes",
        "parse_bytes",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "FormatError",
    "arena_svg",
    "Offload",
    "DeviceShare",
    "SplitProfile",
    "channel_parallel",
    "spatial_parallel",
    "Streamed",
    "StreamedProfile",
    "streamed",
    "PipelineStage",
    "PipelineProfile",
    "pipeline",
    "BatchLimit",
    "ArenaReport",
    "Arena",
    "Checkpoint",
    "ScenarioComparison",
    "NetworkDiff",
    "Change",
    "diff",
    "Conventions",
    "Convention",
    "conventions",
    "Explanation",
    "Derived",
    "Calculation",
    "explain",
    "with_input_shape",
    "Pivot",
    "Sweep",
    "sweep",
    "im2col_bytes",
    "im2col",
    "optimizer",
    "SteppedOptimizer",
    "ElementwiseOptimizer",
    "Adam8bit",
    "Adafactor",
    "LAMB",
    "LARS",
    "RAdam",
    "NAdam",
    "Adadelta",
    "Adagrad",
    "RMSprop",
    "Adamax",
    "AdamW",
    "Adam",
    "SGD",
    "Update",
    "Optimizer",
    "Ideal",
    "CachingAllocator",
    "AllocatorReport",
    "Allocator",
    "Autocast",
    "Gradient",
    "AMP_BF16",
    "AMP_FP16",
    "BinaryCrossEntropy",
    "MeanSquaredError",
    "CrossEntropy",
    "Loss",
    "Autograd",
    "ForwardPass",
    "__version__",
    "AdaptiveAvgPool",
    "AdaptiveMaxPool",
    "Add",
    "Advice",
    "Alias",
    "AliveStorage",
    "At",
    "AvgPool",
    "BF16",
    "BFLOAT16",
    "BOOL",
    "Backprop",
    "BatchNorm",
    "Block",
    "Branch",
    "Bytes",
    "CELU",
    "ChannelShuffle",
    "CnnBudgetError",
    "Comparison",
    "Concat",
    "ConformanceError",
    "Conv",
    "ConvTranspose",
    "CostTable",
    "CostVisitor",
    "Crop",
    "DType",
    "DataParallel",
    "DenseEquivalent",
    "DenseRow",
    "DepthwiseConv",
    "Derivation",
    "DropPath",
    "Dropout",
    "ELU",
    "ElementwiseLayer",
    "FLOAT16",
    "FLOAT32",
    "FLOAT64",
    "FP16",
    "FP32",
    "Flatten",
    "Footprint",
    "FreeAfterUse",
    "GELU",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "HalfPrecision",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "INT32",
    "INT4",
    "INT64",
    "INT8",
    "INT8_DTYPE",
    "Identity",
    "Inference",
    "Input",
    "InstanceNorm",
    "InvalidTypeError",
    "InvalidValueError",
    "Join",
    "KeepAll",
    "LPPool",
    "LargerStride",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LocallyConnected",
    "LogSoftmax",
    "MaxPool",
    "Maximum",
    "MemoryProfile",
    "Mish",
    "MissingExtraError",
    "MissingRuleError",
    "MoreDevices",
    "Multiply",
    "Net",
    "Network",
    "NetworkStructure",
    "Node",
    "NodeCost",
    "NodeField",
    "Option",
    "Output",
    "PReLU",
    "Pad",
    "Permute",
    "Phase",
    "PixelShuffle",
    "PixelUnshuffle",
    "Precision",
    "RadialBasis",
    "ReLU",
    "ReLU6",
    "ReceptiveField",
    "ReceptiveFieldVisitor",
    "Remedy",
    "RemoveLayer",
    "Repeat",
    "Reshape",
    "Retention",
    "Role",
    "SELU",
    "Saved",
    "Scale",
    "Scenario",
    "Schedule",
    "ScheduleBuilder",
    "ShapeError",
    "SharedStorageError",
    "SiLU",
    "Sigmoid",
    "Slice",
    "SmallerBatch",
    "Softmax",
    "Softplus",
    "Split",
    "StatelessLayer",
    "Step",
    "Storage",
    "Summary",
    "TableConv",
    "Tanh",
    "Tap",
    "TensorSpec",
    "Timeline",
    "Training",
    "UINT8",
    "Unfold",
    "UnknownNameError",
    "Upsample",
    "Use",
    "Visitor",
    "Accumulate",
    "Device",
    "FewerChannels",
    "FreezeFirst",
    "InPlaceActivations",
    "LighterOptimizer",
    "Limit",
    "PoolEarlier",
    "PoolGlobally",
    "Price",
    "Recompute",
    "RemoveBlock",
    "SeparateConv",
    "SmallerInput",
    "budget",
    "devices",
    "largest",
    "max_depth",
    "max_input_size",
    "max_width",
    "with_repeats",
    "with_width",
    "compare",
    "costs",
    "dense_equivalent",
    "explain_parameters",
    "fit",
    "insert_after",
    "max_batch",
    "parse_bytes",
    "profile",
    "receptive_field",
    "remove_node",
    "rename",
    "replace_layer",
    "replace_layers",
    "separable_conv",
    "specs",
    "structure",
    "subnetwork",
    "summary",
    "swap_head",
    "visits",
    "walk",
]


def __getattr__(name: str) -> object:
    """Loads a public name at its first use (PEP 562)."""
    if name not in _HOME_OF:
        from cnnbudget.errors import did_you_mean

        raise AttributeError(f"module 'cnnbudget' has no attribute {name!r}; {did_you_mean(name, __all__)}")
    value: object = getattr(import_module(f"cnnbudget.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
