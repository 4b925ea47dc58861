"""Trained models in the formats of other programs: ONNX, C, NumPy and torch. Networks also come back from two of them.

The classes of trained models call this folder with plain data: sizes, weights, and descriptions of columns and answers.
So the folder stands below these classes. It may import NumPy, `activations`, `files`, `_version` and `_typing`, and
onnx and torch inside functions. It must not know `Network`, the estimators, frames, or how a model is trained.

Imports inside run down. To ONNX: model, then encoding and layers, then graph, activations and parts. From ONNX:
onnx_layers, then activations and parts. To C: c_header, then c_encoding, then c_layers, then c_text and parts.
numpy_source and torch_layers need parts alone.
"""
