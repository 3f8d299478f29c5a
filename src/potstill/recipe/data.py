"""The data section: files, splits, windows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from potstill.recipe.base import RecipeNode, invalid
from potstill.recipe.device import DeviceData


class DataConfig(RecipeNode):
    """The files, and their split into training, validation and test parts."""

    paths: list[str] = Field(
        default_factory=list,
        description="CSV or Parquet files (for text also JSON) or folders; 'embedded' is the data set ETTh1,"
        " 'embedded/NAME' another one of the package",
    )
    exclude: list[str] = Field(default_factory=list, description="file names (without ending) to leave out")
    max_files: int | None = Field(default=None, ge=1, description="maximum number of files to read")
    split: Annotated[str, Field(description="fractions of training, validation and test, such as 8:1:1")] = "8:1:1"


class SeriesData(DataConfig):
    """The series and their windows. Lengths are in steps of the series."""

    split: Annotated[
        str,
        Field(
            description="fractions of training, validation and test, such as 8:1:1; or 'ett', 'suite', 'by-file' or"
            " two dates 'D1,D2'"
        ),
    ] = "8:1:1"
    train_only: list[str] = Field(
        default_factory=list,
        description="entries of paths whose series are only trained on: they have no validation and no test part",
    )
    target: list[str] | None = Field(
        default=None, description="columns to forecast; default: as in data.columns, all numeric columns"
    )
    id_column: list[str] | None = Field(
        default=None,
        description="columns that together tell the series of a table apart, such as store,item; default: found by name"
        " or by what makes times unique within an id",
    )
    decimal: Literal[".", ","] | None = Field(
        default=None,
        description="the mark that separates decimals of numbers in text, . or , (the other one separates thousands);"
        " default: found from the cells",
    )
    columns: Literal["all", "first"] = Field(
        default="all", description="without target: all numeric columns of a file, or its first"
    )
    time_column: str | None = Field(default=None, description="column with the time; default: found by name or content")
    date_format: str | None = Field(
        default=None, description="format of the dates, as for strptime, such as %d/%m/%Y; default: found by content"
    )
    freq: str | None = Field(
        default=None,
        description="pandas alias of the step of all series, such as D, 15min, W-SUN, MS; default: inferred for each",
    )
    known: list[str] = Field(
        default_factory=list,
        description="columns that help to forecast the target and are known for the future, such as promo or holiday;"
        " numbers or text",
    )
    past: list[str] = Field(
        default_factory=list, description="columns that help to forecast the target and are not known for the future"
    )
    groups: str | None = Field(
        default=None,
        description="series that are forecast together, each with the others' past: table (all series of a table with"
        " one step), or an id column, whose values name the groups; default: each series on its own",
    )
    context_length: int = Field(default=720, ge=3, description="steps of history in a window")
    prediction_length: int = Field(
        default=96,
        ge=1,
        description="steps to forecast in a window; default: by the step of the series, such as 24 to 48 hours, 14 to"
        " 28 days or 12 months, and no more than every part of the split can hold; 96 with data.device",
    )
    stride: int = Field(default=1, ge=1, description="steps between the forecast origins of consecutive windows")
    missing: Literal["keep", "impute", "drop"] = Field(default="keep", description="treatment of missing values")
    balance: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="data sets are sampled in proportion to their window counts to this power (1: every window once)",
    )
    synthetic: float = Field(default=0.0, ge=0, le=1, description="share of training windows from synthetic generators")
    augmented: float = Field(
        default=0.0, ge=0, le=1, description="share of training windows made by mixing or warping real series"
    )
    distinct_windows: int | None = Field(
        default=None,
        ge=1,
        description="number of distinct training windows if some are generated, so that stored labels serve many"
        " epochs; default: new windows at every step",
    )
    label_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of the training windows that the teacher forecasts; the others are trained on the truth"
        " alone",
    )
    train_windows: int | None = Field(
        default=None, ge=1, description="use only this many real training windows, to simulate scarce data"
    )
    device: DeviceData | None = Field(
        default=None, description="make the training windows on the device that trains; default: load them"
    )

    @model_validator(mode="after")
    def _check_shares_and_columns(self) -> SeriesData:
        if self.synthetic + self.augmented > 1:
            raise invalid("data.shares_above_one", "synthetic + augmented must not exceed 1")
        for column in dict.fromkeys([*self.known, *self.past]):
            if [*self.known, *self.past, *(self.target or [])].count(column) > 1:
                raise invalid(
                    "data.column_twice",
                    f"{column!r} is named twice; a column is a target, known, or past, and one of them",
                )
        if self.device is not None and (self.known or self.past or self.groups):
            raise invalid(
                "data.covariates_on_device",
                "device: columns of known and past, and groups of series, are loaded; leave device out",
            )
        if self.id_column is not None and not self.id_column:
            raise invalid("data.no_id_column", "id_column names no column; leave it out to have the ids found")
        for column in self.id_column or ():
            if (self.id_column or []).count(column) > 1 or column in (self.target or ()):
                raise invalid("data.column_twice", f"{column!r} is named twice, as an id or as an id and a target")
        if self.target and self.columns == "first":
            raise invalid("data.target_and_columns", "target names the columns; leave columns out")
        return self

    @model_validator(mode="after")
    def _check_train_only(self) -> SeriesData:
        for path in self.train_only:
            if path not in self.paths:
                raise invalid("data.train_only_not_in_paths", f"train_only: {path!r} is not an entry of paths; add it")
        return self

    @model_validator(mode="after")
    def _check_device(self) -> SeriesData:
        if self.device is None:
            return self
        for key in ("stride", "missing", "balance", "train_windows", "distinct_windows"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise invalid("data.not_on_device", f"{key} does not apply to windows made on the device; leave it out")
        for key, limit in (("contexts", "context_length"), ("horizons", "prediction_length")):
            longest = max(getattr(self.device, key), default=0)
            if longest > getattr(self, limit):
                raise invalid(
                    "data.device_too_long",
                    f"device.{key}: {longest} is above {limit}; raise {limit} to {longest}",
                )
        return self


class TextData(DataConfig):
    """The texts and their tokenisation."""

    max_length: int = Field(default=512, ge=8, description="maximum tokens of a prompt and its answer together")
    format: Literal["auto", "alpaca", "sharegpt", "messages", "question_answer", "text"] = Field(
        default="auto", description="format of the records; auto detects it from their keys"
    )
