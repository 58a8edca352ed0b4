"""Scenes told in words: captions, prose, system prompts, dialogues, and the tables they are made of.

Here: text about scenes. Not here: what scenes are, and how they are drawn.
"""
