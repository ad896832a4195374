"""The hypothesis profiles: ci, the default, is deterministic and quick; nightly tries 50 times the examples."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

CI_EXAMPLES = 15

# No deadline: the first call of anything pays for imports, and shared machines stall.
settings.register_profile("ci", derandomize=True, max_examples=CI_EXAMPLES, deadline=None)
settings.register_profile(
    "nightly",
    max_examples=50 * CI_EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# pytest --hypothesis-profile=nightly does the same, and is read later.
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
