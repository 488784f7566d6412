"""Faults: one file each, every one listed here by name. A fault that needs what this machine lacks says so (`missing`)
and is counted as not run."""

from everopen.drill.faults.bad_deploy import BadDeploy
from everopen.drill.faults.busy import Busy
from everopen.drill.faults.client_leak import ClientLeak
from everopen.drill.faults.clock_jump import ClockJump
from everopen.drill.faults.connection_leak import ConnectionLeak
from everopen.drill.faults.corrupt_page import CorruptPage
from everopen.drill.faults.everything import Everything
from everopen.drill.faults.fault import Fault, Injected, Promise
from everopen.drill.faults.full_disk import DiskFilling, FullDisk
from everopen.drill.faults.io_errors import IoErrors
from everopen.drill.faults.kill import Kill
from everopen.drill.faults.leak import Leak
from everopen.drill.faults.lock_pileup import LockPileup
from everopen.drill.faults.network import Network
from everopen.drill.faults.payments import Payments
from everopen.drill.faults.session_store import SessionStoreDown
from everopen.drill.faults.slow import Slow
from everopen.drill.faults.slow_disk import SlowDisk
from everopen.drill.faults.stop import Stop

_KILL: dict[str, Fault] = {
    "kill-primary": Kill("primary"),
    "kill-standby": Kill("standby"),
    "kill-worker": Kill("worker"),
    "kill-gateway": Kill("gateway"),
    "kill-supervisor": Kill("supervisor"),
    "kill-guardian": Kill("guardian"),
    "kill-payments": Kill("payments"),
    "kill-console": Kill("console"),
}
_STOP: dict[str, Fault] = {
    "stop-primary": Stop("primary"),
    "stop-standby": Stop("standby"),
    "stop-worker": Stop("worker"),
    "stop-gateway": Stop("gateway"),
    "stop-supervisor": Stop("supervisor"),
    "stop-guardian": Stop("guardian"),
    "stop-payments": Stop("payments"),
    "stop-console": Stop("console"),
}
_SLOW: dict[str, Fault] = {
    "slow-worker": Slow("worker"),
    "slow-gateway": Slow("gateway"),
    "slow-primary": Slow("primary"),
    "slow-standby": Slow("standby"),
    "busy-machine": Busy(),
}
_LEAKS: dict[str, Fault] = {
    "memory-leak-worker": Leak("memory", "worker"),
    "memory-leak-gateway": Leak("memory", "gateway"),
    "descriptor-leak-worker": Leak("descriptor", "worker"),
    "descriptor-leak-gateway": Leak("descriptor", "gateway"),
    "connection-leak": ConnectionLeak(),
    "client-connections": ClientLeak(),
    "lock-pileup": LockPileup(),
}
_DISK: dict[str, Fault] = {
    "full-disk": FullDisk(),
    "disk-filling": DiskFilling(),
    "slow-disk-primary": SlowDisk("primary"),
    "slow-disk-standby": SlowDisk("standby"),
    "io-errors-primary": IoErrors("primary"),
    "io-errors-standby": IoErrors("standby"),
    "corrupt-page-standby": CorruptPage(),
}
_NETWORK: dict[str, Fault] = {
    "network-delay-gateway-worker": Network("delay", "gateway-worker"),
    "network-delay-worker-primary": Network("delay", "worker-primary"),
    "network-delay-standby-primary": Network("delay", "standby-primary"),
    "network-delay-worker-payments": Network("delay", "worker-payments"),
    "network-stall-gateway-worker": Network("stall", "gateway-worker"),
    "network-stall-worker-primary": Network("stall", "worker-primary"),
    "network-stall-standby-primary": Network("stall", "standby-primary"),
    "network-stall-worker-payments": Network("stall", "worker-payments"),
    "network-partition-gateway-worker": Network("partition", "gateway-worker"),
    "network-partition-worker-primary": Network("partition", "worker-primary"),
    "network-partition-standby-primary": Network("partition", "standby-primary"),
    "network-partition-worker-payments": Network("partition", "worker-payments"),
    "network-reset-gateway-worker": Network("reset", "gateway-worker"),
    "network-reset-worker-primary": Network("reset", "worker-primary"),
    "network-reset-standby-primary": Network("reset", "standby-primary"),
    "network-reset-worker-payments": Network("reset", "worker-payments"),
}
_PAYMENTS: dict[str, Fault] = {
    "payments-down": Payments("down"),
    "payments-slow": Payments("slow"),
    "payments-twice": Payments("twice"),
    "payments-lost": Payments("lost"),
}
_REST: dict[str, Fault] = {
    "clock-jump": ClockJump(),
    "session-store-down": SessionStoreDown(),
    "bad-deploy": BadDeploy(),
    "everything": Everything((Busy(), ConnectionLeak(), Payments("lost"), Kill("worker"), Kill("primary"))),
}

FAULTS: dict[str, Fault] = {**_KILL, **_STOP, **_SLOW, **_LEAKS, **_DISK, **_NETWORK, **_PAYMENTS, **_REST}

__all__ = ["FAULTS", "Fault", "Injected", "Promise"]
