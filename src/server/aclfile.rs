//! The file of the users that `auth.acl_file` names: read whole, replaced whole.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::acl::Users;
use crate::config;
use crate::settings::Settings;

/// The users with these settings: those of the file, or without one the default user with the password of the
/// settings.
///
/// # Errors
/// Everything that is wrong with the file, each with its line.
pub fn read(settings: &Settings) -> Result<Users, String> {
    let password = settings.auth.requirepass.expose().as_bytes();
    let Some(path) = &settings.auth.acl_file else {
        let mut users = Users::new();
        users.require_password(password);
        return Ok(users);
    };
    let name = path.display();
    let text = std::fs::read(path).map_err(|e| {
        format!("auth.acl_file cannot be read: {name}: {e}; an empty file will do to begin with")
    })?;
    let users = Users::from_text(&text, password).map_err(|wrong| {
        let lines: Vec<String> = wrong
            .iter()
            .map(|(line, why)| format!("{name}:{line}: {why}"))
            .collect();
        format!("{}. Nothing of the file is in force", lines.join("; "))
    })?;
    say_aloud(path, settings, &users);
    Ok(users)
}

/// What is permitted and yet hardly meant.
fn say_aloud(path: &Path, settings: &Settings, users: &Users) {
    let name = path.display();
    if let Ok(file) = std::fs::metadata(path)
        && file.permissions().mode() & 0o077 != 0
    {
        tracing::warn!(
            "auth.acl_file: {name} holds the hashes of passwords, and others than its owner can read it"
        );
    }
    let required = &settings.auth.requirepass;
    if !required.is_empty() && !users.default_user().lets_in(required.expose().as_bytes()) {
        tracing::warn!(
            "auth.requirepass: does not let anyone in, because {name} has a line of its own for the user default"
        );
    }
    if !users.must_authenticate() && settings.server.bind.iter().any(|a| !a.is_loopback()) {
        tracing::warn!(
            "auth.acl_file: the user default in {name} needs no password: anyone who can reach this server is that user"
        );
    }
}

/// Replaces the file. It is readable by its owner only from then on.
///
/// # Errors
/// Why not; the file is as it was.
pub fn write(path: Option<&Path>, text: &[u8]) -> Result<(), String> {
    let path = path.ok_or("auth.acl_file is not set")?;
    config::replace(path, text, PermissionsExt::from_mode(0o600))
        .map_err(|(at, e)| format!("auth.acl_file cannot be written: {}: {e}", at.display()))
}
