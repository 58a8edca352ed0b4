"""The world of the miniature: concepts, scenes, and what is true of them.

Here: facts as numbers and names. Not here: their pixels (pictures) and their captions (words).
"""
