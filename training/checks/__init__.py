"""What the trained miniature can do: a judge, its questions, and the tables of the model card.

Here: measuring. Not here: training of what ships.
"""
