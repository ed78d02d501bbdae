//! HELP of every container, made from its rows.

use super::{Ctx, Error, table};

/// Lists the subcommands of the container that `args[0]` names, each with its arguments and what it
/// does.
pub(super) fn help(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let Some((row, _)) = table::lookup(args[0]) else {
        return Err(Error::unknown_command(args));
    };
    let reply = &mut ctx.reply;
    reply.array(1 + 2 * row.subcommands.len());
    let name = row.name.to_ascii_uppercase();
    reply.simple(&format!(
        "{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ));
    for sub in row.subcommands {
        let own = sub.own_name().to_ascii_uppercase();
        let line = format!("{own} {}", sub.syntax);
        reply.simple(line.trim_end());
        reply.simple(&format!("    {}", sub.summary));
    }
    Ok(())
}
