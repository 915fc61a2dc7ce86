"""The feature table: every feature with its unit and source, and the one definition of every transformation.

Place in the flow: `materialise` calls `derive` for the stream, a backfill and inline predictions alike; Feast's view, the Parquet
schema and the online layout are derived from `FEATURES`. To add a feature, add one row here and its function.

Columns are numpy arrays of one length: numbers and flags as float64 (flag: 1.0, 0.0), categories as objects; missing
is NaN or None. A missing input gives a missing output.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from feature_repo.person import ATTRIBUTES, CATEGORIES, FLAGS

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, npt.NDArray[Any]]
Compute = Callable[[Columns], Floats]
Kind = Literal["attribute", "derived", "temporal"]
DType = Literal["float", "int", "bool", "category"]

CM_PER_M = 100.0
INCHES_PER_M = 1 / 0.0254


@dataclass(frozen=True)
class Feature:
    """One feature: how it is called, what it means, where its formula comes from; `compute` is None for what is not derived."""

    name: str
    kind: Kind
    dtype: DType
    unit: str
    description: str
    source: str = "person record"
    compute: Compute | None = None


def bmi(columns: Columns) -> Floats:
    """Body mass index, kg/m2 (WHO 1995, Technical Report 854).

    >>> bmi({"weight_kg": np.array([81.0]), "height_m": np.array([1.8])}).round(6).tolist()
    [25.0]
    """
    height_m: Floats = columns["height_m"]
    return np.asarray(columns["weight_kg"] / (height_m * height_m))


def bsa_m2(columns: Columns) -> Floats:
    """Body surface area, m2 (Schlich, Schumm, Schlich 2010, Ernährungs-Umschau 57: 178-183; height in cm, weight in kg).

    >>> one = {"weight_kg": np.array([70.0]), "height_m": np.array([1.7]), "gender": np.array(["Male"], dtype=object)}
    >>> bsa_m2(one).round(3).tolist()
    [1.698]
    """
    height_cm, weight_kg = columns["height_m"] * CM_PER_M, columns["weight_kg"]
    women = 0.000975482 * np.power(weight_kg, 0.46) * np.power(height_cm, 1.08)
    men = 0.000579479 * np.power(weight_kg, 0.38) * np.power(height_cm, 1.24)
    return np.where(_is_male(columns), men, women)


def ideal_weight_kg(columns: Columns) -> Floats:
    """Ideal body weight, kg (Devine 1974, Drug Intell Clin Pharm 8: 650-655): 50 or 45.5 kg at 60 inches, 2.3 kg an inch.

    >>> ideal_weight_kg({"height_m": np.array([1.524]), "gender": np.array(["Female"], dtype=object)}).round(6).tolist()
    [45.5]
    """
    return np.where(_is_male(columns), 50.0, 45.5) + 2.3 * (columns["height_m"] * INCHES_PER_M - 60.0)


def weight_excess_kg(columns: Columns) -> Floats:
    """Weight above the ideal weight, kg; negative below it.

    >>> one = {"weight_kg": np.array([50.0]), "height_m": np.array([1.524]), "gender": np.array(["Male"], dtype=object)}
    >>> abs(weight_excess_kg(one).round(6)).tolist()
    [0.0]
    """
    return np.asarray(columns["weight_kg"] - ideal_weight_kg(columns))


def bmr_kcal(columns: Columns) -> Floats:
    """Resting energy expenditure, kcal a day (Mifflin, St Jeor et al. 1990, Am J Clin Nutr 51: 241-247).

    >>> one = {"weight_kg": np.array([70.0]), "height_m": np.array([1.75]), "age_years": np.array([30.0])}
    >>> bmr_kcal(one | {"gender": np.array(["Male"], dtype=object)}).tolist()
    [1648.75]
    """
    base = 10.0 * columns["weight_kg"] + 6.25 * (columns["height_m"] * CM_PER_M) - 5.0 * columns["age_years"]
    return np.asarray(base + np.where(_is_male(columns), 5.0, -161.0))


def pal(columns: Columns) -> Floats:
    """Physical activity level, a factor: the usual activity factors 1.2, 1.375, 1.55, 1.725 (McArdle, Katch, Katch, Exercise
    Physiology) lie on one line over the survey's scale 0 to 3, so the factor is continuous and grows with activity.

    >>> pal({"physical_activity_frequency": np.array([0.0, 1.0, 3.0, np.nan])}).round(6).tolist()
    [1.2, 1.375, 1.725, nan]
    """
    return np.asarray(1.2 + 0.175 * columns["physical_activity_frequency"])


def tdee_kcal(columns: Columns) -> Floats:
    """Total daily energy expenditure, kcal a day: `bmr_kcal` times `pal` (FAO/WHO/UNU 2004, Human energy requirements).

    >>> one = {"weight_kg": np.array([70.0]), "height_m": np.array([1.75]), "age_years": np.array([30.0])}
    >>> tdee_kcal(one | {"gender": np.array(["Male"], dtype=object), "physical_activity_frequency": np.array([0.0])}).tolist()
    [1978.5]
    """
    return np.asarray(bmr_kcal(columns) * pal(columns))


def sufficient_water(columns: Columns) -> Floats:
    """Whether the drinks of a day reach the adequate intake: 1.6 l for women, 2.0 l for men, four fifths of the total water of
    EFSA 2010 (EFSA Journal 8(3): 1459). The survey's scale (1: under 1 l, 2: 1 to 2 l, 3: over 2 l) is read as its
    classes' middles, scale - 0.5 litres.

    >>> gender = np.array(["Female", "Male", "Male"], dtype=object)
    >>> sufficient_water({"water_intake": np.array([2.2, 2.2, np.nan]), "gender": gender}).tolist()
    [1.0, 0.0, nan]
    """
    litres = columns["water_intake"] - 0.5
    return _flag(litres >= np.where(_is_male(columns), 2.0, 1.6), litres)


def is_sedentary(columns: Columns) -> Floats:
    """Whether activity is less than once a week (scale under 1) and devices take three hours a day or more (scale 1 and over).

    >>> use = {"physical_activity_frequency": np.array([0.5, 2.0]), "technology_use": np.array([1.0, 2.0])}
    >>> is_sedentary(use).tolist()
    [1.0, 0.0]
    """
    activity, devices = columns["physical_activity_frequency"], columns["technology_use"]
    return _flag((activity < 1.0) & (devices >= 1.0), activity, devices)


def healthy_habits(columns: Columns) -> Floats:
    """How many of six habits are kept (0 to 6), after WHO fact sheets on diet and activity: vegetables at least sometimes, no
    frequent high-caloric food, enough water, weekly activity, no smoking, alcohol at most sometimes.

    >>> one = {"vegetable_frequency": np.array([3.0]), "high_caloric_food": np.array([0.0]), "water_intake": np.array([3.0])}
    >>> one |= {"gender": np.array(["Male"], dtype=object), "physical_activity_frequency": np.array([0.0])}
    >>> healthy_habits(one | {"smokes": np.array([0.0]), "alcohol_frequency": np.array(["no"], dtype=object)}).tolist()
    [5.0]
    """
    vegetables, activity, alcohol = (
        columns[n] for n in ("vegetable_frequency", "physical_activity_frequency", "alcohol_frequency")
    )
    drinks_little = np.where(_is_missing(alcohol), np.nan, np.isin(alcohol.astype(str), ["no", "Sometimes"]).astype(float))
    return np.asarray(
        _flag(vegetables >= 2.0, vegetables)
        + (1.0 - columns["high_caloric_food"])
        + sufficient_water(columns)
        + _flag(activity >= 1.0, activity)
        + (1.0 - columns["smokes"])
        + drinks_little
    )


def ideal_main_meals(columns: Columns) -> Floats:
    """Whether the main meals of a day round to three, the number that the survey's authors take as usual.

    >>> ideal_main_meals({"main_meals_per_day": np.array([3.0, 1.2, np.nan])}).tolist()
    [1.0, 0.0, nan]
    """
    meals = columns["main_meals_per_day"]
    return _flag((meals >= 2.5) & (meals < 3.5), meals)


def vegetables_every_main_meal(columns: Columns) -> Floats:
    """Whether the answer to "do you eat vegetables in your meals" rounds to "always" (3 on the survey's scale).

    >>> vegetables_every_main_meal({"vegetable_frequency": np.array([2.6, 2.0])}).tolist()
    [1.0, 0.0]
    """
    vegetables = columns["vegetable_frequency"]
    return _flag(vegetables >= 2.5, vegetables)


def _is_male(columns: Columns) -> npt.NDArray[np.bool_]:
    return np.asarray(columns["gender"] == "Male")


def _is_missing(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.array([value is None for value in values], dtype=bool)


def _flag(condition: npt.NDArray[np.bool_], *inputs: Floats) -> Floats:
    """`condition` as 1.0 or 0.0, NaN where an input is."""
    missing = np.logical_or.reduce([np.isnan(each) for each in inputs])
    return np.where(missing, np.nan, condition.astype(np.float64))


_ATTRIBUTE_UNITS = {"age_years": "years", "height_m": "m", "weight_kg": "kg"}


def _attribute(name: str) -> Feature:
    dtype: DType = "category" if name in CATEGORIES else "bool" if name in FLAGS else "float"
    return Feature(name, "attribute", dtype, _ATTRIBUTE_UNITS.get(name, "survey scale"), f"{name.replace('_', ' ')} as reported")


def _derived(compute: Compute, dtype: DType, unit: str) -> Feature:
    summary, _, _ = (compute.__doc__ or "").partition("\n\n")
    text = " ".join(summary.split())
    return Feature(compute.__name__, "derived", dtype, unit, text, "feature_repo/features.py", compute)


def _over_time(name: str, dtype: DType, unit: str, description: str) -> Feature:
    return Feature(name, "temporal", dtype, unit, description, "feature_repo/temporal.py")


FEATURES: tuple[Feature, ...] = (
    *(_attribute(name) for name in ATTRIBUTES),
    _derived(bmi, "float", "kg/m2"),
    _derived(bsa_m2, "float", "m2"),
    _derived(ideal_weight_kg, "float", "kg"),
    _derived(weight_excess_kg, "float", "kg"),
    _derived(bmr_kcal, "float", "kcal/day"),
    _derived(pal, "float", "factor"),
    _derived(tdee_kcal, "float", "kcal/day"),
    _derived(sufficient_water, "bool", "flag"),
    _derived(is_sedentary, "bool", "flag"),
    _derived(healthy_habits, "int", "count of 6"),
    _derived(ideal_main_meals, "bool", "flag"),
    _derived(vegetables_every_main_meal, "bool", "flag"),
    _over_time("records_seen", "int", "count", "records of the person so far in the log, this one included"),
    _over_time("days_since_previous_record", "float", "days", "time since the latest earlier record"),
    _over_time("weight_change_kg", "float", "kg", "weight against the latest earlier record"),
    _over_time("bmi_change", "float", "kg/m2", "body mass index against the latest earlier record"),
    _over_time("weight_min_90d_kg", "float", "kg", "smallest weight of the last 90 days"),
    _over_time("weight_max_90d_kg", "float", "kg", "greatest weight of the last 90 days"),
    _over_time("weight_mean_90d_kg", "float", "kg", "mean weight of the last 90 days"),
    _over_time("weight_trend_kg_per_30d", "float", "kg/30 days", "least-squares slope of weight over the last 90 days"),
)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
BY_NAME: Mapping[str, Feature] = {feature.name: feature for feature in FEATURES}


def derive(columns: Columns) -> dict[str, Floats]:
    """Every derived feature of the attributes in `columns` (all of them, each of n rows); arrays of n rows by name."""
    return {feature.name: feature.compute(columns) for feature in FEATURES if feature.compute is not None}
