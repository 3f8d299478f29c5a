"""Loading models: folders, runs and hub ids, and the usage errors of what cannot be loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from usage_errors import usage_error

from potstill.families import registry
from potstill.families.load import is_language, load, load_forecaster
from potstill.families.places import locate


@pytest.fixture
def model(tiny_teacher: Path, tmp_path: Path) -> Path:
    """A copy of the tiny teacher that a test may damage."""
    return Path(shutil.copytree(tiny_teacher, tmp_path / "model"))


def assert_rejected(source: str | Path, key: str, *facts: str, **options: Any) -> None:
    """Loading is a usage error whose message starts with the source."""
    with usage_error(key, *facts) as caught:
        load(source, **options)
    assert str(caught.value).startswith(str(source).split("/model")[0])


class Trap:
    """Touches a file when unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin", "weights.pt", "model.pkl", "model.ckpt"])
def test_pickles_are_rejected_unread(model, tmp_path, name):
    (model / "model.safetensors").unlink()
    (model / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert_rejected(model, "model.pickle", name)
    assert not (tmp_path / "sprung").exists()


def test_a_pickle_next_to_safetensors_is_not_read(model, tmp_path):
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert load(model).parameters > 0
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_that_are_not_finite(model, value, precision):
    weights = load_file(model / "model.safetensors")
    name = sorted(weights)[3]
    weights[name].view(-1)[1] = value
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    assert_rejected(model, "model.weights_not_finite", name, precision=precision)


def test_finite_weights_whose_sum_overflows_are_loaded(model):
    weights = load_file(model / "model.safetensors")
    name = next(name for name, weight in sorted(weights.items()) if weight.ndim == 1)
    weights[name][:] = 3e38
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    assert load(model).parameters > 0


@pytest.mark.parametrize("kept", [0, 5, 40, -1000])
def test_truncated_weights_are_rejected(model, kept):
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    assert_rejected(model, "model.damaged_weights", "model.safetensors")


def test_missing_weights_are_rejected(model):
    tensors = load_file(model / "model.safetensors")
    del tensors["encoder.block.1.layer.2.mlp.wi.weight"]
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    assert_rejected(model, "model.weights_mismatch", "encoder.block.1.layer.2.mlp.wi.weight")


def test_weights_with_other_shapes_than_the_config_are_rejected(model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "d_ff": 48}))
    assert_rejected(model, "model.weights_mismatch", "config.json")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (None, "model.no_config"),
        ("{", "model.bad_config"),
        ("[1]", "model.bad_config"),
        ("{}", "model.unknown_family"),
        ('{"architectures": null, "chronos_config": null}', "model.unknown_family"),
        ('{"architectures": ["Chronos2Model"], "chronos_config": [1]}', "model.cannot_load"),
        ('{"architectures": ["Chronos2Model"]}', "model.cannot_load"),
    ],
)
def test_invalid_configs_are_rejected(model, text, key):
    if text is None:
        (model / "config.json").unlink()
    else:
        (model / "config.json").write_text(text)
    assert_rejected(model, key)


@pytest.mark.parametrize("horizons", [-1, 101, 2.0, True, "4", None])
def test_horizons_that_a_config_asks_for_are_checked(model, horizons):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "calibrate_horizons": horizons}))
    assert_rejected(model, "model.bad_config", "expected a whole number from 0 to 100")


def test_a_folder_without_weights_is_rejected(model):
    (model / "model.safetensors").unlink()
    assert_rejected(model, "model.no_weights", "model.safetensors")


@pytest.mark.parametrize("source", ["./absent", "/absent/folder", "ab sent", "one/two/three"])
def test_neither_a_folder_nor_a_hub_id(source):
    assert_rejected(source, "model.no_such_folder")


def misspelt_places(folder: Path) -> None:
    """A run in ``runs/demo`` and a model in ``sales``."""
    (folder / "runs" / "demo").mkdir(parents=True)
    (folder / "runs" / "demo" / "recipe.yaml").touch()
    (folder / "sales").mkdir()
    (folder / "sales" / "config.json").write_text("{}")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("runs/demp", "runs/demp: no such folder; did you mean runs/demo?"),
        ("./runs/Demo2", "./runs/Demo2: no such folder; did you mean runs/demo?"),
        ("rnus/demo", "rnus/demo: no such folder; did you mean runs/demo?"),
        ("runs/x", "runs/x: no such folder; models in runs: demo."),
        ("sale", "sale: no such folder; did you mean sales?"),
        ("./unlike", "./unlike: no such folder, and not a hub id such as amazon/chronos-2."),
    ],
)
def test_a_misspelt_folder_is_named_without_asking_the_hub(tmp_path, monkeypatch, source, message):
    misspelt_places(tmp_path)
    monkeypatch.chdir(tmp_path)
    with usage_error("model.no_such_folder") as caught:
        locate(source)
    assert str(caught.value) == message


