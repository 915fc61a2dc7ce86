"""Settings of the predictor: `HABITUS_PREDICTOR_*`, beside the shared ones and those of its protection."""

from pydantic import Field

from predictor.protection.settings import ProtectionSettings


class PredictorSettings(ProtectionSettings):
    """What the predictor adds to the shared settings."""

    predictor_address: str = Field("127.0.0.1:50051", description="host:port that the gRPC server listens on")
    predictor_poll_s: float = Field(30.0, gt=0, description="seconds between looks at the registry, were no event to come")
    predictor_log_buffer: int = Field(10_000, ge=1, description="prediction log entries kept while Kafka is slow or gone")
    predictor_message_limit_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="largest gRPC message, either way")
    predictor_stop_grace_s: float = Field(2.0, ge=0, description="seconds that running requests get when the service stops")
