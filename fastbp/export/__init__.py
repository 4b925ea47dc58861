"""Trained models in the formats of other programs: ONNX and C.

The classes of trained models call this folder with plain data: sizes, weights, and descriptions of columns and answers.
So the folder stands below these classes. It may import NumPy, `activations`, `files`, `_version` and `_typing`, and
onnx inside functions. It must not know `Network`, the estimators, frames, or how a model is trained. Imports inside run
down. For ONNX: model, then encoding and layers, then graph, activations and parts. For C: c_header, then c_encoding,
then c_layers, then c_text and parts.
"""
