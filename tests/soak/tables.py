"""What the long tests found, for the end of the run."""

import pytest

# Of each guard that was taken away: its name, what it keeps from happening, whether that was noticed, by which test first.
GUARDS_TRIED = pytest.StashKey[list[tuple[str, str, str, str]]]()
