from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0003_leases_shown_and_drafts'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='run',
            name='run_one_of_a_kind',
        ),
        migrations.RemoveConstraint(
            model_name='run',
            name='run_finished_has_time',
        ),
        migrations.AddField(
            model_name='run',
            name='parameters',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='run',
            name='result',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='run',
            name='started_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='step',
            field=models.CharField(blank=True, default='', max_length=60),
        ),
        migrations.AlterField(
            model_name='run',
            name='heartbeat_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AlterField(
            model_name='run',
            name='host',
            field=models.CharField(blank=True, default='', max_length=100),
        ),
        migrations.AlterField(
            model_name='run',
            name='lease_until',
            field=models.DateTimeField(null=True),
        ),
        migrations.AlterField(
            model_name='run',
            name='pid',
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AlterField(
            model_name='run',
            name='state',
            field=models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('succeeded', 'Succeeded'), ('failed', 'Failed'), ('errored', 'Errored')], default='queued', max_length=20),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['queued', 'running'])), fields=('project', 'kind'), name='run_one_of_a_kind'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', True), ('state__in', ['queued', 'running'])), models.Q(models.Q(('state__in', ['queued', 'running']), _negated=True), ('finished_at__isnull', False)), _connector='OR'), name='run_finished_has_time'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'running'), _negated=True), models.Q(('heartbeat_at__isnull', False), ('lease_until__isnull', False)), _connector='OR'), name='run_running_has_lease'),
        ),
    ]
