"""Dead letters sent again: chosen, corrected, judged as the stream will judge them, and never twice by accident.

Place in the flow: `habitus dlq replay` calls `replay`; the adapters read the letters and send. What was sent is known from the
source topic alone: each message sent again carries where its record stood first and how often it has been sent. So a replay that
was cut off anywhere is run again, and sends the rest. Two replays at the same time do not see each other.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice, takewhile
from typing import Protocol

from feature_repo.temporal import to_us
from feature_repo.wire import UNDECODABLE
from runtime.clock import Clock
from runtime.errors import HabitusError, RecordRejected, Violation
from runtime.kafka import partition_for
from streams.letters.corrections import Edit, Given, corrected, person_of, with_event_time
from streams.letters.dead_letters import ORIGIN_HEADERS, DeadLetterRead, Origin, Rejected
from streams.letters.selection import Copies, Selection, distinct
from streams.materialisation import materialise_messages
from streams.messages import Headers, Message, Shard
from streams.validation import NOT_THE_RECORD, POISON, read_label, read_prediction, sort_out

# Letters validated and sent together. A replay that is cut off has sent whole parts of so many, and some of the next.
AT_ONCE = 500
_LATEST = datetime.max.replace(tzinfo=UTC)

Judge = Callable[[Sequence[Message], int], Sequence[Rejected]]
ReadLetters = Callable[[], Generator[DeadLetterRead]]


class Source(Protocol):
    """The topic that letters came from: see `adapters.dead_letters.SourceTopic`. Everything raises `Unavailable`."""

    @property
    def name(self) -> str:
        """The topic."""
        ...

    @property
    def partitions(self) -> int:
        """How many partitions it has."""
        ...

    def sent_since(self, since: datetime) -> set[Origin]:
        """The origins of what was sent again at or after `since`."""
        ...

    def send(self, messages: Sequence[Message]) -> None:
        """Publish where the messages say; on return all are acknowledged."""
        ...


@dataclass(frozen=True)
class Rules:
    """What is particular to a topic: who judges its messages, whose key is the person, who is timed by its message."""

    judge: Judge
    keyed_by_person: bool = False
    timed_by_message: bool = False


def judge_records(messages: Sequence[Message], partitions: int) -> Sequence[Rejected]:
    """Those of `messages` that the stream would reject, as far as it can be told without the persons' states."""
    return materialise_messages(messages, partitions, lambda _persons: {}).rejected


def judge_labels(messages: Sequence[Message], partitions: int) -> Sequence[Rejected]:
    """Those of `messages` that the stream would reject."""
    return sort_out(messages, partial(read_label, partitions=partitions)).rejected


def judge_predictions(messages: Sequence[Message], _partitions: int) -> Sequence[Rejected]:
    """Those of `messages` that the stream would reject."""
    return sort_out(messages, read_prediction).rejected


RECORDS = Rules(judge_records, keyed_by_person=True, timed_by_message=True)
LABELS = Rules(judge_labels, keyed_by_person=True)
PREDICTIONS = Rules(judge_predictions)


@dataclass(frozen=True)
class Orders:
    """What is to be done with the chosen letters.

    `given` replaces whole values, by letter number, before `edit` is applied. `force` sends what is still invalid; `again` what
    was sent before; `dry_run` nothing at all.
    """

    edit: Edit = field(default_factory=Edit)
    given: dict[int, Given] = field(default_factory=dict)
    force: bool = False
    again: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one letter: `message` was sent (or would be), or `error` tells why not; neither if it was sent before."""

    letter: DeadLetterRead
    message: Message | None = None
    error: RecordRejected | None = None


@dataclass
class Summary:
    """How many letters were chosen, and what became of them."""

    selected: int = 0
    sent: int = 0
    already_sent: int = 0
    invalid: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one more; what is forced counts as sent."""
        self.sent += outcome.message is not None
        self.invalid += outcome.message is None and outcome.error is not None
        self.already_sent += outcome.message is None and outcome.error is None


