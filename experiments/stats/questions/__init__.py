"""Questions after the first: of a part of the runs, beside another baseline, of all pairs, by groups, along an axis.

Every question is a family of tests that are corrected together. Here are numbers and names;
`experiments.stats.findings` has the first question, `sentences` says what can be said.
"""
