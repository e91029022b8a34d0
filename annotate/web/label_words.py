"""What a change of labels does, in words: what would follow, and what each version did."""

from collections import Counter
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.label_changes import Fate, Preview
from annotate.reports.label_versions import LabelVersion
from annotate.templatetags.figures import count


@dataclass(frozen=True)
class Row:
    """A line of the preview: what becomes of a label of today."""

    name: str
    becomes: str
    gold: str
    machine: str


def rows(effect: Preview) -> list[Row]:
    """What becomes of each label of today."""
    n_into = Counter(fate.becomes for fate in effect.fates)
    return [
        Row(fate.name, _becomes(fate, n_into[fate.becomes] > 1), _gold(fate), _machine(fate)) for fate in effect.fates
    ]


def _becomes(fate: Fate, is_merged: bool) -> str:
    if not fate.becomes:
        return _("is retired: no item has it any more")
    if len(fate.becomes) > 1:
        return _("is split into %(names)s") % {"names": ", ".join(fate.becomes)}
    name = fate.becomes[0]
    if name == fate.name:
        return _("stays")
    return (_("is merged into %(name)s") if is_merged else _("is renamed to %(name)s")) % {"name": name}


def _gold(fate: Fate) -> str:
    shown = {"n": count(fate.n_gold)}
    if not fate.n_gold:
        return _("none")
    return _("%(n)s stay valid") % shown if fate.keeps_gold else _("%(n)s become void") % shown


def _machine(fate: Fate) -> str:
    shown = {"n": count(fate.n_silver), "name": fate.reads_as}
    if not fate.n_silver:
        return _("none")
    if fate.reads_as is None:
        return _("%(n)s count as no valid answer") % shown
    if not fate.keeps_probability:
        return _("%(n)s read as %(name)s, of unknown probability") % shown
    return _("%(n)s read as %(name)s") % shown


def consequences(effect: Preview, *, has_model: bool) -> list[str]:
    """What follows from the change as a whole, a sentence each."""
    sentences = [_void(effect), _asked_again(effect), _settled(effect), _machine_labels(effect)]
    return [one for one in (*sentences, _model(effect) if has_model else "") if one]


def _void(effect: Preview) -> str:
    if not effect.n_void:
        return _("All gold labels stay valid.")
    sentence = ngettext(
        "%(n)s gold label becomes void: it stays on record, but it no longer trains, is no longer delivered and "
        "proves nothing.",
        "%(n)s gold labels become void: they stay on record, but they no longer train, are no longer delivered and "
        "prove nothing.",
        effect.n_void,
    )
    return sentence % {"n": count(effect.n_void)}


def _asked_again(effect: Preview) -> str:
    n = effect.n_asked_again
    if not n:
        sentence = _("Nothing is asked again by itself: none of it is in the audit or the reference sample.")
        return sentence if effect.n_void else ""
    if effect.is_at_most:
        sentence = ngettext(
            "When the open round is closed, the next rounds ask people at most %(n)s item of the audit and reference "
            "samples again, blind. Until then figures speak of the part of the samples before it.",
            "When the open round is closed, the next rounds ask people at most %(n)s items of the audit and reference "
            "samples again, blind. Until then figures speak of the part of the samples before the first of them.",
            n,
        )
        return sentence % {"n": count(n)}
    sentence = ngettext(
        "The next rounds ask people %(n)s item of the audit and reference samples again, blind. Until then figures "
        "speak of the part of the samples before it.",
        "The next rounds ask people %(n)s items of the audit and reference samples again, blind. Until then figures "
        "speak of the part of the samples before the first of them.",
        n,
    )
    return sentence % {"n": count(n)}


def _settled(effect: Preview) -> str:
    if not effect.n_settled:
        return ""
    sentence = ngettext(
        "%(n)s dispute is settled, because the labels at odds are one label now.",
        "%(n)s disputes are settled, because the labels at odds are one label now.",
        effect.n_settled,
    )
    return sentence % {"n": count(effect.n_settled)}


def _machine_labels(effect: Preview) -> str:
    if not any(fate.n_silver for fate in effect.fates):
        return ""
    return _("Machine labels stay and are read as below. Pre-labeling again asks by the new labels, at its price.")


def _model(effect: Preview) -> str:
    if effect.keeps_models:
        return _("The model in use goes on delivering.")
    return _("The model in use knows other labels: no model delivers before you train again.")


def changes(version: LabelVersion) -> list[str]:
    """What a version did to the one before it, a sentence each; empty for the first, and where nothing was in use."""
    if not version.fates:
        return []
    sentences = [*_continued(version), *_ended(version), _added(version), _void_since(version), _settled_since(version)]
    return [one for one in sentences if one] or [_("Only the order changed, or the wording of what labels mean.")]


def _continued(version: LabelVersion) -> list[str]:
    """Renamed and merged labels."""
    sentences = []
    for name, before in version.was.items():
        whole = [one for one in before if len(version.fates[one]) == 1]
        if len(whole) > 1:
            sentences.append(_("%(before)s were merged into %(name)s.") % {"before": ", ".join(whole), "name": name})
        elif whole and whole[0] != name:
            sentences.append(_("%(before)s was renamed to %(name)s.") % {"before": whole[0], "name": name})
    return sentences


def _ended(version: LabelVersion) -> list[str]:
    """Split and retired labels."""
    sentences = []
    for name, became in version.fates.items():
        facts = {"name": name, "parts": ", ".join(became), "part": version.reads_as.get(name)}
        if len(became) > 1:
            sentences.append(_("%(name)s was split into %(parts)s; machine labels read as %(part)s.") % facts)
        elif not became:
            sentences.append(_("%(name)s was retired.") % facts)
    return sentences


def _added(version: LabelVersion) -> str:
    return _("Added: %(names)s.") % {"names": ", ".join(version.added)} if version.added else ""


def _void_since(version: LabelVersion) -> str:
    if not version.n_void:
        return ""
    sentence = ngettext(
        "%(n)s gold label became void, of: %(names)s.",
        "%(n)s gold labels became void, of: %(names)s.",
        version.n_void,
    )
    return sentence % {"n": count(version.n_void), "names": ", ".join(version.void)}


def _settled_since(version: LabelVersion) -> str:
    if not version.n_settled:
        return ""
    sentence = ngettext("%(n)s dispute was settled.", "%(n)s disputes were settled.", version.n_settled)
    return sentence % {"n": count(version.n_settled)}
