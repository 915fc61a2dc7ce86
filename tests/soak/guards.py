"""Every guard of the stream: what it keeps from happening, the patch that takes it away, and the tests that must then fail.

A patch is exact text, so that this table cannot outlive the code it speaks of: `tests/unit/streams/test_guards.py` looks whether
each text still stands where it should, once.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTHING = ""
HANDLERS, RECOVERY, SHARDS = "streams/handlers.py", "streams/recovery.py", "streams/shards.py"
REBUILD = "streams/rebuild.py"
FILES, HISTORY, GUARD, ONLINE = (
    "feature_repo/offline/files.py",
    "feature_repo/offline/history.py",
    "feature_repo/online/guard.py",
    "feature_repo/online/rows.py",
)
UNIT = "tests/unit/streams/"
MACHINE = f"{UNIT}test_state_machine.py"
KILLS = f"{UNIT}test_handlers.py::test_a_batch_cut_otherwise_after_a_kill_changes_nothing"
REDIS = "tests/integration/test_online.py::"
DURABLE = "tests/unit/feature_repo/test_durability.py"


@dataclass(frozen=True)
class Guard:
    """`old` in `file` is the guard; with `new` in its place it is gone, and one of `tests` fails."""

    name: str
    keeps_from: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def occurrences(self, root: Path = ROOT) -> int:
        """How often the guard's text stands in its file."""
        return (root / self.file).read_text().count(self.old)

    def taken_from(self, root: Path) -> str:
        """The file's text without the guard."""
        return (root / self.file).read_text().replace(self.old, self.new)


