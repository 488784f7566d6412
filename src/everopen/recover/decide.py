"""The decision: what to do about the nodes, as a pure function from a snapshot to actions and one sentence.

The intuition: a restart of the primary in place is always safe (its disk has every acknowledged order) but slow; a
promotion is fast but safe only when the standby is proven to have every acknowledged order. So promote when that is
proven, else restart in place, and never guess. A vote among agents (Patroni, Stolon) was turned down for one machine:
there is one supervisor, and the facts it needs are in one durable file (`cluster.state`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from everopen.cluster.state import ClusterState


class NodeFacts(msgspec.Struct, frozen=True):
    """What is known of one node now. Durations in seconds, positions in bytes of WAL."""

    name: str
    process: Literal["alive", "dead"]
    busy: str | None = None
    """An action is under way on it (starting, rejoining); leave it alone."""
    silent_s: float = 0.0
    """How long the last good probe is ago, while the process lived and the supervisor itself ran."""
    in_recovery: bool | None = None
    timeline: int = 0
    position: int = 0
    attached: bool = False
    """A standby only: the primary sees it streaming."""
    detached_s: float = 0.0
    """How long it has not been attached."""
    running_s: float = 0.0
    """How long its process has lived."""
    stalled_s: float = 0.0
    """How long it has confirmed nothing although there was something to confirm."""
    failed_starts: int = 0
    waits: bool = False
    """A primary only: it really makes commits wait for a standby, whatever was recorded."""


class Snapshot(msgspec.Struct, frozen=True):
    """Everything the decision may depend on."""

    state: ClusterState
    nodes: tuple[NodeFacts, ...]
    durability: Literal["available", "strict"]
    hang_deadline_s: float
    standby_grace_s: float
    adjusting: bool = False
    """The set of synchronous standbys is being changed right now."""


class Promote(msgspec.Struct, frozen=True, tag=True):
    """Fence the leader, make `candidate` the new one."""

    candidate: str


class RestartLeader(msgspec.Struct, frozen=True, tag=True):
    """Fence what is left of the leader and start it again in place."""

    hung: bool = False


class FinishPromotion(msgspec.Struct, frozen=True, tag=True):
    """The leader by record is still in recovery (the supervisor ended in between): promote it."""


class StartStandby(msgspec.Struct, frozen=True, tag=True):
    """Start a standby that knows no other history than the leader's."""

    node: str


class Rejoin(msgspec.Struct, frozen=True, tag=True):
    """Bring a node with another or unknown history back: rewind, else a new base backup."""

    node: str


class FenceStandby(msgspec.Struct, frozen=True, tag=True):
    """Kill a standby that hangs; it is started again in a later cycle."""

    node: str


class GoAlone(msgspec.Struct, frozen=True, tag=True):
    """Record that the leader confirms commits by itself, then let it."""


class Confirm(msgspec.Struct, frozen=True, tag=True):
    """Make commits wait for one of these standbys, prove it, then record it."""

    standbys: tuple[str, ...]


Action = Promote | RestartLeader | FinishPromotion | StartStandby | Rejoin | FenceStandby | GoAlone | Confirm


class Decision(msgspec.Struct, frozen=True):
    """What to do, in order, and why in one sentence."""

    actions: tuple[Action, ...]
    sentence: str


def decide(snapshot: Snapshot) -> Decision:
    """One cycle. The leader comes first: while it is down nothing else matters."""
    nodes = {
        name: NodeFacts(name, "dead") for name in snapshot.state.synchronous
    }  # maybe not configured any more
    nodes |= {node.name: node for node in snapshot.nodes}
    leader = nodes[snapshot.state.leader]
    if leader.busy:
        return Decision((), f"{leader.name} is {leader.busy}.")
    if leader.process == "dead":
        return _replace(snapshot, nodes, f"{leader.name} (primary) died", hung=False)
    if leader.silent_s >= snapshot.hang_deadline_s:
        return _replace(
            snapshot,
            nodes,
            f"{leader.name} (primary) has not answered for {leader.silent_s:.1f} s",
            hung=True,
        )
    if leader.in_recovery:
        return Decision(
            (FinishPromotion(),),
            f"{leader.name} was chosen but is still in recovery: finishing its promotion.",
        )
    if leader.in_recovery is None:
        # What follows a node that may yet have to be promoted would take over the history that it is about to leave.
        return Decision((), f"{leader.name} leads by record; looking whether it does.")
    return _mind_standbys(snapshot, nodes)


