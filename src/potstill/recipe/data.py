"""The data section: files, splits, windows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from potstill.recipe.base import RecipeNode, invalid


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
    target: list[str] | None = Field(
        default=None, description="columns to forecast; default: as in data.columns, all numeric columns"
    )
    columns: Literal["all", "first"] = Field(
        default="all", description="without target: all numeric columns of a file, or its first"
    )
    context_length: int = Field(default=720, ge=1, description="steps of history in a window")
    prediction_length: int = Field(default=96, ge=1, description="steps to forecast in a window")
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

    @model_validator(mode="after")
    def _check_shares_and_columns(self) -> SeriesData:
        if self.synthetic + self.augmented > 1:
            raise invalid("data.shares_above_one", "synthetic + augmented must not exceed 1")
        if self.target and self.columns == "first":
            raise invalid("data.target_and_columns", "target names the columns; leave columns out")
        return self


class TextData(DataConfig):
    """The texts and their tokenisation."""

    max_length: int = Field(default=512, ge=8, description="maximum tokens of a prompt and its answer together")
    format: Literal["auto", "alpaca", "sharegpt", "messages", "question_answer", "text"] = Field(
        default="auto", description="format of the records; auto detects it from their keys"
    )
