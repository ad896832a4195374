"""What holds for every test: the hypothesis profiles, and random numbers that no other test has a part in.

Profile ci, the default, is deterministic and quick; nightly tries 50 times the examples.
"""

from __future__ import annotations

import os
import zlib

import numpy as np
import pytest
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


@pytest.fixture(autouse=True)
def numbers_of_the_test_alone(request: pytest.FixtureRequest) -> None:
    """Seed the module's generator by the test's name: its numbers must not depend on what ran before it, or where."""
    generator = getattr(request.module, "RNG", None)
    if generator is not None:
        seeded = np.random.default_rng(zlib.crc32(request.node.name.encode()))
        generator.bit_generator.state = seeded.bit_generator.state
