import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0002_append_only_events'),
    ]

    operations = [
        migrations.CreateModel(
            name='Draft',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('is_flagged', models.BooleanField(default=False)),
                ('comment', models.TextField(blank=True, default='')),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
        ),
        migrations.AddField(
            model_name='annotation',
            name='comment',
            field=models.TextField(blank=True, default=''),
        ),
        migrations.AddField(
            model_name='annotation',
            name='is_flagged',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='annotation',
            name='suggestion',
            field=models.CharField(choices=[('hidden', 'Hidden'), ('revealed', 'Revealed'), ('shown', 'Shown')], default='hidden', max_length=20),
        ),
        migrations.AddField(
            model_name='lease',
            name='revealed_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='lease',
            name='shown_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='queueentry',
            name='suggestion',
            field=models.CharField(choices=[('hidden', 'Hidden'), ('revealed', 'Revealed'), ('shown', 'Shown')], default='hidden', max_length=20),
        ),
        migrations.AlterField(
            model_name='lease',
            name='outcome',
            field=models.CharField(choices=[('answered', 'Answered'), ('skipped', 'Skipped'), ('expired', 'Expired'), ('released', 'Released'), ('taken_over', 'Taken Over')], max_length=20, null=True),
        ),
        migrations.AddIndex(
            model_name='annotation',
            index=models.Index(fields=['annotator', 'project', 'created_at'], name='annotation_by_person'),
        ),
        migrations.AddField(
            model_name='draft',
            name='annotator',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='drafts', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='draft',
            name='entry',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='drafts', to='annotate.queueentry'),
        ),
        migrations.AddField(
            model_name='draft',
            name='label',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, to='annotate.label'),
        ),
        migrations.AddConstraint(
            model_name='draft',
            constraint=models.UniqueConstraint(fields=('entry', 'annotator'), name='draft_once'),
        ),
    ]
