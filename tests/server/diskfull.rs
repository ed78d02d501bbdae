//! A full disk: writes are refused in Redis's way, reads go on, nothing acknowledged is lost, and writes are taken
//! again when there is space. The disk is a small tmpfs in a mount namespace of the test's own, so that nothing can
//! be left mounted.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::eventually;
use crate::common::server::{Home, Server};
use crate::common::slots;
use crate::common::wire::{Value, Wire, command};

/// A process that does nothing but hold the namespace, and the way in.
pub struct SmallDisk {
    holder: Child,
    mounts: OwnedFd,
    user: Option<OwnedFd>,
    at: PathBuf,
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

impl SmallDisk {
    /// A tmpfs of `mib` MiB at `at`, seen by the processes that enter.
    pub fn new(at: &Path, mib: u32) -> SmallDisk {
        std::fs::create_dir_all(at).expect("the directory");
        let target = std::ffi::CString::new(at.to_str().expect("UTF-8")).expect("no zero byte");
        let options =
            std::ffi::CString::new(format!("size={mib}m,mode=0700")).expect("no zero byte");
        // SAFETY: geteuid and getegid cannot fail and touch no memory.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        let maps = [
            ("/proc/self/setgroups", "deny".to_owned()),
            ("/proc/self/uid_map", format!("0 {uid} 1")),
            ("/proc/self/gid_map", format!("0 {gid} 1")),
        ];
        let user = uid != 0;
        let mut holder = Command::new("sleep");
        holder.arg("100000").stdin(Stdio::null());
        let enter = move || {
            // SAFETY: unshare, mount and prctl take plain integers and strings that outlive the calls.
            unsafe {
                check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
                if user {
                    check(libc::unshare(libc::CLONE_NEWUSER))?;
                    for (file, text) in &maps {
                        std::fs::write(file, text)?;
                    }
                }
                check(libc::unshare(libc::CLONE_NEWNS))?;
                check(libc::mount(
                    std::ptr::null(),
                    c"/".as_ptr(),
                    std::ptr::null(),
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ))?;
                check(libc::mount(
                    c"ferrite-test".as_ptr(),
                    target.as_ptr(),
                    c"tmpfs".as_ptr(),
                    0,
                    options.as_ptr().cast(),
                ))
            }
        };
        // SAFETY: the closure makes system calls on memory prepared before the fork; its small writes allocate
        // nothing but a path, and no other thread's lock is needed for that with the system's allocator.
        unsafe { holder.pre_exec(enter) };
        let holder = holder
            .spawn()
            .expect("a namespace of our own (needs root, or unprivileged user namespaces)");
        let open = |what: &str| {
            let path = format!("/proc/{}/ns/{what}", holder.id());
            OwnedFd::from(std::fs::File::open(path).expect("the namespace"))
        };
        SmallDisk {
            mounts: open("mnt"),
            user: user.then(|| open("user")),
            at: at.to_owned(),
            holder,
        }
    }

    /// The disk as seen from outside.
    pub fn outside(&self) -> PathBuf {
        let at = self.at.strip_prefix("/").expect("an absolute path");
        Path::new(&format!("/proc/{}/root", self.holder.id())).join(at)
    }

    /// Makes a command run inside.
    pub fn enter(&self, command: &mut Command) {
        let fds: Vec<i32> = self
            .user
            .iter()
            .chain([&self.mounts])
            .map(AsRawFd::as_raw_fd)
            .collect();
        let enter = move || {
            // SAFETY: setns takes descriptors that the test holds open.
            fds.iter()
                .try_for_each(|&fd| check(unsafe { libc::setns(fd, 0) }))
        };
        // SAFETY: the closure makes system calls only, between fork and exec.
        unsafe { command.pre_exec(enter) };
    }

