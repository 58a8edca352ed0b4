"""The stages of an image with their weights: text encoder, decoder of latents, rewriter, and an image under way.

Here: a network, its files and its device put together. Not here: the order of stages, which is the pipeline's.
"""
