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
# What the command line sets before it imports anything: fixtures may import transformers first.
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

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


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Prepared data goes where pytest cleans up."""
    os.environ["POTSTILL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def quick_trainer() -> None:
    """Spares every training the seconds that its garbage collections take over all that pytest has loaded."""
    import gc

    import potstill.verbs  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def small_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``small.csv``: 500 hours of two noisy daily waves, one around 0 and one around 100."""
    import numpy as np
    import pandas as pd

    hours = np.arange(500)
    noise = np.random.default_rng(0).normal(size=(2, 500))
    wave = np.sin(2 * np.pi * hours / 24)
    columns = {"low": 3 * wave + 0.3 * noise[0], "high": 100 + 10 * wave + noise[1]}
    path = tmp_path_factory.mktemp("data") / "small.csv"
    pd.DataFrame({"date": pd.date_range("2024-01-01", periods=500, freq="h"), **columns}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def tiny_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained Chronos-2 of two narrow layers: context 64, horizon 32, patches of 16."""
    import torch

    from potstill.families.chronos2.family import Chronos2Family

    family = Chronos2Family()
    torch.manual_seed(0)
    sizes = {"num_layers": 2, "d_model": 32, "num_heads": 2, "d_kv": 16, "d_ff": 64}
    folder = tmp_path_factory.mktemp("teacher") / "tiny"
    family.build(family.design(None, sizes, 64, 32), dropout=0.0).save(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bolt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained Chronos-Bolt: context 64, horizon 32, patches of 16, nine levels."""
    import torch
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    bolt = {
        "context_length": 64,
        "prediction_length": 32,
        "input_patch_size": 16,
        "input_patch_stride": 16,
        "quantiles": [round(0.1 * k, 1) for k in range(1, 10)],
        "use_reg_token": True,
    }
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_heads": 2, "num_layers": 2, "num_decoder_layers": 1}
    torch.manual_seed(0)
    config = T5Config(
        **sizes,
        chronos_config=bolt,
        architectures=["ChronosBoltModelForForecasting"],
        feed_forward_proj="relu",
        decoder_start_token_id=0,
        pad_token_id=0,
    )
    model = ChronosBoltModelForForecasting(config)
    folder = tmp_path_factory.mktemp("teacher") / "bolt"
    model.save_pretrained(folder)
    return folder