    fn start<'h>(&self, home: &'h Home) -> Server<'h> {
        let mut command = home.command();
        self.enter(&mut command);
        match home.try_start_as(command) {
            Ok(server) => server,
            Err(status) => panic!("the server ended at start ({status}):\n{}", home.log()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Both fail when it has ended: then there is nothing to do.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Connections that take turns: some are at home on the core that owns the key, some are not.
const WIRES: usize = 8;

/// Writes to one shard (that of the hash tag) until the server refuses. Returns how many were acknowledged, and the
/// refusal.
fn write_until_refused(wires: &mut [Wire], tag: &str, name: &str) -> (usize, String) {
    let value = "x".repeat(10_000);
    for i in 0..10_000 {
        let wire = &mut wires[i % WIRES];
        let key = format!("{{{tag}}}{name}:{i}");
        match wire.call(&["SET", &key, &value]) {
            Value::Simple(_) => {}
            Value::Error(why) => {
                assert_eq!(
                    wire.call(&["EXISTS", &key]),
                    Value::Int(0),
                    "refused, and done all the same"
                );
                return (i, why);
            }
            other => panic!("SET: {other:?}"),
        }
    }
    panic!("100 MB went onto a small disk");
}

/// Fills every shard's log. Returns how many writes each took.
fn fill(wires: &mut [Wire], tags: &[String], name: &str) -> Vec<usize> {
    let one = |tag: &String| {
        let (n, why) = write_until_refused(wires, tag, name);
        assert!(why.starts_with("MISCONF"), "{why}");
        if let [a, b] = tags
            && tag == a
        {
            // One log that takes nothing refuses a transaction to all of its shards, whoever asks.
            for wire in wires.iter_mut() {
                let reply = wire.say(&format!("MSET {{{b}}}half 1 {{{a}}}half 2"));
                assert!(
                    matches!(&reply, Value::Error(e) if e.starts_with("MISCONF")),
                    "{reply:?}"
                );
                let exists = format!("EXISTS {{{b}}}half {{{a}}}half");
                assert_eq!(wire.say(&exists), Value::Int(0));
            }
        }
        n
    };
    tags.iter().map(one).collect()
}

fn full_and_back(policy: &str, shards: usize) {
    let mut home = Home::new();
    home.fsync(policy)
        .shards(shards)
        .text("persistence.aof_segment_size", "1MiB");
    let disk = SmallDisk::new(&home.data(), 24);
    let filler = disk.outside().join("filler");
    let server = disk.start(&home);
    std::fs::write(&filler, vec![1; 8 << 20]).expect("the filler fits");
    let mut wires: Vec<Wire> = (0..WIRES).map(|_| server.connect()).collect();
    let mut wire = server.connect();
    let tags = slots::tags(shards);
    for tag in &tags {
        assert_eq!(wire.say(&format!("SET {{{tag}}}before it")), Value::ok());
    }
    let first = fill(&mut wires, &tags, "a");
    assert!(
        first.iter().sum::<usize>() > 100,
        "only {first:?} writes of 10 kB fitted into 16 MiB"
    );

    // Everything that writes is refused, in every form; reading goes on.
    let tag = &tags[0];
    for line in [
        "DEL {}before",
        "INCR {}n",
        "APPEND {}before x",
        "EXPIRE {}before 100",
        "MSET {}x 1 {}y 2",
        "FLUSHALL",
        "GETDEL {}before",
        "RENAME {}before {}after",
    ] {
        let reply = wire.say(&line.replace("{}", &format!("{{{tag}}}")));
        assert!(
            matches!(&reply, Value::Error(e) if e.starts_with("MISCONF")),
            "{line}: {reply:?}"
        );
    }
    // A checkpoint finds no place either, and holds nobody up.
    let mut other = wires.pop().expect("a connection");
    other.ask(&["SAVE"]).expect("sent");
    for _ in 0..3 {
        assert_eq!(wire.say("PING").text(), "PONG");
        assert_eq!(wire.say(&format!("GET {{{tag}}}before")), Value::bulk("it"));
    }
    let saved = other.reply().expect("an answer");
    assert!(
        matches!(&saved, Value::Error(e) if e.contains("not completed")),
        "{saved:?}"
    );
    wires.push(other);
    assert_eq!(wire.say("MULTI"), Value::ok());
    let queued = wire.say(&format!("SET {{{tag}}}in multi"));
    let executed = wire.say("EXEC");
    let refused = |v: &Value| matches!(v, Value::Error(e) if e.starts_with("MISCONF") || e.starts_with("EXECABORT"));
    assert!(
        refused(&queued) || refused(&executed) || executed.items().iter().all(refused),
        "{queued:?} {executed:?}"
    );
    assert_eq!(wire.say(&format!("GET {{{tag}}}in")), Value::Null);
    assert_eq!(wire.say(&format!("GET {{{tag}}}before")), Value::bulk("it"));
    assert_eq!(
        wire.call(&["STRLEN", &format!("{{{tag}}}a:{}", first[0] - 1)]),
        Value::Int(10_000)
    );
    let stored = (first.iter().sum::<usize>() + shards) as i64;
    assert_eq!(wire.say("DBSIZE"), Value::Int(stored));

    // Space returns, and writing with it.
    std::fs::remove_file(&filler).expect("remove");
    for tag in &tags {
        eventually("writes are taken again", || {
            (wire.say(&format!("SET {{{tag}}}again yes")) == Value::ok()).then_some(())
        });
    }
    let second = fill(&mut wires, &tags, "b");
    assert!(
        second.iter().sum::<usize>() > 100,
        "only {second:?} writes after 8 MiB were freed"
    );
    // The disk is full, and the end is in good order all the same.
    server.stop();

    // With space again, a restart has everything that was acknowledged.
    drop((wire, wires));
    enlarge(&disk, 64);
    let server = disk.start(&home);
    let mut wire = server.connect();
    let mut bytes = Vec::new();
    let mut expected = 0;
    for (name, counts) in [("a", &first), ("b", &second)] {
        for (tag, n) in tags.iter().zip(counts) {
            expected += n;
            for i in 0..*n {
                bytes.extend(command(&["STRLEN", &format!("{{{tag}}}{name}:{i}")]));
            }
        }
    }
    wire.send(&bytes).expect("sent");
    for i in 0..expected {
        assert_eq!(
            wire.reply().expect("a reply"),
            Value::Int(10_000),
            "write {i}"
        );
    }
    for tag in &tags {
        assert_eq!(wire.say(&format!("GET {{{tag}}}again")), Value::bulk("yes"));
    }
    assert_eq!(
        wire.say("DBSIZE"),
        Value::Int((expected + 2 * shards) as i64)
    );
    assert_eq!(wire.say("SET after restart"), Value::ok());
}

/// Gives the disk another size, from inside.
fn enlarge(disk: &SmallDisk, mib: u32) {
    let mut mount = Command::new("mount");
    mount
        .args(["-o", &format!("remount,size={mib}m")])
        .arg(&disk.at);
    disk.enter(&mut mount);
    assert!(mount.status().expect("mount runs").success());
}

#[test]
fn a_checkpoint_that_does_not_fit_is_given_up_and_harms_nothing() {
    let mut home = Home::new();
    home.shards(2)
        .text("persistence.aof_segment_size", "1MiB")
        .set("persistence.auto_aof_rewrite_percentage", 0);
    let disk = SmallDisk::new(&home.data(), 40);
    let filler = disk.outside().join("filler");
    let server = disk.start(&home);
    let mut wire = server.connect();
    let value = "x".repeat(10_000);
    for i in 0..1000 {
        assert_eq!(wire.call(&["SET", &format!("k{i}"), &value]), Value::ok());
    }
    // Ten megabytes live, and there is room for five.
    let used = |dir: &str| -> u64 {
        let files = std::fs::read_dir(disk.outside().join(dir)).expect("the directory");
        files
            .map(|f| f.expect("a file").metadata().expect("its size").len())
            .sum()
    };
    std::fs::write(
        &filler,
        vec![1; (40 << 20) - used("log") as usize - (6 << 20)],
    )
    .expect("the filler fits");
    let reply = wire.say("SAVE");
    assert!(
        matches!(&reply, Value::Error(e) if e.contains("not completed") && e.contains("No space")),
        "{reply:?}"
    );
    assert_eq!(wire.figure("persistence", "rdb_last_bgsave_status"), "err");
    // What there was of it is gone, and there is space for writes again.
    assert_eq!(used("checkpoint"), 0);
    assert_eq!(wire.say("SET after it"), Value::ok());
    std::fs::remove_file(&filler).expect("remove");
    assert_eq!(wire.say("SAVE"), Value::ok());
    assert_eq!(wire.figure("persistence", "rdb_last_bgsave_status"), "ok");
    assert!(used("checkpoint") > 10_000_000);
    server.kill9();
    let server = disk.start(&home);
    let mut wire = server.connect();
    assert_eq!(wire.say("DBSIZE"), Value::Int(1001));
    assert_eq!(wire.say("STRLEN k999"), Value::Int(10_000));
}

#[test]
fn a_full_disk_under_everysec() {
    full_and_back("everysec", 1);
}

#[test]
fn a_full_disk_under_everysec_with_two_shards() {
    full_and_back("everysec", 2);
}

#[test]
fn a_full_disk_under_always() {
    full_and_back("always", 1);
}
