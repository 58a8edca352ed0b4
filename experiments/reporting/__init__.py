"""From an answer to a page: the report, its data, plots and thumbnails, and contact sheets.

Here: whatever is looked at. Not here: arithmetic, which is in stats.
"""
