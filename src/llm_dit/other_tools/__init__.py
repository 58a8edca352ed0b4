"""Settings that other image tools write into their pictures, as parameters of ours, with a sentence on what was left.

Here: their texts, graphs and words. Not here: our own record, pixels.
"""
