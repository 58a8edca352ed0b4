"""The queue and the work in it: images, rewrites, experiments, the model they share, and who is told.

Here: jobs free of HTTP. Not here: routes, and the images of the past (history).
"""
