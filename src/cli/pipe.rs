//! `--pipe`: all of standard input to the server as fast as it takes it, replies counted.

use std::io::{Read, Write};
use std::time::Duration;

use ferrite::{Client, Decoder, Value};

use super::words;

/// Commands sent before their replies are awaited.
const BATCH: usize = 1000;

/// Commands out of a stream of RESP arrays and plain lines, mixed as one likes.
#[derive(Default)]
struct Commands {
    decoder: Decoder,
    line: Vec<u8>,
    /// Inside a RESP array, which the decoder must finish first.
    inside: bool,
}

impl Commands {
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<Vec<Vec<u8>>>) -> Result<(), String> {
        for byte in bytes {
            if !self.inside && self.line.is_empty() && *byte == b'*' {
                self.inside = true;
            }
            if !self.inside {
                if *byte == b'\n' {
                    self.end_line(out)?;
                } else {
                    self.line.push(*byte);
                }
                continue;
            }
            self.decoder.feed(std::slice::from_ref(byte));
            // Only a line end can finish an array.
            if *byte == b'\n'
                && let Some(value) = self.decoder.take()?
            {
                self.inside = false;
                out.push(arguments(value)?);
            }
        }
        Ok(())
    }

    fn end_line(&mut self, out: &mut Vec<Vec<Vec<u8>>>) -> Result<(), String> {
        let words = words::split(&std::mem::take(&mut self.line))?;
        if !words.is_empty() {
            out.push(words);
        }
        Ok(())
    }

    fn end(mut self, out: &mut Vec<Vec<Vec<u8>>>) -> Result<(), String> {
        if self.inside {
            Err("the input ends inside a command".into())
        } else {
            self.end_line(out)
        }
    }
}

fn arguments(value: Value) -> Result<Vec<Vec<u8>>, String> {
    let bad = || String::from("the input holds RESP that is no command");
    let Value::Array(items) = value else {
        return Err(bad());
    };
    if items.is_empty() {
        return Err(bad());
    }
    items
        .into_iter()
        .map(|item| {
            if let Value::Bulk(b) = item {
                Ok(b)
            } else {
                Err(bad())
            }
        })
        .collect()
}

/// Sends everything that `input` gives; true when no reply was an error. When all is sent, the replies may take `timeout`
/// to come; zero for as long as they like.
pub async fn run(client: &Client, mut input: impl Read, timeout: Duration) -> Result<bool, String> {
    let (mut replies, mut errors) = (0u64, 0u64);
    let mut commands = Commands::default();
    let mut ready = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let n = input
            .read(&mut chunk)
            .map_err(|e| format!("standard input: {e}"))?;
        if n == 0 {
            break;
        }
        commands.feed(&chunk[..n], &mut ready)?;
        while ready.len() >= BATCH {
            count(
                client,
                ready.drain(..BATCH).collect(),
                &mut replies,
                &mut errors,
            )
            .await?;
        }
    }
    commands.end(&mut ready)?;
    println!("All data transferred. Waiting for the last reply...");
    let last = count(client, ready, &mut replies, &mut errors);
    if timeout.is_zero() {
        last.await?;
    } else {
        tokio::time::timeout(timeout, last)
            .await
            .map_err(|_| format!("No replies for {} seconds: exiting.", timeout.as_secs_f64()))??;
    }
    println!("Last reply received from server.\nerrors: {errors}, replies: {replies}");
    Ok(errors == 0)
}

async fn count(
    client: &Client,
    commands: Vec<Vec<Vec<u8>>>,
    replies: &mut u64,
    errors: &mut u64,
) -> Result<(), String> {
    if commands.is_empty() {
        return Ok(());
    }
    for reply in client.pipeline(commands).await.map_err(|e| e.to_string())? {
        *replies += 1;
        if let Value::Error(text) = reply {
            *errors += 1;
            // A broken error stream is no reason to stop sending.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_and_lines_come_out_in_order_whatever_the_pieces() {
        let input =
            b"SET a 1\r\n*2\r\n$3\r\nGET\r\n$3\r\na\n*\r\n\n*1\r\n$4\r\nPING\r\nGET \"b c\"";
        for size in 1..=input.len() {
            let mut commands = Commands::default();
            let mut out = Vec::new();
            for piece in input.chunks(size) {
                commands.feed(piece, &mut out).unwrap();
            }
            commands.end(&mut out).unwrap();
            let out: Vec<Vec<&[u8]>> = out
                .iter()
                .map(|c| c.iter().map(Vec::as_slice).collect())
                .collect();
            assert_eq!(
                out,
                [
                    vec![&b"SET"[..], b"a", b"1"],
                    vec![b"GET", b"a\n*"],
                    vec![b"PING"],
                    vec![b"GET", b"b c"]
                ]
            );
        }
    }

    #[test]
    fn input_that_is_no_command_is_refused() {
        for bad in [&b"*1\r\n:1\r\n"[..], b"*0\r\n", b"*x\r\n"] {
            assert!(Commands::default().feed(bad, &mut Vec::new()).is_err());
        }
        let mut half = Commands::default();
        half.feed(b"*2\r\n$3\r\nGET\r\n", &mut Vec::new()).unwrap();
        assert!(
            half.end(&mut Vec::new())
                .unwrap_err()
                .contains("inside a command")
        );
    }
}
