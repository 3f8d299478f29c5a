"""Families from other packages: fake plug-ins for the errors, and the example package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from usage_errors import usage_error

import potstill
from potstill.families import registry
from potstill.families.load import load, saved_weights
from potstill.types import Request, Windows

EXAMPLE = Path(__file__).parents[2] / "examples" / "potstill-fracast"
GOOD = """
from potstill.plugins import TeacherFamily
class Toy(TeacherFamily):
    name = "toy"
    def recognises(self, config): return config.get("toy", False)
    def load(self, folder, source, **options): raise RuntimeError("toys do not load")
def make(): return Toy()
"""

Plug = Callable[..., None]


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Installs a package of one module: ``plug(name, code, points)``."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(package: str, code: str, **points: str) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        monkeypatch.delitem(sys.modules, package, raising=False)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[potstill.families]\n{lines}")

    return install


def checkpoint(folder: Path, config: dict) -> Path:
    """A folder that looks like a checkpoint."""
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"x": torch.zeros(1)}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("point", ["toys:Toy", "toys:make"])
def test_a_class_or_a_callable(plug: Plug, point: str):
    plug("toys", GOOD, toy=point)
    assert registry.family("toy").name == "toy"
    assert registry.family_of({"toy": True}).name == "toy"
    assert "toy" in registry.known()
    assert registry.family_of({"architectures": ["Chronos2Model"]}).name == "chronos2"


def test_an_unknown_name_lists_plug_ins_too(plug: Plug):
    plug("toys", GOOD, toy="toys:Toy")
    with usage_error("names.unknown_family", "'toyy'", "'toy'", "bolt", "chronos2"):
        registry.family("toyy")


def test_a_plug_in_that_fails_on_a_config_does_not_affect_others(plug: Plug):
    plug(
        "clumsy",
        GOOD.replace("toy", "clumsy").replace("Toy", "Clumsy").replace('config.get("clumsy", False)', 'config["no"]'),
        clumsy="clumsy:Clumsy",
    )
    plug("toys", GOOD, toy="toys:Toy")
    with pytest.warns(UserWarning, match="'clumsy'.*fails on a config"):
        assert registry.family_of({"toy": True}).name == "toy"


def test_a_plug_in_that_cannot_be_imported_is_named_and_does_not_affect_others(plug: Plug, tmp_path: Path):
    plug("broken", "import no_such_module_anywhere", odd="broken:Family")
    plug("toys", GOOD, toy="toys:Toy")
    with usage_error("family.plugin_import", "'odd'", "broken", "no_such_module_anywhere"):
        registry.family("odd")
    assert registry.family("chronos2").name == "chronos2"
    assert registry.family("toy").name == "toy"
    with pytest.warns(UserWarning, match="the plug-in broken"):
        assert registry.family_of({"toy": True}).name == "toy"
    with (
        usage_error("model.unknown_family", "Strange", "bolt", "chronos2", "odd", "toy"),
        pytest.warns(UserWarning, match="the plug-in broken"),
    ):
        load(checkpoint(tmp_path / "strange", {"architectures": ["Strange"]}))


def test_a_taken_name_is_rejected(plug: Plug):
    plug("rival", GOOD.replace('"toy"', '"chronos2"'), chronos2="rival:Toy")
    with usage_error("family.name_taken", "'chronos2'", "Potstill itself", "rival (rival:Toy)"):
        registry.family("chronos2")
    assert registry.family("bolt").name == "bolt"


def test_two_plug_ins_with_one_name_are_rejected(plug: Plug):
    plug("toys", GOOD, toy="toys:Toy")
    plug("others", GOOD, toy="others:Toy")
    with usage_error("family.name_taken", "'toy'", "toys:Toy", "others:Toy"):
        registry.family("toy")


@pytest.mark.parametrize(
    ("code", "fact"),
    [("Toy = dict", "a dict"), (GOOD.replace('"toy"', '"other"'), "'other'")],
)
def test_a_plug_in_that_returns_something_else(plug: Plug, code: str, fact: str):
    plug("toys", code, toy="toys:Toy")
    with usage_error("family.plugin_result", "'toy'", fact):
        registry.family("toy")


def test_the_name_of_a_family_without_weights_is_not_a_model(plug: Plug):
    plug("toys", GOOD, toy="toys:Toy")
    for name in ("toy", "bolt"):
        with usage_error("model.is_a_family", f"{name}: "):
            load(name)


def test_a_family_can_locate_its_own_weights(plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its name is then a model; a folder with that name takes precedence."""
    folder = checkpoint(tmp_path / "weights", {"toy": True})
    plug("toys", f"{GOOD}\nclass Located(Toy):\n    def locate(self): return {str(folder)!r}\n", toy="toys:Located")
    with usage_error("model.cannot_load", "toy: ", "toys do not load"):
        load("toy")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy").mkdir()
    with usage_error("model.no_config", "toy", "config.json"):
        load("toy")


# The example package


