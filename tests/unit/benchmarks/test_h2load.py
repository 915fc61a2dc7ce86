"""What the load client printed becomes figures, and whatever was not answered as it must be becomes an error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.serving.h2load import Call, Load, Summary, WrongAnswers, count_answers, parse_log, parse_summary, together

PRINTED = """starting benchmark...
Application protocol: h2c
progress: 100% done

finished in 1.56s, 1921.82 req/s, 526.09KB/s
requests: 3000 total, 3000 started, 2999 done, 2998 succeeded, 1 failed, 1 errored, 0 timeout
status codes: 2998 2xx, 0 3xx, 0 4xx, 1 5xx
traffic: 821.24KB (840950) total, 9.08KB (9300) headers (space savings 96.17%), 647.46KB (663000) data
                     min         max         mean         sd        +/- sd
time for request:      160us     27.58ms      2.05ms      2.75ms    88.20%
"""
CALL = Call("/habitus.v1.Predictor/Predict", b"\x0a\x02p1", answer_bytes=216)
FRAME = 216 + 5


def test_the_summary_tells_what_ended_what_succeeded_and_the_bytes_of_data() -> None:
    assert parse_summary(PRINTED) == Summary(done=2999, succeeded=2998, data_bytes=663_000)


def test_a_client_that_failed_is_no_result() -> None:
    with pytest.raises(WrongAnswers, match="Connection refused"):
        parse_summary("starting benchmark...\nConnection refused\n")


def test_a_message_is_sent_uncompressed_behind_its_length() -> None:
    assert CALL.framed == b"\0\0\0\0\x04\x0a\x02p1"


@given(answered=st.integers(0, 500), refused=st.integers(0, 500))
def test_answers_are_told_from_errors_by_their_bytes(answered: int, refused: int) -> None:
    """Promise: an error of gRPC, which has status 200 and no data, never counts as an answer."""
    requests = answered + refused
    assert count_answers(Summary(requests, requests, answered * FRAME), CALL, requests) == answered


@pytest.mark.parametrize(
    "said",
    [
        Summary(done=9, succeeded=9, data_bytes=9 * FRAME),
        Summary(done=10, succeeded=9, data_bytes=9 * FRAME),
        Summary(done=10, succeeded=10, data_bytes=10 * FRAME - FRAME // 4),
        Summary(done=10, succeeded=10, data_bytes=10 * FRAME + FRAME // 4),
        Summary(done=10, succeeded=10, data_bytes=11 * FRAME),
    ],
    ids=["one did not end", "one got no response", "bytes too few", "bytes too many", "an answer too many"],
)
def test_responses_missing_or_of_another_size_are_an_error(said: Summary) -> None:
    with pytest.raises(WrongAnswers):
        count_answers(said, CALL, 10)


def test_the_log_holds_when_each_request_began_and_how_long_it_took() -> None:
    starts, durations = parse_log("1795535388551850\t200\t24067\n1795535388551874\t200\t25713\n")
    assert starts.tolist() == [1795535388551850, 1795535388551874]
    assert durations.tolist() == [24067, 25713]


def test_a_request_that_broke_off_is_an_error() -> None:
    with pytest.raises(WrongAnswers, match="1 of 2"):
        parse_log("1\t200\t5\n2\t-1\t5\n")


def a_log(first_us: int, count: int, every_us: int, duration_us: int) -> tuple[np.ndarray, np.ndarray]:
    starts = first_us + every_us * np.arange(count, dtype=np.int64)
    return starts, np.full(count, duration_us, dtype=np.int64)


def test_the_rate_is_that_of_the_time_in_which_all_processes_were_at_work() -> None:
    """Promise: neither the start of the first process nor the end of the last one makes the rate look lower."""
    early, late = a_log(0, 1_000, 1_000, 500), a_log(500_000, 1_000, 1_000, 500)
    load = together([early, late], answered=2_000)
    assert load.window == (500_500, 999_500)
    assert load.answers_per_second == pytest.approx(2_000, rel=0.01)


def test_what_was_refused_is_no_throughput() -> None:
    load = together([a_log(0, 1_001, 1_000, 500)], answered=501)
    assert load.requests == 1_001
    assert load.refused_share == pytest.approx(0.5, abs=0.001)
    assert load.answers_per_second == pytest.approx(500, rel=0.01)


def test_too_few_requests_to_run_side_by_side_still_give_a_rate() -> None:
    load = together([a_log(0, 10, 10, 5), a_log(1_000, 10, 10, 5)], answered=20)
    assert load.answers_per_second == pytest.approx(20 / 1.091e-3, rel=0.01)


def test_percentiles_are_in_milliseconds() -> None:
    load = Load(np.arange(101), np.arange(101) * 1_000, answered=101, window=(0, 100))
    assert (load.percentile_ms(50), load.percentile_ms(99)) == (50.0, 99.0)
