"""What lies in a results folder: pictures, records, manifest, summaries, one writer at a time.

Here: reading and writing it, whole or not at all. Not here: making pictures, scoring, statistics.
"""

from experiments.store.result_store import ResultStore

__all__ = ["ResultStore"]
