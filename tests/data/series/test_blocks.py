"""Files read in blocks: the store is bit for bit that of the file read as a whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from potstill.data.series import build, steps
from potstill.data.series.blocks import files, layout
from potstill.data.series.frames import series_block
from potstill.data.series.opening import open_store
from potstill.errors import UserError
from potstill.recipe import SeriesData

ROWS = 400
WHOLE = "is read as a whole"


@pytest.fixture
def small_blocks(monkeypatch):
    """Every file is large, a block has some hundred rows, and a few series are laid out together."""
    monkeypatch.setattr(files, "LARGE", 0)
    monkeypatch.setattr(files, "BLOCK", 1 << 13)
    monkeypatch.setattr(layout, "RANGE", 900)
    monkeypatch.setattr(steps, "_RANGE", 700)


def contents(folder: Path) -> dict[str, bytes]:
    """The files of the only store of a cache, by name."""
    (store,) = (entry for entry in folder.iterdir() if entry.is_dir())
    return {file.name: file.read_bytes() for file in sorted(store.iterdir())}


def both(tmp_path: Path, monkeypatch, capsys, paths: list[Path], **config) -> tuple[dict, dict, str]:
    """The store's files read as a whole and read in blocks, and what was printed meanwhile."""
    data = SeriesData(**{"paths": [str(path) for path in paths], **config})
    with monkeypatch.context() as patch:
        patch.setattr(files, "LARGE", 1 << 40)
        patch.setattr(steps, "_RANGE", 1 << 40)
        open_store(data, tmp_path / "whole")
    capsys.readouterr()
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(build, "series_block", lambda *args: calls.append(args) or series_block(*args))
        open_store(data, tmp_path / "blocks")
    said = capsys.readouterr().err
    assert bool(calls) == (WHOLE in said), "a file that is read as a whole is said to be"
    return contents(tmp_path / "whole"), contents(tmp_path / "blocks"), said


def long_table(series: int = 12, rows: int = ROWS, seed: int = 0, freq: str = "h") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = [
        pd.DataFrame(
            {
                "unique_id": f"s{k:02d}",
                "ds": pd.date_range("2024-01-01", periods=rows - 7 * k, freq=freq),
                "y": rng.normal(size=rows - 7 * k).cumsum().round(3),
            }
        )
        for k in range(series)
    ]
    return pd.concat(parts, ignore_index=True)


def wide_table(columns: int = 5, rows: int = 4000) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=rows, freq="15min")})
    for k in range(columns):
        table[f"load {k}"] = rng.normal(size=rows).cumsum().round(4)
    table.loc[10:40, "load 1"] = np.nan
    return table


def shuffled_a_little(table: pd.DataFrame) -> pd.DataFrame:
    order = np.arange(len(table)) + np.random.default_rng(2).normal(0, 40, len(table))
    return table.iloc[np.argsort(order)].reset_index(drop=True)


def with_gaps(table: pd.DataFrame) -> pd.DataFrame:
    return table.loc[np.random.default_rng(3).random(len(table)) > 0.1]


def with_other_steps(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, long_table(3, 300, 5, "D").assign(unique_id=lambda t: "day " + t["unique_id"])])


def with_empty_rows(table: pd.DataFrame) -> pd.DataFrame:
    table = table.copy()
    table.loc[100:120, "ds"] = pd.NaT
    table.loc[3000:3010, "unique_id"] = None
    table.loc[table["unique_id"] == "s05", "y"] = np.nan
    table.loc[table["unique_id"] == "s06", "y"] = 4.0
    return table


def with_far_date(table: pd.DataFrame) -> pd.DataFrame:
    table = table.copy()
    table.loc[4000, "ds"] = pd.Timestamp("2200-01-01")
    return table


def with_many_holes(table: pd.DataFrame) -> pd.DataFrame:
    last = (table["unique_id"] == "s11") & (table.groupby("unique_id").cumcount() > 150)
    return table.assign(ds=table["ds"].where(~last, table["ds"] + pd.Timedelta(days=9000)))


def as_dates(form: str):
    return lambda table: table.assign(ds=table["ds"].dt.strftime(form))


