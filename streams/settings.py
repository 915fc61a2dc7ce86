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
        None,
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="name of this worker in its group, kept over restarts (static membership); no two live workers may share one",
    )
    # Longer than any one try of an effect: a publish gives up after 90 s, and each try that ends is a sign of life.
    streams_stall_s: float = Field(
        120, gt=0, description="seconds in which messages wait and nothing moves before the worker ends, to be started again"
    )
    streams_longest_pause_s: float = Field(
        60, ge=0, description="longest wait of a worker that keeps ending before it has acknowledged anything; 0: never wait"
    )
    streams_metrics_port: int = Field(0, ge=0, le=65535, description="port of Prometheus metrics; 0: none")
    streams_metrics_host: str = Field("127.0.0.1", description="address that the metrics are served on")
