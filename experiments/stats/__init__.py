"""From scores to an answer: paired statistics, levels, grids, measures, and the verdict in sentences.

Here: functions of arrays and tables. Not here: files, pages, and what makes a score. Not called statistics, since
commands in `experiments/` put that folder first on the path, and torch imports the standard library's module of that
name.
"""
