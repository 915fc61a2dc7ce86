"""Scores come with their standard errors, overall and by slice."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from trainer.evaluation import by_slice, with_errors

MakeRows = Callable[..., pd.DataFrame]


def test_the_bootstrap_error_of_accuracy_is_about_the_binomial_one(make_rows: MakeRows) -> None:
    rows = make_rows(800)
    random = np.random.default_rng(3)
    predicted = random.dirichlet(np.ones(7), 800)
    found = with_errors(list(rows["obesity_level"]), predicted)
    share = found["accuracy"]
    assert found["accuracy_se"] == pytest.approx(np.sqrt(share * (1 - share) / 800), rel=0.3)


def test_every_slice_that_has_rows_is_scored(make_rows: MakeRows) -> None:
    rows = make_rows(200)
    table = {row["slice"]: row for row in by_slice(rows, np.full((200, 7), 1 / 7))}
    assert table["gender=Female"]["rows"] + table["gender=Male"]["rows"] == 200
    assert table["records_seen=1"]["log_loss"] == pytest.approx(np.log(7))
    assert "records_seen=2+" not in table
