"""Every address of the API, by name `api-thing`. What belongs to a project lies below /projects/<slug>/."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from annotate.api import (
    accounts,
    annotations,
    budgets,
    connections,
    estimates,
    exports,
    imports,
    items,
    labeling,
    me,
    methods,
    people,
    predictions,
    projects,
    reference,
    reviews,
    rounds,
    runs,
    schemas,
    seals,
)


class PublicIdConverter(StringConverter):
    regex = "[0-9a-f]{20}"


class VersionConverter(StringConverter):
    regex = "[1-9][0-9]{0,8}"

    def to_python(self, value: str) -> int:  # type: ignore[override]
        return int(value)


class FileNameConverter(StringConverter):
    regex = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"


class MoneyConverter(StringConverter):
    regex = "machine|human"


register_converter(PublicIdConverter, "id")
register_converter(VersionConverter, "version")
register_converter(FileNameConverter, "file")
register_converter(MoneyConverter, "money")

_P = "api/v1/projects/<slug:project>"
_A = "api/v1/accounts/<id:account>"
_C = "api/v1/connections/<id:connection>"

urlpatterns = [
    path("api/v1/schema", reference.Document.as_view(), name="api-schema"),
    path("api/v1/docs", reference.page, name="api-docs"),
    path("api/v1/me", me.Me.as_view(), name="api-me"),
    path("api/v1/me/address", me.MyAddress.as_view(), name="api-me-address"),
    path("api/v1/accounts", accounts.Accounts.as_view(), name="api-accounts"),
    path("api/v1/accounts/mails", accounts.Mails.as_view(), name="api-mails"),
    path("api/v1/accounts/mails/<id:mail>/send", accounts.SendMail.as_view(), name="api-mail-send"),
    path(_A, accounts.OneAccount.as_view(), name="api-account"),
    path(f"{_A}/active", accounts.Active.as_view(), name="api-account-active"),
    path(f"{_A}/vouch", accounts.Vouch.as_view(), name="api-account-vouch"),
    path(f"{_A}/projects/<slug:slug>/owner", accounts.OwnerOfGone.as_view(), name="api-account-project-owner"),
    path("api/v1/connections", connections.Connections.as_view(), name="api-connections"),
    path(_C, connections.OneConnection.as_view(), name="api-connection"),
    path(f"{_C}/active", connections.SwitchConnection.as_view(), name="api-connection-active"),
    path(f"{_C}/test", connections.TryConnection.as_view(), name="api-connection-test"),
    path(f"{_C}/projects/<slug:slug>", connections.LendConnection.as_view(), name="api-connection-project"),
    path("api/v1/projects", projects.Projects.as_view(), name="api-projects"),
    path(_P, projects.OneProject.as_view(), name="api-project"),
    path(f"{_P}/progress", projects.Progress.as_view(), name="api-progress"),
    path(f"{_P}/schemas", schemas.Schemas.as_view(), name="api-schemas"),
    path(f"{_P}/schemas/preview", schemas.PreviewSchema.as_view(), name="api-schema-preview"),
    path(f"{_P}/schemas/<version:version>", schemas.OneSchema.as_view(), name="api-schema-version"),
    path(f"{_P}/guidelines", schemas.Guidelines.as_view(), name="api-guidelines"),
    path(f"{_P}/guidelines/<version:version>", schemas.OneGuidelines.as_view(), name="api-guidelines-version"),
    path(f"{_P}/items", items.Items.as_view(), name="api-items"),
    path(f"{_P}/items/withdraw", items.Withdraw.as_view(), name="api-items-withdraw"),
    path(f"{_P}/items/<id:item>", items.OneItem.as_view(), name="api-item"),
    path(f"{_P}/items/<id:item>/history", items.ItemHistory.as_view(), name="api-item-history"),
    path(f"{_P}/items/<id:item>/correct", items.Correct.as_view(), name="api-item-correct"),
    path(f"{_P}/items/<id:item>/bring-back", items.BringBack.as_view(), name="api-item-bring-back"),
    path(f"{_P}/quote", budgets.Quote.as_view(), name="api-quote"),
    path(f"{_P}/uploads", imports.Uploads.as_view(), name="api-uploads"),
    path(f"{_P}/uploads/quota", imports.UploadQuota.as_view(), name="api-upload-quota"),
    path(f"{_P}/uploads/<id:upload>", imports.OneUpload.as_view(), name="api-upload"),
    path(f"{_P}/uploads/<id:upload>/preview", imports.PreviewUpload.as_view(), name="api-upload-preview"),
    path(f"{_P}/uploads/<id:upload>/count", imports.CountUpload.as_view(), name="api-upload-count"),
    path(f"{_P}/imports", imports.Imports.as_view(), name="api-imports"),
    path(f"{_P}/imports/<id:source>", imports.OneImport.as_view(), name="api-import"),
    path(f"{_P}/imports/<id:source>/abandon", imports.AbandonImport.as_view(), name="api-import-abandon"),
    path(f"{_P}/imports/<id:source>/quarantine", imports.Quarantine.as_view(), name="api-import-quarantine"),
    path(f"{_P}/predictions", predictions.Predictions.as_view(), name="api-predictions"),
    path(f"{_P}/estimates", estimates.Estimates.as_view(), name="api-estimates"),
    path(f"{_P}/runs", runs.Runs.as_view(), name="api-runs"),
    path(f"{_P}/runs/<id:run>", runs.OneRun.as_view(), name="api-run"),
    path(f"{_P}/runs/<id:run>/lines", runs.Lines.as_view(), name="api-run-lines"),
    path(f"{_P}/runs/<id:run>/pause", runs.PauseRun.as_view(), name="api-run-pause"),
    path(f"{_P}/runs/<id:run>/resume", runs.ResumeRun.as_view(), name="api-run-resume"),
    path(f"{_P}/runs/<id:run>/cancel", runs.CancelRun.as_view(), name="api-run-cancel"),
    path(f"{_P}/runs/<id:run>/retry", runs.RetryRun.as_view(), name="api-run-retry"),
    path(f"{_P}/exports", exports.Exports.as_view(), name="api-exports"),
    path(f"{_P}/exports/<id:run>", exports.OneExport.as_view(), name="api-export"),
    path(f"{_P}/exports/<id:run>/files/<file:name>", exports.ExportFile.as_view(), name="api-export-file"),
    path(f"{_P}/label", labeling.Standing.as_view(), name="api-label"),
    path(f"{_P}/label/next", labeling.Next.as_view(), name="api-label-next"),
    path(f"{_P}/label/submit", labeling.Submit.as_view(), name="api-label-submit"),
    path(f"{_P}/label/skip", labeling.Skip.as_view(), name="api-label-skip"),
    path(f"{_P}/label/change", labeling.Change.as_view(), name="api-label-change"),
    path(f"{_P}/label/renew", labeling.Renew.as_view(), name="api-label-renew"),
    path(f"{_P}/label/release", labeling.Release.as_view(), name="api-label-release"),
    path(f"{_P}/label/draft", labeling.Draft.as_view(), name="api-label-draft"),
    path(f"{_P}/label/reveal", labeling.Reveal.as_view(), name="api-label-reveal"),
    path(f"{_P}/label/why", labeling.Why.as_view(), name="api-label-why"),
    path(f"{_P}/label/history", labeling.History.as_view(), name="api-label-history"),
    path(f"{_P}/annotations", annotations.Remarks.as_view(), name="api-annotations"),
    path(f"{_P}/rounds", rounds.Rounds.as_view(), name="api-rounds"),
    path(f"{_P}/seals", seals.Seals.as_view(), name="api-seals"),
    path(f"{_P}/methods", methods.Methods.as_view(), name="api-methods"),
    path(f"{_P}/models", rounds.Models.as_view(), name="api-models"),
    path(f"{_P}/disputes", reviews.Disputes.as_view(), name="api-disputes"),
    path(f"{_P}/disputes/<version:round>/<id:item>", reviews.OneDispute.as_view(), name="api-dispute"),
    path(f"{_P}/adjudications", reviews.Adjudications.as_view(), name="api-adjudications"),
    path(f"{_P}/annotator", connections.Annotator.as_view(), name="api-annotator"),
    path(f"{_P}/connections", connections.UsableConnections.as_view(), name="api-usable-connections"),
    path(f"{_P}/budgets", budgets.Budgets.as_view(), name="api-budgets"),
    path(f"{_P}/budgets/<money:kind>", budgets.OneBudget.as_view(), name="api-budget"),
    path(f"{_P}/budgets/<money:kind>/stop", budgets.StopSpending.as_view(), name="api-budget-stop"),
    path(f"{_P}/budgets/<money:kind>/resume", budgets.ResumeSpending.as_view(), name="api-budget-resume"),
    path(f"{_P}/ledger", budgets.Ledger.as_view(), name="api-ledger"),
    path(f"{_P}/members", people.Members.as_view(), name="api-members"),
    path(f"{_P}/members/<id:person>", people.OneMember.as_view(), name="api-member"),
    path(f"{_P}/members/<id:person>/release", people.ReleaseMember.as_view(), name="api-member-release"),
    path(f"{_P}/members/<id:person>/password", people.PasswordLink.as_view(), name="api-member-password"),
    path(f"{_P}/owner", people.Owner.as_view(), name="api-owner"),
    path(f"{_P}/invitations", people.Invitations.as_view(), name="api-invitations"),
    path(f"{_P}/invitations/<id:invitation>", people.OneInvitation.as_view(), name="api-invitation"),
    path(f"{_P}/invitations/<id:invitation>/send", people.SendInvitation.as_view(), name="api-invitation-send"),
    path(f"{_P}/invitations/<id:invitation>/link", people.ShowInvitation.as_view(), name="api-invitation-link"),
]
