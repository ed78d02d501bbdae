//! The keyring: every Dek of one data directory, in memory and in one sealed file.
//!
//! The file's body is sealed under the keyring's own secret, which the Kek wraps; inside, each
//! Dek's secret is wrapped by the Kek once more. So replacing the file takes no call to the
//! provider, and a Dek can be destroyed, or wrapped under another Kek, by itself.
//!
//! Order of events for a new Dek: random secret, wrapped, file written, file synced, renamed,
//! directory synced, and only then does [`Keyring::active`] return it. A replacement whose outcome
//! on disk is in doubt latches the keyring: Deks in use go on, new ones are refused until a restart
//! has read what the disk really holds.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::KeyringError;
use super::format::{self, Header, Record};
use super::store;
use super::{Dek, DekId, DekInfo, DekState, KekInfo, Provider, ProviderError, Purpose, Wrapped};
use crate::seal::{Algorithm, Secret32, random};

/// The keyring's file name inside the data directory.
pub const FILE_NAME: &str = "keyring";
/// Where segments of logs and checkpoints are, inside the data directory, and how deep directories are searched for
/// them.
const SEALED_DIRS: [&str; 2] = ["log", "checkpoint"];
const SEALED_DEPTH: usize = 3;

/// Every Dek of one data directory. One thread owns it; cores get their Deks as `Arc`s.
pub struct Keyring {
    /// `None` where encryption is deliberately off: then there is no file and there are no secrets.
    home: Option<Home>,
    node: [u8; 16],
    generation: u64,
    entries: Vec<Entry>,
    /// Whether usage was noted that the file does not have yet, and whether some of it is the first of a Dek.
    dirty: bool,
    first_use: bool,
}

/// What a keyring with a file needs to replace it.
struct Home {
    path: PathBuf,
    provider: Arc<dyn Provider>,
    /// The Kek that `wrapped` is under.
    kek: KekInfo,
    kek_since_ms: u64,
    secret: Secret32,
    wrapped: Vec<u8>,
    latched: bool,
}

struct Entry {
    record: Record,
    /// `None` once destroyed.
    dek: Option<Arc<Dek>>,
}

impl Keyring {
    /// Opens the keyring in `dir`, or makes one (generation 1, no Deks, durable) if there is none
    /// and there are no segments of a log or a checkpoint that would need it.
    pub fn open(
        dir: &Path,
        provider: Arc<dyn Provider>,
        now_ms: u64,
    ) -> Result<Keyring, KeyringError> {
        let path = dir.join(FILE_NAME);
        let keyring = match store::read(&path)? {
            Some(file) => Keyring::read(path.clone(), provider, &file)?,
            None => {
                for name in SEALED_DIRS {
                    if let Some(sealed) = store::find_segment(&dir.join(name), SEALED_DEPTH)? {
                        return Err(KeyringError::Missing { path, sealed });
                    }
                }
                Keyring::create(path.clone(), provider, now_ms)?
            }
        };
        // Only now: had the keyring been refused, the leftover would be evidence.
        store::discard_temporary(&path)?;
        Ok(keyring)
    }

    /// The keyring in `dir`, to read with: nothing is made, changed or removed. `None` if there is none.
    pub fn look_in(
        dir: &Path,
        provider: Arc<dyn Provider>,
    ) -> Result<Option<Keyring>, KeyringError> {
        let path = dir.join(FILE_NAME);
        match store::read(&path)? {
            Some(file) => Keyring::read(path, provider, &file).map(Some),
            None => Ok(None),
        }
    }

    /// The keyring of a server whose encryption is deliberately off. It has no file and knows no
    /// secrets; its Deks are [`Dek::unencrypted`]. A keyring from [`Keyring::open`] never hands
    /// those out, so a log that was swapped for an unencrypted one is not believed.
    pub fn unencrypted() -> Keyring {
        Keyring {
            home: None,
            node: [0; 16],
            generation: 0,
            entries: Vec::new(),
            dirty: false,
            first_use: false,
        }
    }

