"""The stages, each a command: tokenizers, data, language model, VAE, denoiser, scorers, export.

Here: what is trained and in which way. Not here: how the result is judged (checks).
"""
