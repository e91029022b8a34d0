"""Links that are mailed prove an address; a site owner may vouch for an account. Those there are stay unproven."""

import annotate.models.base
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0022_asked_again'),
    ]

    operations = [
        migrations.AddField(
            model_name='invitation',
            name='mail_problem',
            field=models.CharField(blank=True, default='', max_length=200),
        ),
        migrations.AddField(
            model_name='invitation',
            name='mail_state',
            field=models.CharField(choices=[('none', 'None'), ('waiting', 'Waiting'), ('sent', 'Sent'), ('failed', 'Failed')], default='none', max_length=10),
        ),
        migrations.AddField(
            model_name='invitation',
            name='mailed_to',
            field=models.EmailField(blank=True, default='', max_length=254),
        ),
        migrations.AddField(
            model_name='passwordreset',
            name='mail_problem',
            field=models.CharField(blank=True, default='', max_length=200),
        ),
        migrations.AddField(
            model_name='passwordreset',
            name='mail_state',
            field=models.CharField(choices=[('none', 'None'), ('waiting', 'Waiting'), ('sent', 'Sent'), ('failed', 'Failed')], default='none', max_length=10),
        ),
        migrations.AddField(
            model_name='passwordreset',
            name='mailed_to',
            field=models.EmailField(blank=True, default='', max_length=254),
        ),
        migrations.AddField(
            model_name='user',
            name='proven_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='user',
            name='vouched_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='user',
            name='vouched_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.CreateModel(
            name='AddressLink',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('token_sha256', models.CharField(max_length=64, unique=True)),
                ('mailed_to', models.EmailField(blank=True, default='', max_length=254)),
                ('mail_state', models.CharField(choices=[('none', 'None'), ('waiting', 'Waiting'), ('sent', 'Sent'), ('failed', 'Failed')], default='none', max_length=10)),
                ('mail_problem', models.CharField(blank=True, default='', max_length=200)),
                ('public_id', annotate.models.base.PublicIdField(default=annotate.models.base.make_public_id, editable=False, max_length=20, unique=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField()),
                ('used_at', models.DateTimeField(null=True)),
                ('revoked_at', models.DateTimeField(null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='address_links', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'abstract': False,
            },
        ),
    ]
