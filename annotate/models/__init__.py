"""The database's tables as Django models, one file per subject; import the models from here."""

from annotate.models.annotation import Annotation, Draft
from annotate.models.budget import Budget, LedgerEntry
from annotate.models.connection import Connection
from annotate.models.draw import Draw, QueueEntry, Round
from annotate.models.event import Event
from annotate.models.export import Export
from annotate.models.gold import Adjudication, Gold
from annotate.models.heartbeat import Heartbeat
from annotate.models.invitation import (
    AddressLink,
    ApiToken,
    IdempotentRequest,
    Invitation,
    MailState,
    PasswordReset,
    SignInFailure,
)
from annotate.models.item import Import, Item, ItemPayload, RejectedRow, Upload, UploadReservation
from annotate.models.lease import Lease
from annotate.models.model_version import DeliveredVersion, Estimate, EstimateInputs, ModelVersion
from annotate.models.prediction import Prediction, PromptVersion
from annotate.models.project import Member, Project
from annotate.models.run import Run, RunLine
from annotate.models.schema import GuidelineVersion, Label, LabelMapping, LabelSchema
from annotate.models.seal import Seal, SealedRows
from annotate.models.sight import Download, SeenLabel
from annotate.models.user import Proof, User

__all__ = [
    "AddressLink",
    "Adjudication",
    "Annotation",
    "ApiToken",
    "Budget",
    "Connection",
    "DeliveredVersion",
    "Download",
    "Draft",
    "Draw",
    "Estimate",
    "EstimateInputs",
    "Event",
    "Export",
    "Gold",
    "GuidelineVersion",
    "IdempotentRequest",
    "Import",
    "Invitation",
    "Item",
    "ItemPayload",
    "Label",
    "LabelMapping",
    "LabelSchema",
    "Lease",
    "LedgerEntry",
    "MailState",
    "Member",
    "ModelVersion",
    "PasswordReset",
    "Prediction",
    "Project",
    "PromptVersion",
    "Proof",
    "QueueEntry",
    "RejectedRow",
    "Round",
    "Run",
    "RunLine",
    "Seal",
    "SealedRows",
    "SeenLabel",
    "SignInFailure",
    "Upload",
    "UploadReservation",
    "User",
    "Heartbeat",
]
