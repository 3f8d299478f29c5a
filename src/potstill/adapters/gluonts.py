"""A GluonTS predictor: forecasts of GluonTS data sets as ``QuantileForecast``.

Shapes: D target dimensions, T steps, H horizon steps, Q levels.
"""

# no postponed annotations: GluonTS reads those of the constructor
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from potstill.adapters.base import DECILES, missing_library, own_levels, predictor_of, uses_covariates, warn_unused
from potstill.adapters.items import BATCH_SIZE, Item, ItemForecaster
from potstill.errors import UserError

try:
    from gluonts.core.component import validated
    from gluonts.dataset.util import forecast_start
    from gluonts.model.forecast import QuantileForecast
    from gluonts.model.predictor import RepresentablePredictor
except ImportError as error:
    raise missing_library("gluonts", error) from None

KNOWN, PAST = "feat_dynamic_real", "past_feat_dynamic_real"


class PotstillPredictor(RepresentablePredictor):
    """A GluonTS predictor for any model of Potstill.

    The fields ``target`` (``[T]``, or ``[D, T]`` for several series that are forecast together),
    ``feat_dynamic_real`` (known ahead, over T + H steps) and ``past_feat_dynamic_real`` (T steps) are used; a model
    that cannot use covariates ignores them with a warning. Static features are not used.

    Parameters
    ----------
    model
        MODEL as in the verbs, or a loaded forecaster. Only a predictor of a MODEL can be serialised.
    prediction_length
        Steps ahead.
    quantile_levels
        Levels of the forecasts; default: the model's own, and 0.1, 0.2, …, 0.9. GluonTS interpolates between them.
    device
        Such as ``cpu`` or ``cuda:1``; default: a GPU if there is one.

    Raises
    ------
    UserError
        If there is no forecaster at that place.
    """

    @validated()
    def __init__(
        self,
        model: Any,
        prediction_length: int,
        quantile_levels: list[float] | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(prediction_length=prediction_length)
        self.model = predictor_of(model, device)
        levels = sorted({*own_levels(self.model), *DECILES}) if quantile_levels is None else quantile_levels
        self.forecaster = ItemForecaster(self.model, prediction_length, levels)

    def predict(self, dataset: Iterable[dict[str, Any]], **kwargs: Any) -> Iterator[QuantileForecast]:
        """Forecast the entries of a data set, in their order, many at a time.

        Parameters
        ----------
        dataset
            Entries with ``target`` and ``start``.
        kwargs
            ``num_samples`` and what else GluonTS passes to predictors; not used.

        Raises
        ------
        UserError
            For covariates that do not fit the target; see ``ItemForecaster.forecast``.
        """
        entries = enumerate(dataset)
        warned = False
        while batch := list(islice(entries, BATCH_SIZE)):
            if not (warned or uses_covariates(self.model)):
                warn_unused(self.model, [key for key in (KNOWN, PAST) if batch[0][1].get(key) is not None])
                warned = True
            yield from self._forecasts(batch)

    def predict_item(self, item: dict[str, Any]) -> QuantileForecast:
        """Forecast one entry."""
        return next(self._forecasts([(0, item)]))

    def serialize(self, path: Path) -> None:
        """Write the predictor's arguments to a folder; the model stays where it is.

        Raises
        ------
        UserError
            If the predictor was made of a loaded model.
        """
        given = vars(self)["__init_args__"]["model"]  # set by `validated`
        if not isinstance(given, (str, Path)):
            raise UserError(
                "serialize: the predictor was made of a loaded model; make it of the model's folder or id.",
                key="adapter.not_serialisable",
            )
        super().serialize(path)

    def _forecasts(self, batch: list[tuple[int, dict[str, Any]]]) -> Iterator[QuantileForecast]:
        entries = [_Entry.of(entry, place, uses_covariates(self.model)) for place, entry in batch]
        # forecasts of entries of one kind are computed together
        found: dict[int, QuantileForecast] = {}
        for kind in dict.fromkeys(entry.kind for entry in entries):
            places = [place for place, entry in enumerate(entries) if entry.kind == kind]
            forecasts = self.forecaster.forecast([entries[place].item for place in places])
            for row, place in enumerate(places):
                # [D, 1 + Q, H]
                values = np.concatenate([forecasts.mean[row][:, None], forecasts.quantiles[row]], axis=1)
                found[place] = self._forecast(batch[place][1], values)
        yield from (found[place] for place in range(len(entries)))

    def _forecast(self, entry: dict[str, Any], values: np.ndarray) -> QuantileForecast:
        several = np.ndim(entry["target"]) > 1
        return QuantileForecast(
            forecast_arrays=values.transpose(1, 2, 0) if several else values[0],
            forecast_keys=["mean", *(str(level) for level in self.forecaster.levels)],
            start_date=forecast_start(entry),
            item_id=entry.get("item_id"),
            info=entry.get("info"),
        )


class _Entry(NamedTuple):
    """An entry as an item; entries of one ``kind`` have the same numbers of series and covariates."""

    item: Item
    kind: tuple[int, ...]

    @classmethod
    def of(cls, entry: dict[str, Any], place: int, covariates: bool) -> "_Entry":
        rows = {key: _rows(entry[key]) for key in ("target", KNOWN, PAST) if entry.get(key) is not None}
        name = str(entry.get("item_id", f"entry {place}"))
        used = {key: rows.get(key) if covariates else None for key in (KNOWN, PAST)}
        kind = tuple(0 if values is None else len(values) for values in (rows["target"], *used.values()))
        return cls(Item(name, rows["target"], past=used[PAST], known=used[KNOWN]), kind)


def _rows(values: Any) -> np.ndarray:
    """``[K, T]`` float64."""
    return np.atleast_2d(np.asarray(values, np.float64))
