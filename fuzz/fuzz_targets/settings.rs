//! The configuration file: read or refused by name, and what was read is read again after a rewrite.
#![no_main]

use ferrite_server::settings::Settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(settings) = Settings::from_toml(text) else {
        return;
    };
    let _ = settings.check();
    if let Ok(written) = settings.rewrite(text) {
        assert_eq!(Settings::from_toml(&written).as_ref(), Ok(&settings));
    }
});
