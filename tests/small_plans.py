"""Two prompts of a few words, and what a plan's levels are called."""

from experiments.prompts import Prompt

CAT, DOG = Prompt("cat", "animals", "", "A cat"), Prompt("dog", "animals", "", "A dog")


def levels(experiment):
    return {axis.name: [level.name for level in axis.levels] for axis in experiment.axes}
