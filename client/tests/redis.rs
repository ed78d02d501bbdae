//! The client against a real Redis server, with TLS and certificates of our own making.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ferrite::{Client, Error, Protocol, Value};
use ferrite_server::devcert::DevFiles;

struct Redis {
    child: Child,
    dir: tempfile::TempDir,
    files: DevFiles,
    tls: u16,
    plain: u16,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Redis {
    fn start(more: &[&str]) -> Redis {
        let dir = tempfile::tempdir().unwrap();
        let files = DevFiles::within(&dir.path().join("certs"));
        files.make().unwrap();
        // Another process may take a port between our look and the server's bind.
        for _ in 0..5 {
            let (tls, plain) = (free_port(), free_port());
            let mut command = Command::new("redis-server");
            command.args([
                "--save",
                "",
                "--bind",
                "127.0.0.1",
                "--dir",
                text(dir.path()),
            ]);
            command.args(["--port", &plain.to_string(), "--tls-port", &tls.to_string()]);
            command.args([
                "--tls-cert-file",
                text(&files.server_cert),
                "--tls-key-file",
                text(&files.server_key),
            ]);
            command
                .args(["--tls-ca-cert-file", text(&files.ca_cert)])
                .args(more);
            let mut child = command
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server must be installed");
            let deadline = Instant::now() + Duration::from_secs(20);
            while child.try_wait().unwrap().is_none() {
                assert!(Instant::now() < deadline, "redis-server does not answer");
                if std::net::TcpStream::connect(("127.0.0.1", tls)).is_ok() {
                    return Redis {
                        child,
                        dir,
                        files,
                        tls,
                        plain,
                    };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("redis-server found no free port");
    }

    fn open_to_all() -> Redis {
        Redis::start(&["--tls-auth-clients", "no"])
    }

    fn builder(&self) -> ferrite::Builder {
        Client::builder(&format!("localhost:{}", self.tls)).ca_file(&self.files.ca_cert)
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test)
            .await
            .expect("the test hangs")
    });
}

#[test]
fn everyday_commands_in_both_protocols() {
    let redis = Redis::open_to_all();
    run(async {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let c = redis.builder().protocol(protocol).connect().await.unwrap();
            c.ping().await.unwrap();
            c.command::<()>(["FLUSHALL"]).await.unwrap();
            c.set("k", b"a\r\n\0\xff").await.unwrap();
            assert_eq!(c.get::<Vec<u8>>("k").await.unwrap(), b"a\r\n\0\xff");
            assert_eq!(c.get::<Option<String>>("none").await.unwrap(), None);
            assert!(matches!(
                c.get::<String>("none").await,
                Err(Error::Type { got: "nil", .. })
            ));
            assert!(c.hset("user:123", "ssn", "123-45-6789").await.unwrap());
            let ssn: String = c.hget("user:123", "ssn").await.unwrap();
            assert_eq!(ssn, "123-45-6789");
            let all: HashMap<String, String> = c.command(["HGETALL", "user:123"]).await.unwrap();
            assert_eq!(all["ssn"], ssn);
            assert_eq!(
                (c.incr("n").await.unwrap(), c.incr("n").await.unwrap()),
                (1, 2)
            );
            assert!(c.expire("n", Duration::from_secs(100)).await.unwrap());
            assert!(
                c.exists("n").await.unwrap()
                    && c.del("n").await.unwrap()
                    && !c.exists("n").await.unwrap()
            );
            let error = c.command::<()>(["LPUSH", "k", "x"]).await.unwrap_err();
            assert!(
                matches!(&error, Error::Server(e) if e.code() == "WRONGTYPE"),
                "{error}"
            );
            c.ping().await.unwrap();
            assert!(matches!(
                c.command::<()>([""; 0]).await,
                Err(Error::Config(_))
            ));
        }
    });
}

#[test]
fn large_values_and_long_pipelines_go_both_ways_at_once() {
    let redis = Redis::open_to_all();
    run(async {
        let c = redis.builder().connect().await.unwrap();
        let big = vec![b'x'; 20 << 20];
        c.set("big", &big).await.unwrap();
        assert!(c.get::<Vec<u8>>("big").await.unwrap() == big);
        let piece = vec![b'y'; 100_000];
        let commands = (0..300).map(|_| vec![b"ECHO".to_vec(), piece.clone()]);
        let replies = c.pipeline(commands).await.unwrap();
        assert_eq!(replies.len(), 300);
        assert!(replies.iter().all(|r| *r == Value::Bulk(piece.clone())));
        let mixed = c
            .pipeline([vec!["SET", "a", "1"], vec!["NOSUCH"], vec!["GET", "a"]])
            .await
            .unwrap();
        assert!(matches!(
            &mixed[..],
            [Value::Simple(_), Value::Error(_), Value::Bulk(_)]
        ));
    });
}

#[test]
fn clones_share_a_connection_and_a_dropped_call_spoils_nothing() {
    let redis = Redis::open_to_all();
    run(async {
        let c = redis.builder().database(3).connect().await.unwrap();
        c.set("k", "mine").await.unwrap();
        let (a, b) = (c.clone(), c.clone());
        let ids = tokio::join!(
            a.command::<i64>(["CLIENT", "ID"]),
            b.command::<i64>(["CLIENT", "ID"])
        );
        let id = ids.0.unwrap();
        assert_eq!(id, ids.1.unwrap());
        let dropped = tokio::time::timeout(
            Duration::from_millis(50),
            c.command::<()>(["BLPOP", "never", "1"]),
        )
        .await;
        assert!(dropped.is_err());
        assert_eq!(
            c.get::<String>("k").await.unwrap(),
            "mine",
            "a new connection, in the same database"
        );
        assert_ne!(c.command::<i64>(["CLIENT", "ID"]).await.unwrap(), id);
        c.command::<()>(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"])
            .await
            .unwrap();
        let _ = c.ping().await; // may see the end of the killed connection
        c.ping().await.unwrap();
        let slow = redis
            .builder()
            .reply_timeout(Duration::from_millis(50))
            .connect()
            .await
            .unwrap();
        assert!(matches!(
            slow.command::<()>(["BLPOP", "never", "1"]).await,
            Err(Error::Timeout(_))
        ));
    });
}

#[test]
fn push_messages_wait_beside_the_replies() {
    let redis = Redis::open_to_all();
    run(async {
        let (a, b) = (
            redis.builder().connect().await.unwrap(),
            redis.builder().connect().await.unwrap(),
        );
        a.command::<()>(["CLIENT", "TRACKING", "ON"]).await.unwrap();
        let _: Option<String> = a.get("watched").await.unwrap();
        b.set("watched", "1").await.unwrap();
        let push = a.next_push().await.unwrap();
        assert_eq!(push[0], Value::Bulk(b"invalidate".to_vec()));
        a.ping().await.unwrap();
    });
}

#[test]
fn passwords_users_and_urls_log_in() {
    let redis = Redis::start(&["--tls-auth-clients", "no", "--requirepass", "s3:cret"]);
    run(async {
        let admin = redis.builder().password("s3:cret").connect().await.unwrap();
        admin
            .command::<()>(["ACL", "SETUSER", "ann", "on", ">p@ss", "~*", "+@all"])
            .await
            .unwrap();
        let refused = |r: ferrite::Result<Client>, code: &str| match r {
            Err(Error::Server(e)) => assert_eq!(e.code(), code),
            other => panic!("{other:?}"),
        };
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let with = || redis.builder().protocol(protocol);
            with()
                .password("s3:cret")
                .connect()
                .await
                .unwrap()
                .ping()
                .await
                .unwrap();
            with()
                .user("ann")
                .password("p@ss")
                .connect()
                .await
                .unwrap()
                .ping()
                .await
                .unwrap();
            refused(with().password("wrong").connect().await, "WRONGPASS");
        }
        refused(redis.builder().connect().await, "NOAUTH");
        let url = format!("rediss://ann:p%40ss@localhost:{}/2", redis.tls);
        let c = Client::builder(&url)
            .ca_file(&redis.files.ca_cert)
            .connect()
            .await
            .unwrap();
        let me: String = c.command(["ACL", "WHOAMI"]).await.unwrap();
        assert_eq!(me, "ann");
        let plain = Client::connect(&format!("redis://:s3%3acret@127.0.0.1:{}", redis.plain))
            .await
            .unwrap();
        plain.ping().await.unwrap();
    });
}

#[test]
fn trust_is_refused_in_words() {
    let redis = Redis::start(&["--tls-auth-clients", "yes"]);
    let other = DevFiles::within(&redis.dir.path().join("other"));
    other.make().unwrap();
    let said = |r: ferrite::Result<Client>| {
        r.map(|_| "connected".to_owned())
            .unwrap_or_else(|e| e.to_string())
    };
    run(async {
        let ours = || {
            redis
                .builder()
                .client_cert(&redis.files.client_cert, &redis.files.client_key)
        };
        ours().connect().await.unwrap().ping().await.unwrap();
        assert!(
            said(redis.builder().connect().await)
                .starts_with("TLS handshake failed: the server wants a client certificate")
        );
        assert!(
            said(
                redis
                    .builder()
                    .client_cert(&other.client_cert, &other.client_key)
                    .connect()
                    .await
            )
            .contains("does not accept the client certificate")
        );
        let text = said(ours().ca_file(&other.ca_cert).connect().await);
        assert!(
            text.starts_with("TLS handshake failed: certificate verify failed"),
            "{text}"
        );
        assert!(
            said(ours().server_name("example.org").connect().await).contains("for another name")
        );
        ours()
            .ca_file(&other.ca_cert)
            .insecure()
            .connect()
            .await
            .unwrap()
            .ping()
            .await
            .unwrap();
        let pem = std::fs::read(&redis.files.ca_cert).unwrap();
        ours().ca_pem(pem).connect().await.unwrap();
        let text = said(ours().ca_file("/no/ca").connect().await);
        assert!(
            text.contains("/no/ca") && text.contains("No such file"),
            "{text}"
        );
        assert!(
            said(ours().ca_file(&redis.files.ca_key).connect().await)
                .contains("holds no certificate")
        );
        let text = said(
            redis
                .builder()
                .client_cert(&redis.files.client_cert, &other.client_key)
                .connect()
                .await,
        );
        assert!(
            text.contains("client.crt") && text.contains("client.key"),
            "{text}"
        );
        let to_plain =
            Client::builder(&format!("localhost:{}", redis.plain)).ca_file(&redis.files.ca_cert);
        let to_plain = to_plain.connect_timeout(Duration::from_millis(300));
        assert!(said(to_plain.connect().await).contains("perhaps this port speaks no TLS"));
        let nobody =
            Client::builder(&format!("127.0.0.1:{}", free_port())).ca_file(&redis.files.ca_cert);
        assert!(said(nobody.connect().await).starts_with("Could not connect to 127.0.0.1:"));
        assert!(matches!(
            Client::connect("a b:c").await,
            Err(Error::Config(_))
        ));
    });
}

#[test]
fn a_server_that_never_answers_is_left() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    run(async {
        let c = Client::builder(&address)
            .plaintext()
            .connect_timeout(Duration::from_millis(100));
        assert!(matches!(c.connect().await, Err(Error::Timeout(_))));
    });
}

/// Compiles only if a client can be used from any thread and awaited anywhere.
#[test]
fn a_client_and_its_calls_may_cross_threads() {
    fn send<T: Send>(_: T) {}
    fn sync<T: Send + Sync>() {}
    sync::<Client>();
    fn call(c: &Client) {
        send(c.get::<String>("k"));
    }
    let _ = call;
}
