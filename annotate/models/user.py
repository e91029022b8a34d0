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

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(email=Lower("email")), name="user_email_lower_case")]

    def __str__(self) -> str:
        return self.name or self.email
