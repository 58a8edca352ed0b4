"""Judges examined before they are believed: pictures damaged in known ways, and what each judge makes of it.

Here: damages, the pictures they are done to, the paired test of each, and what was found, kept for the report.
Not here: judges themselves (metrics), and whether they agree with people.
"""
