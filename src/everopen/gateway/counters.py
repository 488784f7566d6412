"""What a gateway counts. Plain integers: an addition is all that the hot path can afford."""

from __future__ import annotations


class Counters:
    """Monotone counters of one process, except `connections`, `in_flight` and `queued`, which go both ways."""

    __slots__ = (
        "accepted", "answers_1xx", "answers_2xx", "answers_3xx", "answers_4xx", "answers_5xx", "bytes_in", "bytes_out",
        "client_aborts", "connections", "cut_answers", "ejections", "in_flight", "probes", "queue_waits", "queued",
        "readmissions", "refused", "requests", "retries", "second_opinions", "shed", "stale_closes", "timeouts", "upstream_connects",
        "worker_waits",
    )  # fmt: skip

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    accepted: int
    answers_1xx: int
    answers_2xx: int
    answers_3xx: int
    answers_4xx: int
    answers_5xx: int
    bytes_in: int
    bytes_out: int
    client_aborts: int
    connections: int
    cut_answers: int
    ejections: int
    in_flight: int
    probes: int
    queue_waits: int
    queued: int
    readmissions: int
    refused: int
    requests: int
    retries: int
    second_opinions: int
    shed: int
    stale_closes: int
    timeouts: int
    upstream_connects: int
    worker_waits: int

    def answered(self, status: int) -> None:
        """Counts an answer by its class."""
        if status < 300:
            self.answers_2xx += 1
        elif status < 400:
            self.answers_3xx += 1
        elif status < 500:
            self.answers_4xx += 1
        else:
            self.answers_5xx += 1

    def as_dict(self) -> dict[str, float]:
        """All of them by name."""
        return {name: getattr(self, name) for name in self.__slots__}
