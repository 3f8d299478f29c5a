"""Loading: folders, runs and hub ids; what is refused, and how it is said."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from potstill.errors import UnknownName, UserError
from potstill.families import registry
from potstill.families.load import load


@pytest.fixture
def model(tiny_teacher: Path, tmp_path: Path) -> Path:
    """A copy of the tiny teacher to spoil."""
    return Path(shutil.copytree(tiny_teacher, tmp_path / "model"))


def refusal(source: str | Path, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        load(source, **options)
    sentence = str(caught.value)
    assert sentence.startswith(str(source).split("/model")[0])
    assert "\n" not in sentence
    return sentence


class Trap:
    """Touches a file when unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin", "weights.pt", "model.pkl", "model.ckpt"])
def test_pickles_are_refused_unread(model, tmp_path, name):
    (model / "model.safetensors").unlink()
    (model / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    sentence = refusal(model)
    assert name in sentence
    assert "pickle" in sentence
    assert not (tmp_path / "sprung").exists()


def test_a_pickle_beside_safetensors_is_not_read(model, tmp_path):
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert load(model).parameters > 0
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kept", [0, 5, 40, -1000])
def test_weights_that_are_cut_off(model, kept):
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    assert "damaged or cut off" in refusal(model)


def test_weights_that_are_missing_are_not_made_up(model):
    tensors = load_file(model / "model.safetensors")
    del tensors["encoder.block.1.layer.2.mlp.wi.weight"]
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 1 of the model's weights" in refusal(model)


def test_weights_of_other_shapes_than_the_config(model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "d_ff": 48}))
    assert "other shapes" in refusal(model)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no config.json"),
        ("{", "no readable JSON"),
        ("[1]", "expected an object"),
        ('{"architectures": ["LlamaForCausalLM"]}', "is a language model, no forecaster"),
        ("{}", "no architecture named"),
        ('{"architectures": null, "chronos_config": null}', "no architecture named"),
        ('{"architectures": ["Chronos2Model"], "chronos_config": [1]}', "cannot be loaded"),
        ('{"architectures": ["Chronos2Model"]}', "cannot be loaded"),
    ],
)
def test_configs_that_are_none(model, text, says):
    if text is None:
        (model / "config.json").unlink()
    else:
        (model / "config.json").write_text(text)
    assert says in refusal(model)


def test_a_folder_without_weights(model):
    (model / "model.safetensors").unlink()
    assert "holds no model.safetensors" in refusal(model)


@pytest.mark.parametrize("source", ["./absent", "/absent/folder", "absent", "one/two/three"])
def test_neither_a_folder_nor_a_hub_id(source):
    assert "no such folder, and no hub id either" in refusal(source)


def test_a_file_is_no_folder(model):
    assert "is a file" in refusal(model / "config.json")


def test_a_hub_id_offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    sentence = refusal("nobody/nothing-of-this-name")
    assert "HF_HUB_OFFLINE is set" in sentence
    assert "local folder" in sentence


@pytest.fixture
def hub(monkeypatch, model) -> list:
    """A hub that holds the tiny teacher with a card, and writes down what it was asked for."""
    from chronos.chronos2 import Chronos2Model

    (model / "README.md").write_text('---\nlicense: "mit"\n---\n# A model\n')
    asked: list = []

    def download(repository: str, name: str, revision: str | None = None) -> str:
        asked.append((repository, name, revision))
        if not (model / name).exists():
            raise FileNotFoundError(name)
        return str(model / name)

    upstream = Chronos2Model.from_pretrained

    def from_pretrained(name: str, **options: object):
        asked.append((name, "weights", options.pop("revision", None)))
        return upstream(str(model), **options)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr(Chronos2Model, "from_pretrained", from_pretrained)
    return asked


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


def test_a_run_is_its_student(model, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("task: forecast\n")
    assert "no config.json" in refusal(run)
    shutil.copytree(model, run / "student")
    (run / "student" / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    loaded = load(run)
    assert loaded.fingerprint == load(model).fingerprint
    assert loaded.source.licence == "apache-2.0"
    assert load(model).source.licence is None


def test_a_loaded_teacher_freezes(model):
    teacher = load(model).freeze()
    assert not teacher.module.training
    assert not any(p.requires_grad for p in teacher.module.parameters())


def test_families_by_name():
    assert registry.family("chronos2").name == "chronos2"
    assert registry.family_of({"architectures": ["Chronos2Model"]}).name == "chronos2"
    assert registry.family_of({"chronos_config": {"input_patch_stride": 16}}).name == "chronos2"
    assert registry.family_of({"architectures": ["T5Model"]}) is None
    with pytest.raises(UnknownName, match="Did you mean 'chronos2'"):
        registry.family("chronos")