@pytest.mark.parametrize("source", ["amazon/chronos-2", "gpt2", "salt"])
def test_a_hub_id_is_one_beside_folders_with_other_names(tmp_path, monkeypatch, source):
    misspelt_places(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert locate(source).location == source


def test_loading_and_saving_print_no_bars(model, tmp_path, capfd):
    load(model).save(tmp_path / "copy")
    assert capfd.readouterr().err == ""


def test_a_file_is_rejected(model):
    assert_rejected(model / "config.json", "model.is_a_file")


def test_a_language_model_is_not_loaded_as_a_forecaster(model):
    (model / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    with usage_error("model.not_a_forecaster", str(model), "potstill generate"):
        load_forecaster(model)
    assert is_language(model)


def test_the_task_is_detected_without_weights(model):
    (model / "model.safetensors").unlink()
    assert not is_language(model)
    assert not is_language("embedded")


@pytest.mark.parametrize("source", ["nobody/nothing-of-this-name", "nothing-of-this-name"])
def test_a_hub_id_offline(monkeypatch, tmp_path, source):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert_rejected(source, "model.hub_unavailable", "HF_HUB_OFFLINE", "local folder")


@pytest.fixture
def hub(monkeypatch, model) -> list:
    """A fake hub with the tiny teacher and a model card; returns the list of its requests."""
    from chronos.chronos2 import Chronos2Model

    (model / "README.md").write_text('---\nlicense: "mit"\n---\n# A model\n')
    requests: list = []

    def download(repository: str, name: str, revision: str | None = None) -> str:
        requests.append((repository, name, revision))
        if not (model / name).exists():
            raise FileNotFoundError(name)
        return str(model / name)

    upstream = Chronos2Model.from_pretrained

    def from_pretrained(name: str, **options: Any):
        requests.append((name, "weights", options.pop("revision", None)))
        return upstream(str(model), **options)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr(Chronos2Model, "from_pretrained", from_pretrained)
    return requests


def test_a_revision_reaches_every_file_of_a_hub_id(hub):
    forecaster = load("some/chronos", revision="abc123")
    assert {(repository, revision) for repository, _, revision in hub} == {("some/chronos", "abc123")}
    assert {name for _, name, _ in hub} == {"config.json", "README.md", "weights"}
    assert forecaster.source.revision == "abc123"
    assert forecaster.source.licence == "mit"
    assert forecaster.source.name == "some/chronos"


def test_a_hub_id_without_a_card_has_no_licence(hub, model):
    (model / "README.md").unlink()
    assert load("some/chronos").source.licence is None


def test_loading_a_run_loads_its_student(model, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("task: forecast\n")
    assert_rejected(run, "model.no_config", "config.json")
    shutil.copytree(model, run / "student")
    (run / "student" / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    loaded = load(run)
    assert loaded.fingerprint == load(model).fingerprint
    assert loaded.source.licence == "apache-2.0"
    assert load(model).source.licence is None


def test_freeze_turns_gradients_and_training_mode_off(model):
    teacher = load(model).freeze()
    assert not teacher.module.training
    assert not any(p.requires_grad for p in teacher.module.parameters())


def test_families_by_name():
    assert registry.family("chronos2").name == "chronos2"
    assert registry.family_of({"architectures": ["Chronos2Model"]}).name == "chronos2"
    assert registry.family_of({"chronos_config": {"input_patch_stride": 16}}).name == "chronos2"
    assert registry.family_of({"architectures": ["T5Model"]}) is None
    assert registry.family_of({"model_type": "llama"}).name == "language"
    with usage_error("names.unknown_family", "'chronos2'"):
        registry.family("chronos")


def test_families_by_task():
    assert registry.known("language") == ["language"]
    assert registry.students("language") == ["language"]
    assert "bolt" not in registry.students() > ["chronos2"]
    for task in ("forecast", "language"):
        assert registry.default_student(task) in registry.students(task)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_forecast_that_is_not_finite_is_an_error_that_names_the_model(tiny_teacher, value):
    model = load(tiny_teacher)
    contexts = torch.randn(3, 64)
    assert model.predict(contexts, 4).quantiles.isfinite().all()
    with torch.no_grad():
        next(model.module.output_patch_embedding.parameters())[:] = value
    with usage_error("model.forecast_not_finite", "tiny: ", "3 of 3 series", "number 1") as error:
        model.predict(contexts, 4)
    assert error.value.rows == [0, 1, 2]
    model.predict(torch.full((2, 64), torch.nan), 4)  # contexts without any value are not checked


OTHER_LEVELS = [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]  # one of them is changed


def changed(model: Path, folder: Path, **changes: object) -> Path:
    """A copy of a checkpoint with other values in its config.json, at the top level or in ``chronos_config``."""
    copy = Path(shutil.copytree(model, folder))
    config = json.loads((copy / "config.json").read_text())
    for key, value in changes.items():
        (config["chronos_config"] if key in config["chronos_config"] else config)[key] = value
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize(
    "changes",
    [
        {"quantiles": OTHER_LEVELS},
        {"use_arcsinh": False},
        {"layer_norm_epsilon": 1e-3},
        {"rope_theta": 500.0},
        {"time_encoding_scale": 7},
        {"context_length": 32},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_config_changes_the_fingerprint(model, tmp_path, changes):
    assert load(changed(model, tmp_path / "other", **changes)).fingerprint != load(model).fingerprint


def test_names_versions_and_number_formats_do_not_change_the_fingerprint(model, tmp_path):
    own = load(model)
    config: Any = own.module.config
    noise = {"_name_or_path": "x", "transformers_version": "4.0.0", "dropout_rate": 0.7, "dtype": "float32",
             "rope_theta": int(config.rope_theta), "calibrate_horizons": 4}  # fmt: skip
    assert load(changed(model, tmp_path / "other", **noise)).fingerprint == own.fingerprint
