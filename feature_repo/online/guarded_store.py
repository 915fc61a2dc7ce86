"""A Feast online store on Redis whose writes only move on: Feast's documented layout, with a guard inside Redis.

What differs from Feast's `RedisOnlineStore`, from which it derives:

- Write      a row is compared and stored in one script, so that two writers never interleave; one round trip a thousand rows.
- Same time  of two rows with the same event time the last written stays (Feast's store drops it, silently): a corrected row
             is written after the wrong one, and writing again what is there changes nothing.
- Read       an entity without a row is NOT_FOUND (there: PRESENT, null, at 1970), the list of names asked for is not changed,
             and with `enforce_ttl` a row older than its view's `ttl` is OUTSIDE_MAX_AGE, with null values; it is not deleted.
- Remove     a project's keys are told from those of a project whose name ends alike.
- Address    `connection_string` may be a URL, and is a secret (see `url_store`).

Place in the flow: `online_store` makes it the project's store. It knows no view of ours, so any Feast project can name it.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from feast import FeatureView, RepoConfig
from feast.infra.online_stores.helpers import _redis_key, _redis_key_prefix, compute_versioned_name
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.utils import make_tzaware

from feature_repo.online import guard, layout
from feature_repo.online.url_store import UrlRedisOnlineStore, UrlRedisOnlineStoreConfig
from feature_repo.temporal import to_us
from runtime.clock import Clock, SystemClock

FeastRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
ReadRow = tuple[datetime | None, dict[str, Value] | None]
Progress = Callable[[int], Any] | None

_SCAN_COUNT = 1_000


class GuardedRedisOnlineStoreConfig(UrlRedisOnlineStoreConfig):
    """As Feast's, and `enforce_ttl`. `skip_dedup` has no effect: a guarded write is one round trip already.

    `key_ttl_seconds` lets a key expire as in Feast's store, unless the entity has a stream's state: that is never lost.
    """

    type: str = "feature_repo.online.guarded_store.GuardedRedisOnlineStore"
    enforce_ttl: bool = False


class GuardedRedisOnlineStore(UrlRedisOnlineStore):
    """See the module. Errors are redis-py's, as in Feast's store."""

    clock: Clock = SystemClock()

    def epoch_of(self, table: FeatureView) -> int | None:  # noqa: ARG002  for subclasses
        """The epoch of rows written now into a view that a stream writes too; None for a view that Feast alone writes.

        A row of such a view replaces another whole, and never one of a later epoch or of the same record; rows of other
        views merge with what is there, as in Feast's store.
        """
        return None

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[FeastRow], progress: Progress = None
    ) -> None:
        """Store each row unless a newer one is there; a naive time is taken for UTC."""
        client = self._get_client(config.online_store)
        for part, calls in self._writes(config, table, data):
            guard.evaluate(client, guard.WRITE, calls)
            if progress:
                progress(len(part))

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: Sequence[FeastRow], progress: Progress = None
    ) -> None:
        """As `online_write_batch`."""
        client = await self._get_client_async(config.online_store)
        for part, calls in self._writes(config, table, data):
            await guard.evaluate_async(client, guard.WRITE, calls)
            if progress:
                progress(len(part))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        """Of each entity the event time and the values; (None, None) without a row, (event time, None) outside the TTL."""
        rows = super().online_read(config, table, entity_keys, requested_features)
        return _unless_expired(rows, self._limit(config, table))

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        """As `online_read`."""
        rows = await super().online_read_async(config, table, entity_keys, requested_features)
        return _unless_expired(rows, self._limit(config, table))

    def delete_table(self, config: RepoConfig, table: FeatureView) -> None:
        """Remove the view's rows and what a stream keeps beside them; other views of the entity stay."""
        client, view = self._get_client(config.online_store), _name(config, table)
        names = b"".join(layout.field_of(field.name, view) for field in table.features)
        for keys in _chunks(self._keys(config, table.join_keys)):
            guard.evaluate(client, guard.REMOVE, [(key, [view, "", names]) for key in keys])

    def delete_entity_values(self, config: RepoConfig, join_keys: list[str]) -> None:
        """Remove all that the project has of entities with these join keys."""
        client = self._get_client(config.online_store)
        for keys in _chunks(self._keys(config, join_keys)):
            with client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.delete(key)
                pipe.execute()

    def _writes(
        self, config: RepoConfig, table: FeatureView, data: Sequence[FeastRow]
    ) -> Iterator[tuple[Sequence[FeastRow], list[guard.Call]]]:
        """The rows in parts, each with its calls of the guard; a part is encoded a column at a time."""
        view, expires_s = _name(config, table), config.online_store.key_ttl_seconds or 0
        epoch, version = self.epoch_of(table), config.entity_key_serialization_version
        for start in range(0, len(data), guard.AT_ONCE):
            part = data[start : start + guard.AT_ONCE]
            calls: list[guard.Call] = []
            for (entity_key, _, moment, _), (names, values) in zip(part, _framed_rows(view, part), strict=True):
                event_us = to_us(make_tzaware(moment))
                rank = layout.feast_rank(epoch or 0, event_us)
                origin = "" if epoch is None else f"{rank}:-1:"
                stamp = layout.encode_timestamp_us(event_us)
                key = _redis_key(config.project, entity_key, entity_key_serialization_version=version)
                calls.append((key, [view, rank, origin, stamp, names, values, expires_s, "", ""]))
            yield part, calls

    def _keys(self, config: RepoConfig, join_keys: Sequence[str]) -> Iterator[bytes]:
        """The keys of this project's entities with these join keys."""
        project = config.project.encode()
        pattern = layout.literally(_redis_key_prefix(list(join_keys))) + b"*" + layout.literally(project)
        found = self._get_client(config.online_store).scan_iter(match=pattern, count=_SCAN_COUNT)
        return (key for key in found if layout.is_entity_key(key[: -len(project)]))

    def _generate_hset_keys_for_features(
        self, feature_view: FeatureView, requested_features: list[str] | None = None, fv_name_override: str | None = None
    ) -> tuple[list[str], list[str | bytes]]:
        """As Feast's, which appends to the caller's list."""
        view = fv_name_override or feature_view.name
        names = list(requested_features) if requested_features else [field.name for field in feature_view.features]
        stamp = f"{layout.TIMESTAMP}{view}"
        return [*names, stamp], [*(layout.field_of(name, view) for name in names), stamp]

    def _get_features_for_entity(
        self, values: Sequence[bytes | None], feature_view: str, requested_features: list[str]
    ) -> ReadRow:
        """As Feast's, which takes an entity without a row for one of 1970."""
        found = dict(zip(requested_features, values, strict=True))
        stamp = found.pop(f"{layout.TIMESTAMP}{feature_view}")
        if stamp is None:
            return None, None
        return layout.decode_timestamp(stamp), {name: Value.FromString(value or b"") for name, value in found.items()}

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: Any,
        join_key_values: Any,
        entity_name_to_join_key_map: Any,
        online_features_response: GetOnlineFeaturesResponse,
        *options: Any,
    ) -> None:
        """What `get_online_features` reads with: Feast's, then the statuses of expired rows."""
        asked, entities = _asked(grouped_refs), (join_key_values, entity_name_to_join_key_map)
        first = len(online_features_response.results)  # what is there already are the entities themselves
        super()._read_features_per_fv(config, grouped_refs, *entities, online_features_response, *options)
        self._mark_expired(config, asked, online_features_response.results[first:])

    async def _read_features_per_fv_async(
        self,
        config: RepoConfig,
        grouped_refs: Any,
        join_key_values: Any,
        entity_name_to_join_key_map: Any,
        online_features_response: GetOnlineFeaturesResponse,
        *options: Any,
    ) -> None:
        """As `_read_features_per_fv`, for `get_online_features_async`."""
        asked, entities = _asked(grouped_refs), (join_key_values, entity_name_to_join_key_map)
        first = len(online_features_response.results)  # what is there already are the entities themselves
        await super()._read_features_per_fv_async(config, grouped_refs, *entities, online_features_response, *options)
        self._mark_expired(config, asked, online_features_response.results[first:])

    def _mark_expired(
        self,
        config: RepoConfig,
        asked: Sequence[tuple[FeatureView, int]],
        added: Sequence[GetOnlineFeaturesResponse.FeatureVector],
    ) -> None:
        vectors = iter(added)
        for table, number in asked:
            limit = self._limit(config, table)
            for vector in islice(vectors, number):
                if limit:
                    _hide_older(vector, limit)

    def _limit(self, config: RepoConfig, table: FeatureView) -> datetime | None:
        """The time before which the view's rows are hidden; None: none is."""
        ttl: timedelta | None = getattr(table, "ttl", None)
        return self.clock.now() - ttl if config.online_store.enforce_ttl and ttl else None


