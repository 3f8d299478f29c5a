"""An invented run folder with every part that a report can show; numbers are plausible, nothing is trained."""

from __future__ import annotations

import json
import math
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

HOSTILE = "<script>alert('x')</script>"
MODELS = ("teacher", "student", "control", "seasonal_naive", "ridge", "auto_theta")
DATASETS = ("ETTh1", "tetuan_power", "metro_traffic_regular", "bike_sharing", "beijing_pm25", "fred_md")
SKILL = {"teacher": 0.77, "student": 0.775, "control": 0.80, "seasonal_naive": 1.0, "ridge": 0.86, "auto_theta": 0.97}
PARAMETERS = {"teacher": 5_243_904, "student": 471_936, "control": 471_936, "seasonal_naive": 0, "ridge": 49_248}
RATES = {"teacher": 262, "student": 3144, "control": 3144, "seasonal_naive": 2.1e6, "ridge": 5.1e5, "auto_theta": 11}
METRICS = (
    "mse", "mae", "rmse", "mse_raw", "mae_raw", "rmse_raw", "mape", "smape", "wape", "mase", "rmsse", "sql", "wql",
)  # fmt: skip


def write_fake_run(folder: Path, hostile: bool = True) -> Path:
    """Write metrics.json, log.jsonl, recipe.yaml and forecasts.json; series names contain markup if ``hostile``."""
    folder.mkdir(parents=True, exist_ok=True)
    series = HOSTILE if hostile else "HUFL"
    (folder / "metrics.json").write_text(json.dumps(fake_metrics(series)))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in fake_log()) + '{"event": "tra')
    (folder / "forecasts.json").write_text(json.dumps(fake_forecasts(series)))
    (folder / "recipe.yaml").write_text(
        "task: forecast\nteacher:\n- source: embedded\n  weight: 1.0\nstudent:\n  family: chronos2\n  overrides:\n"
        "    num_layers: 2\n    d_model: 96\ndata:\n  paths: [ETTh1.csv]\n  context_length: 512\n"
        f"  prediction_length: 96\n  target: ['{series}']\ntraining:\n  learning_rate: 0.001\n  seed: 0\n"
    )
    return folder


def fake_metrics(series: str = HOSTILE) -> dict[str, Any]:
    """metrics.json with teacher, student, control and three baselines on six data sets."""
    rng = random.Random(0)
    spread = {dataset: rng.uniform(0.8, 1.15) for dataset in DATASETS}
    scale = {dataset: rng.uniform(0.3, 0.9) for dataset in DATASETS}
    models: dict[str, Any] = {}
    for model in MODELS:
        for dataset in DATASETS:
            jitter = 1 if model == "seasonal_naive" else spread[dataset] * rng.uniform(0.985, 1.015)
            relative = SKILL[model] * jitter
            entry = {m: scale[dataset] * relative * (1 + i / 7) for i, m in enumerate(METRICS)}
            entry |= {f"{m}_rel_naive": relative for m in METRICS}
            entry |= {f"{m}_rel_teacher": relative / (SKILL["teacher"] * spread[dataset]) for m in METRICS}
            others = {"coverage_80": rng.uniform(0.74, 0.83), "bias": rng.uniform(-0.1, 0.1)}
            models.setdefault(model, {})[dataset] = entry | others
    cost = {
        model: {
            "parameters": PARAMETERS.get(model, 0),
            "bytes": PARAMETERS.get(model, 0) * 4,
            "flops": PARAMETERS.get(model, 0) * 68,
            "latency_ms_b1": 1.0 + 900 / RATES[model],
            "latency_ms_b1_range": [0.9 + 900 / RATES[model], 1.2 + 900 / RATES[model]],
            "series_per_second_b32": RATES[model],
            "series_per_second_b256": RATES[model] * 1.4,
            "peak_mb": 310 + PARAMETERS.get(model, 0) / 1e5,
        }
        for model in MODELS
    }
    return {
        "models": models,
        "cost": cost,
        "intervals": {"student/control": {"sql": {"value": 0.969, "low": 0.951, "high": 0.987}}},
        "by_step": {m: {d: fake_steps(SKILL[m]) for d in DATASETS} for m in MODELS},
        "calibration": fake_calibration(),
        "worst_series": fake_worst(series),
        "account": fake_account(series),
        "provenance": fake_provenance(),
    }


