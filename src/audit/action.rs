//! The actions that the audit log records, and their names there.

/// An action in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Refused because first run is pending.
    FirstRunRefused,
    /// Refused without valid credentials.
    AuthenticationFailed,
    /// `POST /setup` refused without valid credentials.
    SetupRefused,
    /// A new token was set.
    TokenUpdated,
    /// An update was started.
    UpdatePost,
    /// New settings were passed to their job.
    SettingsPost,
    /// New certificates were passed to their job.
    CertsPost,
    /// A new license was stored.
    LicensePost,
    /// New storage settings were passed to their job.
    StoragePost,
    /// A backup was started or deleted.
    BackupPost,
    BackupRestored,
    /// An upload that comes in pieces was opened.
    UploadOpened,
    BackupDownloaded,
    /// A restart was requested.
    Reboot,
    /// Logs were downloaded.
    LogsDownloaded,
    /// A debug bundle was downloaded.
    DebugDownloaded,
    /// Refused because the key's scope is too small.
    ScopeRefused,
    /// A credential was in a query or a form, which is allowed but discouraged.
    LegacyUsed,
    /// A request came from a page of another site, or used a host name that is not ours.
    ForeignRefused,
    /// An authorized change failed.
    RequestFailed,
    /// A named token was added at the console.
    TokenAdded,
    /// A named token was removed at the console.
    TokenRemoved,
    /// The API token was set or replaced at the console.
    TokenRotated,
    /// Rate limits were cleared at the console.
    Unlocked,
    /// Some lines were left out, because there were too many.
    LeftOut,
}

/// The result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Refused,
    Failed,
    /// Information; nothing was decided.
    Noted,
}

impl Action {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Action::FirstRunRefused
            | Action::AuthenticationFailed
            | Action::SetupRefused
            | Action::ScopeRefused
            | Action::ForeignRefused => Outcome::Refused,
            Action::RequestFailed => Outcome::Failed,
            Action::LegacyUsed | Action::LeftOut => Outcome::Noted,
            Action::TokenUpdated
            | Action::UpdatePost
            | Action::SettingsPost
            | Action::CertsPost
            | Action::LicensePost
            | Action::StoragePost
            | Action::BackupPost
            | Action::BackupRestored
            | Action::UploadOpened
            | Action::BackupDownloaded
            | Action::Reboot
            | Action::LogsDownloaded
            | Action::DebugDownloaded
            | Action::TokenAdded
            | Action::TokenRemoved
            | Action::TokenRotated
            | Action::Unlocked => Outcome::Done,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Action::FirstRunRefused => "token.firstrun.failed",
            Action::AuthenticationFailed => "token.authenticate.failed",
            Action::SetupRefused => "token.setup.failed",
            Action::TokenUpdated => "token.update.success",
            Action::UpdatePost => "update.post",
            Action::SettingsPost => "settings.post",
            Action::CertsPost => "certs.post",
            Action::LicensePost => "license.post",
            Action::StoragePost => "storage.post",
            Action::BackupPost => "backup.post",
            Action::BackupRestored => "backup.restore",
            Action::UploadOpened => "uploads.post",
            Action::BackupDownloaded => "backup.download",
            Action::Reboot => "reboot.get",
            Action::LogsDownloaded => "logs.get",
            Action::DebugDownloaded => "debug.get",
            Action::ScopeRefused => "token.scope.failed",
            Action::LegacyUsed => "token.legacy.used",
            Action::ForeignRefused => "request.foreign.failed",
            Action::RequestFailed => "request.failed",
            Action::TokenAdded => "token.add",
            Action::TokenRemoved => "token.remove",
            Action::TokenRotated => "token.rotate",
            Action::Unlocked => "refusals.forget",
            Action::LeftOut => "lines.left.out",
        }
    }
}
