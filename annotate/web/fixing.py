"""What a step fixes for good, or makes dear to change later: said before the step, where somebody can start it."""

from collections.abc import Callable
from functools import cached_property

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate import label_changes, project_settings, projects
from annotate.models import Estimate, LabelMapping, Project
from annotate.reports.progress import LoopProgress
from models_ml.estimators import look_sizes


class Fixing:
    """What the steps of one project would fix as it stands now; what is fixed already is not said again."""

    def __init__(self, project: Project, now: LoopProgress | None = None) -> None:
        self._project, self._now = project, now  # `now`, where it is known, spares queries

    def by_run(self, kind: str) -> list[str]:
        """Sentences on starting a run of this kind."""
        own: dict[str, Callable[[], list[str]]] = {
            "prelabel": lambda: [self._labels()],
            "draw": self._round,
            "estimate": lambda: [self._look()],
        }
        found = own[kind]() if kind in own else []
        return [sentence for sentence in (*found, self._undo()) if sentence]

    def by_import(self, *, has_labels: bool) -> list[str]:
        """Sentences on importing a file, in which a column holds labels or none does."""
        sentences = [self._labels() if has_labels else "", self._random_numbers(), self._undo()]
        return [sentence for sentence in sentences if sentence]

    def by_money(self) -> str:
        """A sentence on the first amount that stands in the project's currency."""
        if not self._is_free("currency"):
            return ""
        names = {"currency": self._project.currency}
        return _("The first cap fixes the currency: it stays %(currency)s.") % names

    @cached_property
    def _are_labels_free(self) -> bool:
        is_counted = self._now is not None and bool(self._now.n_silver or self._now.n_gold or self._now.n_answers)
        return not (is_counted or projects.are_labels_in_use(self._project))

    @cached_property
    def _can_undo(self) -> bool:
        if not LabelMapping.objects.filter(source__schema__project=self._project).exists():
            return False  # most projects: asked first, in one query
        return not label_changes.obstacle_to_undo(projects.current_schema(self._project))

    def _is_free(self, setting: str) -> bool:
        return not project_settings.refusals(self._project, [setting])

    def _labels(self, *, when: str = "") -> str:
        if not self._are_labels_free:
            return ""
        price = _(
            "They can still be changed later, at a price: renaming, moving and merging cost nothing, but where a label "
            "is added, split, retired or means something else, labels that people gave are void, part of them is asked "
            "again, and you train again."
        )
        return f"{when or _('From then on the labels are in use.')} {price}"

    def _round(self) -> list[str]:
        names = {"n": self._project.audit_target, "currency": self._project.currency}
        sentences = [self._labels(when=_("With the first answer the labels are in use."))]
        if not (self._now and self._now.round) and self._is_free("audit_target"):
            sentence = ngettext(
                "The first round fixes the size of the audit sample: %(n)s item. It plans when accuracy is judged.",
                "The first round fixes the size of the audit sample: %(n)s items. It plans when accuracy is judged.",
                self._project.audit_target,
            )
            sentences.append(sentence % names)
        if self._project.human_price_micros and self._is_free("currency"):
            sentences.append(_("The first paid answer fixes the currency: it stays %(currency)s.") % names)
        return [*sentences, _("While the round is open, the rule by which answers become gold stays as it is.")]

    def _look(self) -> str:
        """On the next look at the target, where there is one."""
        if self._project.target_accuracy is None:
            return ""
        sizes = look_sizes(self._project.audit_target)
        n_spent = self._project.estimates.filter(estimand=Estimate.Estimand.LOOK).count()
        if n_spent >= len(sizes):
            return ""
        sentence = ngettext(
            "Once %(n)s audited item is answered, an estimate takes look %(look)s of %(all)s at the target. A look "
            "is spent for good, whatever it shows.",
            "Once %(n)s audited items are answered, an estimate takes look %(look)s of %(all)s at the target. A look "
            "is spent for good, whatever it shows.",
            sizes[n_spent],
        )
        return sentence % {"look": n_spent + 1, "all": len(sizes), "n": sizes[n_spent]}

    def _random_numbers(self) -> str:
        if self._project.items.exists():
            return ""
        return _(
            "Each item gets a random number from its content and the project's key, which decides the samples it may "
            "join. Number and content stay: an item is corrected by another that takes its place."
        )

    def _undo(self) -> str:
        return _("The last change of the labels can then no longer be taken back.") if self._can_undo else ""