def with_two_targets(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(z=np.arange(len(table)) % 17 / 4, counter=np.arange(len(table)))


def with_zone(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(ds=table["ds"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"))


CHANGES = {
    "sorted by id": lambda table: table,
    "sorted by time": lambda table: table.sort_values(["ds", "unique_id"]),
    "sorted by time, backwards": lambda table: table.sort_values("ds", ascending=False),
    "a little out of order": shuffled_a_little,
    "gaps": with_gaps,
    "two steps": with_other_steps,
    "days": lambda table: long_table(freq="D"),
    "business days": lambda table: long_table(freq="B"),
    "months": lambda table: long_table(14, 300, freq="ME"),
    "rows without time, id or value": with_empty_rows,
    "a mistyped year": with_far_date,
    "gaps too long to fill": with_many_holes,
    "dates with slashes": as_dates("%d/%m/%Y %H:%M"),
    "epochs": lambda table: table.assign(ds=table["ds"].astype("int64") // 10**9),
    "two targets": with_two_targets,
    "whole ids": lambda table: table.assign(unique_id=table["unique_id"].str[1:].astype(int)),
    "two ids": lambda table: table.assign(unique_id=table["unique_id"].str[:2], part=table["unique_id"].str[2:]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_long_tables(tmp_path, monkeypatch, capsys, small_blocks, change, ending):
    table, path = CHANGES[change](long_table()), tmp_path / f"table.{ending}"
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path, index=False)
    config = {"id_column": ["unique_id", "part"]} if change == "two ids" else {}
    whole, blocks, said = both(tmp_path, monkeypatch, capsys, [path], **config)
    assert WHOLE not in said, said
    assert blocks == whole
    assert len(whole["values.f32"]) > 3500 * 4


def test_zones(tmp_path, monkeypatch, capsys, small_blocks):
    path = tmp_path / "table.parquet"
    with_zone(long_table(20, 300, freq="D")).to_parquet(path)
    whole, blocks, said = both(tmp_path, monkeypatch, capsys, [path])
    assert WHOLE not in said
    assert blocks == whole


@pytest.mark.parametrize("freq", ["h", "30min"])
def test_given_step(tmp_path, monkeypatch, capsys, small_blocks, freq):
    path = tmp_path / "table.csv"
    with_gaps(long_table()).to_csv(path, index=False)
    whole, blocks, said = both(tmp_path, monkeypatch, capsys, [path], freq=freq)
    assert WHOLE not in said
    assert blocks == whole


def test_wide_tables(tmp_path, monkeypatch, capsys, small_blocks):
    for ending in ("csv", "parquet", "csv.gz"):
        folder = tmp_path / ending
        folder.mkdir()
        path = folder / f"table.{ending}"
        wide_table().to_parquet(path) if ending == "parquet" else wide_table().to_csv(path, index=False)
        whole, blocks, said = both(folder, monkeypatch, capsys, [path])
        assert WHOLE not in said, said
        assert blocks == whole


def test_without_time(tmp_path, monkeypatch, capsys, small_blocks):
    path = tmp_path / "table.csv"
    wide_table().drop(columns="date").to_csv(path, index=True)
    whole, blocks, said = both(tmp_path, monkeypatch, capsys, [path])
    assert WHOLE not in said, said
    assert blocks == whole


def test_several_files(tmp_path, monkeypatch, capsys, small_blocks):
    paths = [tmp_path / "a.csv", tmp_path / "b.parquet", tmp_path / "c.csv"]
    long_table().sort_values("ds").to_csv(paths[0], index=False)
    wide_table().to_parquet(paths[1])
    wide_table(2).to_csv(paths[2], index=False)
    whole, blocks, said = both(tmp_path, monkeypatch, capsys, paths)
    assert WHOLE not in said
    assert blocks == whole


def test_text_of_numbers(tmp_path, monkeypatch, capsys, small_blocks):
    """Quoted cells, marks of missing values, cells that are no numbers late in the file, and ragged rows."""
    table = long_table()
    text = table["y"].astype(str)
    text[50:90] = "NA"
    text[3500:3520] = "-"
    text[4200] = "broken"
    text[4300] = "inf"
    table["y"] = text
    table["late"] = np.where(np.arange(len(table)) > 4000, "1.5", "")
    table["text"] = "some words"
    path = tmp_path / "table.csv"
    lines = table.to_csv(index=False, quoting=1).splitlines(keepends=True)
    lines.insert(3900, "one,two\n")
    path.write_text("".join(lines))
    whole, blocks, said = both(tmp_path, monkeypatch, capsys, [path], target=["y", "late"])
    assert WHOLE not in said, said
    assert blocks == whole
    assert b"'broken'" in whole["index.json"]
    assert b"line 4203" in whole["index.json"]


def test_decimal_commas(tmp_path, monkeypatch, capsys, small_blocks):
    table = long_table()
    table["y"] = (table["y"] + 5000).map(lambda value: f"{value:,.2f}".translate(str.maketrans(".,", ",.")))
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False, sep=";")
    whole, blocks, said = both(tmp_path, monkeypatch, capsys, [path])
    assert WHOLE not in said, said
    assert blocks == whole


def test_covariates(tmp_path, monkeypatch, capsys, small_blocks):
    table = long_table().sort_values("ds", ignore_index=True)
    rng = np.random.default_rng(7)
    table["price"] = rng.normal(size=len(table)).round(2)
    table["weather"] = rng.choice(["sun", "rain", "snow"], len(table))
    table.loc[4000:, "weather"] = "fog"
    table.loc[len(table) - 30 :, "y"] = np.nan
    for ending in ("csv", "parquet"):
        folder = tmp_path / ending
        folder.mkdir()
        path = folder / f"table.{ending}"
        table.to_parquet(path) if ending == "parquet" else table.to_csv(path, index=False)
        whole, blocks, said = both(folder, monkeypatch, capsys, [path], known=["price"], past=["weather"])
        assert WHOLE not in said, said
        assert blocks == whole
        assert len(whole["covariates.f32"]) == 2 * 4 * len(table)


def shops(series: int = 12, rows: int = 400) -> pd.DataFrame:
    """Sales by shop and item, of which nothing says that they are ids."""
    table = long_table(series, 500)
    table = table[table.groupby("unique_id").cumcount() < rows]
    number = table["unique_id"].str[1:].astype(int)
    return pd.DataFrame(
        {"shop": number // 4, "item": "i" + (number % 4).astype(str), "date": table["ds"], "sales": table["y"]}
    )


@pytest.mark.parametrize("order", [["shop", "item", "date"], ["date", "shop", "item"], ["item", "date", "shop"]])
def test_ids_are_found(tmp_path, monkeypatch, capsys, small_blocks, order):
    path = tmp_path / "table.csv"
    shops().sort_values(order).to_csv(path, index=False)
    whole, blocks, said = both(tmp_path, monkeypatch, capsys, [path])
    assert WHOLE not in said, said
    assert blocks == whole
    assert len(np.frombuffer(whole["values.f32"], np.float32)) == 12 * 400


def test_one_id_column_is_found(tmp_path, monkeypatch, capsys, small_blocks):
    path = tmp_path / "table.parquet"
    long_table().rename(columns={"unique_id": "shop"}).to_parquet(path)
    whole, blocks, said = both(tmp_path, monkeypatch, capsys, [path])
    assert WHOLE not in said
    assert blocks == whole


REFUSED = {
    "ids with gaps": (lambda table: shops()[lambda t: np.random.default_rng(0).random(len(t)) > 0.5], "--id-column"),
    "dates of two orders": (lambda table: long_table(12, 9 * 40).assign(
        ds=lambda t: pd.to_datetime("2020-01-01") + pd.to_timedelta(t.groupby("unique_id").cumcount() % 9, "D")
    ).drop_duplicates(["unique_id", "ds"]).pipe(as_dates("%d/%m/%Y")), "--date-format"),
    "zones in text": (lambda table: table.assign(ds=table["ds"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")), "Parquet"),
}  # fmt: skip


@pytest.mark.parametrize("change", REFUSED)
def test_what_all_rows_decide_is_read_as_a_whole(tmp_path, monkeypatch, capsys, small_blocks, change):
    make, remedy = REFUSED[change]
    path = tmp_path / "table.csv"
    make(long_table()).to_csv(path, index=False)
    whole, blocks, said = both(tmp_path, monkeypatch, capsys, [path])
    assert WHOLE in said
    assert remedy in said
    assert blocks == whole


def test_an_unreadable_time_late_in_the_file_is_named(tmp_path, monkeypatch, small_blocks):
    table = long_table().assign(ds=lambda t: t["ds"].astype(str))
    table.loc[4100, "ds"] = "yesterday"
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    with pytest.raises(UserError, match=r"line 4102: 'yesterday' in time column 'ds'"):
        open_store(SeriesData(paths=[str(path)]), tmp_path / "cache")


def test_a_file_of_one_numeric_column_that_becomes_text(tmp_path, monkeypatch, capsys, small_blocks):
    """Half of the cells decide whether a column has numbers: the sample and all rows disagree."""
    table = wide_table(2)
    table["mixed"] = np.where(np.arange(len(table)) < 2100, "1", "word")
    table["text"] = np.where(np.arange(len(table)) < 1000, "1", "word")
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    whole, blocks, _ = both(tmp_path, monkeypatch, capsys, [path])
    assert blocks == whole


def test_repeated_times(tmp_path, monkeypatch, capsys, small_blocks):
    table = pd.concat([long_table(), long_table()[3000:3005].assign(y=1.0)])
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    whole, blocks, said = both(tmp_path, monkeypatch, capsys, [path])
    assert WHOLE not in said
    assert blocks == whole


def test_progress_is_shown(tmp_path, monkeypatch, capsys, small_blocks):
    monkeypatch.setattr(files, "LARGE", 1 << 19)
    path = tmp_path / "table.csv"
    pd.concat([long_table(seed=k).assign(unique_id=lambda t, k=k: f"{k}" + t["unique_id"]) for k in range(20)]).to_csv(
        path, index=False
    )
    open_store(SeriesData(paths=[str(path)]), tmp_path / "cache")
    assert "Reading table: 50 %" in capsys.readouterr().err
