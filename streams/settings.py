"""Settings of the stream worker: `HABITUS_STREAMS_*`, beside those that every process shares."""

from pydantic import Field

from runtime.settings import Settings


class StreamsSettings(Settings):
    """How batches are cut and how long a failing effect is tried."""

    streams_batch: int = Field(2000, ge=1, description="messages of a topic handled at once, at most")
    streams_linger_s: float = Field(0.2, gt=0, le=1, description="how long a batch waits to be filled; part of the freshness")
    streams_buffer: int = Field(16_384, ge=1, description="messages of a topic read ahead")
    streams_attempts: int = Field(5, ge=1, description="tries of an effect before the worker stops without acknowledging")
    streams_instance: str | None = Field(
        None, description="name of this worker in its group, kept over restarts (static membership)"
    )
