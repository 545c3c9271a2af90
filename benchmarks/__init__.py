"""Speed and memory beside fastai on PyTorch, and the linear baseline.

`python -m benchmarks` measures the rows registered in `benchmarks.rows`. A
row names its cases; `benchmarks.ours` and `benchmarks.theirs` hold the code
that is measured, each run in an environment of its own (`benchmarks.worker`).
"""
