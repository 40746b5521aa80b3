"""The machine of a job's rounds: `(state, event) -> (state, commands)`, without clock, network or randomness.

```text
              quorum          all here, or a moment later
  ASSEMBLING ───────► GATHERING ───────► KEYING ──────► TRAINING ─────► UNMASKING ──┐
      ▲                                   ▲  keys ready  ▲  all heard,              │ sum opened:
      │ fewer than a quorum               │              │  deadline, or            │ apply, record, checkpoint, publish
      └───────────────────────────────────┴──────────────┴  hopeless ◄──────────────┘
        too few: try again with new keys and a new slot      next round (new keys if anyone joined, slots are used up,
                                                             or too few hold keys)
```

Formal guarantees, whatever the order of events:
- slots and epochs strictly increase, also over a restart from a checkpoint and a slot log;
- at most one slot is open, and each round is applied at most once;
- unless it is done, the machine waits for an Answer of the shell or for a timer that it has set, so it never waits for ever;
- an event that is late or repeated changes nothing; one that can't be (an answer nobody asked for) raises and changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from coterie_api.progress import DropReason
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on
from coterie_worker.rounds.cohort import cohort
from coterie_worker.rounds.commands import Absence
from coterie_worker.rounds.state import Phase, Resume, Rules, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from coterie_worker.rounds.selection import Selection

__all__ = ["UnexpectedEvent", "advance", "begin"]

Transition: TypeAlias = tuple[State, tuple[do.Command, ...]]


class RoundsError(Exception):
    """Root of the round machine's errors."""


class UnexpectedEvent(RoundsError):
    """The shell told something that can't be: its own mistake, never a client's. The machine is unchanged."""


def begin(rules: Rules, resume: Resume | None = None) -> Transition:
    """Return the state at the start of the process and the first commands."""
    start = resume or Resume()
    if not 0 <= start.rounds_done <= rules.rounds:
        raise UnexpectedEvent(f"resume: rounds_done is {start.rounds_done}, must be from 0 to {rules.rounds}")
    state = State(
        rules,
        rounds_done=start.rounds_done,
        next_slot=start.next_slot,
        next_epoch=start.next_epoch,
        selection=start.selection,
        opened=start.opened,
        withdrawn=start.withdrawn,
    )
    # A crash may have come between the last checkpoint and its publishing. Publishing twice does no harm.
    shown = (do.Publish(start.rounds_done, start.selection),) if start.rounds_done else ()
    return _then(shown, _next(state))


def advance(state: State, event: on.Event) -> Transition:
    """Return the state after an event, and what to do.

    Raises:
        UnexpectedEvent: a client outside the roster, a step or version that was never given out, an answer that is not due.
    """
    _check(state, event)
    if state.is_done:
        return state, ()
    return _HANDLERS[type(event)](state, event)


def _check(state: State, event: on.Event) -> None:
    client, step = getattr(event, "client", 0), getattr(event, "step", 0)
    if not 0 <= client < state.rules.roster:
        raise UnexpectedEvent(f"{type(event).__name__}: client is {client}, must be from 0 to {state.rules.roster - 1}")
    if step > state.step:
        raise UnexpectedEvent(f"{type(event).__name__}: step is {step}, the newest given out is {state.step}")
    if isinstance(event, on.ClientJoined) and not state.believes(event.last_slot):
        raise UnexpectedEvent(f"ClientJoined: last_slot is {event.last_slot}, which `believes` must have refused")
    if isinstance(event, on.Evaluated) and not 1 <= event.version <= state.rounds_done:
        raise UnexpectedEvent(f"Evaluated: version is {event.version}, must be from 1 to {state.rounds_done}, the newest model")


# Clients come and go.


def _joined(state: State, event: on.ClientJoined) -> Transition:
    client = event.client
    # A new process of a client whose old one is not yet known to be gone: the old one's keys are gone with it.
    state, dropped = _left(state, on.ClientLeft(client)) if client in state.holders else (state, ())
    state = replace(
        state,
        live=state.live | {client},
        joiners=state.joiners | {client},
        withdrawn=state.withdrawn - {client},
        slot_floor=max(state.slot_floor, event.last_slot + 1),
    )
    return _then(dropped, _next(state)) if _is_assembling(state) else (state, dropped)


