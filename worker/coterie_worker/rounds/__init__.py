"""Pure: the machine of a job's rounds, cohorts, weights, server optimizers, selection of the best model.

How a shell drives the machine
------------------------------
The shell (the aggregator) owns the clock, the network, the files and the vectors; it decides nothing. It is one task with
one queue, and it performs each command to its end before the next, and all of them before the next event::

    state, commands = begin(rules_of(job, has_evaluator), resume)
    while True:
        answers = [answer for command in commands if (answer := await perform(command))]    # at most one, see below
        event = answers[0] if answers else await queue.get()      # an Answer goes in before anything from the queue
        state, commands = advance(state, event)

Clients are indices in the roster. `perform`, command by command:

===============  ==========================================================================================================
`Await`          (re)set the one timer; when it fires, put `DeadlinePassed(step)` in the queue
`StartEpoch`     `slots.open_epoch(epoch)`; `epoch = ServerEpoch(parameters, epoch, first_slot, members)`; send `epoch.start()`;
                 answer `StageOpened(step, epoch.waiting_for)`
`OpenSlot`       `slots.open_slot(slot, round_index)`, which returns when the slot is on disk; only then send
                 `epoch.start_slot(...)` and the model; answer `StageOpened(step, epoch.waiting_for)`
`CloseStage`     `outbox = epoch.close()`. If the slot's survivors are frozen now: `slots.freeze(slot, ...)` before sending.
                 Send the outbox. Answer by `epoch.stage`: Ready → `EpochReady(step, epoch.live)`; Done →
                 `SumOpened(step, survivors)`; else `StageOpened(step, epoch.waiting_for)`
`Drop`           `epoch.drop(client)`
`Skip`           `epoch.skip(client)`
`ApplySum`       `decoded = encoding.decode(epoch.result().sum)`, the heavy call; `mean = to_mean(decoded.sum, weight)`, where
                 weight is `decoded.weight`, or the number of survivors if that is None; then
                 `optimizer.apply(moments, parameters, mean, layout.trainable)`
`Record`         `history.append(...)` with bytes, seconds, clamped and `norm(mean[:layout.trainable])`
`Checkpoint`     `checkpoint.save(...)`
`Publish`        `models.publish(version, parameters)`, `models.prune(retained(models.present(), version, selection, capacity))`
`Finish`         release model `version` to the output with the history, say goodbye to all clients, write the last word, exit
===============  ==========================================================================================================

Any of StartEpoch, OpenSlot and CloseStage answers `TooFew(step, came, needed)` instead if the epoch raises
TooFewSurvivors; or DealerCheated, with the honest ones as `came` and its dealers as `cheaters`: its proofs are sent to all
others first, the dealers' streams are refused from then on, and the log has them before the next slot. These three come last
in `commands`, so at most one Answer is due at a time; the `step` of an Answer is its command's.

What goes into the queue, from the streams and from polling the evaluator's folder:

- a stream that proved its identity: `ClientJoined`. A stream that resumes within a step (the same process, with the keys
  it had) is the transport's matter: the machine hears nothing, or `ClientLeft` once the transport gives it up;
- a message or upload of the current epoch: `epoch.receive(...)` or `epoch.accept(...)` when it is taken from the queue, and
  then `Heard(state.step, epoch.waiting_for)`. Of an earlier epoch, or TooLate: forget it. Any other PeerProtocolError:
  close that stream and tell `ClientLeft(client, DropReason.PROTOCOL_VIOLATION)`;
- a failure that a client reports: `ClientFailed(client, slot, reason)` where it stays (its task raised, not finite),
  `ClientWithdrew(client, reason)` where it can't ever take part (import, no data, policy);
- `Evaluated(version, value)` for each new evaluation, while `models` still holds that version's file; later ones go into the
  history alone, since a model that is deleted can't become the result. A failed evaluation has None for a value.

After a crash: `resume = Resume(checkpoint.rounds_done, next_slot, next_epoch, checkpoint.selection, opened, withdrawn)`, where
the next slot and epoch are the greater of the checkpoint's and the slot log's, and the last two are the slot log's. A slot that
was open then is lost, and its number is never used again. The first events are `Evaluated`, once more, for each line of
`history.evaluated_since(selection.last_version)` whose model is still there: evaluations since that checkpoint, of which the
evaluator may have forgotten.
"""

from coterie_worker.rounds.cohort import cohort
from coterie_worker.rounds.machine import UnexpectedEvent, advance, begin
from coterie_worker.rounds.optimizers import Moments, ServerOptimizer, server_optimizer
from coterie_worker.rounds.selection import Criterion, Selection, retained
from coterie_worker.rounds.state import Phase, Resume, Rules, State, rules_of
from coterie_worker.rounds.weights import norm, to_mean, update_weight

__all__ = [
    "Criterion",
    "Moments",
    "Phase",
    "Resume",
    "Rules",
    "Selection",
    "ServerOptimizer",
    "State",
    "UnexpectedEvent",
    "advance",
    "begin",
    "cohort",
    "norm",
    "retained",
    "rules_of",
    "server_optimizer",
    "to_mean",
    "update_weight",
]
