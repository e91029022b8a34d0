"""Members, invitations, and who owns a project."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request

from annotate import members
from annotate.accounts import invitations, passwords
from annotate.accounts.invitations import GIVABLE, MAX_DAYS
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Choice, Flag, Input, Integer, Output, PublicId
from annotate.api.http.operations import operation
from annotate.api.labeling_serializers import ReleasedOutput
from annotate.members import HandOver
from annotate.models import MailState, Proof
from annotate.models.project import Role

_GIVABLE = [role.value for role in GIVABLE]


class MemberOutput(Output):
    id = serializers.CharField(source="user.public_id")
    name = serializers.CharField(source="user.name")
    email = serializers.CharField(source="user.email")
    is_active = serializers.BooleanField(source="user.is_active")
    proof = serializers.ChoiceField(
        source="user.proof",
        choices=Proof.choices,
        help_text="What says that one person holds the account: a link that was mailed and used, or somebody's word.",
    )
    role = serializers.ChoiceField(choices=Role.choices)
    is_trusted = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class MemberInput(Input):
    role = Choice(choices=_GIVABLE)
    is_trusted = Flag()


class OwnerInput(Input):
    person = PublicId(help_text="A member who signs in.")
    stays = Flag(required=False, help_text="False: the owner until now leaves; else they become an admin.")


class OwnerOutput(Output):
    owner = serializers.CharField(source="new.public_id")
    before = serializers.CharField(source="old.public_id")
    has_left = serializers.SerializerMethodField()

    def get_has_left(self, done: HandOver) -> bool:
        return done.left is not None


class LeftOutput(Output):
    """What became of somebody's work: answers stay, held items went back, open invitations ended, runs paused."""

    n_answers = serializers.IntegerField()
    n_released = serializers.IntegerField()
    n_revoked = serializers.IntegerField()
    n_paused = serializers.IntegerField(help_text="Runs that go on for whoever resumes them.")


class PasswordLinkOutput(Output):
    link = serializers.CharField(allow_null=True, help_text="Shown once, and null in an answer that is replayed.")
    expires_at = serializers.DateTimeField()


class InvitationOutput(Output):
    id = serializers.CharField(source="public_id")
    role = serializers.ChoiceField(choices=_GIVABLE)
    is_trusted = serializers.BooleanField()
    email = serializers.CharField(help_text="Empty: for whoever holds the link.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    mail = serializers.ChoiceField(
        source="mail_state", choices=MailState.choices, help_text="`none`: the link was shown, to be passed on."
    )
    mail_problem = serializers.CharField(help_text="Why the mail was not sent; empty where nothing failed.")


class InvitationLinkOutput(InvitationOutput):
    link = serializers.CharField(
        source="own_link",
        allow_null=True,
        help_text="Shown once, to pass on. Null where it is mailed, and in an answer that is replayed.",
    )


class InvitationInput(Input):
    role = Choice(choices=_GIVABLE)
    email = serializers.EmailField(max_length=254, required=False, allow_blank=True)
    days = Integer(required=False, min_value=1, max_value=MAX_DAYS)
    is_trusted = Flag(required=False)
    by_hand = Flag(required=False, help_text="Show the link even where it could be mailed; it then proves no address.")


class Members(Endpoint):
    @operation("List members", scope="read", needs="manage", returns=MemberOutput, is_paged=True, newest_first=False)
    def get(self, request: Request) -> Any:
        return self.member.project.members.select_related("user")


class OneMember(Endpoint):
    @operation("Change what a member may do", scope="manage", needs="manage", body=MemberInput, returns=MemberOutput)
    def put(self, request: Request, person: str) -> Any:
        """Who may no longer annotate gives back what they hold; the runs of who may no longer manage pause."""
        return members.set_member(project=self.member.project, person=person, by=self.me, **self.body)

    @operation("Remove a member", scope="manage", needs="manage", returns=LeftOutput)
    def delete(self, request: Request, person: str) -> Any:
        """From the next request on they are out; what they answered stays, the runs that they started pause."""
        return members.remove(project=self.member.project, person=person, by=self.me)


class ReleaseMember(Endpoint):
    @operation("Take back what a member holds", scope="manage", needs="manage", returns=ReleasedOutput)
    def post(self, request: Request, person: str) -> Any:
        """The questions go to others; an answer that still comes is kept, and does not count."""
        _user, n = members.release(project=self.member.project, person=person, by=self.me)
        return {"n_released": n}


class PasswordLink(Endpoint):
    @operation(
        "Make a link by which a member chooses a new password",
        scope="manage",
        needs="manage",
        returns=PasswordLinkOutput,
        status=201,
        makes=True,
        hidden=("link",),
    )
    def post(self, request: Request, person: str) -> Any:
        reset, token = passwords.make_link_in(project=self.member.project, person=person, by=self.me)
        link = _site(request) + reverse("password-reset", args=[token])
        return {"link": link, "expires_at": reset.expires_at}


class Invitations(Endpoint):
    @operation("List open invitations", scope="read", needs="manage", returns=InvitationOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        return invitations.open_in(self.member.project)

    @operation(
        "Invite somebody",
        scope="manage",
        needs="manage",
        body=InvitationInput,
        returns=InvitationLinkOutput,
        status=201,
        makes=True,
        hidden=("link",),
    )
    def post(self, request: Request) -> Any:
        """Where the site sends mail and an address is named, the link goes there and is shown to nobody else."""
        made, token = invitations.invite(project=self.member.project, by=self.me, **self.body)
        return _with_link(request, made, token)


class OneInvitation(Endpoint):
    @operation("Revoke an invitation", scope="manage", needs="manage", status=204)
    def delete(self, request: Request, invitation: str) -> Any:
        invitations.revoke(project=self.member.project, public_id=invitation, by=self.me)


class SendInvitation(Endpoint):
    @operation("Mail an invitation again", scope="manage", needs="manage", returns=InvitationOutput, may_fail=False)
    def post(self, request: Request, invitation: str) -> Any:
        """With a new link; the one before ends."""
        return invitations.send_again(project=self.member.project, public_id=invitation, by=self.me)


class ShowInvitation(Endpoint):
    @operation(
        "Show a new link of an invitation",
        scope="manage",
        needs="manage",
        returns=InvitationLinkOutput,
        status=201,
        makes=True,
        hidden=("link",),
    )
    def post(self, request: Request, invitation: str) -> Any:
        """To pass on by hand: it proves no address, and the link before ends."""
        made, token = invitations.show_link(project=self.member.project, public_id=invitation, by=self.me)
        return _with_link(request, made, token)


class Owner(Endpoint):
    @operation("Hand a project over", scope="manage", needs="own", body=OwnerInput, returns=OwnerOutput)
    def put(self, request: Request) -> Any:
        """Another member owns it from now on, and is trusted; you become an admin, or leave."""
        return members.hand_over(project=self.member.project, by=self.me, **self.body)


def _with_link(request: Request, made: Any, token: str | None) -> Any:
    made.own_link = _site(request) + reverse("invitation-accept", args=[token]) if token else None
    return made


def _site(request: Request) -> str:
    """How others reach this site: as it was set, or where nothing was set, as this program reached it."""
    if urlsplit(settings.SITE_URL).hostname in ("localhost", "127.0.0.1"):
        return request.build_absolute_uri("/").rstrip("/")
    return str(settings.SITE_URL)