def _left(state: State, event: on.ClientLeft | on.ClientWithdrew) -> Transition:
    client = event.client
    dropped = (do.Drop(client),) if client in state.holders and _has_epoch(state) else ()
    state = replace(_absent(state, client, event.reason), live=state.live - {client}, joiners=state.joiners - {client})
    state = replace(_not_waiting_for(state, client), holders=state.holders - {client})
    return _then(dropped, _next(state)) if _is_assembling(state) else _settle(state, dropped)


def _withdrew(state: State, event: on.ClientWithdrew) -> Transition:
    return _left(replace(state, withdrawn=state.withdrawn | {event.client}), event)


def _failed(state: State, event: on.ClientFailed) -> Transition:
    if event.slot != state.slot or state.waiting is None or event.client not in state.waiting:
        return state, ()
    if state.phase is Phase.UNMASKING and event.reason is DropReason.SUM_REFUSED:
        refusal = Absence(state.slot, event.client, event.reason)
        return _settle(_not_waiting_for(replace(state, failed=(*state.failed, refusal)), event.client), ())
    if state.phase is not Phase.TRAINING:
        return state, ()
    return _settle(_not_waiting_for(_absent(state, event.client, event.reason), event.client), (do.Skip(event.client),))


def _heard(state: State, event: on.Heard) -> Transition:
    if event.step != state.step or state.waiting is None:
        return state, ()
    return _settle(replace(state, waiting=_missing(state, event.waiting_for)), ())


def _absent(state: State, client: int, reason: DropReason) -> State:
    """Note why a client will not be in the open slot's sum; who has uploaded is in it, even if gone since."""
    asked = state.cohort if state.waiting is None else state.waiting
    if state.phase is not Phase.TRAINING or client not in asked or client in state.failed_clients:
        return state
    return replace(state, failed=(*state.failed, Absence(state.slot, client, reason)))


def _not_waiting_for(state: State, client: int) -> State:
    return state if state.waiting is None else replace(state, waiting=state.waiting - {client})


# Stages: the shell opens one, clients answer, the machine closes it.


def _answered(state: State, answer: on.Answer) -> Transition:
    if answer.step < state.step:
        return state, ()
    handler = _ANSWERS.get((state.phase, type(answer))) if state.is_answer_due else None
    if handler is None:
        raise UnexpectedEvent(f"{type(answer).__name__} is not due in phase {state.phase}, step {state.step}")
    return handler(replace(state, is_answer_due=False), answer)


def _stage_opened(state: State, answer: on.StageOpened) -> Transition:
    seconds = state.rules.round_seconds if state.phase is Phase.TRAINING else state.rules.reply_seconds
    return _settle(replace(state, waiting=_missing(state, answer.waiting_for)), (do.Await(state.step, seconds),))


def _missing(state: State, waiting_for: frozenset[int]) -> frozenset[int]:
    return (waiting_for & state.live) - (state.failed_clients if state.phase is Phase.TRAINING else state.refused)


def _settle(state: State, before: Iterable[do.Command]) -> Transition:
    """Close the stage if nobody is left to wait for, or nobody can help any more."""
    hopeless = state.phase is Phase.TRAINING and len(state.cohort) - len(state.failed) < state.rules.quorum
    if state.waiting is None or (state.waiting and not hopeless):
        return state, tuple(before)
    return _then(before, _close(state))


def _close(state: State) -> Transition:
    phase = Phase.UNMASKING if state.phase is Phase.TRAINING else state.phase
    state = replace(_ask(state), phase=phase)
    return state, (do.CloseStage(state.step),)


def _deadline(state: State, event: on.DeadlinePassed) -> Transition:
    if event.step != state.step or state.is_answer_due:
        return state, ()
    if state.phase is Phase.ASSEMBLING:
        outcome = do.Outcome.TOO_FEW_SURVIVORS if state.has_assembled else do.Outcome.NO_QUORUM
        return _finish(state, outcome, came=len(state.live))
    if state.phase is Phase.GATHERING:
        return _start_epoch(state)
    if state.phase is Phase.EVALUATING:
        return _finish(state, do.Outcome.COMPLETED)
    for client in sorted(state.waiting or ()):
        state = _absent(state, client, DropReason.LATE)
    return _close(state)


