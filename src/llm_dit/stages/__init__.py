"""The stages of an image with their weights: encoder, denoiser, decoder, loaded together; an image under way.

Here: a network, its files and its device put together. Not here: the order of stages, which is the pipeline's.
"""
