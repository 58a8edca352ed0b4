"""One experiment on many workers, by Ray: what a worker does, what is handed to whom, and how nothing is done twice.

Here: batches, the driver's loop, the worker, who may join, Ray itself, the simulation of all that. Not here: how a
picture is made, where results are kept (running, store). A run on one device does not come here.
"""
