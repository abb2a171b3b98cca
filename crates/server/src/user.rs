//! `anabranch user`: users, their passwords and tokens. A running server takes changes up by itself.

use crate::audit::{Audit, Event};
use crate::cli::{self, UserCommand};
use crate::config::Config;
use crate::folder::{Folder, write_private};
use crate::password::secret;
use crate::terminal::{line, note, table};
use anabranch_login::{NewToken, PasswordHash, TOKENS_MAX, User, Users};
use anabranch_model::{Timestamp, UserName};
use anyhow::{Context as _, bail, ensure};
use std::fs::File;
use std::path::Path;

/// Seconds of a day.
const DAY_S: i64 = 86_400;

/// Does what is asked, under a lock: two commands at once lose nothing.
///
/// # Errors
/// Names the user, the rule or the file.
pub(crate) fn user(arguments: &cli::User) -> anyhow::Result<()> {
    let folder = Folder::open(&arguments.data.folder())?;
    let config = Config::load(arguments.config.as_deref())?;
    let path = config.login.users(&folder);
    let lock = File::create(folder.path().join("users.lock")).context("can't lock the users file")?;
    lock.lock().context("can't lock the users file")?;
    let mut users = read(&path)?;
    if let UserCommand::List = arguments.command {
        list(&users);
        return Ok(());
    }
    let (what, name) = change(&mut users, &arguments.command)?;
    write_private(&path, &users.to_text())?;
    Audit::open(config.audit.path(&folder))?.record_local(Event::Changed { what, name: name.as_str() });
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Users> {
    match std::fs::read_to_string(path) {
        Ok(text) => Users::parse(&text).with_context(|| path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Users::default()),
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

fn change(users: &mut Users, command: &UserCommand) -> anyhow::Result<(&'static str, UserName)> {
    let of = |name: &str| UserName::new(name).map_err(anyhow::Error::from);
    Ok(match command {
        UserCommand::List => bail!("listing changes nothing"),
        UserCommand::Add { name, roles, no_password, password_file } => {
            let name = of(name)?;
            ensure!(!users.0.contains_key(&name), "there is a user {name} already");
            let password = (!no_password).then(|| new_password(password_file.as_deref())).transpose()?;
            let roles = roles.iter().cloned().collect();
            users.0.insert(name.clone(), User { roles, password, tokens: Vec::new() });
            ("user added", name)
        }
        UserCommand::Remove { name } => {
            let name = of(name)?;
            ensure!(users.0.remove(&name).is_some(), "there is no user {name}");
            if users.0.is_empty() {
                note(
                    "note: there are no users left, and nobody can log in. To go back to a server without login, stop it and remove the users file.",
                );
            }
            ("user removed", name)
        }
        UserCommand::Password { name, password_file } => {
            let name = of(name)?;
            known(users, &name)?.password = Some(new_password(password_file.as_deref())?);
            ("password changed", name)
        }
        UserCommand::Roles { name, roles } => {
            let name = of(name)?;
            known(users, &name)?.roles = roles.iter().cloned().collect();
            ("roles changed", name)
        }
        UserCommand::Token { name, label, days, revoke } => {
            let name = of(name)?;
            let user = known(users, &name)?;
            if *revoke {
                let before = user.tokens.len();
                user.tokens.retain(|token| token.label != *label);
                ensure!(user.tokens.len() < before, "{name} has no token {label:?}");
                return Ok(("token revoked", name));
            }
            line(new_token(user, &name, label, *days)?.secret());
            ("token made", name)
        }
    })
}

fn known<'a>(users: &'a mut Users, name: &UserName) -> anyhow::Result<&'a mut User> {
    users.0.get_mut(name).with_context(|| format!("there is no user {name}: `anabranch user add {name}`"))
}

fn new_password(file: Option<&Path>) -> anyhow::Result<PasswordHash> {
    Ok(PasswordHash::of(&secret(file, cli::PASSWORD_VARIABLE)?)?)
}

fn new_token(user: &mut User, name: &UserName, label: &str, days: u32) -> anyhow::Result<NewToken> {
    let now = Timestamp::now();
    user.tokens.retain(|token| token.expires > now);
    ensure!(user.tokens.len() < TOKENS_MAX, "{name} has {TOKENS_MAX} tokens: revoke some");
    ensure!(user.tokens.iter().all(|token| token.label != label), "{name} has a token {label:?} already");
    let expires =
        Timestamp::from_second(now.as_second() + i64::from(days) * DAY_S).context("--days is too large")?;
    let token = NewToken::random();
    user.tokens.push(token.kept(label, now, expires));
    Ok(token)
}

fn list(users: &Users) {
    let now = Timestamp::now();
    let rows = users.0.iter().map(|(name, user)| {
        let tokens = user.tokens.iter().map(|token| match token.expires > now {
            true => format!("{} until {}", token.label, token.expires),
            false => format!("{} (expired)", token.label),
        });
        [
            name.to_string(),
            user.roles.iter().cloned().collect::<Vec<_>>().join(" "),
            if user.password.is_some() { "yes".into() } else { "no".into() },
            tokens.collect::<Vec<_>>().join(", "),
        ]
    });
    table(["USER", "ROLES", "PASSWORD", "TOKENS"], &rows.collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_come_change_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "correct horse\n").unwrap();
        let mut users = Users::default();
        let name = || "anna".to_owned();
        let add = UserCommand::Add {
            name: name(),
            roles: vec!["operator".into()],
            no_password: false,
            password_file: Some(file),
        };
        change(&mut users, &add).unwrap();
        assert!(change(&mut users, &add).unwrap_err().to_string().contains("already"));
        let token = |revoke| UserCommand::Token { name: name(), label: "ci".into(), days: 1, revoke };
        change(&mut users, &token(false)).unwrap();
        assert!(change(&mut users, &token(false)).is_err());
        change(&mut users, &token(true)).unwrap();
        change(&mut users, &UserCommand::Roles { name: name(), roles: Vec::new() }).unwrap();
        let user = users.0.values().next().unwrap();
        assert!(user.roles.is_empty() && user.tokens.is_empty() && user.password.is_some());
        change(&mut users, &UserCommand::Remove { name: name() }).unwrap();
        assert!(change(&mut users, &UserCommand::Remove { name: name() }).is_err());
        let bad = UserCommand::Add {
            name: "a/b".into(),
            roles: Vec::new(),
            no_password: true,
            password_file: None,
        };
        assert!(change(&mut users, &bad).is_err());
    }
}
