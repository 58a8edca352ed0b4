"""`run_ablation.py` with a model that is slow where notes say so: a driver that tests may kill."""

import sys

from faulty_engine import FaultyEngine

from experiments.cluster import workers_model

if __name__ == "__main__":
    notes, *arguments = sys.argv[1:]
    workers_model.OwnEngine = lambda: FaultyEngine(notes)
    sys.argv = ["run_ablation.py", *arguments]
    from experiments.run_ablation import main

    main()
