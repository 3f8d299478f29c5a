"""Attention of the families: equal to torch's, and in fp32 when training on a CPU."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional

from potstill.families import attention
from potstill.families.attention import attend, without_cudnn


@pytest.fixture
def qkv():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 5, 8, generator=generator, requires_grad=True) for _ in range(3)]


@pytest.mark.parametrize("mask", [None, torch.arange(5)[None] > 1, torch.tensor([[0.0, 0.0, -torch.inf, 0.0, 0.0]])])
def test_it_equals_torchs_attention(qkv, mask):
    actual = attend(*qkv, mask, scale=1.0)
    assert torch.equal(actual, functional.scaled_dot_product_attention(*qkv, attn_mask=mask, scale=1.0))


def test_training_in_bf16_attends_in_fp32(qkv):
    """bf16 inputs are converted to fp32; their gradients are bf16."""
    half = [part.detach().bfloat16().requires_grad_() for part in qkv]
    exact = functional.scaled_dot_product_attention(*(part.float() for part in half))
    with torch.autocast("cpu", torch.bfloat16):
        actual = attend(*half)
    assert actual.dtype == torch.float32
    assert torch.equal(actual, exact)
    actual.sum().backward()
    assert all(part.grad is not None and part.grad.dtype == torch.bfloat16 for part in half)


def test_without_gradients_it_follows_autocast(qkv):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert attend(*qkv).dtype == torch.bfloat16


def test_a_model_with_bf16_weights_gets_bf16_also_with_gradients(qkv):
    half = [part.detach().bfloat16().requires_grad_() for part in qkv]
    assert attend(*half).dtype == torch.bfloat16


def test_double_precision_is_kept(qkv):
    assert attend(*(part.double() for part in qkv)).dtype == torch.float64


def test_on_a_gpu_cudnn_is_not_used_within_the_block_alone():
    cuda = torch.backends.cuda
    before = cuda.cudnn_sdp_enabled()
    with without_cudnn(torch.device("cuda:1")):
        assert not cuda.cudnn_sdp_enabled()
        assert cuda.flash_sdp_enabled()
        assert cuda.mem_efficient_sdp_enabled()
        assert cuda.math_sdp_enabled()
    assert cuda.cudnn_sdp_enabled() == before
    with without_cudnn(torch.device("cpu")):
        assert cuda.cudnn_sdp_enabled() == before


def test_attention_is_computed_without_cudnn(qkv, monkeypatch):
    within = []
    monkeypatch.setattr(attention, "without_cudnn", lambda device: within.append(device) or nullcontext())
    attend(*qkv)
    assert within == [torch.device("cpu")]
