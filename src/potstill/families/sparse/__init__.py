"""Sparse feed-forward layers: experts of which a router picks a few for each token."""

from potstill.families.sparse.centring import centre_routers
from potstill.families.sparse.layer import SparseMLP, sparse_layers
from potstill.families.sparse.losses import AUXILIARY, auxiliary_losses, routing_statistics
from potstill.families.sparse.routing import Router, Routing

__all__ = [
    "AUXILIARY",
    "Router",
    "Routing",
    "SparseMLP",
    "auxiliary_losses",
    "centre_routers",
    "routing_statistics",
    "sparse_layers",
]
