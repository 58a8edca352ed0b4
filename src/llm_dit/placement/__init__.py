"""Where a stage runs and in which number format, and how tensors get there without waiting.

Here: devices, number formats, what stays on a card and what is streamed. Not here: kernels, quantization, networks.
"""
