"""The trainer's settings, `HABITUS_TRAINER_*`."""

from typing import Literal

from pydantic import Field

from runtime.settings import Settings


class TrainerSettings(Settings):
    """What the trainer adds to the shared settings."""

    trainer_folds: int = Field(10, ge=2, description="folds of the cross-validation of `habitus train`")
    trainer_recent_folds: int = Field(3, ge=2, description="folds over recent rows when drift made us retrain")
    trainer_features: Literal["raw", "all"] = Field("raw", description="the 16 attributes, or every feature")
    trainer_seed: int = 7
    trainer_workers: int = Field(2, ge=1, description="models fitted at the same time, each on one core")
    trainer_min_rows: int = Field(200, ge=1, description="labelled rows outside the gate that a model needs")
    trainer_min_gate_persons: int = Field(50, ge=2, description="gate persons that a decision needs")
    # The level of each alert by itself; repeated alerts are not corrected for.
    trainer_significance: float = Field(0.05, gt=0, lt=0.5, description="chance to promote a challenger that is no better")
    # Per level some 40 rows; with fewer the weight of recent rows cannot be told from the folds.
    trainer_min_recent_labels: int = Field(300, ge=1, description="labelled rows since the drift that a retraining waits for")
    trainer_settle_s: float = Field(5.0, ge=0, description="recent labels have come when none was added for so long")
    trainer_label_deadline_s: float = Field(900.0, gt=0, description="a retraining gives up waiting for labels after this")
