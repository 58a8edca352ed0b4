"""Scenes drawn as pixels: art, backgrounds, textures, filters, the renderer.

Here: pictures of scenes. Not here: which scenes there are, and what is said of them.
"""
