"""The tables of structure and verdicts: one statistic a column, nothing missing is called a number."""

import numpy as np
import pandas as pd

from neural_echos.artifacts.structure import structure_by_bank
from neural_echos.artifacts.verdicts import count_verdicts, verdicts_by_claim
from neural_echos.tables import SCHEMAS


def test_structure_stands_beside_its_controls(run_notebook):
    bank = {
        "model": "net",
        "kind": "depthwise",
        "role": "trained",
        "trained_on": "d",
        "kernel_size": 7,
        "kernels": 1200,
    }
    counts = {"layers": 3, "dropped": 1, "almost_dead": 2, "threshold": 0.4, "share": 0.8, "low": 0.7, "high": 0.9}
    measures = {"mean_cosine": 0.7, "null_mean_cosine": 0.2, "sparsity": 0.01, "variance_entropy": 1.2}
    found = (
        bank
        | counts
        | measures
        | {"excitatory_share": 0.6, "inhibitory_share": 0.3, "other_share": 0.1, "resampled": [0.8]}
    )
    control = {"model": "control", "role": "untrained", "trained_on": None, "share": 0.05, "excitatory_share": np.nan}
    structure = pd.DataFrame([found | control, found | {"kind": "stem"}, found])[SCHEMAS["structure"].names]
    assert structure_by_bank(structure).kernel.tolist() == ["7×7", "7×7 regular stem", "7×7"]
    ran = run_notebook("table_3_structure", {"structure": structure}, {})
    assert ran.content["structured, %"].tolist() == ["80.0", "80.0", "5.0"]
    assert ran.content["95 % interval"][0] == "70.0 to 90.0"
    assert ran.content[["trained on", "excitatory, %"]].iloc[2].tolist() == ["–", "–"]
    assert ran.says.startswith("Structured share: trained depthwise banks 80.0 %, untrained control 5.0 %; ")
    assert "have 5 % by construction" in ran.says


def test_verdicts_show_value_and_interval_in_columns_of_their_own(run_notebook):
    claim = {
        "claim": "A1",
        "paper": "P",
        "statement": "s",
        "measured": "m",
        "scale": "tests",
        "artifact": "x",
        "reason": "r",
    }
    rows = [
        claim | {"published": "92 %", "value": 0.1, "low": -0.05, "high": 0.25, "verdict": "supported"},
        claim | {"claim": "A2", "value": np.nan, "low": np.nan, "high": np.nan, "verdict": "not run at this scale"},
    ]
    verdicts = pd.DataFrame(rows)[SCHEMAS["verdicts"].names]
    claims = verdicts_by_claim(verdicts)
    assert claims.published.tolist() == ["92 %", "not readable"]
    assert claims.value[0] == 10
    assert count_verdicts(claims) == "2 claims: 1 supported, 1 not run at this scale."
    ran = run_notebook("table_4_verdicts", {"verdicts": verdicts}, {})
    assert ran.content[["ours, % or points", "interval"]].values.tolist() == [["+10.0", "−5.0 to +25.0"], ["–", "–"]]
    assert ran.says == "2 claims: 1 supported, 1 not run at this scale. Measured at the scale of tests."
