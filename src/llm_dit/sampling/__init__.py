"""From noise to latents: noise levels, Euler's steps with guidance, and what images share at their beginning.

Here: pure functions and the clock of a stage. Not here: any model; what is evaluated comes as a function.
"""
