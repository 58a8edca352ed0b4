"""The networks, each on a page: tensors in, tensors out.

Here: transformer, its positions, Qwen3's layers, the VAE's decoder whole and in bands. Not here: files and prompts.
"""
