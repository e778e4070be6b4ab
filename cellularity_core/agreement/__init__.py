"""Agreement between readers, methods and truth (METHODS 6).

`agreement_report` of a `RatingTable` has every statistic with its 95 % interval,
or the reason why there is none; `trend`, `automation_bias` and `sample_size`
answer the other questions of a reader study. The functions that return floats
give NaN where a statistic is undefined, never an error or a made-up 0 or 1.
"""

from cellularity_core.agreement.automation import (
    AutomationBias,
    Movement,
    SecondReads,
    automation_bias,
)
from cellularity_core.agreement.bins import BIN_EDGES, to_bins
from cellularity_core.agreement.bootstrap import Resampler
from cellularity_core.agreement.differences import (
    BlandAltman,
    bland_altman,
    bland_altman_points,
)
from cellularity_core.agreement.group import (
    bin_counts,
    fleiss_kappa,
    gwet_ac1,
    gwet_ac2,
    krippendorff_alpha,
)
from cellularity_core.agreement.icc import (
    Form,
    icc,
    icc_a1,
    icc_bootstrap,
    icc_c1,
    icc_statistic,
)
from cellularity_core.agreement.kappa import cohen_kappa, kappa4, kappa_of_table
from cellularity_core.agreement.paired import (
    ccc,
    icc_a1_pair,
    mse,
    mse_statistic,
    pk_statistic,
    prediction_probability,
)
from cellularity_core.agreement.planning import (
    StudySize,
    expected_width,
    sample_size,
)
from cellularity_core.agreement.ratings import Counts, Rating, RatingTable
from cellularity_core.agreement.repeats import Repeatability, repeatability
from cellularity_core.agreement.report import (
    AgreementReport,
    PairAgreement,
    agreement_report,
    to_json,
)
from cellularity_core.agreement.spread import (
    Comparison,
    LeftOut,
    ModelAgainstReaders,
    model_against_readers,
    readers_mean,
)
from cellularity_core.agreement.statistic import CONFIDENCE, Statistic
from cellularity_core.agreement.trend import TrendPoint, trend

__all__ = [
    "BIN_EDGES",
    "CONFIDENCE",
    "AgreementReport",
    "AutomationBias",
    "BlandAltman",
    "Comparison",
    "Counts",
    "Form",
    "LeftOut",
    "ModelAgainstReaders",
    "Movement",
    "PairAgreement",
    "Rating",
    "RatingTable",
    "Repeatability",
    "Resampler",
    "SecondReads",
    "Statistic",
    "StudySize",
    "TrendPoint",
    "agreement_report",
    "automation_bias",
    "bin_counts",
    "bland_altman",
    "bland_altman_points",
    "ccc",
    "cohen_kappa",
    "expected_width",
    "fleiss_kappa",
    "gwet_ac1",
    "gwet_ac2",
    "icc",
    "icc_a1",
    "icc_a1_pair",
    "icc_bootstrap",
    "icc_c1",
    "icc_statistic",
    "kappa4",
    "kappa_of_table",
    "krippendorff_alpha",
    "model_against_readers",
    "mse",
    "mse_statistic",
    "pk_statistic",
    "prediction_probability",
    "readers_mean",
    "repeatability",
    "sample_size",
    "to_bins",
    "to_json",
    "trend",
]
