"""The names of Potstill's own terms and their classes. The table is static, so reading it imports no torch."""

from __future__ import annotations

TERM_CLASSES = {
    "soft_median": ("potstill.objectives.median", "SoftMedian"),
    "hard_median": ("potstill.objectives.median", "HardMedian"),
    "expected_pinball": ("potstill.objectives.expected_pinball", "ExpectedPinball"),
    "scaled_expected_pinball": ("potstill.objectives.expected_pinball", "ScaledExpectedPinball"),
    "quantile_match": ("potstill.objectives.quantile_match", "QuantileMatch"),
    "huber_match": ("potstill.objectives.huber_match", "HuberMatch"),
    "cramer": ("potstill.objectives.cramer", "Cramer"),
    "distribution_kl": ("potstill.objectives.distribution", "DistributionKl"),
    "distribution_cross_entropy": ("potstill.objectives.distribution", "DistributionCrossEntropy"),
    "soft_dtw": ("potstill.objectives.soft_dtw", "SoftDtw"),
    "soft_dtw_truth": ("potstill.objectives.soft_dtw", "SoftDtwTruth"),
    "covariate_response": ("potstill.objectives.covariate_response", "CovariateResponse"),
    "pinball": ("potstill.objectives.pinball", "Pinball"),
    "scaled_pinball": ("potstill.objectives.scaled_pinball", "ScaledPinball"),
    "cross_entropy": ("potstill.objectives.cross_entropy", "CrossEntropy"),
    "kl": ("potstill.objectives.kl", "Kl"),
    "reverse_kl": ("potstill.objectives.reverse_kl", "ReverseKl"),
    "jsd": ("potstill.objectives.jsd", "Jsd"),
    "skew_kl": ("potstill.objectives.skew_kl", "SkewKl"),
    "hidden_states": ("potstill.objectives.hidden_states", "HiddenStates"),
    "hidden_relations": ("potstill.objectives.hidden_relations", "HiddenRelations"),
    "attention_maps": ("potstill.objectives.attention_maps", "AttentionMaps"),
    "attention_relations": ("potstill.objectives.attention_relations", "AttentionRelations"),
}
