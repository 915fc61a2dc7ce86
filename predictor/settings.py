"""Settings of the predictor: `HABITUS_PREDICTOR_*`, beside the shared ones and those of its protection."""

from pydantic import Field

from predictor.protection.settings import ProtectionSettings


class PredictorSettings(ProtectionSettings):
    """What the predictor adds to the shared settings."""

    predictor_address: str = Field("127.0.0.1:50051", description="host:port that the gRPC server listens on")
    predictor_processes: int = Field(1, ge=1, le=256, description="processes that share the address; metrics at port + number")
    predictor_poll_s: float = Field(30.0, gt=0, description="seconds between looks at the registry, were no event to come")
    predictor_row_limit_ms: float = Field(100.0, gt=0, description="a model that needs longer for one row is refused")
    predictor_previous_s: float = Field(
        3600.0, ge=0, description="seconds after a promotion that the previous model stays loaded and scores in shadow"
    )
    predictor_shadow: bool = Field(default=True, description="score challenger and previous on the features of answers")
    predictor_shadow_buffer: int = Field(2_000, ge=1, description="rows that wait for shadow models; more are dropped")
    predictor_log_buffer: int = Field(10_000, ge=1, description="prediction log entries kept while Kafka is slow or gone")
    predictor_message_limit_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="largest gRPC message, either way")
    predictor_metrics_port: int = Field(0, ge=0, le=65535, description="port of Prometheus metrics; 0: none")
    predictor_metrics_host: str = Field("127.0.0.1", description="address that the metrics are served on")
    predictor_stop_grace_s: float = Field(2.0, ge=0, description="seconds that running requests get when the service stops")
