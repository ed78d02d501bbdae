//! The one suite every provider has to pass.

use super::{Provider, ProviderError, Wrapped};

/// Checks `provider`; `other` is one of the same kind that holds another Kek.
pub(crate) fn check(provider: &dyn Provider, other: &dyn Provider) {
    describes_itself(provider, other);
    round_trip(provider);
    never_twice_the_same(provider);
    bound_to_its_place(provider);
    every_flipped_bit_is_refused(provider);
    every_cut_is_refused(provider);
    another_kek_is_named(provider, other);
}

fn describes_itself(provider: &dyn Provider, other: &dyn Provider) {
    let info = provider.describe();
    assert!(!info.provider.is_empty() && !info.id.is_empty() && info.version > 0);
    assert_eq!(info, provider.describe(), "it does not change by itself");
    assert_ne!(info.id, other.describe().id);
}

fn round_trip(provider: &dyn Provider) {
    for secret in [&[0u8; 32][..], &[0xa5; 32], &[1; 16], b"x"] {
        let wrapped = provider.wrap(secret, b"place").expect("it wraps");
        let info = provider.describe();
        assert_eq!(
            (&wrapped.kek_id, wrapped.kek_version),
            (&info.id, info.version)
        );
        let unwrapped = provider.unwrap(&wrapped, b"place").expect("it unwraps");
        assert_eq!(unwrapped.as_slice(), secret);
    }
}

fn never_twice_the_same(provider: &dyn Provider) {
    let secret = [0x3c; 32];
    let one = provider.wrap(&secret, b"").expect("it wraps");
    let two = provider.wrap(&secret, b"").expect("it wraps");
    assert_ne!(
        one.bytes, two.bytes,
        "equal secrets must not be recognizable"
    );
    assert!(!one.bytes.windows(8).any(|w| w == &secret[..8]));
}

fn bound_to_its_place(provider: &dyn Provider) {
    let wrapped = provider.wrap(&[7; 32], b"place").expect("it wraps");
    for elsewhere in [&b""[..], b"plac", b"places", b"Place"] {
        refused(provider, &wrapped, elsewhere);
    }
}

fn every_flipped_bit_is_refused(provider: &dyn Provider) {
    let good = provider.wrap(&[7; 32], b"place").expect("it wraps");
    for bit in 0..good.bytes.len() * 8 {
        let mut bad = good.clone();
        bad.bytes[bit / 8] ^= 1 << (bit % 8);
        refused(provider, &bad, b"place");
    }
}

fn every_cut_is_refused(provider: &dyn Provider) {
    let good = provider.wrap(&[7; 32], b"place").expect("it wraps");
    for len in 0..good.bytes.len() {
        let mut cut = good.clone();
        cut.bytes.truncate(len);
        refused(provider, &cut, b"place");
    }
}

fn another_kek_is_named(provider: &dyn Provider, other: &dyn Provider) {
    let wrapped = provider.wrap(&[7; 32], b"place").expect("it wraps");
    match other.unwrap(&wrapped, b"place") {
        Err(ProviderError::WrongKek { wanted, have }) => {
            assert_eq!(
                (wanted, have),
                (provider.describe().id, other.describe().id)
            );
        }
        Err(e) => panic!("refused, but not by name: {e}"),
        Ok(_) => panic!("unwrapped under another Kek"),
    }
    // Even where the name was altered to fit.
    let renamed = Wrapped {
        kek_id: other.describe().id,
        ..wrapped
    };
    refused(other, &renamed, b"place");
}

fn refused(provider: &dyn Provider, wrapped: &Wrapped, aad: &[u8]) {
    match provider.unwrap(wrapped, aad) {
        Err(ProviderError::Unauthentic | ProviderError::Malformed(_)) => {}
        Err(e) => panic!("refused, but as {e}"),
        Ok(_) => panic!("unwrapped what was altered"),
    }
}
