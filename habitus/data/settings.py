"""Settings of the data sources."""

from functools import cached_property
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from runtime.settings import Settings


class DataSettings(Settings):
    """Where rows come from. The Kaggle credentials carry the names that Kaggle's own tools read."""

    model_config = SettingsConfigDict(env_prefix="HABITUS_", frozen=True, extra="ignore", populate_by_name=True)

    data: Path | None = Field(None, description="a folder with train.csv and current.csv")
    data_cache: Path | None = Field(None, description="where downloaded files are kept; default <home>/data")
    data_timeout_s: float = Field(5.0, gt=0, description="how long a publisher may take to answer")
    uci_url: str = "https://archive.ics.uci.edu"
    kaggle_url: str = "https://www.kaggle.com"
    kaggle_username: str | None = Field(None, validation_alias=AliasChoices("KAGGLE_USERNAME", "kaggle_username"))
    kaggle_key: SecretStr | None = Field(None, validation_alias=AliasChoices("KAGGLE_KEY", "kaggle_key"))

    @cached_property
    def cache_folder(self) -> Path:
        """The folder of downloaded files."""
        return self.data_cache.expanduser().absolute() if self.data_cache else self.home / "data"
