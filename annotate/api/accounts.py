"""Accounts of the site, for its owners: who is proven, vouching, deactivating, projects without an owner."""

from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.request import Request

from annotate import deactivation
from annotate.accounts import addresses, passwords
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Flag, Input, Output, PublicId
from annotate.api.http.operations import site_operation
from annotate.api.people import OwnerOutput
from annotate.deactivation import Deactivated
from annotate.errors import InvalidInput, NotFound
from annotate.models import MailState, Proof, User


class AccountOutput(Output):
    id = serializers.CharField(source="public_id")
    name = serializers.CharField()
    email = serializers.CharField()
    is_active = serializers.BooleanField()
    is_site_owner = serializers.BooleanField()
    proof = serializers.ChoiceField(choices=Proof.choices)
    proven_at = serializers.DateTimeField(allow_null=True, help_text="When a link that was mailed there was used.")
    vouched_at = serializers.DateTimeField(allow_null=True)
    vouched_by = serializers.CharField(
        source="vouched_by.public_id", allow_null=True, default=None, help_text="Null: a command on the server."
    )
    created_at = serializers.DateTimeField()


class ImpactOutput(Output):
    """What deactivating the account would do now."""

    n_sessions = serializers.IntegerField()
    n_tokens = serializers.IntegerField()
    n_leases = serializers.IntegerField(help_text="Go back.")
    n_invitations = serializers.IntegerField()
    n_links = serializers.IntegerField()
    n_answers = serializers.IntegerField(help_text="Stay.")
    runs = serializers.ListField(child=serializers.CharField(), source="run_ids", help_text="Pause.")
    owned = serializers.ListField(child=serializers.CharField(), source="slugs", help_text="Need another owner.")
    obstacle = serializers.CharField(help_text="Why you cannot deactivate it; empty where you can.")


class OneAccountOutput(AccountOutput):
    deactivating = ImpactOutput(allow_null=True, help_text="Null where it is deactivated.")


class AccountStateInput(Input):
    is_active = Flag()
    heirs = serializers.DictField(
        child=PublicId(),
        required=False,
        help_text="With is_active false: by short name of each project that it owns, who owns it from now on.",
    )


class DeactivatedOutput(Output):
    """What became of the account's things; all zero where it was opened again."""

    is_active = serializers.BooleanField()
    n_sessions = serializers.IntegerField(default=0)
    n_tokens = serializers.IntegerField(default=0)
    n_leases = serializers.IntegerField(default=0)
    n_invitations = serializers.IntegerField(default=0)
    n_links = serializers.IntegerField(default=0)
    n_paused = serializers.IntegerField(default=0)


class HeirInput(Input):
    person = PublicId(help_text="A member who signs in, or you.")


class MailOutput(Output):
    """A link for a new password that was asked for and not sent."""

    id = serializers.CharField(source="public_id")
    email = serializers.CharField(source="mailed_to")
    mail = serializers.ChoiceField(source="mail_state", choices=MailState.choices)
    mail_problem = serializers.CharField()
    created_at = serializers.DateTimeField()


class Accounts(Endpoint):
    @site_operation("List accounts of the site", scope="read", returns=AccountOutput, is_paged=True, newest_first=False)
    def get(self, request: Request) -> Any:
        """For owners of the site; simulated people are left out."""
        return deactivation.accounts(self.me)


class OneAccount(Endpoint):
    @site_operation("Read an account, and what deactivating it would do", scope="read", returns=OneAccountOutput)
    def get(self, request: Request, account: str) -> Any:
        """For owners of the site."""
        found: Any = deactivation.find(public_id=account, by=self.me)
        found.deactivating = _impact(found, self.me) if found.is_active else None
        return found


class Vouch(Endpoint):
    @site_operation("Vouch for an account", scope="manage", returns=AccountOutput)
    def put(self, request: Request, account: str) -> Any:
        """For owners of the site who know the person. Twice is once; nobody vouches for themselves."""
        return addresses.vouch(user=deactivation.find(public_id=account, by=self.me), by=self.me)

    @site_operation("Take back what was vouched", scope="manage", returns=AccountOutput)
    def delete(self, request: Request, account: str) -> Any:
        """For owners of the site."""
        return addresses.take_back_vouch(user=deactivation.find(public_id=account, by=self.me), by=self.me)


class Active(Endpoint):
    @site_operation(
        "Deactivate an account, or open it again", scope="manage", body=AccountStateInput, returns=DeactivatedOutput
    )
    def put(self, request: Request, account: str) -> Any:
        """For owners of the site. Projects that it owns need an heir; the account stays in them as an admin."""
        found, heirs = deactivation.find(public_id=account, by=self.me), self.body.get("heirs", {})
        if not self.body["is_active"]:
            return _facts(deactivation.deactivate(user=found, by=self.me, heirs=heirs))
        if heirs:
            raise InvalidInput(_("Heirs are named when an account is deactivated."))
        deactivation.reactivate(user=found, by=self.me)
        return {"is_active": True}


class OwnerOfGone(Endpoint):
    @site_operation(
        "Hand over a project whose owner is deactivated", scope="manage", body=HeirInput, returns=OwnerOutput
    )
    def put(self, request: Request, account: str, slug: str) -> Any:
        """For owners of the site. The owner until now stays as an admin."""
        found = deactivation.find(public_id=account, by=self.me)
        project = next((one for one in deactivation.owned_by(found) if one.slug == slug), None)
        if project is None:
            raise NotFound(_("This account owns no such project."))
        return deactivation.hand_over_of_gone(project=project, heir=self.body["person"], by=self.me)


class Mails(Endpoint):
    @site_operation("List links for a new password that were not sent", scope="read", returns=MailOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        """For owners of the site."""
        return passwords.unsent(self.me)


class SendMail(Endpoint):
    @site_operation("Mail a link for a new password again", scope="manage", status=204, may_fail=False)
    def post(self, request: Request, mail: str) -> Any:
        """For owners of the site. It is a new link, mailed to the same address."""
        passwords.send_again(public_id=mail, by=self.me)


def _impact(found: User, by: User) -> dict[str, Any]:
    impact = deactivation.impact(found)
    return {
        **vars(impact),
        "run_ids": [run.public_id for run in impact.runs],
        "slugs": [project.slug for project in impact.owned],
        "obstacle": deactivation.obstacle(found, by),
    }


def _facts(done: Deactivated) -> dict[str, Any]:
    return {**vars(done), "is_active": False, "n_paused": len(done.runs)}
