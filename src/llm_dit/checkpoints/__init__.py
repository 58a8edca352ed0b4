"""Find a model, read its weights strictly, and say in one sentence what is wrong with it.

Here: folders, names and shapes of tensors, fingerprints. Not here: what a network does with its weights.
"""
