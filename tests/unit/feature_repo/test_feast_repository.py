"""What the folder promises as a Feast repository."""

from pathlib import Path

from feast import FeatureView

from feature_repo.features import BY_NAME, FEATURE_NAMES
from feature_repo.store import REPOSITORY, apply_definitions, open_store
from feature_repo.views import FEATURE_SERVICE, define
from runtime.settings import Settings


def test_feast_executes_definitions_alone():
    """Promise: every other module is named in `.feastignore`; one that is not would be executed by `feast apply`."""
    ignored = set((REPOSITORY / ".feastignore").read_text().splitlines())
    modules = {path.relative_to(REPOSITORY).parts[0] for path in REPOSITORY.rglob("*.py")}
    assert modules - ignored == {"definitions.py"}
    assert {name for name in ignored if not name.startswith(("#", "_"))} <= modules


def test_the_view_is_the_feature_table(tmp_path: Path):
    view = define(Settings(home=tmp_path)).person_features
    assert isinstance(view, FeatureView)
    assert [field.name for field in view.features] == list(FEATURE_NAMES)
    assert all(field.tags["kind"] == BY_NAME[field.name].kind for field in view.features)


def test_applying_twice_registers_once(tmp_path: Path):
    settings = Settings(home=tmp_path, project="twice")
    apply_definitions(settings)
    apply_definitions(settings)
    store = open_store(settings)
    assert [view.name for view in store.list_feature_views()] == ["person_features"]
    assert [service.name for service in store.list_feature_services()] == [FEATURE_SERVICE]
    assert (tmp_path / "feast" / "registry.db").exists()
