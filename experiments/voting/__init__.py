"""People's votes on pairs of pictures: which pair comes next, the votes as a log, and what they say.

Here: ballots, the file of votes, the page, strengths, and how far scorers agree with the votes. Not here: the verdict
on levels, which `experiments.stats` makes of votes as of any other measure.
"""
