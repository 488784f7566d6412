"""The error tree. The docstring of each class is its default message; `next_step` is what a person can do.

    EveropenError
    ├── ConfigError            a setting is wrong
    ├── StartError             the shop cannot be started
    ├── NotRunning             a command needs a running shop
    ├── ClusterError           a node did not do what was asked of it
    │   └── FenceError         a former primary could not be proven dead: nothing may be promoted
    ├── StoreUnavailable       no primary answered before the deadline
    ├── InvariantBroken        money, stock or epochs do not add up; never caught to go on
    └── InputError             what a user handed in is wrong (a file, an argument)

A command prints `cause` and `next_step` on two lines and exits with `exit_code`; no traceback reaches a user.
"""

from __future__ import annotations

from typing import ClassVar


class EveropenError(Exception):
    """Something went wrong."""

    exit_code: ClassVar[int] = 1
    default_next_step: ClassVar[str] = ""

    def __init__(self, cause: str | None = None, next_step: str | None = None) -> None:
        self.cause = cause or (self.__doc__ or "").strip()
        self.next_step = self.default_next_step if next_step is None else next_step
        super().__init__(f"{self.cause} {self.next_step}".strip())


class ConfigError(EveropenError):
    """A setting is wrong."""

    exit_code = 2
    default_next_step = "`everopen config` shows every setting with its description."


class StartError(EveropenError):
    """The shop cannot be started."""

    exit_code = 3


class NotRunning(EveropenError):
    """No shop is running here."""

    exit_code = 4
    default_next_step = (
        "Start one with `make up` or `everopen up`, or point EVEROPEN_HOME at the running one."
    )


class ClusterError(EveropenError):
    """A node did not do what was asked of it."""

    exit_code = 5


class FenceError(ClusterError):
    """A former primary could not be proven dead, so nothing was promoted."""


class StoreUnavailable(EveropenError):
    """No primary answered before the deadline."""

    exit_code = 6
    default_next_step = "`everopen status` shows what the supervisor is doing about it."


class InvariantBroken(EveropenError):
    """Money, stock or epochs do not add up."""

    exit_code = 7
    default_next_step = "Run `everopen audit`; it names the first broken promise."


class InputError(EveropenError):
    """What was handed in is wrong."""

    exit_code = 2
