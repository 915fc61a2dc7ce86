"""The exception tree.

HabitusError                     every error that we raise on purpose; carries a remedy for people
├── InvalidSetting               a setting is missing or contradicts another
├── RecordRejected               a person record or label breaks its contract; names every violated field
├── HistoryConflict              another owner extended the same end of a history
├── EpochSuperseded              a backfill has opened a new epoch
├── InfrastructureError          Kafka, Redis, MLflow or a disk failed; retry, then stop without acknowledging
│   ├── Unavailable              not there yet, or not there any more; retryable by the caller
│   │   ├── AccessRefused        there, but it does not let us in as we are set up: waiting will not help
│   │   └── CircuitOpen          it failed too often just now, so it is not asked
│   ├── BrokenHistory            a file of a history is lost, torn or damaged
│   └── UnknownStateVersion      other code wrote a person's online state, and this cannot continue it
├── InvalidRequest               a prediction request breaks its contract; names every violated field
├── DeadlinePassed               a request's deadline passed before work on it began
├── NotAuthenticated             a caller did not say who it is
├── NotPermitted                 a caller's credentials are not known here
├── Overloaded                   more at once than we take; retryable by the caller
│   └── RateExceeded             more from one client than it may send
├── UnknownPerson                no features are stored for a person
├── StaleFeatures                stored features are older than the caller's limit
├── UnknownModel                 no model version holds the alias that was asked for
├── ModelRefused                 a model version failed its load check
└── NotEnoughData                a training set, report or window has too few rows

Place in the flow: raised anywhere, turned into exit codes by the CLI and into gRPC codes by the predictor's edge alone.
"""

from dataclasses import dataclass
from datetime import timedelta


class HabitusError(Exception):
    """An expected failure. `remedy` says what to do next, in one sentence."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class InvalidSetting(HabitusError):
    """A setting is missing or wrong."""


@dataclass(frozen=True)
class Violation:
    """One field of a record that breaks the contract."""

    field: str
    description: str


class RecordRejected(HabitusError):
    """A record that goes to the dead letters; `error_class` is one of the classes in `feature_repo/person.py`."""

    def __init__(self, error_class: str, violations: tuple[Violation, ...], *, remedy: str = "") -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations), remedy=remedy)
        self.error_class = error_class
        self.violations = violations

    @property
    def reason(self) -> str:
        """What is wrong and what to do about it, for the dead letter's header."""
        return f"{self} ({self.remedy})" if self.remedy else str(self)

    @property
    def failed_fields(self) -> tuple[str, ...]:
        """The names of the violated fields, each once."""
        return tuple(dict.fromkeys(violation.field for violation in self.violations))


class HistoryConflict(HabitusError):
    """A history file for this range exists: another owner has the partition."""


class EpochSuperseded(HabitusError):
    """The epoch that was written is no longer the one to be written: a backfill has opened a newer one."""

    def __init__(self, epoch: int, newer: int) -> None:
        super().__init__(f"epoch {epoch} was superseded by epoch {newer}", remedy="go on in the newer epoch")
        self.newer = newer


class InfrastructureError(HabitusError):
    """A part that we stand on failed."""


class BrokenHistory(InfrastructureError):
    """A file of a history is lost, torn or damaged."""

    def __init__(self, message: str) -> None:
        super().__init__(message, remedy="restore the file from a backup, or make all anew from the raw log: habitus backfill")


class Unavailable(InfrastructureError):
    """`part` cannot be reached now; trying again after `retry_after` may succeed."""

    def __init__(
        self, part: str, message: str, *, retry_after: timedelta = timedelta(seconds=1), remedy: str | None = None
    ) -> None:
        ask = f"see that {part} runs; `habitus status` and `habitus doctor` tell"
        super().__init__(f"{part}: {message}", remedy=remedy or ask)
        self.part = part
        self.retry_after = retry_after


class AccessRefused(Unavailable):
    """`part` refuses a password or a certificate, or we refuse its own; the remedy names the setting, nothing shows its value."""


class CircuitOpen(Unavailable):
    """`part` failed again and again; until `retry_after` nobody asks it."""


class UnknownStateVersion(InfrastructureError):
    """A person's online state is of version `found`; this code reads and writes `known`."""

    def __init__(self, found: int, known: int) -> None:
        newer = "upgrade this process to the code that wrote it"
        super().__init__(
            f"a state in the online store is of version {found}, this code knows {known}",
            remedy=newer if found > known else "run `habitus backfill`, which writes all states anew",
        )
        self.found = found
        self.known = known


class InvalidRequest(HabitusError):
    """A prediction request that no retry can mend."""

    def __init__(self, *violations: Violation) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations), remedy="correct the named fields")
        self.violations = violations


class DeadlinePassed(HabitusError):
    """Nobody waits for the answer any more, so nothing was done for it."""

    def __init__(self) -> None:
        super().__init__("the deadline passed before the request was begun", remedy="allow more time, or send fewer at once")


class NotAuthenticated(HabitusError):
    """No credentials came with the call."""

    def __init__(self) -> None:
        remedy = "send the metadata `authorization: Bearer TOKEN`; `habitus token new NAME` makes a token"
        super().__init__("no bearer token was sent", remedy=remedy)


class NotPermitted(HabitusError):
    """The credentials that came with the call are nobody's."""

    def __init__(self) -> None:
        remedy = "send a token whose line is in the file that HABITUS_PREDICTOR_TOKENS_FILE names"
        super().__init__("the bearer token is not known", remedy=remedy)


class Overloaded(HabitusError):
    """We are at a limit; trying again after `retry_after` may succeed."""

    def __init__(self, message: str, *, retry_after: timedelta, remedy: str = "wait as long as RetryInfo says") -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after


class RateExceeded(Overloaded):
    """`client` sent more than its share; it may go on after `retry_after`."""

    def __init__(self, client: str, *, retry_after: timedelta) -> None:
        super().__init__(f"{client} sends more than its rate", retry_after=retry_after)
        self.client = client


class UnknownPerson(HabitusError):
    """Nothing is stored for this person."""

    def __init__(self, person_id: str) -> None:
        super().__init__(f"no features are stored for person {person_id!r}", remedy="publish a record, or send one inline")
        self.person_id = person_id


class StaleFeatures(HabitusError):
    """The stored features are older than the caller allows."""

    def __init__(self, person_id: str, age: timedelta, limit: timedelta) -> None:
        super().__init__(
            f"the features of {person_id!r} are {age} old, the limit is {limit}",
            remedy="publish a newer record, or raise max_feature_age",
        )
        self.age = age
        self.limit = limit


class UnknownModel(HabitusError):
    """No model version holds `alias`."""

    def __init__(self, alias: str) -> None:
        super().__init__(f"no model version holds the alias {alias!r}", remedy="`habitus models` lists versions and aliases")
        self.alias = alias


class ModelRefused(HabitusError):
    """A model version must not serve."""


class NotEnoughData(HabitusError):
    """Too few rows for what was asked."""
