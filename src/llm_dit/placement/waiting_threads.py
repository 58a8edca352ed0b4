"""How long torch's threads on a CPU spin where they wait for one another."""

from __future__ import annotations

import os

SPINS = 3000
"""GNU's OpenMP spins 300,000 times, milliseconds of a core that another program, or the thread waited for, could use.

Of 20 pictures of the miniature on two cores that takes 55 s beside another program that computes, and 5 s with this;
with both cores to themselves 2.5 s either way. Sleeping at once takes 3 s there.
"""


def let_waiting_threads_sleep(*, at_once: bool = False) -> None:
    """Have this process's threads sleep soon, or `at_once`, unless the user has said how they wait.

    Read when torch is imported.
    """
    if at_once:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    elif "OMP_WAIT_POLICY" not in os.environ:  # which the number of spins would overrule
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
