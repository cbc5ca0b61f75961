#!/bin/sh
# irrCAC 0.4.4: Krippendorff's alpha with weights="ordinal" is not the ordinal alpha.
# Seen: Krippendorff's example of four raters and twelve units: 0.83364, where krippendorff 0.9.0 has 0.81539;
# nominal and interval ("quadratic") alpha agree.
# Expected: 0.815, the published value (Krippendorff 2011, Computing Krippendorff's alpha-reliability). The
# weights are those of Gwet's coefficients, which look at the ranks alone; Krippendorff's count how often each
# answer was given.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet irrCAC==0.4.4 krippendorff==0.9.0
v/bin/python - <<'END'
import warnings

import krippendorff
import numpy as np
import pandas as pd
from irrCAC.raw import CAC

warnings.simplefilter("ignore")
_ = np.nan
votes = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
])
found = {}
for weights, level in (("identity", "nominal"), ("ordinal", "ordinal"), ("quadratic", "interval")):
    by_irrcac = CAC(pd.DataFrame(votes.T), weights=weights).krippendorff()["est"]["coefficient_value"]
    by_krippendorff = krippendorff.alpha(reliability_data=votes, level_of_measurement=level)
    found[weights] = by_irrcac
    print(f"{level}: irrCAC {by_irrcac}, krippendorff {by_krippendorff:.5f}")
assert abs(found["ordinal"] - 0.83364) < 1e-4 and abs(found["quadratic"] - 0.84911) < 1e-4
END
