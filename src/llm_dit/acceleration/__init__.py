"""Faster networks: attention kernels, compilation, float8, int8, CUDA graphs, and the record of what was applied.

Here: whatever changes how a network computes. Not here: what it computes, and where its weights come from.
"""
