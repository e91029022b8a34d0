"""The rows of the product, one file per thing."""

from annotate.models.annotation import Annotation, Draft
from annotate.models.draw import Draw, QueueEntry, Round
from annotate.models.event import Event
from annotate.models.gold import Gold
from annotate.models.invitation import Invitation, SignInFailure
from annotate.models.item import Import, Item, ItemPayload, RejectedRow
from annotate.models.lease import Lease
from annotate.models.model_version import DeliveredVersion, Estimate, ModelVersion
from annotate.models.prediction import Prediction, PromptVersion
from annotate.models.project import Member, Project
from annotate.models.run import Run
from annotate.models.schema import GuidelineVersion, Label, LabelSchema
from annotate.models.user import User

__all__ = [
    "Annotation",
    "DeliveredVersion",
    "Draft",
    "Draw",
    "Estimate",
    "Event",
    "Gold",
    "GuidelineVersion",
    "Import",
    "Invitation",
    "Item",
    "ItemPayload",
    "Label",
    "LabelSchema",
    "Lease",
    "Member",
    "ModelVersion",
    "Prediction",
    "Project",
    "PromptVersion",
    "QueueEntry",
    "RejectedRow",
    "Round",
    "Run",
    "SignInFailure",
    "User",
]