def _epoch_ready(state: State, answer: on.EpochReady) -> Transition:
    state = replace(state, holders=state.holders & answer.members, slots_left=state.rules.slots_per_epoch)
    if len(state.holders) < state.rules.quorum:
        return _attempt_failed(state, len(state.holders), state.rules.quorum)
    return _open_slot(state)  # even if someone joined meanwhile: else one who comes and goes could stop all rounds


def _too_few(state: State, answer: on.TooFew) -> Transition:
    # Uploads close early once too few can still come. Then those who could have come are told, not those who were quick.
    able = len(state.cohort) - len(state.failed)
    came = able if state.phase is Phase.UNMASKING and answer.came < able < answer.needed else answer.came
    state = replace(state, opened=(answer.asked or state.opened) - answer.cheaters)
    return _attempt_failed(state.without(answer.cheaters), came, answer.needed)


def _attempt_failed(state: State, came: int, needed: int) -> Transition:
    """Try the round again: with new keys, so that nothing of the failed attempt is left, and so in a new slot."""
    state = replace(
        state,
        attempt=state.attempt + 1,
        absences=state.absences + state.failed,
        failed=(),
        holders=frozenset(),
        slots_left=0,
    )
    if state.attempt - state.excused >= state.rules.attempts:
        return _finish(state, do.Outcome.TOO_FEW_SURVIVORS, came=came, needed=needed)
    return _next(state)


def _sum_opened(state: State, answer: on.SumOpened) -> Transition:
    if len(answer.survivors & state.cohort) < state.rules.quorum:
        return _attempt_failed(state, len(answer.survivors & state.cohort), state.rules.quorum)
    noted = {absence.client: absence for absence in state.failed}
    missing = (noted.get(client, Absence(state.slot, client, DropReason.LATE)) for client in sorted(state.cohort - answer.survivors))
    record = do.Record(
        round_index=state.rounds_done,
        slot=state.slot,
        attempts=state.attempt + 1,
        cohort=state.cohort,
        survivors=answer.survivors,
        absences=(*state.absences, *missing),
    )
    done = replace(state, rounds_done=state.rounds_done + 1, attempt=0, excused=0, failed=(), absences=(), opened=frozenset())
    final = (
        do.ApplySum(record.round_index, record.slot),
        record,
        do.Checkpoint(done.rounds_done, done.next_slot, done.next_epoch, done.selection),
        do.Publish(done.rounds_done, done.selection),
    )
    return _then(final, _next(done))


_ANSWERS: dict[tuple[Phase, type], Callable[[State, Any], Transition]] = {
    (Phase.KEYING, on.StageOpened): _stage_opened,
    (Phase.KEYING, on.EpochReady): _epoch_ready,
    (Phase.KEYING, on.TooFew): _too_few,
    (Phase.TRAINING, on.StageOpened): _stage_opened,
    (Phase.TRAINING, on.TooFew): _too_few,
    (Phase.UNMASKING, on.StageOpened): _stage_opened,
    (Phase.UNMASKING, on.SumOpened): _sum_opened,
    (Phase.UNMASKING, on.TooFew): _too_few,
}


# Between slots: what next?


def _next(state: State) -> Transition:
    """Decide what follows at the boundary of a slot, or when a client comes or goes while there are too few."""
    rules = state.rules
    if state.rounds_done >= rules.rounds or _is_exhausted(state):
        return _conclude(state)
    if state.expected < rules.quorum:  # whoever had to be there again is not what is missing
        return _finish(replace(state, opened=frozenset()), do.Outcome.TOO_FEW_SURVIVORS, came=state.expected)
    if state.slots_left and not state.joiners and len(state.holders) >= rules.quorum:
        return _open_slot(state)
    if len(state.live) < rules.quorum:
        return _pause(state, Phase.ASSEMBLING, rules.assembly_seconds)
    if not state.opened <= state.live and not state.opened & state.withdrawn:
        return _pause(state, Phase.GATHERING, rules.assembly_seconds)
    if state.has_assembled or len(state.live) == state.expected:
        return _start_epoch(state)
    return _pause(state, Phase.GATHERING, rules.gathering_seconds)


