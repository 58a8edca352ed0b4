"""The images made with the page: a table and a folder.

Here: rows, PNGs, thumbnails. Not here: how an image is made, and how it is shown.
"""
