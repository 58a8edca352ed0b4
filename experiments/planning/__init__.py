"""From a question to runs: experiment files, flags, axes and levels, equal levels, what the model can do.

Here: pure planning without torch. Not here: results on disk, drawing, statistics.
"""
