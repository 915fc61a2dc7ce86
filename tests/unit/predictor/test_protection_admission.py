"""There are so many places and no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.protection.admission import RETRY_AFTER, Admission
from runtime.errors import Overloaded


@given(st.integers(1, 5), st.lists(st.booleans(), max_size=50))
def test_never_more_are_inside_than_there_are_places(limit: int, arrivals: list[bool]):
    places, inside = Admission(limit, "calls"), 0
    for arrives in arrivals:
        if arrives and inside < limit:
            places.enter()
            inside += 1
        elif arrives:
            with pytest.raises(Overloaded) as caught:
                places.enter()
            assert caught.value.retry_after == RETRY_AFTER
        elif inside:
            places.leave()
            inside -= 1
        assert (places.inside, places.full) == (inside, inside == limit)
