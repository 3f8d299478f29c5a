"""What is measured of a router's weights, and the gate."""

from __future__ import annotations

import torch

from potstill.tasks.experts.monitor import gate_thresholds


def test_the_gate_tries_quantiles_of_the_certainty():
    tried = gate_thresholds(torch.linspace(0, 1, 101))
    torch.testing.assert_close(tried, torch.linspace(0.1, 1, 10))


def test_the_gate_is_found_on_the_device_of_the_router():
    assert gate_thresholds(torch.empty(5, device="meta")).device.type == "meta"
