//! A bucket of S3, or of what speaks as S3 does, as a place of backups.
//!
//! Credentials, region and endpoint come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`,
//! `AWS_ENDPOINT_URL` and their like); requests are signed, their bodies included, and failed ones repeated for a while.
//! There is no lock in a bucket: who prunes has to see to it that nobody makes a backup there meanwhile.

use std::fs::File;
use std::io;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, RetryConfig};
use tokio::runtime::{Builder, Runtime};

use super::Store;

/// How long a request is repeated.
const PATIENCE: Duration = Duration::from_secs(30);

/// A bucket, below a prefix.
pub struct Bucket {
    place: String,
    prefix: String,
    client: AmazonS3,
    runtime: Runtime,
}

impl Bucket {
    /// The place that an URL `s3://BUCKET/PREFIX` names. Without `endpoint` it is the environment's, or Amazon's. Plain
    /// HTTP only if `plain` says so.
    ///
    /// # Errors
    /// What is missing or contradicts itself.
    pub fn open(url: &str, endpoint: Option<&str>, plain: bool) -> Result<Bucket, String> {
        let at = |e: &dyn std::fmt::Display| format!("{url}: {e}");
        let rest = url.strip_prefix("s3://").ok_or("an S3 URL begins s3://")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(at(&"it names no bucket"));
        }
        let retry = RetryConfig {
            retry_timeout: PATIENCE,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_allow_http(plain)
            .with_retry(retry);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let client = builder.build().map_err(|e| at(&e))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Bucket {
            place: url.trim_end_matches('/').to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            client,
            runtime: runtime.map_err(|e| at(&e))?,
        })
    }

    fn path(&self, name: &str) -> Path {
        match self.prefix.is_empty() {
            true => Path::from(name),
            false => Path::from(format!("{}/{name}", self.prefix)),
        }
    }
}

fn io(e: Error) -> io::Error {
    match e {
        Error::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, "it is not there"),
        e => io::Error::other(e),
    }
}

impl Store for Bucket {
    fn place(&self) -> &str {
        &self.place
    }

    fn list(&self, dir: &str) -> io::Result<Vec<(String, u64)>> {
        let dir = self.path(dir);
        let listed = self.client.list_with_delimiter(Some(&dir));
        let objects = self.runtime.block_on(listed).map_err(io)?.objects;
        let named = objects
            .into_iter()
            .filter_map(|o| Some((o.location.filename()?.to_owned(), o.size)));
        Ok(named.collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let path = self.path(name);
        let bytes = self.runtime.block_on(async {
            let found = self.client.get(&path).await?;
            found.bytes().await
        });
        Ok(bytes.map_err(io)?.to_vec())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (path, payload) = (self.path(name), bytes.to_vec().into());
        let put = self.client.put(&path, payload);
        self.runtime.block_on(put).map(drop).map_err(io)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        match self.runtime.block_on(self.client.delete(&path)) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(io(e)),
        }
    }

    fn lock(&self, _: bool) -> io::Result<Option<File>> {
        Ok(None)
    }
}