def _unless_expired(rows: list[ReadRow], limit: datetime | None) -> list[ReadRow]:
    if limit is None:
        return rows
    return [(moment, None) if moment and moment < limit else (moment, values) for moment, values in rows]


def _framed_rows(view: str, data: Sequence[FeastRow]) -> Iterator[tuple[bytes, bytes]]:
    """Of each row its fields and framed values; a row may lack features that another has."""
    names = list(dict.fromkeys(name for _, values, _, _ in data for name in values))
    fields = [layout.field_of(name, view) for name in names]
    columns = [
        [layout.framed(values[name].SerializeToString()) if name in values else None for _, values, _, _ in data]
        for name in names
    ]
    for row in range(len(data)):
        found = [(field, column[row]) for field, column in zip(fields, columns, strict=True)]
        present = [(field, value) for field, value in found if value is not None]
        yield b"".join(field for field, _ in present), b"".join(value for _, value in present)


def _name(config: RepoConfig, table: FeatureView) -> str:
    """The view's name in the store, with its version if the registry keeps versions."""
    name: str = compute_versioned_name(table, config.registry.enable_online_feature_view_versioning)
    return name


def _asked(grouped_refs: Any) -> list[tuple[FeatureView, int]]:
    """Of each view how many vectors Feast adds to the response: its features, and the timestamp's."""
    return [(table, len(names or table.features) + 1) for table, names in grouped_refs]


def _hide_older(vector: GetOnlineFeaturesResponse.FeatureVector, limit: datetime) -> None:
    for row, stamp in enumerate(vector.event_timestamps):
        if vector.statuses[row] == FieldStatus.PRESENT and stamp.ToDatetime(tzinfo=UTC) < limit:
            vector.statuses[row] = FieldStatus.OUTSIDE_MAX_AGE
            vector.values[row].Clear()


def _chunks(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    while chunk := list(islice(keys, guard.AT_ONCE)):
        yield chunk
