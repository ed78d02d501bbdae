//! The configuration file: read or refused by name, and what was read is read again after a rewrite.

use ferrite_server::settings::Settings;

/// One input.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(settings) = Settings::from_toml(text) else {
        return;
    };
    let _ = settings.check();
    if let Ok(written) = settings.rewrite(text) {
        assert_eq!(Settings::from_toml(&written).as_ref(), Ok(&settings));
    }
}
