"""The decision about the nodes, as tables: a snapshot in, actions and a sentence out. No mock anywhere."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from everopen.cluster.state import ClusterState
from everopen.recover.decide import (
    Action,
    Confirm,
    FenceStandby,
    FinishPromotion,
    GoAlone,
    NodeFacts,
    Promote,
    Rejoin,
    RestartLeader,
    Snapshot,
    StartStandby,
    decide,
)

LEADER = NodeFacts(name="node-1", process="alive", in_recovery=False, timeline=1, position=1000)
STANDBY = NodeFacts(
    name="node-2", process="alive", in_recovery=True, timeline=1, position=1000, attached=True
)
THIRD = NodeFacts(name="node-3", process="alive", in_recovery=True, timeline=1, position=900, attached=True)
PROVEN = ClusterState(epoch=3, leader="node-1", nodes=("node-1", "node-2"), synchronous=("node-2",))
DEAD = {"process": "dead"}
HUNG = {"silent_s": 2.0}
GONE = {"process": "dead", "attached": False}


def snapshot(
    leader: dict[str, Any], standby: dict[str, Any], third: dict[str, Any] | None = None, **rest: Any
) -> Snapshot:
    nodes = [msgspec.structs.replace(LEADER, **leader), msgspec.structs.replace(STANDBY, **standby)]
    if third is not None:
        nodes.append(msgspec.structs.replace(THIRD, **third))
    state = msgspec.structs.replace(PROVEN, **rest.pop("state", {}))
    values: dict[str, Any] = {
        "durability": "available",
        "hang_deadline_s": 1.5,
        "standby_grace_s": 1.0,
        **rest,
    }
    return Snapshot(state=state, nodes=tuple(nodes), **values)


BOTH = {"synchronous": ("node-2", "node-3"), "nodes": ("node-1", "node-2", "node-3")}
CASES: dict[str, tuple[Snapshot, tuple[Action, ...]]] = {
    "all well: nothing": (snapshot({}, {}), ()),
    "leader dies, standby proven: promote": (snapshot(DEAD, {}), (Promote("node-2"),)),
    "leader hangs, standby proven: promote": (snapshot(HUNG, {}), (Promote("node-2"),)),
    "leader silent for less than the deadline: nothing": (snapshot({"silent_s": 1.4}, {}), ()),
    "leader dies while alone: restart, never promote": (snapshot(DEAD, {}, state={"alone": True, "synchronous": ()}), (RestartLeader(),)),
    "leader dies, nobody proven: restart": (snapshot(DEAD, {}, state={"synchronous": ()}), (RestartLeader(),)),
    "leader and standby die together: restart": (snapshot(DEAD, DEAD), (RestartLeader(),)),
    "leader dies while the standby is being started: restart": (snapshot(DEAD, {"busy": "starting"}), (RestartLeader(),)),
    "leader dies while the standby hangs: restart": (snapshot(DEAD, HUNG), (RestartLeader(),)),
    "leader dies, the other claims to be primary: restart": (snapshot(DEAD, {"in_recovery": False}), (RestartLeader(),)),
    "leader is being restarted: leave it": (snapshot({"process": "dead", "busy": "restarting"}, {}), ()),
    "leader by record still in recovery: finish": (snapshot({"in_recovery": True}, {}), (FinishPromotion(),)),
    "machine stalls, nobody answers: wait": (snapshot(HUNG, HUNG), ()),
    "nobody answers for long, the leader is restarted": (snapshot({"silent_s": 9.0}, {"silent_s": 9.0}), (RestartLeader(True),)),
    "two proven, the further one is promoted": (snapshot(DEAD, {"position": 900}, {"position": 1000}, state=BOTH), (Promote("node-3"),)),
    "a higher timeline beats a higher position": (
        snapshot(DEAD, {"timeline": 2, "position": 10}, {"position": 10_000}, state=BOTH), (Promote("node-2"),)),
    "two proven, one got nothing since its start: how far it is can't be told": (
        snapshot(DEAD, {}, {"position": 0}, state=BOTH), (RestartLeader(),)),
    "leader dies, a proven one is not configured any more: restart": (
        snapshot(DEAD, {}, state={"synchronous": ("node-2", "node-9")}), (RestartLeader(),)),
    "leader not looked at yet: nobody may follow it": (
        snapshot({"in_recovery": None}, GONE, state={"rejoin": ("node-2",), "alone": True}), ()),
    "alone by record, and the primary does wait (a confirmation was broken off): tell it again": (
        snapshot({"waits": True}, {**GONE, "detached_s": 1.1}, state={"alone": True, "synchronous": ()}),
        (StartStandby("node-2"), GoAlone())),
    "the standby dies while it is being confirmed: alone, at once": (
        snapshot({"waits": True}, {**GONE, "detached_s": 1.1}, state={"alone": True, "synchronous": ()}, adjusting=True),
        (StartStandby("node-2"), GoAlone())),
    "the standby is away for a moment while it is being confirmed: nothing": (
        snapshot({"waits": True}, {**GONE, "detached_s": 0.5}, state={"alone": True, "synchronous": ()}, adjusting=True),
        (StartStandby("node-2"),)),
    "two proven, one can't be asked: restart": (snapshot(DEAD, {}, DEAD, state=BOTH), (RestartLeader(),)),
    "standby dies: start it, commits wait meanwhile": (snapshot({}, {**GONE, "detached_s": 0.1}), (StartStandby("node-2"),)),
    "standby away past the grace: alone": (snapshot({}, {**GONE, "detached_s": 1.1}), (StartStandby("node-2"), GoAlone())),
    "standby away, strict: never alone": (snapshot({}, {**GONE, "detached_s": 60.0}, durability="strict"), (StartStandby("node-2"),)),
    "standby has another history: rejoin": (snapshot({}, GONE, state={"rejoin": ("node-2",), "alone": True}), (Rejoin("node-2"),)),
    "standby fails to start twice: rejoin": (snapshot({}, {**GONE, "failed_starts": 2}), (Rejoin("node-2"),)),
    "standby hangs: kill it": (snapshot({}, HUNG), (FenceStandby("node-2"),)),
    "standby confirms nothing: kill it": (snapshot({}, {"stalled_s": 1.6}), (FenceStandby("node-2"),)),
    "standby runs but does not stream for long: rejoin": (
        snapshot({}, {"attached": False, "detached_s": 11.0, "running_s": 11.0}, state={"alone": True}), (Rejoin("node-2"),)),
    "standby was just rejoined after a long absence: give it time": (
        snapshot({}, {"attached": False, "detached_s": 95.0, "running_s": 0.1}, state={"alone": True}),
        (),
    ),
    "standby is back while alone: confirm": (snapshot({}, {}, state={"alone": True, "synchronous": ()}), (Confirm(("node-2",)),)),
    "confirming is under way: not twice": (snapshot({}, {}, state={"alone": True, "synchronous": ()}, adjusting=True), ()),
    "second standby arrives: confirm both": (
        snapshot({}, {}, {}, state={"nodes": ("node-1", "node-2", "node-3")}), (Confirm(("node-2", "node-3")),)),
    "one of two leaves: grace first": (
        snapshot({}, {}, {"attached": False, "detached_s": 0.3, "busy": "starting"}, state=BOTH), ()),
    "one of two stays away: the other alone counts": (
        snapshot({}, {}, {"attached": False, "detached_s": 2.0, "busy": "starting"}, state=BOTH), (Confirm(("node-2",)),)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_situation_has_its_answer(name: str) -> None:
    given, expected = CASES[name]
    decision = decide(given)
    actions = tuple(
        action
        if not isinstance(action, RestartLeader) or RestartLeader(True) in expected
        else RestartLeader()
        for action in decision.actions
    )
    assert actions == expected
    assert decision.sentence.endswith(".")


def test_nothing_is_ever_promoted_that_is_not_proven() -> None:
    """All combinations of what may be wrong: a promotion happens only with every confirming standby at hand."""
    flags = [{}, DEAD, HUNG, {"busy": "rejoining"}, {"in_recovery": False}]
    for leader in (DEAD, HUNG):
        for one in flags:
            for two in flags:
                for state in (
                    BOTH,
                    {**BOTH, "alone": True},
                    {**BOTH, "synchronous": ()},
                    {**BOTH, "synchronous": ("node-3",)},
                ):
                    for action in decide(snapshot(leader, one, two, state=state)).actions:
                        if isinstance(action, Promote):
                            facts = {"node-2": one, "node-3": two}
                            assert not state.get("alone")
                            assert state["synchronous"]
                            assert all(facts[name] == {} for name in state["synchronous"])
