"""Federated learning with Flower: clients' networks are brought into one order of neurons before they are averaged.

``pip install 'otfuse[flower]'``. :class:`OTFusion` is a strategy of Flower's message API in place of
``flwr.serverapp.strategy.FedAvg``; :class:`AlignMod` aligns on the client, where the server may only see sums.

Examples
--------
>>> strategy = OTFusion(net, inputs=x, samples=unlabelled, clients_start="own")          # doctest: +SKIP
>>> result = strategy.start(grid, strategy.initial_arrays(), num_rounds=3)               # doctest: +SKIP
"""

from __future__ import annotations

from .._errors import InputError

try:
    import flwr.serverapp.strategy  # noqa: F401
except ImportError as error:
    raise InputError(f"otfuse.flower takes Flower: {error}", "pip install 'otfuse[flower]'") from error

from ._client import AlignMod
from ._replies import LeftOut
from ._strategy import OTFusion

__all__ = ["AlignMod", "LeftOut", "OTFusion"]
