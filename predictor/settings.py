"""What a person sets about learning from history."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from foreshock.core.quantities import Duration


class CoOccurrenceSettings(BaseModel):
    """What counts as beginning together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    windows: tuple[Duration, ...] = Field(
        default=(timedelta(seconds=20), timedelta(minutes=1), timedelta(minutes=5)),
        min_length=1,
        max_length=8,
        description="two alerts that begin within this time meet; each is tried, the clearest is kept",
    )
    quiet: Duration = Field(
        default=timedelta(minutes=15),
        description="an alert that begins again within this time of its last onset did not begin anew",
    )
    min_times: int = Field(default=3, ge=2, description="a pair that met less often is left out")
    fdr: float = Field(
        default=0.05, gt=0, lt=1, description="accepted share of false pairs among those kept (Benjamini-Hochberg)"
    )
    half_life: Duration = Field(default=timedelta(days=30), description="a meeting this long ago weighs half")
    min_strength: float = Field(default=0.2, ge=0, lt=1, description="weaker pairs are left out")
    max_pairs: int = Field(
        default=5000, ge=0, description="of each level the strongest pairs are kept, at most so many"
    )


class CalibrationSettings(BaseModel):
    """How the strengths of links become probabilities."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_pairs: float = Field(
        default=50, ge=1, description="a rule with fewer judged pairs of either answer keeps its bare strength"
    )
    isotonic_from: float = Field(
        default=1000, ge=10, description="from so many pairs on the curve is free, below it has three parameters"
    )
    prior: float = Field(default=20, gt=0, description="the bare strength counts like so many pairs")


class LearnSettings(BaseModel):
    """How Foreshock learns from its history."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: Duration = Field(
        default=timedelta(days=1),
        description="train anew this often; 0s: only when somebody asks with `foreshock learn`",
    )
    since: Duration = Field(default=timedelta(days=30), description="history that counts, as far as it is kept")
    keep: int = Field(default=20, ge=2, le=1000, description="versions kept to go back to")
    cooccurrence: CoOccurrenceSettings = Field(
        default_factory=CoOccurrenceSettings, description="which alerts begin together more often than chance explains"
    )
    calibration: CalibrationSettings = Field(
        default_factory=CalibrationSettings, description="what a link's strength is worth as a probability"
    )


class ForeseeSettings(BaseModel):
    """How incidents are foreseen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    horizons: tuple[Duration, ...] = Field(
        default=(timedelta(hours=4), timedelta(days=1)),
        max_length=5,
        description="an incident begins on a CI within each of these; [] foresees nothing",
    )
    budget: float = Field(
        default=2.0,
        gt=0,
        le=1000,
        description="false proactive problems for each team and week that are accepted, for each horizon",
    )
    every: Duration = Field(
        default=timedelta(minutes=5),
        ge=timedelta(seconds=1),
        description="how often it is looked whether a twelfth of a horizon is over, at which it is looked ahead anew",
    )
    train: Duration = Field(
        default=timedelta(days=1),
        description="how often models are taught and judged by what came since; 0s: only when somebody asks with "
        "`foreshock model train`",
    )
    since: Duration = Field(
        default=timedelta(days=90), ge=timedelta(hours=1), description="history that counts, as far as it is kept"
    )
    min_priority: int = Field(
        default=3, ge=1, le=5, description="what is less urgent (a larger number) is no incident to foresee"
    )
    min_incidents: int = Field(default=20, ge=5, description="incidents on CIs that it takes before a model is made")
    keep: int = Field(default=20, ge=2, le=1000, description="versions kept to go back to")
