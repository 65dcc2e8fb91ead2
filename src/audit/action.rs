//! What is worth a line in the audit log, and its name there.

/// What is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Refused because first run is pending.
    FirstRunRefused,
    /// Refused for want of valid credentials.
    AuthenticationFailed,
    /// `POST /setup` refused for want of valid credentials.
    SetupRefused,
    /// A new token is in force.
    TokenUpdated,
    /// An update was started.
    UpdatePost,
    /// New settings were handed to their job.
    SettingsPost,
    /// New certificates were handed to their job.
    CertsPost,
    /// A new licence is in force.
    LicensePost,
    /// New storage settings were handed to their job.
    StoragePost,
    /// A backup was started or deleted.
    BackupPost,
    /// A backup was restored.
    BackupRestored,
    /// A backup was downloaded.
    BackupDownloaded,
    /// The appliance was told to restart.
    Reboot,
    /// Logs were downloaded.
    LogsDownloaded,
    /// A debug bundle was downloaded.
    DebugDownloaded,
    /// A key was used for what its scope does not allow.
    ScopeRefused,
    /// A credential stood in a query or a form, which is allowed but should not be.
    LegacyUsed,
    /// A request came from a page of another site, or by a name that is not ours.
    ForeignRefused,
    /// Somebody who may change something tried to, and it was not done.
    RequestFailed,
    /// A named token was made at the console.
    TokenAdded,
    /// A named token was taken away at the console.
    TokenRemoved,
    /// The first token was changed at the console.
    TokenRotated,
    /// Refusals were forgotten at the console.
    Unlocked,
    /// Some lines were left out, because there were too many.
    LeftOut,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Refused,
    Failed,
    /// Nothing was decided; it is worth knowing nevertheless.
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
