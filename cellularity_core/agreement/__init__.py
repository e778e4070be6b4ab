"""Agreement between readers, methods and truth (METHODS 6)."""

from cellularity_core.agreement.bins import BIN_EDGES, to_bins
from cellularity_core.agreement.icc import icc_a1, icc_c1
from cellularity_core.agreement.kappa import cohen_kappa
from cellularity_core.agreement.paired import mse, prediction_probability

__all__ = [
    "BIN_EDGES",
    "cohen_kappa",
    "icc_a1",
    "icc_c1",
    "mse",
    "prediction_probability",
    "to_bins",
]
