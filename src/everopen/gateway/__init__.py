"""The proxy in front of the workers: it takes the clients' connections, keeps malformed requests out, and sends each
request to a worker, to another one when that one dies. It knows nothing of trading, only methods, paths and keys."""

from __future__ import annotations

from everopen.gateway.settings import GatewaySettings

__all__ = ["GatewaySettings"]
