//! A script begins: which one it is, with which keys, and whether its flags and the server's state let it.

use super::super::Worker;
use super::super::clock::nanos;
use super::super::follow::READONLY;
use super::{Row, Script, Who};
use crate::command::{Error, Named, ScriptCmd};
use crate::resp::Proto;
use crate::resp::number::parse_i64;
use crate::script::{Engine, Program, Step};

impl Worker {
    pub(super) fn start_script(
        &mut self,
        who: Who,
        row: Row,
        argv: &[&[u8]],
        began: (u64, u64),
    ) -> Result<(Script, Step), (Error, Proto)> {
        let proto = who.seat.proto;
        let with = |e: Error| (e, proto);
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => {
                let sources = self.shared.sources.clone();
                Box::new(Engine::new(sources, nanos).map_err(with)?)
            }
        };
        let started = self.start_on(&mut engine, who, row, argv, began);
        self.engine = Some(engine);
        started.map_err(with)
    }

    fn start_on(
        &mut self,
        engine: &mut Engine,
        who: Who,
        row: Row,
        argv: &[&[u8]],
        began: (u64, u64),
    ) -> Result<(Script, Step), Error> {
        let ScriptCmd::Run { named, .. } = row.2 else {
            return Err(Error::Syntax);
        };
        let mut function = None;
        let keys = match named {
            Named::Sha if argv[1].len() != 40 => {
                return Err(Error::Text("NOSCRIPT No matching script. Please use EVAL."));
            }
            Named::Function => {
                function = Some(engine.function(argv[1])?);
                let bad = Error::Text("ERR Bad number of keys provided");
                parse_i64(argv[2]).ok_or(bad)?
            }
            Named::Sha | Named::Text => parse_i64(argv[2]).ok_or(Error::NotInteger)?,
        };
        if keys > (argv.len() - 3) as i64 {
            let text = "ERR Number of keys can't be greater than number of args";
            return Err(Error::Text(text));
        }
        let keys = usize::try_from(keys)
            .map_err(|_| Error::Text("ERR Number of keys can't be negative"))?;
        let program = match (function, named) {
            (Some(program), _) => program,
            (None, Named::Text) => engine.program(argv[1])?,
            (None, _) => engine.known(argv[1])?,
        };
        let script = self.admit_script(&program, who, row, began)?;
        let (keys, args) = argv[3..].split_at(keys);
        engine.begin_slice();
        let step = engine.start(&program, keys, args, script.who.seat.proto)?;
        Ok((script, step))
    }

    /// Checks what the script's flags ask for.
    fn admit_script(
        &mut self,
        program: &Program,
        who: Who,
        row: Row,
        began: (u64, u64),
    ) -> Result<Script, Error> {
        let shebang = program.shebang;
        let read_only = matches!(row.2, ScriptCmd::Run { read_only, .. } if read_only);
        let applies = who.seat.applies;
        let own = self.log.accepts().err().map(|refusal| refusal.to_string());
        let mut refusal = own.or_else(|| self.tx_refusal.clone());
        if self.follows() && !applies {
            refusal = Some(String::from_utf8_lossy(&READONLY.text()).into_owned());
        }
        let short = self.settings.storage.maxmemory > 0 && !applies && !self.make_room();
        if shebang.given {
            if !shebang.no_writes {
                if self.follows() && !applies {
                    return Err(Error::Text(
                        "READONLY Can not run script with write flag on readonly replica.",
                    ));
                }
                if let Some(why) = &refusal {
                    return Err(Error::message(why.clone()));
                }
                if read_only {
                    let text = "ERR Can not execute a script with write flag using *_ro command.";
                    return Err(Error::Text(text));
                }
            }
            if short && !shebang.allow_oom && !shebang.no_writes {
                return Err(Error::Text(
                    "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
                ));
            }
        }
        Ok(Script {
            row,
            who,
            kind: program.kind,
            name: program.name.clone(),
            read_only: read_only || shebang.no_writes,
            allow_oom: shebang.allow_oom || shebang.no_writes,
            refusal,
            short,
            written: false,
            now: (self.clock.unix_ms, self.clock.unix_us),
            began,
            left: false,
            overdue: false,
        })
    }
}
