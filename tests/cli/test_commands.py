"""Each verb's command: where its options go."""

from pathlib import Path

import pytest

from potstill.recipe import Recipe, SeriesData, TextData


def test_distill_lays_options_over_the_recipe(tmp_path: Path, leave, calls: list):
    path = tmp_path / "r.yaml"
    path.write_text("teacher: embedded\ndata: {split: 8:1:1, stride: 4}\ntraining: {clip: 2.0}\n")
    options = "--teacher base=org/model:2 --teacher embedded --data a.csv b.csv --output run --student"
    more = (
        "--target OT,HUFL --max-steps 7 --alpha 0.5 --device cpu --set training.clip=1e-1 --seed 3 --control --resume"
    )
    assert leave("distill", str(path), *options.split(), "d_model=64,start=teacher", *more.split()) == 0
    ((verb, (recipe, output), flags),) = calls
    assert (verb, output, flags) == ("distill", "run", {"resume": True, "dry_run": False})
    assert [(t.name, t.source, t.weight) for t in recipe.teacher] == [("base", "org/model", 2), (None, "embedded", 1)]
    assert (recipe.student.start, recipe.student.overrides) == ("teacher", {"d_model": 64})
    assert (recipe.data.paths, recipe.data.target) == (["a.csv", "b.csv"], ["OT", "HUFL"])
    assert (recipe.data.split, recipe.data.stride) == ("8:1:1", 4)
    assert (recipe.training.max_steps, recipe.training.clip, recipe.training.seed) == (7, 0.1, 3)
    assert (recipe.objective.alpha, recipe.training.device, recipe.control) == (0.5, "cpu", True)


@pytest.mark.parametrize(
    ("option", "value", "where"),
    [
        ("--split", "ett", "data.split"),
        ("--max-files", "5", "data.max_files"),
        ("--context-length", "96", "data.context_length"),
        ("--prediction-length", "24", "data.prediction_length"),
        ("--stride", "3", "data.stride"),
        ("--epochs", "0.5", "training.epochs"),
        ("--batch-size", "8", "training.batch_size"),
        ("--learning-rate", "0.01", "training.learning_rate"),
        ("--labels", "folder", "labels"),
    ],
)
def test_each_option_reaches_its_key(option: str, value: str, where: str, leave, calls: list):
    assert leave("distill", "--output", "run", option, value) == 0
    node = calls[0][1][0]
    for key in where.split("."):
        node = getattr(node, key)
    assert str(node) == value
    assert calls[0][1][0] != Recipe()


def test_mix_lays_its_options_over_the_section_of_the_student(leave, calls: list):
    grown = "--grow runs/a/student --layers 1,3 --experts 8 --top-k 1 --insert after --frozen 0.5"
    assert leave("mix", *grown.split(), "--teacher", "embedded", "--output", "run", "--resume", "--dry-run") == 0
    ((verb, (recipe, output), flags),) = calls
    assert (verb, output, flags) == ("mix", "run", {"resume": True, "dry_run": True})
    grow = {"source": "runs/a/student", "layers": [1, 3], "experts": 8, "top_k": 1, "insert": "after", "frozen": 0.5}
    assert recipe.student.grow.model_dump() == grow
    assert recipe.teacher[0].source == "embedded"


def test_a_name_with_brackets_is_printed_as_it_is(leave, calls, capsys):
    assert leave("inspect", "m[red]x[/b]:smile:") == 0
    assert "m[red]x[/b]:smile:" in capsys.readouterr().out


