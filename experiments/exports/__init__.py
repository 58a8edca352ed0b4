"""What leaves the lab: figures and tables for a paper, results as one table, pictures as data sets of other tools.

It writes only into the folder that it is given. Not here: any number (the analysis has them), any position (the plots
of the report have them), and the report itself.
"""
