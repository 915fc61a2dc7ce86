"""Settings that every process shares: environment variables `HABITUS_*`, read once, in bootstrap.

Order of sources: arguments, the environment, then `<home>/stack.env`, which `habitus up` writes with the addresses of the
local stack. So a second shell finds a stack whose ports were not the usual ones, and an explicit variable still wins.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from runtime import addresses, kafka_security

STACK_ENV = "stack.env"


def checkout() -> Path | None:
    """The source checkout that this code runs from; None where it is installed as a package."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").exists() else None


def default_home() -> Path:
    """`HABITUS_HOME`, else `.habitus` in the checkout (the same from any folder), else `.habitus` in the working folder."""
    named = os.environ.get("HABITUS_HOME")
    return Path(named).expanduser().absolute() if named else (checkout() or Path.cwd()) / ".habitus"


class Settings(BaseSettings):
    """What all processes share; a service adds its own in a subclass.

    Raises `pydantic.ValidationError`, naming the variable and never showing the value, if one does not fit.
    """

    model_config = SettingsConfigDict(env_prefix="HABITUS_", frozen=True, extra="ignore", hide_input_in_errors=True)

    home: Path = Field(default_factory=default_home, description="state of the local stack")

    kafka_bootstrap: str = Field("127.0.0.1:9092", description="host:port,host:port of Kafka brokers")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = Field(None, validate_default=True)
    kafka_ssl_cafile: Path | None = Field(None, description="PEM of the authorities to trust; default the system's")
    kafka_ssl_certfile: Path | None = Field(None, description="PEM of the client certificate and its chain")
    kafka_ssl_key_password: SecretStr | None = None
    kafka_ssl_keyfile: Path | None = Field(None, validate_default=True, description="PEM of the client certificate's key")
    topic_prefix: str = Field("", description="put before every topic name and consumer group")
    partitions: int = Field(4, ge=1, description="partitions of the person topics, fixed at creation")
    replication_factor: int = Field(1, ge=1)

    redis_url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="redis:// or rediss:// with password")
    mlflow_uri: str = Field("http://127.0.0.1:5000", repr=False, description="MLflow tracking and registry server")
    offline_uri: str | None = Field(None, description="folder or s3://bucket/prefix of the history; default <home>/offline")
    registry_uri: str | None = Field(None, repr=False, description="SQLAlchemy URL of Feast's registry; default SQLite in <home>")
    project: str = Field("habitus", description="Feast project; part of every online key")

    log_format: Literal["text", "json"] = "text"
    log_level: str = "INFO"

    @field_validator(*kafka_security.CHECKED)
    @classmethod
    def _as_kafka_is_secured(cls, value: Any, info: ValidationInfo) -> Any:
        return kafka_security.check(str(info.field_name), value, info.data)

    @field_validator("redis_url")
    @classmethod
    def _a_redis_url(cls, url: SecretStr) -> SecretStr:
        addresses.redis_url(url.get_secret_value())
        return url

    @field_validator("mlflow_uri")
    @classmethod
    def _a_web_address(cls, uri: str) -> str:
        return addresses.http_url(uri)

    @field_validator("offline_uri")
    @classmethod
    def _a_storage(cls, uri: str | None) -> str | None:
        return uri if uri is None else addresses.storage_uri(uri)

    @cached_property
    def offline(self) -> str:
        """Where the Parquet history is: an absolute path, or the URI of object storage."""
        if self.offline_uri and "://" in self.offline_uri:
            return self.offline_uri
        return str(Path(self.offline_uri).expanduser().absolute() if self.offline_uri else self.home / "offline")

    @cached_property
    def registry_url(self) -> str:
        """The SQLAlchemy URL of Feast's registry."""
        return self.registry_uri or f"sqlite:///{self.home / 'feast' / 'registry.db'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic names the parameters
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, then the addresses that the local stack wrote."""
        home = Path(str(init_settings.init_kwargs.get("home") or default_home()))  # type: ignore[attr-defined]
        return init_settings, env_settings, DotEnvSettingsSource(settings_cls, env_file=home / STACK_ENV)
