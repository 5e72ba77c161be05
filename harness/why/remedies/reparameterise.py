"""Another parameterisation for a funnel: a hint, because only a person can change the program."""

from __future__ import annotations

from harness.records import Trial
from harness.why.causes.shape import FUNNEL
from harness.why.remedies.judge import not_tried
from harness.why.remedies.row import Change, Planning, Proposal, Remedy
from harness.why.remedies.sentence import trial_sentence


def _plan(remedy: Remedy, planning: Planning) -> Proposal | None:
    facts = {"funnel": planning.causes[FUNNEL.id]}
    change = Change(planning.method)
    return planning.proposal(remedy.id, change, None, "changes the program", facts)


def _sentence(trial: Trial) -> str:
    if trial.reason != "changes the program":
        return trial_sentence(trial)
    funnel = trial.facts["funnel"]
    shown = funnel["said"] if "said" in funnel else FUNNEL.sentence(funnel)
    of, on = funnel.get("of", "the parameter"), funnel.get("on", "the other")
    return (
        f"not tried, because it changes the program: {shown}; {of} written as its scale, which "
        f"depends on {on}, times a standard normal no longer depends on {on}"
    )


REPARAMETERISE = Remedy(
    id="reparameterise",
    name="reparameterise",
    causes=(FUNNEL.id,),
    hint=True,
    plan=_plan,
    judge=not_tried,
    what=lambda _, __: "a non-centred parameterisation",
    sentence=_sentence,
)
