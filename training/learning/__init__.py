"""What several stages learn with: optimizer, time budget, recorded steps, weights on disk, shared networks.

Here: knows no stage. Not here: data, losses, and the order of stages.
"""
