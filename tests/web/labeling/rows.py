"""An open round with questions, without drawing one: what the annotating screen needs and no more."""

from collections.abc import Sequence

from annotate import modalities
from annotate.models import Draw, Import, Item, ItemPayload, Project, QueueEntry, Round, User
from annotate.models.project import Arm, SuggestionPolicy


def make_round(
    project: Project,
    texts: Sequence[str] = ("one", "two", "three", "four", "five"),
    *,
    suggestion: str = SuggestionPolicy.HIDDEN,
    arm: str = Arm.AUDIT,
    overlap: int = 1,
) -> Round:
    """The next round of this project, open, with one question per text in this order."""
    source = Import.objects.create(project=project, file_name="rows", file_sha256="0" * 64, state=Import.State.COMPLETE)
    index = project.rounds.count() + 1
    new = Round.objects.create(
        project=project, index=index, batch=len(texts), shares={}, strategy=project.strategy, seed=project.seed
    )
    start = Item.objects.filter(project=project).count()
    for place, text in enumerate(texts):
        payload = modalities.modality(project.modality).payload_of(text if isinstance(text, dict) else {"text": text})
        item = Item.objects.create(
            project=project,
            source=source,
            ordinal=start + place,
            modality=project.modality,
            content_hash=f"{index}-{place}",
            external_id=f"secret-id-{start + place}",
            prn=0.5,
            fold=0,
        )
        ItemPayload.objects.create(item=item, payload=payload, metadata={"source": "secret-metadata"})
        Draw.objects.create(project=project, item=item, round=new, arm=arm, pi=0.5, score=0.875, reason="secret-reason")
        QueueEntry.objects.create(
            round=new,
            item=item,
            position=place + 1,
            overlap=overlap,
            is_blind=suggestion != SuggestionPolicy.SHOWN,
            suggestion=suggestion,
        )
    return new


def close(one: Round, by: User) -> None:
    from annotate import rounds

    rounds.close_round(project=one.project, by=by, force=True)
