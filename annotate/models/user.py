"""Users: people who sign in, and simulated people."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from annotate.models.base import PublicIdField


class UserManager(BaseUserManager["User"]):
    """Makes users, and finds them by their e-mail address in upper or lower case."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a user with this address, in lower case. Without a password nobody can sign in as that user."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").strip().lower())


class Proof(models.TextChoices):
    """What says that one person, and nobody else, holds an account (docs/decisions/018-what-proves-an-address.md)."""

    MAILED = "mailed"  # somebody used a link that was mailed to the account's address, and shown to nobody else
    VOUCHED = "vouched"  # an owner of the site, or a command on the server, says who it is
    UNPROVEN = "unproven"  # nothing: two such accounts may be one person
    SIMULATED = "simulated"  # no person at all


class User(AbstractBaseUser):
    """A person of the site. What a user may do in a project is in Member.role."""

    public_id = PublicIdField()
    email = models.EmailField(max_length=254, unique=True)  # lower case, see create_user
    name = models.CharField(max_length=150, blank=True)
    language = models.CharField(max_length=10, default="en")
    time_zone = models.CharField(max_length=64, default="UTC")
    is_active = models.BooleanField(default=True)
    is_site_owner = models.BooleanField(default=False)
    is_simulated = models.BooleanField(default=False)  # answers come from a file, never from a person
    created_at = models.DateTimeField(auto_now_add=True)
    proven_at = models.DateTimeField(null=True)  # when a link that was mailed to `email` was used; NULL: unproven
    vouched_at = models.DateTimeField(null=True)
    vouched_by = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")  # NULL: a command

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(email=Lower("email")), name="user_email_lower_case")]

    def __str__(self) -> str:
        return self.name or self.email

    @property
    def proof(self) -> Proof:
        """What says that one person holds this account. A mailed link counts for more than somebody's word."""
        if self.is_simulated:
            return Proof.SIMULATED
        if self.proven_at is not None:
            return Proof.MAILED
        return Proof.VOUCHED if self.vouched_at is not None else Proof.UNPROVEN
