"""The table that ends an export, and the model card of the exported folder."""

from __future__ import annotations

from pathlib import Path

from potstill.exporting.parity import EXPORTED, PYTORCH
from potstill.families.base import ModelSource
from potstill.families.places import locate
from potstill.runs import write_atomically
from potstill.runtime.folder import Manifest


def parity_table(manifest: Manifest) -> list[str]:
    """Lines of text: differences, accuracy by data set, size and speed of the exported model and of PyTorch."""
    rows = [("", "PyTorch", f"{manifest.backend} {manifest.precision}"), *_rows(manifest)]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ] + _remarks(manifest)


def write_card(folder: Path, manifest: Manifest, source: ModelSource) -> None:
    """README.md: the model's licence, the comparison, and the card of the model that was exported."""
    head = ["---", f"license: {manifest.licence or 'other'}", "library_name: potstill-runtime"]
    head += ["pipeline_tag: time-series-forecasting", "tags: [time-series, forecasting, potstill]", "---"]
    rows = [f"| {' | '.join(row)} |" for row in [("", "PyTorch", "exported"), *_rows(manifest)]]
    text = [
        *head,
        "",
        f"# {manifest.name}, {manifest.backend} {manifest.precision}",
        "",
        f"A forecaster ({manifest.family}, {manifest.parameters:,} parameters), exported by Potstill. It reads up to"
        f" {manifest.max_context} steps and forecasts {len(manifest.levels)} quantiles of the next"
        f" {manifest.max_horizon}.",
        "",
        "```python\nfrom potstill_runtime import Runtime\n\nforecast = Runtime(FOLDER).predict(contexts,"
        f" prediction_length={manifest.max_horizon})\nforecast.quantiles  # [series, levels, steps]\n```",
        "",
        "## Compared with PyTorch",
        "",
        rows[0],
        "|---|---|---|",
        *rows[1:],
        "",
        *_remarks(manifest),
        *_original(source),
    ]
    write_atomically(folder / "README.md", "\n".join(text) + "\n")


def _rows(manifest: Manifest) -> list[tuple[str, str, str]]:
    parity = manifest.parity
    sql, cost = parity["sql"], parity["cost"]
    rows = [(f"SQL {name}", f"{sql[PYTORCH][name]:.4f}", f"{sql[EXPORTED][name]:.4f}") for name in sql[PYTORCH]]

    def pair(title: str, key: str, form: str, factor: float = 1.0) -> tuple[str, str, str]:
        return title, *(form.format(factor * cost[name][key]) for name in (PYTORCH, EXPORTED))

    return [
        *rows,
        pair("size, MB", "bytes", "{:.2f}", 1e-6),
        pair("latency at batch 1, ms", "latency_ms_b1", "{:.2f}"),
        pair("series per second at batch 32", "series_per_second_b32", "{:,.0f}"),
        pair("series per second at batch 256", "series_per_second_b256", "{:,.0f}"),
    ]


def _remarks(manifest: Manifest) -> list[str]:
    parity, kept = manifest.parity, manifest.provenance.get("kept_in_fp32", [])
    layers = f" {len(kept)} matrix products stay in fp32, because they cost accuracy." if kept else ""
    return [
        f"SQL {_signed(100 * parity['added_sql'])} % (geometric mean; {parity['windows']}). Difference of the quantiles"
        f" relative to a context's standard deviation: mean {parity['mean_difference']:.2g}, largest"
        f" {parity['max_difference']:.2g}.{layers}",
        f"Import, load and first forecast in a new process: {parity['cost']['cold_start_seconds']:.2f} s.",
    ]


def _signed(number: float) -> str:
    """With a sign, to two digits after the point; no minus zero."""
    text = f"{number:+.2f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _original(source: ModelSource) -> list[str]:
    """The card of the exported model without its metadata."""
    card = Path(locate(source.location).location) / "README.md"
    if not card.is_file():
        return []
    text = card.read_text(encoding="utf-8")
    body = text.split("---\n", 2)[-1] if text.startswith("---\n") else text
    return ["", "## The model that was exported", "", body.strip().replace("\n#", "\n##").replace("# ", "### ", 1)]