HISTORY_GUARDS = (
    Guard(
        "link if absent",
        "an owner overwriting what another wrote",
        FILES,
        "            os.link(draft, path)\n",
        "            draft.replace(path)\n            draft.touch()\n",
        ("tests/unit/feature_repo/test_history.py::test_the_same_first_offset_cannot_be_taken_twice",),
    ),
    Guard(
        "conflict of two owners",
        "the second of two owners going on",
        HISTORY,
        '            raise HistoryConflict(f"{offsets} was extended by another owner: {name} exists") from error\n',
        "            return\n",
        ("tests/unit/feature_repo/test_history.py::test_the_same_first_offset_cannot_be_taken_twice",),
    ),
    Guard(
        "only the very same file is one's own",
        "taking another owner's file for one's own whose acknowledgement was lost",
        FILES,
        "                if path.read_bytes() != data:\n",
        "                if False:\n",
        ("tests/unit/feature_repo/test_history.py::test_the_same_first_offset_cannot_be_taken_twice",),
    ),
    Guard(
        "file forced to disk",
        "a power cut leaving a name without its bytes (no kill shows it: the order of calls does)",
        FILES,
        "                os.fsync(file.fileno())\n",
        NOTHING,
        (f"{DURABLE}::test_a_draft_is_forced_to_disk_before_it_is_linked_and_its_folder_after",),
    ),
    Guard(
        "folders forced to disk",
        "a power cut taking the name of an acknowledged file (no kill shows it: the order of calls does)",
        FILES,
        "            os.fsync(descriptor)\n",
        "            pass\n",
        (DURABLE,),
    ),
    Guard(
        "a name is taken once on object storage too",
        "an owner overwriting what another wrote",
        "feature_repo/offline/object_files.py",
        'mode="create"',
        'mode="overwrite"',
        ("tests/integration/test_object_history.py::test_a_name_is_taken_once_and_its_first_content_stays",),
    ),
    Guard(
        "a lost file is told",
        "passing over a hole in the history in silence",
        HISTORY,
        "        if hole is not None:\n",
        "        if False:\n",
        ("tests/unit/feature_repo/test_history.py",),
    ),
    Guard(
        "a file is confirmed when its end is read",
        "a power cut taking the name of a file on which a successor built (no kill shows it: the order of calls does)",
        HISTORY,
        "            self.files.confirm(names[-1])\n",
        "            pass\n",
        ("tests/unit/feature_repo/test_history.py",),
    ),
    Guard(
        "log's identity",
        "a topic made anew being taken for the old one",
        SHARDS,
        "        if made_from != log_id:\n",
        "        if False:\n",
        (f"{UNIT}test_handlers.py::test_a_topic_made_anew_is_refused_even_when_it_is_longer_than_its_history",),
    ),
    Guard(
        "log as long as its history",
        "a shorter log's records being passed over as known",
        SHARDS,
        "        if end >= self._source.end(shard):\n",
        "        if False:\n",
        (f"{UNIT}test_handlers.py::test_the_history_of_another_log_is_refused",),
    ),
)
ORDER_GUARDS = (
    Guard(
        "dead letters before history",
        "a kill losing a rejected record, which the history then covers",
        HANDLERS,
        "    send_letters(made.rejected, batch, shelf)\n    labels = send_labels(made.accepted, batch, shelf)\n"
        "    _append(made.rows, batch, shelf, shards)\n",
        "    labels = send_labels(made.accepted, batch, shelf)\n"
        "    _append(made.rows, batch, shelf, shards)\n    send_letters(made.rejected, batch, shelf)\n",
        (KILLS, MACHINE),
    ),
    Guard(
        "labels before history",
        "a kill losing a label, whose record the history then covers",
        HANDLERS,
        "    labels = send_labels(made.accepted, batch, shelf)\n    _append(made.rows, batch, shelf, shards)\n",
        "    _append(made.rows, batch, shelf, shards)\n    labels = send_labels(made.accepted, batch, shelf)\n",
        (f"{UNIT}test_handlers.py::test_killed_at_each_effect_in_turn_the_end_is_that_of_an_undisturbed_run",),
    ),
    Guard(
        "history before online rows",
        "a row online that no history holds",
        HANDLERS,
        "    _append(made.rows, batch, shelf, shards)\n    _publish(made.rows, batch, shelf)\n"
        '    _do(shelf, "writing online rows", batch, lambda: store(made.rows, made.states, batch, end, shelf))\n',
        '    _do(shelf, "writing online rows", batch, lambda: store(made.rows, made.states, batch, end, shelf))\n'
        "    _append(made.rows, batch, shelf, shards)\n    _publish(made.rows, batch, shelf)\n",
        (KILLS, MACHINE),
    ),
    Guard(
        "history before person.features",
        "a published row that is computed anew",
        HANDLERS,
        "    _append(made.rows, batch, shelf, shards)\n    _publish(made.rows, batch, shelf)\n",
        "    _publish(made.rows, batch, shelf)\n    _append(made.rows, batch, shelf, shards)\n",
        (f"{UNIT}test_handlers.py::test_two_owners_that_extend_the_same_end_conflict", MACHINE),
    ),
    Guard(
        "rows before their watermark",
        "a watermark vouching for rows that a kill kept from the store",
        RECOVERY,
        "    shelf.online.apply(rows, states)\n"
        "    if not shelf.online.advance_watermark(shard.topic, shard.partition, before, batch.last, server):\n"
        "        catch_up(shard, batch.last, shelf)\n",
        "    if not shelf.online.advance_watermark(shard.topic, shard.partition, before, batch.last, server):\n"
        "        catch_up(shard, batch.last, shelf)\n    shelf.online.apply(rows, states)\n",
        (KILLS, MACHINE),
    ),
    Guard(
        "published again from the history",
        "a kill between history and person.features losing a published row",
        HANDLERS,
        "        _publish_again(batch, end, shelf)\n",
        "        pass\n",
        (KILLS, MACHINE),
    ),
    Guard(
        "what the history holds is not folded again",
        "a redelivered record being counted twice",
        HANDLERS,
        "    fresh = batch.after(end)\n",
        "    fresh = batch\n",
        (f"{UNIT}test_handlers.py::test_a_redelivered_record_is_published_again_but_never_counted_twice",),
    ),
    Guard(
        "holes are healed from the log",
        "a message that was not delivered being covered by a file for ever",
        SHARDS,
        "        if all(message.offset == expected + place for place, message in enumerate(batch.messages)):\n",
        "        if True:\n",
        (f"{UNIT}test_handlers.py::test_a_message_that_was_not_delivered_is_read_from_the_log",),
    ),
    Guard(
        "a worker follows earlier epochs before it writes online",
        "a reader seeing a person go back when a worker moves into a new epoch before it is whole",
        REBUILD,
        "    if shelf.epoch == epochs.current():\n",
        "    if True:\n",
        (f"{UNIT}test_backfill_rivals.py",),
    ),
    Guard(
        "a state ahead of the history stops the worker",
        "a worker that ends for ever over a rival who does not exist, after its history was set back",
        RECOVERY,
        "        _require_unextended(batch.shard, end, shelf)\n        raise OnlineAhead(batch.shard, ahead, end)\n",
        '        raise HistoryConflict(f"{batch} was applied by another worker, up to {ahead}")\n',
        (f"{UNIT}test_restored.py",),
    ),
    Guard(
        "a backfill covers what was acknowledged or applied",
        "readers going back when a history that was set back is backfilled",
        "streams/backfill.py",
        "        known = max(applied, NOTHING if acknowledged is None else acknowledged)\n",
        "        known = applied\n",
        (f"{UNIT}test_restored.py",),
    ),
    Guard(
        "a backfill covers what was applied, though no acknowledgement tells",
        "readers going back when a history was set back and the group's offsets are gone",
        "streams/backfill.py",
        "        known = max(applied, NOTHING if acknowledged is None else acknowledged)\n",
        "        known = NOTHING if acknowledged is None else acknowledged\n",
        (f"{UNIT}test_restored.py",),
    ),
    Guard(
        "only opened epochs tell how far there is to go",
        "readers moved to a history that ends where one that was given up had got to",
        REBUILD,
        "        numbers = range(min(self._shelf.epoch, features.epochs.written() + 1))\n",
        "        numbers = range(self._shelf.epoch)\n",
        (f"{UNIT}test_backfill_rivals.py",),
    ),
    Guard(
        "states and end of a rebuilt history tell of the same records",
        "rows folded on states that lack what a rival wrote while they were read",
        REBUILD,
        "        begun, end = time.perf_counter(), _end(self._shard, self._shelf)\n",
        "        begun, end = time.perf_counter(), 2**62\n",
        (f"{UNIT}test_backfill_rivals.py",),
    ),
    Guard(
        "one limit of depth for all",
        "a record that the stream accepts and a backfill rejects",
        "feature_repo/wire.py",
        "    if _depth(value) > _DEEPEST:\n",
        "    if False:\n",
        ("tests/unit/feature_repo/test_wire.py",),
    ),
    Guard(
        "no epoch of two topics",
        "an epoch that holds a part of a topic and a part of the one that took its name",
        REBUILD,
        "    if made_from not in {None, log_id}:\n",
        "    if False:\n",
        (f"{UNIT}test_backfill_rivals.py",),
    ),
    Guard(
        "letters and labels before the rebuilt file",
        "a record rejected only now without its dead letter, after a kill",
        REBUILD,
        "        labelled, letters = self._make_good(made, batch)\n        offsets = OffsetRange("
        "self._shard.topic, self._shard.partition, self.end + 1, batch.last)\n"
        "        self._append(made, offsets, batch.messages[0].time)\n",
        "        offsets = OffsetRange(self._shard.topic, self._shard.partition, self.end + 1, batch.last)\n"
        "        self._append(made, offsets, batch.messages[0].time)\n"
        "        labelled, letters = self._make_good(made, batch)\n",
        (f"{UNIT}test_backfill.py",),
    ),
    Guard(
        "a backfill starts from all earlier epochs made from its log",
        "records lost that were acknowledged in an epoch which another backfill published meanwhile",
        REBUILD,
        "        numbers = range(min(self._shelf.epoch, features.epochs.written() + 1))\n",
        "        numbers = range(min(self._shelf.epoch, 1))\n",
        (f"{UNIT}test_backfill_rivals.py",),
    ),
    Guard(
        "dead letters and rows are awaited",
        "going on after a publication that no broker has",
        "streams/adapters/kafka.py",
        "                future.get(timeout=ACKNOWLEDGED_WITHIN_S)\n",
        "                pass\n",
        (f"{UNIT}test_kafka_publisher.py",),
    ),
    Guard(
        "an effect that fails for good stops the batch",
        "the next effect, and the acknowledgement, after a failed one",
        "streams/persistence.py",
        '                    told.error("{} of {} failed for good: {}", what, where, error)\n                    raise\n',
        "                    return None\n",
        (f"{UNIT}test_handlers.py::test_an_effect_that_fails_for_good_stops_the_work_before_the_next_one",),
    ),
)
ONLINE_GUARDS = (
    Guard(
        "state by (epoch, offset)",
        "a state going back, so that records are folded twice",
        GUARD,
        "if position ~= '' and (not held[4] or held[4] < position) then\n",
        "if position ~= '' then\n",
        (f"{REDIS}test_applying_again_out_of_order_or_in_other_cuts_changes_nothing",),
    ),
    Guard(
        "row by (epoch, event time, offset)",
        "a late record replacing a newer row",
        GUARD,
        "if held_rank > rank or (held_rank == rank and string.sub(rank, 25) ~= '{layout.NO_OFFSET}') then return written end\n",
        NOTHING,
        (f"{REDIS}test_an_older_row_changes_the_state_but_not_the_row",),
    ),
    Guard(
        "stale fields are removed",
        "a newer feature's value staying beside an older worker's row",
        GUARD,
        "    if not kept[field] then redis.call('HDEL', key, field) end\n",
        NOTHING,
        (f"{REDIS}test_a_row_of_older_code_leaves_no_newer_features_behind",),
    ),
    Guard(
        "watermark compare-and-set, in Redis",
        "a watermark vouching for rows that were lost meanwhile",
        GUARD,
        "if found ~= ARGV[1] then return 0 end\n",
        NOTHING,
        (f"{REDIS}test_a_watermark_is_kept_a_shard",),
    ),
    Guard(
        "watermark compare-and-set, in the stream",
        "going on after the store was emptied between rows and watermark",
        RECOVERY,
        "    if not shelf.online.advance_watermark(shard.topic, shard.partition, before, batch.last, server):\n",
        "    if shelf.online.advance_watermark(shard.topic, shard.partition, before, batch.last, server) is None:\n",
        (f"{UNIT}test_handlers.py::test_a_store_that_is_emptied_in_the_middle_of_a_batch_is_filled_from_the_history",),
    ),
    Guard(
        "an absent watermark stated before catching up",
        "a store emptied in mid catch-up vouching for rows that it lost",
        RECOVERY,
        "    if not shelf.online.advance_watermark(shard.topic, shard.partition, None, NOTHING, server):\n"
        "        raise _set_back(shard)\n    return NOTHING\n",
        "    return NOTHING\n",
        (f"{UNIT}test_handlers.py::test_a_store_that_is_emptied_while_it_is_caught_up_is_caught_up_again",),
    ),
    Guard(
        "second look while catching up",
        "states folded on nothing, which would stay",
        RECOVERY,
        "    if shelf.online.watermark(shard.topic, shard.partition) != known:\n        raise _set_back(shard)  # the states",
        "    if False:\n        raise _set_back(shard)  # the states",
        (f"{UNIT}test_handlers.py::test_a_store_that_is_emptied_while_it_is_caught_up_is_caught_up_again",),
    ),
    Guard(
        "same server for rows and watermark",
        "a failover to a replica that has the watermark and lacks the rows",
        GUARD,
        "if string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') ~= ARGV[3] then return 0 end\n",
        NOTHING,
        (f"{REDIS}test_a_watermark_is_not_moved_on_another_server_than_the_rows_went_to",),
    ),
    Guard(
        "second look after the states were read",
        "folding on states that were lost",
        RECOVERY,
        "    if shelf.online.watermark(shard.topic, shard.partition) == end:\n",
        "    if True:\n",
        (f"{UNIT}test_handlers.py::test_a_store_that_is_emptied_in_the_middle_of_a_batch_is_filled_from_the_history",),
    ),
    Guard(
        "catching up before a batch",
        "folding on a store that was emptied or set back",
        RECOVERY,
        "    if known == end:\n        return 0\n",
        "    if known <= end:\n        return 0\n",
        (f"{UNIT}test_handlers.py::test_an_assigned_shard_is_caught_up_without_a_message", MACHINE),
    ),
    Guard(
        "no state has seen the batch",
        "a stalled owner folding records that its successor has folded",
        RECOVERY,
        "    if ahead >= batch.first:\n",
        "    if False:\n",
        (f"{UNIT}test_handlers.py::test_two_owners_that_extend_the_same_end_conflict",),
    ),
    Guard(
        "an online store ahead of the history is refused",
        "a lost history being papered over",
        RECOVERY,
        "    if known > end:\n",
        "    if False:\n",
        (f"{UNIT}test_handlers.py::test_an_online_store_ahead_of_the_history_is_refused",),
    ),
    Guard(
        "eviction is refused at start",
        "Redis dropping rows to save memory",
        ONLINE,
        '        for policy in policies - {"noeviction"}:\n',
        "        for policy in ():\n",
        (f"{REDIS}test_a_redis_that_may_evict_is_refused",),
    ),
    Guard(
        "eviction is refused on each new connection",
        "writing to a server that evicts after a failover",
        "streams/adapters/redis.py",
        "    if policy != SAFE_POLICY:\n",
        "    if False:\n",
        ("tests/integration/test_supervision.py::test_a_server_that_evicts_is_refused_whenever_the_connection_is_new",),
    ),
    Guard(
        "TTL on read",
        "a row older than its view's TTL being served",
        "feature_repo/online/reader.py",
        "        return replace(row, values=dict.fromkeys(row.values), expired=True)\n",
        "        return row\n",
        (f"{REDIS}test_a_row_older_than_the_ttl_is_expired_for_the_reader_and_stays_stored",),
    ),
)
EPOCH_GUARDS = (
    Guard(
        "epoch looked at after each append",
        "acknowledging what a backfill cannot see",
        HANDLERS,
        "    shards.require_current_epoch()\n",
        NOTHING,
        (f"{UNIT}test_backfill.py",),
    ),
    Guard(
        "opened before the old ends are listed",
        "a new epoch lacking what was acknowledged while it was made",
        "streams/backfill.py",
        "    done = _finish(work, done, progress)\n",
        NOTHING,
        (f"{UNIT}test_backfill.py",),
    ),
    Guard(
        "published when it is whole",
        "readers seeing an epoch that lacks what the old one has",
        "streams/backfill.py",
        "    done = Backfilled(plan.epoch)\n",
        "    done = Backfilled(plan.epoch)\n    epochs.publish(plan.epoch)\n",
        (f"{UNIT}test_backfill_readers.py",),
    ),
    Guard(
        "of each person the last row alone is caught up",
        "a reader seeing an older row while the store is filled",
        RECOVERY,
        "        newest = latest_of_persons(pa.concat_tables([newest, rows]))\n",
        "        shelf.online.apply(rows, states)\n        newest = rows\n",
        (f"{UNIT}test_backfill.py::test_no_reader_sees_an_older_row_while_the_online_store_changes_epoch",),
    ),
    Guard(
        "an epoch of newer code is left to it",
        "a worker of an older version leaving features out",
        SHARDS,
        "            if unknown or plan.state_version > STATE_VERSION:\n",
        "            if False:\n",
        (f"{UNIT}test_backfill.py::test_a_worker_of_an_older_version_does_not_write_into_an_epoch_of_a_newer_one",),
    ),
    Guard(
        "a watermark of a newer epoch stays",
        "a worker of an older epoch vouching for rows of the newer one",
        GUARD,
        "if stored and tonumber(stored) > tonumber(epoch) then return 0 end\n",
        NOTHING,
        (f"{REDIS}test_a_watermark_moves_on_to_a_newer_epoch_and_never_back",),
    ),
)
DELIVERY_GUARDS = (
    Guard(
        "a failing handler ends the process",
        "Faust acknowledging what failed and going on",
        "streams/app.py",
        "concurrency=1, supervisor_strategy=CrashingSupervisor)",
        "concurrency=1)",
        (f"{UNIT}test_app.py::test_every_topic_that_is_read_has_one_agent_that_ends_the_process_when_it_fails",),
    ),
    Guard(
        "acknowledged after it was handled",
        "a kill losing what was acknowledged too early",
        "streams/app.py",
        "                messages = [_message(each.message) for each in current]\n",
        "                messages = [(each.ack(), _message(each.message))[1] for each in current]\n",
        (f"{UNIT}test_acknowledgement.py",),
    ),
    Guard(
        "only events of the group's present generation",
        "handling or acknowledging what another owner may have by now",
        "streams/app.py",
        "        return bool(event.message.generation_id == self._app.consumer_generation_id)\n",
        "        return True\n",
        (f"{UNIT}test_acknowledgement.py",),
    ),
    Guard(
        "only events of shards that are owned",
        "extending a history that is another's",
        "streams/app.py",
        " and _shard(event.message) in self._owned\n",
        "\n",
        (f"{UNIT}test_acknowledgement.py",),
    ),
    Guard(
        "a partition is handed over with its batch done",
        "the next owner starting before the history's end",
        "streams/app.py",
        "            async with asyncio.timeout(HAND_OVER_WITHIN_S), self._one_at_a_time:\n",
        "            if True:\n",
        (f"{UNIT}test_acknowledgement.py",),
    ),
    Guard(
        "misrouted by key",
        "a person's records lying in two partitions, out of order",
        "streams/validation.py",
        "    if message.key != key:\n",
        "    if False:\n",
        (f"{UNIT}test_validation.py",),
    ),
    Guard(
        "misrouted by partition",
        "a person's records lying in two partitions, out of order",
        "streams/validation.py",
        "    if message.shard.partition != expected:\n",
        "    if False:\n",
        (f"{UNIT}test_validation.py",),
    ),
    Guard(
        "poison is found by bisection",
        "one record that the code cannot take stopping the stream",
        "streams/poison.py",
        "        found = rest.pop(_first_poison(work, rest))\n",
        "        raise made.error\n",
        (f"{UNIT}test_poison.py", f"{UNIT}test_handlers.py::test_a_poison_record_becomes_a_dead_letter_and_its_batch_goes_on"),
    ),
    Guard(
        "an outage is no poison",
        "good records becoming dead letters while a disk or a server is away",
        "streams/validation.py",
        "NOT_THE_RECORD = (HabitusError, MemoryError, OSError)",
        "NOT_THE_RECORD = (KeyboardInterrupt,)",
        (f"{UNIT}test_poison.py",),
    ),
    Guard(
        "watchdog",
        "a worker that hangs for ever",
        "streams/supervision/watchdog.py",
        "            if idle_s > self._limit_s and self._is_waiting(shard, now):\n",
        "            if False:\n",
        (f"{UNIT}test_watchdog.py",),
    ),
    Guard(
        "pause after crashes",
        "a crash loop that burns the machine",
        "streams/supervision/crash_loops.py",
        "        return min(FIRST_PAUSE_S * GROWTH ** min(self.failures - 1, 32), longest_s)\n",
        "        return 0.0\n",
        (f"{UNIT}test_crash_loops.py",),
    ),
    Guard(
        "a dead letter is replayed once",
        "a replay that was cut off sending its beginning twice",
        "streams/letters/replay.py",
        "        if letter.origin.next in before:\n",
        "        if False:\n",
        (f"{UNIT}test_replay.py",),
    ),
)
GUARDS = (*HISTORY_GUARDS, *ORDER_GUARDS, *ONLINE_GUARDS, *EPOCH_GUARDS, *DELIVERY_GUARDS)