def fake_steps(level: float) -> dict[str, list[float]]:
    """Errors that grow with the step ahead."""
    return {key: [level * (0.4 + 0.6 * (h / 96) ** 0.5) for h in range(1, 97)] for key in ("sql", "mase")}


def fake_calibration() -> dict[str, Any]:
    """Quantiles that are a little too narrow."""
    levels = [i / 10 for i in range(1, 10)]
    below = {
        m: {d: [0.5 + (0.8 + 0.02 * i) * (q - 0.5) for q in levels] for d in DATASETS} for i, m in enumerate(MODELS)
    }
    return {"levels": levels, "models": below}


def fake_worst(series: str) -> list[dict[str, Any]]:
    """Twenty series, the first with the given name."""
    names = [f"ETTh1/{series}", *(f"fred_md/S{i}" for i in range(19))]
    return [
        {
            "series": name,
            "dataset": name.split("/")[0],
            "windows": 40 + i,
            "sql": {"student": 3 - i / 10, "teacher": 2.8 - i / 10, "seasonal_naive": 3.1},
            "mase": 3.6 - i / 10,
            "bias": 0.3 - i / 20,
            "coverage_80": 0.6 + i / 100,
        }
        for i, name in enumerate(names)
    ]


def fake_account(series: str = HOSTILE) -> dict[str, Any]:
    """The account of the evaluation and the data report (potstill.data.data_report.DataReport)."""
    return {
        "datasets": {
            "ETTh1": {"windows": 553, "stride": 5, "dropped": {}, "baselines": {"auto_theta": {"windows": 200}}},
            "fred_md": {"windows": 1480, "stride": 1, "dropped": {"missing truth": 3}, "baselines": {}},
        },
        "levels": [0.1, 0.5, 0.9],
        "series": {
            "ETTh1": {
                "series": 7,
                "rows": 121_940,
                "missing": 0,
                "steps": {"h": 1.0},
                "season": 24,
                "first": "2016-07-01",
                "last": "2018-06-26T19:00:00",
            },
            "fred_md": {"series": 105, "rows": 76_440, "missing": 812, "steps": {"MS": 0.9, "QS": 0.1}, "season": 12},
        },
        "data": {
            "used": {"files": 6, "series": 147, "rows": 1_204_311, "windows_train": 843_017},
            "dropped": [
                {"kind": "series", "why": "constant", "count": 2, "examples": ["bike_sharing/holiday", series]},
                {"kind": "series", "why": "too short", "count": 1, "examples": ["fred_md/ACOGNO"]},
            ],
            "repaired": [{"how": "infinite values kept as missing", "count": 14, "examples": ["beijing_pm25/pm2.5"]}],
            "notes": ["ETTh1.csv: 'date' taken as time."],
        },
    }


