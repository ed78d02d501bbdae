//! Which authority to trust when the command line names none.
//!
//! On loopback, the development authority that a server started without a configuration file made for itself: a
//! server of this machine vouched for by a file of this machine. Never for another host, where it would mean nothing.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::ENV_DATA_DIR;
use crate::devcert::DevFiles;
use crate::settings::Settings;

/// The development authority for `host`, if there is one.
pub fn development_authority(host: &str) -> Option<PathBuf> {
    let loopback = host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|a| a.is_loopback());
    // The variable that names an authority for every host goes before: the client reads it.
    if !loopback || std::env::var_os("FERRITE_CACERT").is_some_and(|v| !v.is_empty()) {
        return None;
    }
    let named = std::env::var_os(ENV_DATA_DIR)
        .filter(|d| !d.is_empty())
        .map(PathBuf::from);
    below(&named.unwrap_or_else(|| Settings::default().server.data_dir))
}

fn below(data_dir: &Path) -> Option<PathBuf> {
    Some(DevFiles::below(data_dir).ca_cert).filter(|ca| ca.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_below_the_data_directory_and_never_for_another_host() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(below(dir.path()), None);
        let files = DevFiles::below(dir.path());
        files.make().unwrap();
        assert_eq!(below(dir.path()), Some(files.ca_cert));
        assert_eq!(development_authority("example.org"), None);
        assert_eq!(development_authority("10.0.0.1"), None);
    }
}
