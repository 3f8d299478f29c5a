"""What every test shares: quiet threads, no network, and the real data where there is some."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Read when torch is first imported: two workers on two cores must not start two threads each.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"

settings.register_profile("potstill", deadline=None, max_examples=50)  # no test fails for being slow
settings.load_profile("potstill")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with ``suite/`` and ``corpus/``: POTSTILL_DATA, or shared/data beside the checkout."""
    given = os.environ.get("POTSTILL_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not (folder / "suite").is_dir():
        pytest.skip(f"no real data in {folder}; set POTSTILL_DATA")
    return folder