def _pause(state: State, phase: Phase, seconds: float) -> Transition:
    if state.phase is phase:
        return state, ()  # its timer runs already
    state = replace(state, phase=phase, step=state.step + 1, waiting=None)
    return state, (do.Await(state.step, seconds),)


def _start_epoch(state: State) -> Transition:
    state = replace(
        _ask(state),
        next_slot=max(state.next_slot, state.slot_floor),
        phase=Phase.KEYING,
        holders=state.live,
        joiners=frozenset(),
        slots_left=0,
        has_assembled=True,
        next_epoch=state.next_epoch + 1,
    )
    return state, (do.StartEpoch(state.step, state.next_epoch - 1, state.next_slot, state.holders),)


def _open_slot(state: State) -> Transition:
    state = replace(
        _ask(state),
        phase=Phase.TRAINING,
        slot=state.next_slot,
        next_slot=state.next_slot + 1,
        slots_left=state.slots_left - 1,
        cohort=_cohort(state),
        failed=(),
    )
    return state, (do.OpenSlot(state.step, state.slot, state.rounds_done, state.cohort),)


def _cohort(state: State) -> frozenset[int]:
    """Those of the sum that may be open already, if all of them are there: clients open no other one close to it."""
    if state.opened and state.opened <= state.holders:
        return state.opened
    return cohort(state.rules.seed, state.rounds_done, state.holders, state.rules.cohort_size)


def _ask(state: State) -> State:
    """Take a new step, whose answer the shell owes."""
    return replace(state, step=state.step + 1, waiting=None, is_answer_due=True)


# The end.


def _evaluated(state: State, event: on.Evaluated) -> Transition:
    criterion, before = state.rules.criterion, state.selection
    if criterion is None:
        after = replace(before, last_version=max(before.last_version, event.version))
    else:
        after = before.observe(criterion, event.version, event.value)
    state = replace(state, selection=after)
    between_slots = _is_assembling(state) or state.phase is Phase.EVALUATING
    return _next(state) if between_slots else (state, ())


def _conclude(state: State) -> Transition:
    if state.rounds_done < state.rules.rounds:
        return _finish(state, do.Outcome.STOPPED_EARLY)
    if state.rules.evaluation_seconds > 0 and state.selection.last_version < state.rounds_done:
        return _pause(state, Phase.EVALUATING, state.rules.evaluation_seconds)
    return _finish(state, do.Outcome.COMPLETED)


def _finish(state: State, outcome: do.Outcome, came: int = 0, needed: int | None = None) -> Transition:
    finished = replace(state, phase=Phase.DONE, step=state.step + 1, waiting=None, is_answer_due=False)
    if outcome in (do.Outcome.COMPLETED, do.Outcome.STOPPED_EARLY):
        return finished, (do.Finish(outcome, _released(state.selection, state.rounds_done)),)
    return finished, (do.Finish(outcome, None, came, state.rules.quorum if needed is None else needed, state.opened),)


def _released(selection: Selection, newest: int) -> int:
    return newest if selection.best_version is None else selection.best_version


_HANDLERS: dict[type, Callable[[State, Any], Transition]] = {
    on.ClientJoined: _joined,
    on.ClientLeft: _left,
    on.ClientWithdrew: _withdrew,
    on.ClientFailed: _failed,
    on.Heard: _heard,
    on.DeadlinePassed: _deadline,
    on.Evaluated: _evaluated,
    on.StageOpened: _answered,
    on.EpochReady: _answered,
    on.SumOpened: _answered,
    on.TooFew: _answered,
}


# What phases have in common.


def _is_assembling(state: State) -> bool:
    return state.phase in (Phase.ASSEMBLING, Phase.GATHERING)


def _has_epoch(state: State) -> bool:
    return state.phase in (Phase.KEYING, Phase.TRAINING, Phase.UNMASKING)


def _is_exhausted(state: State) -> bool:
    return state.rules.criterion is not None and state.selection.is_exhausted(state.rules.criterion)


def _then(before: Iterable[do.Command], transition: Transition) -> Transition:
    state, after = transition
    return state, (*before, *after)
