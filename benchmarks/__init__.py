"""What a step costs, measured against the loop one would write by hand.

One command measures everything::

    python -m benchmarks                          # all sections, about ten minutes
    python -m benchmarks --quick                  # small graphs, few samples: does it run at all?
    python -m benchmarks --only chain-1000        # a workload, or a section: steps, bytecodes,
    python -m benchmarks --only memory            #   scaling, entry, lesson, memory, durable,
                                                  #   door, following, schedules, makespan,
                                                  #   import
    python -m benchmarks --only makespan --wfcommons DIR  # with recorded workflows
    python -m benchmarks --json figures.json      # the figures, for another program
    python -m benchmarks --peers                  # dask and LangGraph too, where installed;
                                                  #   simloom and simloop always, where installed

`docs/explanation/benchmarks.md` says what is measured and why it is fair.
The extra `bench` installs what this needs (pyperf, and what databases need).
"""

from __future__ import annotations

__all__: list[str] = []
