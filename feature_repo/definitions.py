"""What the Feast command finds in this repository: `feast -c feature_repo apply`. The objects themselves are made in `views`."""

from feature_repo.views import define
from runtime.settings import Settings

_definitions = define(Settings())

person = _definitions.person
person_features_history = _definitions.source
person_features = _definitions.person_features
obesity_level_v1 = _definitions.obesity_level_v1
