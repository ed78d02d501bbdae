//! Prometheus metrics.

use std::sync::Arc;

use crate::net::tls::Identity;
use crate::settings::Settings;
use crate::worker::shared::Shared;

/// A metrics page ready to be served.
pub struct Page;

/// Opens the metrics port.
pub fn prepare(_settings: &Settings, _identity: Option<&Identity>) -> Result<Option<Page>, String> {
    Ok(None)
}

/// Serves the page for ever.
pub async fn serve(_page: Option<Page>, _shared: Arc<Shared>) {
    std::future::pending().await
}
