"""The paper's tables and figures from one's own runs (METHODS 7 and 8).

`run.reproduce` is the command ``cellularity reproduce``, `evaluate.evaluate` the
command ``cellularity evaluate``; both write the same kind of report.
"""