def test_label_evaluate_forecast_inspect_and_report_reach_their_verbs(
    leave, calls: list, capsys: pytest.CaptureFixture
):
    assert leave("label", "--teacher", "embedded", "--data", "a.csv", "--output", "labels", "--engine", "local") == 0
    assert calls[-1][1][1:] == ("labels",)
    unset = dict.fromkeys(("ray_address", "concurrency", "gpus_per_worker"))
    assert calls[-1][2] == {"engine": "local", **unset}
    on_ray = ("--engine", "ray", "--ray-address", "head:6379", "--concurrency", "4", "--gpus-per-worker", "0.5")
    given = {"engine": "ray", "ray_address": "head:6379", "concurrency": 4, "gpus_per_worker": 0.5}
    assert leave("label", "--teacher", "embedded", "--data", "a.csv", "--output", "labels", *on_ray) == 0
    assert calls[-1][2] == given
    assert leave("forecast", "m", "a.csv", "--prediction-length", "3", "--output", "f.csv", *on_ray) == 0
    assert calls[-1][2].items() >= given.items()
    assert (
        leave(
            "evaluate",
            "m1",
            "m2",
            "--data",
            "a.csv",
            "--output",
            "d",
            "--stride",
            "7",
            "--baselines",
            "ridge",
            "--max-windows",
            "9",
        )
        == 0
    )
    models, data, output = calls[-1][1]
    assert (models, data.paths, output) == (["m1", "m2"], ["a.csv"], "d")
    assert calls[-1][2] == {
        "split": "test",
        "stride": 7,
        "max_windows": 9,
        "reference": None,
        "baselines": ["ridge"],
        "calibrate": None,
        "fev": None,
        "device": None,
    }
    assert (
        leave("forecast", "m", "a.csv", "--prediction-length", "3", "--output", "f.csv", "--quantiles", "0.9,0.1") == 0
    )
    assert calls[-1] == (
        "forecast",
        ("m", "a.csv", 3, "f.csv"),
        {
            "quantiles": [0.1, 0.9],
            "mean": False,
            "non_negative": False,
            "strict": False,
            "layout": "potstill",
            "future": None,
            **dict.fromkeys(
                ("target", "known", "past", "groups", "id_column", "time_column", "date_format", "freq", "decimal"),
                None,
            ),
            "known_method": "auto",
            "calibrate": None,
            "device": None,
            "engine": "local",
            **unset,
        },
    )
    assert leave("report", "run") == 0
    assert calls[-1] == ("report", ("run",), {})
    capsys.readouterr()
    assert leave("inspect", "m") == 0
    shown = capsys.readouterr().out
    assert "1,234,567" in shown
    assert "kept.layers" in shown


def test_where_and_what_to_forecast_reach_the_verbs(leave, calls: list):
    shared = ["--target", "a,b", "--id-column", "shop,sku", "--decimal", ",", "--device", "cpu", "--output"]
    columns = {"target": ["a", "b"], "id_column": ["shop", "sku"], "decimal": ","}
    assert leave("forecast", "m", "a.csv", "--prediction-length", "3", *shared, "f.csv") == 0
    assert {k: calls[-1][2][k] for k in (*columns, "device")} == {**columns, "device": "cpu"}
    assert leave("evaluate", "m", "--data", "a.csv", *shared, "d") == 0
    assert {k: getattr(calls[-1][1][1], k) for k in columns} == columns
    assert calls[-1][2]["device"] == "cpu"


def test_label_says_which_windows_a_run_will_see(leave, calls: list):
    steps = ["--max-steps", "7", "--batch-size", "8", "--seed", "3", "--device", "cpu"]
    assert leave("label", "--output", "labels", *steps) == 0
    training = calls[-1][1][0].training
    assert (training.max_steps, training.batch_size, training.seed, training.device) == (7, 8, 3, "cpu")
    assert leave("label", "--output", "labels", "--epochs", "2") == 0
    assert calls[-1][1][0].training.epochs == 2


@pytest.mark.parametrize("split", ["validation", "suite", "8:1:1"])
def test_evaluate_takes_a_part_or_a_way_to_cut(leave, calls: list, split: str):
    assert leave("evaluate", "m", "--data", "a.csv", "--output", "d", "--split", split) == 0
    assert calls[-1][2]["split"] == split


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ([], SeriesData),
        (["--set", "data.exclude=[a]"], SeriesData),
        (["--stride", "3", "--context-length", "96"], SeriesData),
        (["--set", "data.max_length=64"], TextData),
    ],
)
def test_evaluate_gives_the_data_section_that_has_the_keys(leave, calls: list, options: list[str], kind: type):
    assert leave("evaluate", "m", "--data", "a.csv", "--output", "d", *options) == 0
    assert type(calls[-1][1][1]) is kind


def test_evaluate_refuses_keys_of_both_tasks(leave, calls: list, capsys: pytest.CaptureFixture):
    options = ["--set", "data.max_length=64", "--set", "data.missing=drop"]
    assert leave("evaluate", "m", "--data", "a.csv", "--output", "d", *options) == 2
    assert "data.max_length: is for language models; leave it out" in capsys.readouterr().err
