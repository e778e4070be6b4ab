"""Scoring on the machines of a Ray cluster (`--engine ray`), with the results of one process."""

from cellularity_core.cluster.scorer import ClusterScorer

__all__ = ["ClusterScorer"]