    fn create(
        path: PathBuf,
        provider: Arc<dyn Provider>,
        now_ms: u64,
    ) -> Result<Keyring, KeyringError> {
        let mut node = [0; 16];
        random(&mut node)?;
        let secret = Secret32::random()?;
        let kek = provider.describe();
        let wrapped = provider
            .wrap(secret.expose(), &format::keyring_aad(&node))
            .map_err(|source| KeyringError::Provider {
                path: path.clone(),
                dek: None,
                source,
            })?;
        let mut keyring = Keyring {
            home: Some(Home {
                path,
                provider,
                kek: KekInfo {
                    id: wrapped.kek_id,
                    version: wrapped.kek_version,
                    ..kek
                },
                secret,
                kek_since_ms: now_ms,
                wrapped: wrapped.bytes,
                latched: false,
            }),
            node,
            generation: 0,
            entries: Vec::new(),
            dirty: false,
            first_use: false,
        };
        keyring.write()?;
        Ok(keyring)
    }

    /// The keyring whose file's bytes these are: for those who look into a copy. `path` is what messages call it;
    /// nothing is touched there.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn read(
        path: PathBuf,
        provider: Arc<dyn Provider>,
        file: &[u8],
    ) -> Result<Keyring, KeyringError> {
        let damaged = |damage| KeyringError::Damaged {
            path: path.clone(),
            damage,
        };
        let header = Header::read(file).map_err(damaged)?;
        let have = provider.describe();
        let unwrap = |wrapped: Wrapped, aad: &[u8], dek: Option<DekId>| {
            let secret = provider
                .unwrap(&wrapped, aad)
                .map_err(|source| match source {
                    ProviderError::WrongKek { .. } => KeyringError::WrongKek {
                        path: path.clone(),
                        wanted: Box::new(KekInfo {
                            provider: header.kek.provider.clone(),
                            id: wrapped.kek_id.clone(),
                            version: wrapped.kek_version,
                        }),
                        have: Box::new(have.clone()),
                    },
                    source => KeyringError::Provider {
                        path: path.clone(),
                        dek,
                        source,
                    },
                })?;
            Secret32::copy_from(&secret).ok_or_else(|| KeyringError::SecretLength {
                path: path.clone(),
                len: secret.len(),
            })
        };
        if header.kek.provider != have.provider {
            return Err(KeyringError::WrongKek {
                path: path.clone(),
                wanted: Box::new(header.kek.clone()),
                have: Box::new(have),
            });
        }
        let secret = unwrap(
            Wrapped {
                kek_id: header.kek.id.clone(),
                kek_version: header.kek.version,
                bytes: header.wrapped.clone(),
            },
            &format::keyring_aad(&header.node),
            None,
        )?;
        let mut entries = Vec::new();
        for record in header.open(&secret).map_err(damaged)? {
            let dek = match record.info.state {
                DekState::Destroyed => None,
                DekState::Active | DekState::Retiring => {
                    let wrapped = Wrapped {
                        kek_id: record.info.kek_id.clone(),
                        kek_version: record.info.kek_version,
                        bytes: record.wrapped.clone(),
                    };
                    let aad = format::dek_aad(&header.node, &record.info);
                    let secret = unwrap(wrapped, &aad, Some(record.info.id))?;
                    Some(Arc::new(Dek::from_info(&record.info, secret)))
                }
            };
            entries.push(Entry { record, dek });
        }
        Ok(Keyring {
            node: header.node,
            generation: header.generation,
            entries,
            dirty: false,
            first_use: false,
            home: Some(Home {
                kek: header.kek,
                kek_since_ms: header.kek_since_ms,
                wrapped: header.wrapped,
                path,
                provider,
                secret,
                latched: false,
            }),
        })
    }

    /// The Dek that new files of `purpose` on `core` are sealed under. Makes one if there is none,
    /// or if the active one is for another algorithm (which then retires); a new one is durable
    /// when this returns.
    pub fn active(
        &mut self,
        purpose: Purpose,
        core: u16,
        algorithm: Algorithm,
        now_ms: u64,
    ) -> Result<Arc<Dek>, KeyringError> {
        self.active_for_tenant(purpose, core, "", algorithm, now_ms)
    }

    /// As [`Keyring::active`], for the data of one tenant (a name of at most 255 bytes).
    pub fn active_for_tenant(
        &mut self,
        purpose: Purpose,
        core: u16,
        tenant: &str,
        algorithm: Algorithm,
        now_ms: u64,
    ) -> Result<Arc<Dek>, KeyringError> {
        if tenant.len() > 255 {
            return Err(KeyringError::TenantName(tenant.len()));
        }
        if algorithm.protects() != self.home.is_some() {
            return Err(KeyringError::Algorithm(algorithm));
        }
        let Some(home) = &self.home else {
            return Ok(Arc::new(Dek::unencrypted(purpose, core)));
        };
        let seat =
            |info: &DekInfo| info.purpose == purpose && info.core == core && info.tenant == tenant;
        let active = self
            .entries
            .iter()
            .position(|e| e.record.info.state == DekState::Active && seat(&e.record.info));
        if let Some(at) = active
            && self.entries[at].record.info.algorithm == algorithm
            && let Some(dek) = &self.entries[at].dek
        {
            return Ok(Arc::clone(dek));
        }
        if home.latched {
            return Err(KeyringError::Latched {
                path: home.path.clone(),
            });
        }
        let epoch = self
            .entries
            .iter()
            .map(|e| &e.record.info)
            .filter(|info| seat(info))
            .map(|info| info.epoch)
            .max()
            .unwrap_or(0)
            + 1;
        let mut id = DekId([0; 16]);
        random(&mut id.0)?;
        let secret = Secret32::random()?;
        let mut info = DekInfo {
            id,
            purpose,
            core,
            tenant: tenant.to_owned(),
            algorithm,
            epoch,
            state: DekState::Active,
            kek_id: String::new(),
            kek_version: 0,
            created_ms: now_ms,
            bytes: 0,
            messages: 0,
        };
        let wrapped = home
            .provider
            .wrap(secret.expose(), &format::dek_aad(&self.node, &info))
            .map_err(|source| KeyringError::Provider {
                path: home.path.clone(),
                dek: Some(id),
                source,
            })?;
        info.kek_id = wrapped.kek_id;
        info.kek_version = wrapped.kek_version;
        let dek = Arc::new(Dek::from_info(&info, secret));
        self.entries.push(Entry {
            record: Record {
                info,
                wrapped: wrapped.bytes,
            },
            dek: Some(Arc::clone(&dek)),
        });
        if let Some(at) = active {
            self.entries[at].record.info.state = DekState::Retiring;
        }
        if let Err(e) = self.write() {
            self.entries.pop();
            if let Some(at) = active {
                self.entries[at].record.info.state = DekState::Active;
            }
            return Err(e);
        }
        Ok(dek)
    }

    /// The Dek of that name, if it is here and not destroyed.
    pub fn dek(&self, id: &DekId) -> Option<Arc<Dek>> {
        if self.home.is_none() {
            let (purpose, core) = id.as_unencrypted()?;
            return Some(Arc::new(Dek::unencrypted(purpose, core)));
        }
        let entry = self.entries.iter().find(|e| e.record.info.id == *id)?;
        entry.dek.clone()
    }

    /// Every Dek, in the order they were made, without secrets.
    pub fn list(&self) -> Vec<DekInfo> {
        self.entries.iter().map(|e| e.record.info.clone()).collect()
    }

    /// The Kek that new Deks are wrapped under; provider `none` where encryption is off.
    pub fn kek(&self) -> KekInfo {
        match &self.home {
            Some(home) => home.provider.describe(),
            None => KekInfo {
                provider: "none".to_owned(),
                id: String::new(),
                version: 0,
            },
        }
    }

    /// Since when the keyring's secret has been wrapped under its Kek, in milliseconds since 1970;
    /// 0 where encryption is off.
    pub fn kek_since_ms(&self) -> u64 {
        self.home.as_ref().map_or(0, |home| home.kek_since_ms)
    }

    /// Whether this keyring has a file and secrets, that is, whether encryption is on.
    pub fn encrypted(&self) -> bool {
        self.home.is_some()
    }

    /// How often the file was replaced, its making included. Never falls; a file that names a
    /// generation above this one shows that an old keyring was put back.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// This data directory's own name: 16 random bytes kept in the keyring; zeros where encryption
    /// is off.
    pub fn node(&self) -> [u8; 16] {
        self.node
    }

    /// Adds to what was sealed under a Dek, in memory. The file has it after the next change or
    /// [`Keyring::save_usage`].
    pub fn note_usage(&mut self, id: &DekId, bytes: u64, messages: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|e| e.record.info.id == *id) {
            let info = &mut entry.record.info;
            self.first_use |= info.messages == 0 && messages > 0;
            info.bytes = info.bytes.saturating_add(bytes);
            info.messages = info.messages.saturating_add(messages);
            self.dirty |= bytes != 0 || messages != 0;
        }
    }

    /// Writes noted usage to the file, if there is any; for a clean shutdown and now and then in
    /// between.
    pub fn save_usage(&mut self) -> Result<(), KeyringError> {
        if self.dirty { self.write() } else { Ok(()) }
    }

    /// As [`Keyring::save_usage`], but only if a Dek was used for the first time: then the file shows that there is
    /// something that the Dek opens.
    pub fn save_first_use(&mut self) -> Result<(), KeyringError> {
        if self.first_use { self.write() } else { Ok(()) }
    }

    /// Wraps everything under the Kek of another provider, and replaces the file. Without encryption there is nothing to
    /// wrap.
    ///
    /// # Errors
    /// The new Kek's, and then nothing has changed; the file's, and then this keyring is not to be used any more.
    pub fn rewrap(&mut self, provider: Arc<dyn Provider>, now_ms: u64) -> Result<(), KeyringError> {
        let Some(home) = &mut self.home else {
            return Ok(());
        };
        let wrap = |secret: &Secret32, aad: &[u8], dek| {
            let wrapped = provider.wrap(secret.expose(), aad);
            wrapped.map_err(|source| KeyringError::Provider {
                path: home.path.clone(),
                dek,
                source,
            })
        };
        let secret = wrap(&home.secret, &format::keyring_aad(&self.node), None)?;
        let mut deks = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let info = &entry.record.info;
            let wrapped = entry.dek.as_ref().map(|dek| {
                let aad = format::dek_aad(&self.node, info);
                wrap(&dek.secret, &aad, Some(info.id))
            });
            deks.push(wrapped.transpose()?);
        }
        for (entry, wrapped) in self.entries.iter_mut().zip(deks) {
            if let (Some(wrapped), Some(dek)) = (wrapped, &entry.dek) {
                let info = &mut entry.record.info;
                info.kek_id = wrapped.kek_id;
                info.kek_version = wrapped.kek_version;
                entry.record.wrapped = wrapped.bytes;
                entry.dek = Some(Arc::new(Dek::from_info(info, dek.secret.duplicate())));
            }
        }
        home.kek = KekInfo {
            id: secret.kek_id,
            version: secret.kek_version,
            ..provider.describe()
        };
        home.kek_since_ms = now_ms;
        home.wrapped = secret.bytes;
        home.provider = provider;
        self.write()
    }

    /// Replaces the file by what is in memory, one generation on.
    fn write(&mut self) -> Result<(), KeyringError> {
        let Some(home) = &mut self.home else {
            return Ok(());
        };
        if home.latched {
            return Err(KeyringError::Latched {
                path: home.path.clone(),
            });
        }
        let records: Vec<Record> = self.entries.iter().map(|e| e.record.clone()).collect();
        let generation = self.generation + 1;
        let file = format::seal(
            generation,
            &self.node,
            &home.kek,
            home.kek_since_ms,
            &home.wrapped,
            &home.secret,
            &records,
        )?;
        if let Err(e) = store::replace(&home.path, &file) {
            home.latched |= e.in_doubt;
            return Err(e.into());
        }
        self.generation = generation;
        self.dirty = false;
        self.first_use = false;
        Ok(())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("generation", &self.generation)
            .field("deks", &self.entries.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