@dataclass(frozen=True)
class Replay:
    """One replay: `letters` reads the source's dead letters from the first one on, each time it is called."""

    source: Source
    letters: ReadLetters
    rules: Rules
    clock: Clock

    def run(self, selection: Selection, orders: Orders, tell: Callable[[Outcome], object]) -> Summary:
        """Send the selected letters; `tell` hears what became of each, after it is done.

        Raises `HabitusError` if a number is no letter, then nothing was sent, and `Unavailable`: run again, it sends the rest.
        """
        found = self._survey(selection)
        summary = Summary(selected=found.letters)
        before = set() if orders.again or not found.letters else self.source.sent_since(found.since)
        with closing(self.letters()) as letters:  # which keeps a connection until it is closed
            every = takewhile(lambda letter: letter.offset <= found.last, letters)
            for part in _parts(distinct(every, selection, Copies())):
                for outcome in self._send(part, before, orders):
                    summary.add(outcome)
                    tell(outcome)
        return summary

    def _survey(self, selection: Selection) -> "_Survey":
        """What is selected now: letters that come later, perhaps from this very replay, do not belong to it."""
        found, copies, missing = _Survey(), Copies(), set(selection.numbers or ())
        for letter in self.letters():
            missing.discard(letter.offset)
            if letter in selection and copies.is_first(letter):
                found.add(letter)
        if missing:
            shown = ", ".join(map(str, sorted(missing)[:10]))
            raise HabitusError(f"{self.source.name} has no dead letter {shown}", remedy="`habitus dlq ls` lists them")
        return found

    def _send(self, letters: Sequence[DeadLetterRead], before: set[Origin], orders: Orders) -> list[Outcome]:
        now_ms = to_us(self.clock.now()) // 1000
        prepared = [self._prepare(letter, before, now_ms, orders) for letter in letters]
        judged = self._judge(prepared, force=orders.force)
        messages = [each.message for each in judged if each.message is not None]
        if messages and not orders.dry_run:
            self.source.send(messages)
        return judged

    def _prepare(self, letter: DeadLetterRead, before: set[Origin], now_ms: int, orders: Orders) -> Outcome:
        if letter.origin.next in before:
            return Outcome(letter)
        try:
            return Outcome(letter, self._message(letter, now_ms, orders))
        except RecordRejected as error:
            return Outcome(letter, error=error)
        except NOT_THE_RECORD:
            raise
        except Exception as error:  # noqa: BLE001  a letter that our code cannot take costs itself, not the replay of the others
            return Outcome(letter, error=RecordRejected(POISON, (Violation("value", f"{type(error).__name__}: {error}"),)))

    def _message(self, letter: DeadLetterRead, now_ms: int, orders: Orders) -> Message:
        """The letter as it is sent again. Raises `RecordRejected`."""
        value, headers = _content(letter, orders)
        try:
            value = corrected(value, headers, orders.edit)
            if self.rules.timed_by_message:
                value = with_event_time(value, headers, letter.origin_timestamp_ms, now_ms)
        except RecordRejected:
            if not orders.force:
                raise
        key = self._key(letter, value, headers)
        return Message(self._shard(key, letter), 0, now_ms, key, value, (*_foreign(headers), *_provenance(letter)))

    def _key(self, letter: DeadLetterRead, value: bytes | None, headers: Headers) -> bytes | None:
        person_id = person_of(value, headers) if self.rules.keyed_by_person else None
        return letter.key if person_id is None else person_id.encode()

    def _shard(self, key: bytes | None, letter: DeadLetterRead) -> Shard:
        partitions = self.source.partitions
        return Shard(self.source.name, letter.source.partition % partitions if key is None else partition_for(key, partitions))

    def _judge(self, prepared: Sequence[Outcome], *, force: bool) -> list[Outcome]:
        """`prepared` with the stream's judgement; what it would reject loses its message, unless forced."""
        placed = [_at(index, each.message) for index, each in enumerate(prepared) if each.message is not None]
        errors = {each.message.offset: each.error for each in self.rules.judge(placed, self.source.partitions)}
        return [
            Outcome(each.letter, each.message if force else None, errors[index]) if index in errors else each
            for index, each in enumerate(prepared)
        ]


@dataclass
class _Survey:
    letters: int = 0
    last: int = -1
    since: datetime = _LATEST

    def add(self, letter: DeadLetterRead) -> None:
        self.letters += 1
        self.last = max(self.last, letter.offset)
        self.since = min(self.since, letter.earliest_replay)


def _parts(letters: Iterator[DeadLetterRead]) -> Iterator[list[DeadLetterRead]]:
    while part := list(islice(letters, AT_ONCE)):
        yield part


def _content(letter: DeadLetterRead, orders: Orders) -> tuple[bytes | None, Headers]:
    """What the letter's message said, or what is given in its place. Raises `RecordRejected` if that is not known whole."""
    if letter.source_offset < 0:
        raise RecordRejected(
            UNDECODABLE, (Violation("letter", "does not tell where its message stood: it is not of this stream"),)
        )
    given = orders.given.get(letter.offset)
    if given is not None:
        return given.value, given.headers(letter)
    if letter.value_bytes is not None:
        reason = f"only {len(letter.value or b'')} of its {letter.value_bytes} bytes are in the letter"
        raise RecordRejected(UNDECODABLE, (Violation("value", reason),), remedy="give the whole value with --from")
    return letter.value, letter.headers


def _foreign(headers: Headers) -> Headers:
    return tuple(each for each in headers if each[0] not in ORIGIN_HEADERS)


def _provenance(letter: DeadLetterRead) -> Headers:
    origin, sent_ms = letter.origin.next, letter.origin_timestamp_ms
    told = (
        origin.topic,
        str(origin.partition),
        str(origin.offset),
        "" if sent_ms is None else str(sent_ms),
        str(letter.offset),
        str(origin.attempt),
    )
    return tuple(zip(ORIGIN_HEADERS, (text.encode() for text in told), strict=True))


def _at(index: int, message: Message) -> Message:
    """The message at the place in the log that tells its index: the judges want log order."""
    return Message(message.shard, index, message.timestamp_ms, message.key, message.value, message.headers)
