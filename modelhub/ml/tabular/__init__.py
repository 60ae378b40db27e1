"""Faults, remaining life and demand from rows of numbers: trained by scikit-learn, served as ONNX."""