@pytest.fixture
def fracast(monkeypatch: pytest.MonkeyPatch):
    """The example's teacher, from its sources."""
    pytest.importorskip("fracast", reason="pip install --no-deps fracast")
    monkeypatch.syspath_prepend(str(EXAMPLE / "src"))
    from potstill_fracast.family import FracastFamily  # pyright: ignore[reportMissingImports]

    from potstill.families.base import ModelSource

    family = FracastFamily()
    return family.load(family.locate(), ModelSource("fracast", "fracast")).freeze()


@pytest.fixture(scope="module")
def histories() -> np.ndarray:
    """``[8, 300]``: waves at many levels, gaps, padding and a constant."""
    rng = np.random.default_rng(0)
    rows = np.sin(np.arange(300) * 2 * np.pi / 24) * rng.uniform(0.1, 50, (8, 1)) + rng.normal(size=(8, 300))
    rows += np.array([0, 10, -100, 48_000, 0, 0, 0, 0])[:, None]
    rows[1:3][rng.random((2, 300)) < 0.3] = np.nan
    rows[4, :250] = np.nan
    rows[5] = 7
    rows[6, :-8] = np.nan
    return rows.astype(np.float32)


def test_fracast_forecasts_equal_upstreams(fracast, histories: np.ndarray):
    """Including the second block, whose scale depends on the median that is fed back."""
    from fracast import FracastModel

    expected = FracastModel.from_pretrained(weights="fp32").forecast_batch(histories, horizon=96).transpose(0, 2, 1)
    forecast = fracast.forward(Windows.of_context(torch.from_numpy(histories), 96), Request(96)).forecast
    actual = forecast.values.double() * forecast.scale[:, :, None] + forecast.loc[:, :, None]
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_fracast_is_what_its_config_says(fracast, tmp_path: Path):
    assert (fracast.max_context, fracast.max_horizon, fracast.horizon_multiple) == (2048, 96, 48)
    assert fracast.parameters == 85_001
    assert fracast.source.licence == "apache-2.0"
    torch.testing.assert_close(fracast.levels, torch.arange(1, 10) / 10)
    fracast.save(tmp_path / "saved")
    from potstill_fracast.family import FracastFamily  # pyright: ignore[reportMissingImports]

    again = FracastFamily().load(str(tmp_path / "saved"), fracast.source)
    assert again.fingerprint == fracast.fingerprint


def test_fracast_with_fewer_than_eight_known_values(fracast):
    """Upstream raises; here the forecast is their quantiles. Other rows of the batch are not affected."""
    context = torch.full((4, 40), torch.nan)
    context[0, -3:] = torch.tensor([1.0, 2.0, 3.0])
    context[1, -1] = 48_000.0
    context[3] = torch.arange(40.0)
    quantiles = fracast.predict(context, 30).quantiles
    assert quantiles.isfinite().all()
    torch.testing.assert_close(quantiles[0, :, 0], torch.tensor([1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6, 2.8]))
    assert (quantiles[0] == quantiles[0, :, :1]).all()
    torch.testing.assert_close(quantiles[1], torch.full((9, 30), 48_000.0))
    assert (quantiles[2] == 0).all()
    torch.testing.assert_close(quantiles[3], fracast.predict(context[3:], 30).quantiles[0], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables of a process that has the example package installed, by pip, without a network."""
    pytest.importorskip("fracast", reason="pip install --no-deps fracast")
    copy = Path(shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("example") / "package"))
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(copy)], check=True, capture_output=True)
    paths = os.pathsep.join([str(site), str(Path(potstill.__file__).parents[1])])  # the package under test
    return {**os.environ, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}


def run_potstill(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "potstill", *arguments], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_example_is_inspected(installed: dict[str, str]):
    output = run_potstill(installed, "inspect", "fracast")
    for word in ("fracast", "85,001", "2,048", "96", "apache-2.0"):
        assert word in output or word.replace(",", "") in output


def test_the_installed_example_teaches(installed: dict[str, str], small_csv: Path, tmp_path: Path):
    run = tmp_path / "run"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "training: {max_steps: 2, batch_size: 2, eval_steps: 2, eval_windows: 2, precision: fp32}\n"
        "evaluation: {max_windows: 2, baselines: [seasonal_naive]}\n"
    )
    student = "chronos2:num_layers=1,d_model=32,num_heads=1,d_kv=16,d_ff=32"
    lengths = ["--context-length", "64", "--prediction-length", "24"]
    run_potstill(
        installed, "distill", str(recipe), "--teacher", "fracast", "--student", student, *lengths,
        "--data", str(small_csv), "--output", str(run),
    )  # fmt: skip
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["cost"]["teacher"]["parameters"] == 85_001
    assert load(run).max_horizon == 24


def test_saved_weights_exclude_other_files_of_the_folder(tiny_teacher: Path, tmp_path: Path):
    folder = Path(shutil.copytree(tiny_teacher, tmp_path / "model"))
    shutil.copy(folder / "model.safetensors", folder / "model.int8.safetensors")
    assert saved_weights(load(folder).source) == [folder / "model.safetensors"]
