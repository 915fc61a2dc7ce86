"""The monitoring reference: exact counts that add up, and files that read back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.labels import LEVELS
from feature_repo.person import ATTRIBUTES, CATEGORIES, FLAGS
from feature_repo.reference import BINS, FILE, Reference, build_reference
from runtime.errors import ModelRefused, NotEnoughData

START = datetime(2025, 1, 1, tzinfo=UTC)


def people(size: int, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({name: random.normal(50, 10, size) for name in ATTRIBUTES})
    for name, categories in CATEGORIES.items():
        frame[name] = random.choice(np.array([*categories, None], dtype=object), size)
    for name in FLAGS:
        frame[name] = random.integers(0, 2, size).astype(float)
    frame["water_intake"] = random.choice([1.0, 2.0, 3.0, np.nan], size)
    return frame


def built(frame: pd.DataFrame) -> Reference:
    levels = pd.Series([LEVELS[n % 3] for n in range(len(frame))])
    times = pd.Series([START + timedelta(days=n) for n in range(len(frame))])
    return build_reference(frame, levels, times)


def test_the_reference_counts_its_own_rows_completely() -> None:
    frame = people(1_000)
    reference = built(frame)
    assert [feature.name for feature in reference.features] == list(ATTRIBUTES)
    for feature in reference.features:
        assert sum(feature.counts) == 1_000
        np.testing.assert_array_equal(reference.counts(frame)[feature.name], feature.counts)
    assert reference.rows == 1_000
    assert sum(reference.level_counts) == 1_000
    assert reference.since == START.isoformat()


def test_bins_of_a_number_hold_about_equally_many() -> None:
    weight = next(each for each in built(people(4_000)).features if each.name == "weight_kg")
    binned = np.array(weight.counts[:-2])
    assert len(binned) == BINS
    assert binned.min() > 150
    assert binned.max() < 250


def test_a_heavy_value_has_a_bin_of_its_own() -> None:
    """Promise: a scale that clusters at whole numbers is compared value by value."""
    frame = people(1_000)
    frame["water_intake"] = np.where(np.arange(1_000) % 2 == 0, 2.0, np.linspace(1, 3, 1_000))
    water = next(each for each in built(frame).features if each.name == "water_intake")
    assert 500 <= max(water.counts) <= 502


def test_unseen_categories_and_missing_values_have_places_of_their_own() -> None:
    frame = people(500)
    reference = built(frame)
    odd = frame.head(2).assign(transport=["Balloon", None], weight_kg=[1e6, np.nan])
    found = reference.counts(odd)
    assert found["transport"][-2:].tolist() == [1, 1]
    assert found["weight_kg"][-3:].tolist() == [1, 0, 1]


@settings(max_examples=25)
@given(st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_counts_of_two_windows_add_up_to_those_of_both(cut: int, seed: int) -> None:
    reference, window = built(people(300)), people(200, seed)
    parts = [reference.counts(part) for part in (window.iloc[:cut], window.iloc[cut:])]
    for name, whole in reference.counts(window).items():
        np.testing.assert_array_equal(parts[0][name] + parts[1][name], whole)


def test_what_is_saved_reads_back_the_same(tmp_path: Path) -> None:
    reference = built(people(300))
    reference.save(tmp_path / "reference")
    assert Reference.load(tmp_path / "reference") == reference


def test_a_constant_or_absent_attribute_still_makes_a_reference() -> None:
    frame = people(100).assign(weight_kg=70.0, height_m=np.nan)
    found = {feature.name: feature for feature in built(frame).features}
    assert found["weight_kg"].edges == (70.0, np.nextafter(70.0, np.inf))
    assert found["height_m"].counts[-1] == 100


def test_no_rows_make_no_reference() -> None:
    with pytest.raises(NotEnoughData):
        built(people(0))


@pytest.mark.parametrize("text", [None, "{", '{"format": 99}'])
def test_a_missing_torn_or_foreign_reference_is_refused(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / FILE).write_text(text)
    with pytest.raises(ModelRefused):
        Reference.load(tmp_path)