def fake_provenance() -> dict[str, Any]:
    """The provenance of the run."""
    fingerprint = "9f2b6c1e0d" * 6
    teacher = {"source": "embedded", "revision": None, "licence": "Apache-2.0", "fingerprint": fingerprint}
    return {
        "teachers": {"embedded": teacher},
        "data": {"paths": ["ETTh1.csv"], "fingerprint": fingerprint},
        "seed": 0,
        "versions": {"python": "3.11.9", "potstill": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
        "hardware": {"machine": "x86_64", "processor": "AMD EPYC", "cores": 2, "threads": 2, "gpu": None},
        "finished": "2025-11-21T11:20:04Z",
        "command": "potstill distill --teacher embedded --data ETTh1.csv --output runs/demo --control",
    }


def fake_log() -> list[dict[str, Any]]:
    """Train and eval lines of student and control, with a step logged twice, as after a resume."""
    rng, lines = random.Random(1), []
    for model in ("student", "control"):
        for step in range(10, 6001, 10):
            soft, hard = (base + math.exp(-step / 600) + rng.gauss(0, 0.012) for base in (0.11, 0.34))
            terms = {"expected_pinball": soft, "pinball": hard} if model == "student" else {"pinball": hard}
            loss = 0.8 * soft + 0.2 * hard if model == "student" else hard
            line = {"event": "train", "step": step, "epoch": step / 6000, "loss": loss, "terms": terms, "lr": 1e-3}
            lines.append(line if model == "student" else {**line, "model": model})
            if step % 600 == 0:
                sql = (0.52 if model == "student" else 0.535) + 0.3 * math.exp(-step / 900) + rng.gauss(0, 0.003)
                evaluated = {"event": "eval", "step": step, "sql": sql, "rel_naive": sql / 0.7}
                lines.append(evaluated if model == "student" else {**evaluated, "model": model})
    return [*lines, lines[5]]


def fake_forecasts(series: str) -> dict[str, Any]:
    """forecasts.json: three windows of three data sets."""
    rng, examples = random.Random(2), []
    for place, dataset in enumerate(("ETTh1", "tetuan_power", "fred_md")):
        horizon, season, level = (12, 12, 110.0) if dataset == "fred_md" else (96, 24, 10.0 ** (place + 1))
        for kind, noise in (("best", 0.06), ("median", 0.16), ("worst", 0.4)):
            walk, values = 0.0, []
            for t in range(3 * horizon):
                walk += rng.gauss(0, noise / 4)
                values.append(
                    level * (1 + 0.3 * math.sin(2 * math.pi * t / season) + 0.3 * walk + rng.gauss(0, noise / 6))
                )
            examples.append(
                {
                    "dataset": dataset,
                    "series": f"{dataset}/{series}",
                    "origin": 12_000 + 96 * place,
                    "kind": kind,
                    "sql": {"student": 0.2 + noise, "teacher": 0.19 + noise, "control": 0.23 + noise},
                    "context": [None if t in (7, 8) else v for t, v in enumerate(values[: 2 * horizon])],
                    "truth": values[2 * horizon :],
                    "times": fake_times(len(values), "M" if dataset == "fred_md" else "h"),
                    "forecasts": {
                        model: _bands(level, season, horizon, off, noise)
                        for model, off in (("teacher", 0.0), ("student", 0.02), ("control", -0.05), ("ridge", 0.08))
                    },
                }
            )
    return {"levels": [0.1, 0.5, 0.9], "examples": examples}


def fake_times(count: int, unit: str) -> list[str]:
    """Months or hours from 2016 on."""
    if unit == "M":
        return [f"{2016 + i // 12}-{1 + i % 12:02d}-01" for i in range(count)]
    first = datetime(2016, 7, 1)
    return [(first + timedelta(hours=i)).isoformat().removesuffix("T00:00:00") for i in range(count)]


def _bands(level: float, season: int, horizon: int, off: float, noise: float) -> list[list[float]]:
    steps = range(2 * horizon, 3 * horizon)
    middle = [level * (1 + off + 0.29 * math.sin(2 * math.pi * t / season + off)) for t in steps]
    width = [level * noise * (0.25 + 0.5 * i / horizon) for i in range(horizon)]
    return [[m + side * w for m, w in zip(middle, width, strict=True)] for side in (-1, 0, 1)]


def small(student: float = 0.8, teacher: float = 0.75, **more: Any) -> dict[str, Any]:
    """Metrics of a student and a teacher on two data sets, and their costs."""
    sql = {"student": student, "teacher": teacher, "seasonal_naive": 1.0}
    models = {
        name: {"A": {"sql": v, "sql_rel_naive": v}, "B": {"sql": v, "sql_rel_naive": v}} for name, v in sql.items()
    }
    cost = {"student": {"parameters": 9, "series_per_second_b32": 120}}
    cost["teacher"] = {"parameters": 100, "series_per_second_b32": 10}
    return {"models": models, "cost": cost} | more
