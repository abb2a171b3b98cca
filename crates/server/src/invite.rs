//! `anabranch invite` and `anabranch revoke`: accounts for agents on other machines.

use crate::audit::{Audit, Event};
use crate::cli;
use crate::folder::Folder;
use crate::join::Join;
use crate::{accounts, terminal};
use anyhow::Context as _;

/// Makes the account and prints the line to paste on the other machine.
///
/// # Errors
/// Where no server has run with this data folder, or the account can't be written.
pub(crate) fn invite(arguments: &cli::Invite) -> anyhow::Result<()> {
    let path = arguments.data.folder();
    let folder = Folder::open(&path)?;
    let line = std::fs::read_to_string(folder.local_join()).with_context(|| {
        format!(
            "no server has run with the data folder {}: start `anabranch serve` or `anabranch xmpp` first",
            path.display()
        )
    })?;
    let local = Join::parse(&line)?;
    let host = match &arguments.host {
        Some(host) => host.clone(),
        None => sysinfo::System::host_name().ok().context("this host has no name: give --host")?,
    };
    let secret = accounts::create(&folder, &arguments.name)?;
    let loopback = local.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    Audit::open(folder.audit())?
        .record_local(Event::Changed { what: "agent account made", name: &arguments.name });
    let join = Join { account: arguments.name.clone(), secret, host: host.clone(), ..local };
    terminal::line(format_args!("anabranch agent --join '{join}'"));
    let reachable =
        host.parse::<std::net::IpAddr>().map_or(host == "localhost", |address| address.is_loopback());
    if loopback && !reachable {
        terminal::note(
            "note: the server may listen on loopback only. For agents on other machines set xmpp.listen to an address they \
             reach, and http.public_url to the URL under which they reach this server.",
        );
    }
    Ok(())
}

/// Removes the account; a running server sees that within half a second, and ends its sessions.
///
/// # Errors
/// Where there is no such account, or the file can't be written.
pub(crate) fn revoke(arguments: &cli::Revoke) -> anyhow::Result<()> {
    let folder = Folder::open(&arguments.data.folder())?;
    accounts::remove(&folder, &arguments.name)?;
    Audit::open(folder.audit())?
        .record_local(Event::Changed { what: "agent account revoked", name: &arguments.name });
    Ok(())
}
