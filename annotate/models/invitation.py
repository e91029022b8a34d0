"""What lets people and programs in: one-time links and API tokens; failed sign-ins; requests already answered."""

from django.db import models
from django.db.models import Q

from annotate.models.base import PublicIdField
from annotate.models.project import Project, Role
from annotate.models.user import User


class MailState(models.TextChoices):
    """Where the mail with a link is. A mail that stays `waiting` was lost with its process."""

    NONE = "none"  # the link was shown to whoever made it, to pass on
    WAITING = "waiting"
    SENT = "sent"  # the mail server took it
    FAILED = "failed"


class MailedLink(models.Model):
    """A one-time link that may have been mailed. Only the SHA-256 of its token is kept, so a mail cannot be repeated:
    sending again means another token.
    """

    token_sha256 = models.CharField(max_length=64, unique=True)
    mailed_to = models.EmailField(max_length=254, blank=True, default="")  # empty: shown to its maker instead
    mail_state = models.CharField(max_length=10, choices=MailState.choices, default=MailState.NONE)
    mail_problem = models.CharField(max_length=200, blank=True, default="")  # why it failed, a sentence

    class Meta:
        abstract = True


class Invitation(MailedLink):
    """A link that lets one person into a project, once."""

    public_id = PublicIdField()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=20, choices=Role.choices)
    is_trusted = models.BooleanField(default=False)
    email = models.EmailField(max_length=254, blank=True, default="")  # empty: anybody who has the link may use it
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(role=Role.OWNER), name="invitation_never_for_owner"),
            models.CheckConstraint(
                condition=Q(used_at__isnull=True, used_by__isnull=True)
                | Q(used_at__isnull=False, used_by__isnull=False),
                name="invitation_used_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} in {self.project}"


class SignInFailure(models.Model):
    """One failed sign-in, or one mail that was asked for. `key`: keyed hash of the e-mail or network address."""

    key = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["key", "at"], name="sign_in_failure_recent")]

    def __str__(self) -> str:
        return str(self.at)


class PasswordReset(MailedLink):
    """A link that lets one person choose a new password, once. Who asks for a mailed one makes it (`created_by`)."""

    public_id = PublicIdField()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="password_resets")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"for {self.user}"


class AddressLink(MailedLink):
    """A link that proves the address that it is mailed to, once; where that is another one, it becomes the user's."""

    public_id = PublicIdField()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="address_links")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"for {self.user}"


class ApiToken(models.Model):
    """A token with which a program acts for a user. It is shown once; only its SHA-256 is kept."""

    class Scope(models.TextChoices):
        """What a program may do with the token, within what its user may do."""

        READ = "read"
        ANNOTATE = "annotate"  # and read
        MANAGE = "manage"  # and all others

    public_id = PublicIdField()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    token_sha256 = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=12)  # the token's first characters, to tell it from others
    scope = models.CharField(max_length=20, choices=Scope.choices, default=Scope.READ)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class IdempotentRequest(models.Model):
    """The response to a request with an idempotency key. A repeated request gets it again and does nothing more."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=100)
    request_sha256 = models.CharField(max_length=64)  # of method, path and body
    status = models.PositiveSmallIntegerField(null=True)  # of the response; NULL: the request is being handled
    body = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_once")]
        indexes = [models.Index(fields=["created_at"], name="idempotent_request_by_time")]

    def __str__(self) -> str:
        return self.key