def _replace(snapshot: Snapshot, nodes: dict[str, NodeFacts], cause: str, *, hung: bool) -> Decision:
    """The leader is dead or hangs: promote what is proven complete, else restart in place."""
    state = snapshot.state
    if state.alone:
        return Decision(
            (RestartLeader(hung),),
            f"{cause} while it led alone: restarting it, only its disk has every order.",
        )
    if not state.synchronous:
        return Decision(
            (RestartLeader(hung),), f"{cause} while no standby was proven complete: restarting it."
        )
    quorum = [nodes[name] for name in state.synchronous]
    missing = [
        node.name
        for node in quorum
        if node.process == "dead"
        or node.busy
        or node.silent_s >= snapshot.hang_deadline_s
        or node.in_recovery is False
        or (len(quorum) > 1 and not node.position)  # it can't be told from another how far it is
    ]
    all_silent = all(node.process == "alive" and not node.busy and node.name in missing for node in quorum)
    if hung and all_silent and min(node.silent_s for node in quorum) < 4 * snapshot.hang_deadline_s:
        return Decision(
            (), f"{cause}, and neither has {', '.join(missing)}: the machine is stalled, waiting."
        )
    if missing:
        return Decision(
            (RestartLeader(hung),),
            f"{cause} and {', '.join(missing)} can't be asked for the last order: restarting it.",
        )
    candidate = max(quorum, key=lambda node: (node.timeline, node.position, node.name))
    return Decision(
        (Promote(candidate.name),), f"{cause}: promoting {candidate.name}, which confirmed every commit."
    )


def _mind_standbys(snapshot: Snapshot, nodes: dict[str, NodeFacts]) -> Decision:
    """The leader is well: bring standbys back, then fit the rule of who confirms to who is there."""
    state = snapshot.state
    standbys = [node for node in snapshot.nodes if node.name != state.leader]
    actions: list[Action] = []
    reasons: list[str] = []
    for node in standbys:
        if node.busy:
            reasons.append(f"{node.name} is {node.busy}")
        elif node.process == "dead":
            if node.name in state.rejoin or node.failed_starts >= 2:
                actions.append(Rejoin(node.name))
                reasons.append(
                    f"{node.name} is down with {'another history' if node.name in state.rejoin else 'a start that fails'}: rejoining it"
                )
            else:
                actions.append(StartStandby(node.name))
                reasons.append(f"{node.name} is down: starting it")
        elif node.silent_s >= snapshot.hang_deadline_s:
            actions.append(FenceStandby(node.name))
            reasons.append(f"{node.name} has not answered for {node.silent_s:.1f} s: killing it")
        elif node.stalled_s >= snapshot.hang_deadline_s and node.name in state.synchronous:
            actions.append(FenceStandby(node.name))
            reasons.append(f"{node.name} has confirmed nothing for {node.stalled_s:.1f} s: killing it")
        elif not node.attached and min(node.detached_s, node.running_s) >= max(
            10.0, 4 * snapshot.hang_deadline_s
        ):
            actions.append(Rejoin(node.name))
            reasons.append(f"{node.name} runs but has not streamed for {node.detached_s:.0f} s: rejoining it")
    confirm, reason = _who_confirms(snapshot, standbys, nodes[state.leader].waits)
    if not snapshot.adjusting or GoAlone() in confirm:  # a standby that dies now must not hold up all commits
        actions.extend(confirm)
        if reason:
            reasons.append(reason)
    if not reasons:
        names = ", ".join(state.synchronous)
        return Decision(
            (),
            f"All is well: {state.leader} leads epoch {state.epoch}"
            + (f", {names} confirms." if names else "."),
        )
    return Decision(tuple(actions), "; ".join(reasons) + ".")


def _who_confirms(snapshot: Snapshot, standbys: list[NodeFacts], waits: bool) -> tuple[list[Action], str]:
    """Fits the set of confirming standbys to those that are attached."""
    state = snapshot.state
    attached = tuple(sorted(node.name for node in standbys if node.attached and not node.busy))
    if not standbys:
        if not state.alone or waits:
            return [GoAlone()], "no standby is configured: the primary confirms alone"
        return [], ""
    if attached and attached == state.synchronous and not state.alone:
        return [], ""
    if attached:
        lost = [node for node in standbys if node.name in state.synchronous and node.name not in attached]
        if (
            lost
            and set(attached) < set(state.synchronous)
            and min(node.detached_s for node in lost) < snapshot.standby_grace_s
        ):
            return (
                [],
                f"{', '.join(node.name for node in lost)} detached, giving it {snapshot.standby_grace_s:.1f} s",
            )
        return [Confirm(attached)], f"{', '.join(attached)} streams: making commits wait for it"
    waited = min(node.detached_s for node in standbys)
    if state.alone and waits and waited >= snapshot.standby_grace_s:
        return [
            GoAlone()
        ], "the primary leads alone by record but still waits for a standby: telling it again"
    if state.alone:
        return [], "THE PRIMARY LEADS ALONE until a standby is back"
    if snapshot.durability == "strict":
        return [], "NO STANDBY: commits wait until one is back (durability strict)"
    if waited < snapshot.standby_grace_s:
        return [], f"no standby is attached, commits wait up to {snapshot.standby_grace_s:.1f} s for one"
    return [GoAlone()], f"no standby for {waited:.1f} s: GOING ON ALONE (durability available)"
