"""Export forecasters to ONNX or OpenVINO, quantise them, and compare the result with PyTorch.

A family gives its model as a graph (``Family.graph``); ``potstill.runtime`` executes what is written here.
"""
