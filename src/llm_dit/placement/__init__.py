"""Where a stage runs and in which number format, and how tensors get there without waiting.

Here: devices, number formats, offloading. Not here: kernels, quantization, or what a stage computes.
"""
