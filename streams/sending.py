"""What is published before the history: dead letters, and labels that came inside records.

Place in the flow: the handlers for new records, `rebuild` for records that are made anew.
"""

import json
from collections.abc import Sequence

from feature_repo.materialise import event_time
from streams.letters.dead_letters import Rejected, dead_letter
from streams.messages import Batch
from streams.shelf import Outgoing, Shelf
from streams.validation import Accepted, SeenRecord


def send_letters(rejected: Sequence[Rejected], batch: Batch, shelf: Shelf) -> None:
    """Bury what was rejected in `batch`; on return every dead letter is acknowledged."""
    letters = [dead_letter(each, shelf.app_version, shelf.clock.now()) for each in rejected]
    shelf.persistence.do(lambda: shelf.publisher.dead_letters(batch.shard.topic, letters), "publishing dead letters", batch)


def send_labels(accepted: Sequence[Accepted[SeenRecord]], batch: Batch, shelf: Shelf) -> int:
    """Publish the labels that came inside `accepted`; returns how many."""
    labels = [_split_label(each) for each in accepted if each.content.level is not None]
    shelf.persistence.do(lambda: shelf.publisher.labels(labels), "publishing labels", batch)
    return len(labels)


def _split_label(seen: Accepted[SeenRecord]) -> Outgoing:
    """The label event of a record that brought its level: stamped as the record was, valid or not (the label path judges)."""
    record = seen.content.located.record
    fields = {
        "person_id": record.person_id,
        "event_timestamp": event_time(record).isoformat(),
        "obesity_level": seen.content.level,
    }
    # The standard library's writer: unlike the fast one it takes integers of any length.
    return Outgoing(record.person_id.encode(), json.dumps(fields).encode(), seen.message.timestamp_ms)
