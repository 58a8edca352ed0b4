"""From runs to results: what is missing, encodings, drawing, writing, progress, and what it will cost.

Here: one command's work. Not here: how results lie on disk (store), and what they mean (stats).
"""
