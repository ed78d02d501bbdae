//! The Kek that a file on this machine is sealed under, as the command line names it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config;
use crate::envelope::Provider;
use crate::envelope::provider::FileProvider;
use crate::seal::Algorithm;
use crate::server;
use crate::settings;

/// Options that name a Kek.
#[derive(Debug, clap::Args)]
pub struct KeyOptions {
    /// Kek of the sealed file: 32 bytes, raw or in base64 or hex, in a file that only its owner can read.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    key_file: Option<PathBuf>,
    /// Settings of a server (TOML), whose Kek is the sealed file's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A holder of a Kek, and the algorithm for new files.
pub type Keys = (Arc<dyn Provider>, Algorithm);

impl KeyOptions {
    /// What they name; `None` if they name nothing.
    pub fn open(&self) -> Result<Option<Keys>, String> {
        if let Some(path) = &self.key_file {
            let provider = FileProvider::open(path).map_err(|e| e.to_string())?;
            return Ok(Some((Arc::new(provider), Algorithm::Aes256Gcm)));
        }
        let Some(path) = &self.config else {
            return Ok(None);
        };
        let settings = config::read(path).map_err(|e| e.to_string())?;
        let provider = server::kek(&settings)?;
        let algorithm = match settings.encryption.algorithm {
            settings::Algorithm::Aes256Gcm => Algorithm::Aes256Gcm,
            settings::Algorithm::ChaCha20Poly1305 => Algorithm::ChaCha20Poly1305,
        };
        Ok(Some((provider, algorithm)))
    }
}
