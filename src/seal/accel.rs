//! Which backend is fastest on this core, by measuring, and what the CPU offers.

use std::time::{Duration, Instant};

use super::{Algorithm, Backend, Cipher, NONCE_LEN, Secret32};

/// The CPU's features that matter to sealing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CpuFlags {
    /// AES rounds in hardware: AES-NI on x86, the AES extension on Arm.
    pub aes_ni: bool,
    /// AES on whole vectors (VAES).
    pub vaes: bool,
    /// AVX-512 Foundation, usable under this system.
    pub avx512: bool,
    /// Carry-less multiplication, for GHASH: PCLMULQDQ on x86, PMULL (part of the AES extension) on
    /// Arm.
    pub pclmul: bool,
    /// Carry-less multiplication on whole vectors.
    pub vpclmul: bool,
    /// AVX2, for ChaCha20-Poly1305.
    pub avx2: bool,
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod cpu {
    cpufeatures::new!(aes, "aes");
    cpufeatures::new!(avx512, "avx512f");
    cpufeatures::new!(pclmul, "pclmulqdq");
    cpufeatures::new!(avx2, "avx2");

    pub fn detect() -> super::CpuFlags {
        super::CpuFlags {
            aes_ni: aes::get(),
            // `cpufeatures` grants these two only with 512-bit registers; the 256-bit forms stand
            // on their own.
            vaes: std::is_x86_feature_detected!("vaes"),
            vpclmul: std::is_x86_feature_detected!("vpclmulqdq"),
            avx512: avx512::get(),
            pclmul: pclmul::get(),
            avx2: avx2::get(),
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod cpu {
    cpufeatures::new!(aes, "aes");

    pub fn detect() -> super::CpuFlags {
        let aes = aes::get();
        super::CpuFlags {
            aes_ni: aes,
            pclmul: aes,
            ..super::CpuFlags::default()
        }
    }
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
mod cpu {
    pub fn detect() -> super::CpuFlags {
        super::CpuFlags::default()
    }
}

/// Asks the CPU this thread runs on.
pub fn detect() -> CpuFlags {
    cpu::detect()
}

/// One backend's speed, in GB/s (10^9 bytes of plaintext a second), at three message sizes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Measured {
    /// Which backend.
    pub backend: Backend,
    /// At 256 B a message.
    pub gbps_256: f64,
    /// At 4 KiB a message.
    pub gbps_4k: f64,
    /// At 64 KiB a message.
    pub gbps_64k: f64,
}

impl Measured {
    /// The three sizes taken together: proportional to messages a second over a mix in which each
    /// size gets the same time.
    fn score(&self) -> f64 {
        (self.gbps_256 * self.gbps_4k * self.gbps_64k).cbrt()
    }
}

/// What a core decided to use, and why.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Choice {
    /// The algorithm this is about.
    pub algorithm: Algorithm,
    /// The backend to use on this core.
    pub backend: Backend,
    /// Both backends' figures, in the order of [`Backend::ALL`].
    pub measured: [Measured; 2],
    /// What the CPU offers.
    pub flags: CpuFlags,
}

impl Choice {
    /// The figures of the chosen backend.
    pub fn chosen(&self) -> &Measured {
        if self.measured[1].backend == self.backend {
            &self.measured[1]
        } else {
            &self.measured[0]
        }
    }

    /// Whether the algorithm runs on the CPU's instructions for it: AES and carry-less
    /// multiplication for AES-256-GCM, wide vectors for ChaCha20-Poly1305.
    pub fn hardware_acceleration(&self) -> bool {
        match self.algorithm {
            Algorithm::Off => false,
            Algorithm::Aes256Gcm => self.flags.aes_ni && self.flags.pclmul,
            Algorithm::ChaCha20Poly1305 => self.flags.avx2 || cfg!(target_arch = "aarch64"),
        }
    }
}

/// The sizes measured, in bytes.
const SIZES: [usize; 3] = [256, 4096, 65536];
/// Time given to one backend at one size; six of these make a measurement.
const SLICE: Duration = Duration::from_micros(500);
/// Time between two looks at the clock, roughly, at 2 GB/s.
const BYTES_A_LOOK: usize = 65536;

/// Measures both backends on the calling thread. Takes about 3 ms; where a core is so slow that one
/// look at the clock takes longer than its slice, six times that look.
pub fn measure(algorithm: Algorithm) -> [Measured; 2] {
    let mut buf = vec![0u8; SIZES[2]];
    Backend::ALL.map(|backend| {
        let cipher = Cipher::new(algorithm, backend, &Secret32::zero());
        let [gbps_256, gbps_4k, gbps_64k] = SIZES.map(|size| speed(&cipher, &mut buf[..size]));
        Measured {
            backend,
            gbps_256,
            gbps_4k,
            gbps_64k,
        }
    })
}

/// The best rate of several short runs: an interrupt or a neighbour slows one run, not the best of
/// them.
fn speed(cipher: &Cipher, buf: &mut [u8]) -> f64 {
    let messages = (BYTES_A_LOOK / buf.len()).max(1);
    let mut nonce = [0u8; NONCE_LEN];
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    loop {
        let start = Instant::now();
        for _ in 0..messages {
            // The key is all zeros and seals nothing but this buffer; the nonce turns anyway.
            nonce[0] = nonce[0].wrapping_add(1);
            std::hint::black_box(cipher.seal(&nonce, b"", std::hint::black_box(buf)));
        }
        let took = start.elapsed().as_nanos().max(1) as f64;
        best = best.min(took);
        if begin.elapsed() >= SLICE {
            break;
        }
    }
    (messages * buf.len()) as f64 / best
}

/// Measures and chooses, for the core the calling thread is pinned to. Called once per core at
/// start-up.
pub fn choose(algorithm: Algorithm) -> Choice {
    let measured = measure(algorithm);
    let backend = if measured[1].score() > measured[0].score() {
        measured[1].backend
    } else {
        measured[0].backend
    };
    Choice {
        algorithm,
        backend,
        measured,
        flags: detect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the choice is one of the backends measured and the better of them, and that
    /// figures are figures.
    #[test]
    fn the_faster_backend_is_chosen() {
        for algorithm in Algorithm::ALL {
            let choice = choose(algorithm);
            assert_eq!(choice.measured.map(|m| m.backend), Backend::ALL);
            for m in &choice.measured {
                for gbps in [m.gbps_256, m.gbps_4k, m.gbps_64k] {
                    assert!(gbps.is_finite() && gbps > 0.0, "{m:?}");
                }
            }
            let best = choice
                .measured
                .iter()
                .map(Measured::score)
                .fold(0.0, f64::max);
            assert_eq!(choice.chosen().backend, choice.backend);
            assert_eq!(choice.chosen().score(), best);
        }
    }

    /// Proves that the flags agree with what the kernel lists for this CPU.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn flags_agree_with_the_kernel() {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").expect("Linux has cpuinfo");
        let line = cpuinfo
            .lines()
            .find(|l| l.starts_with("flags"))
            .expect("x86 lists flags");
        let has = |flag: &str| line.split_whitespace().any(|f| f == flag);
        let flags = detect();
        assert_eq!(flags.aes_ni, has("aes"));
        assert_eq!(flags.vaes, has("vaes"));
        assert_eq!(flags.avx512, has("avx512f"));
        assert_eq!(flags.pclmul, has("pclmulqdq"));
        assert_eq!(flags.vpclmul, has("vpclmulqdq"));
        assert_eq!(flags.avx2, has("avx2"));
    }

    #[test]
    fn acceleration_is_what_the_algorithm_can_use() {
        let choice = |algorithm, flags| Choice {
            algorithm,
            backend: Backend::AwsLc,
            measured: Backend::ALL.map(|backend| Measured {
                backend,
                gbps_256: 1.0,
                gbps_4k: 1.0,
                gbps_64k: 1.0,
            }),
            flags,
        };
        let aes = CpuFlags {
            aes_ni: true,
            pclmul: true,
            ..CpuFlags::default()
        };
        assert!(choice(Algorithm::Aes256Gcm, aes).hardware_acceleration());
        assert!(!choice(Algorithm::Off, aes).hardware_acceleration());
        let no_ghash = CpuFlags {
            pclmul: false,
            ..aes
        };
        assert!(!choice(Algorithm::Aes256Gcm, no_ghash).hardware_acceleration());
    }
}
