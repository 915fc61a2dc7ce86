"""The pure part of what happens to person records: which are accepted, and the rows and states that they give.

Place in the flow: the handlers, a backfill and `habitus verify` all call `materialise_messages`, so that live, rebuilt and
recomputed rows are the same bits. Nothing here has an effect.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from feature_repo.materialise import materialise
from feature_repo.temporal import PersonState
from streams.letters.dead_letters import Rejected
from streams.messages import Message
from streams.poison import without_poison
from streams.validation import Accepted, SeenRecord, read_record, sort_out

StatesOf = Callable[[Sequence[str]], Mapping[str, PersonState]]


@dataclass(frozen=True)
class Materialised:
    """What a batch gives: accepted and rejected messages, each in log order, feature rows of the accepted, states after them."""

    accepted: Sequence[Accepted[SeenRecord]]
    rejected: Sequence[Rejected]
    rows: pa.Table
    states: dict[str, PersonState]

    @property
    def late(self) -> int:
        """How many rows came after one of a newer event time."""
        return sum(self.rows["late"].to_pylist())


def materialise_messages(messages: Sequence[Message], partitions: int, states_of: StatesOf, epoch: int = 0) -> Materialised:
    """What `messages` of one shard, in log order, give in `epoch`; the topic has `partitions`.

    `states_of` tells the states of persons before the first message and is asked once. A record that the code cannot take, for
    whatever reason, is rejected as poison; raises what `states_of` raises.
    """
    seen = sort_out(messages, partial(read_record, partitions=partitions))
    states = states_of([each.content.located.record.person_id for each in seen.accepted])

    def fold(accepted: Sequence[Accepted[SeenRecord]]) -> tuple[pa.Table, dict[str, PersonState]]:
        return materialise([each.content.located for each in accepted], states, epoch)

    accepted, (rows, after), poison = without_poison(seen.accepted, fold)
    rejected = sorted((*seen.rejected, *poison), key=lambda each: each.message.offset)
    return Materialised(accepted, rejected, rows, after)
