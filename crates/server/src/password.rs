//! `anabranch password`: the encrypted upload password of WPS Remote's `remote.config`.

use crate::cli;
use crate::terminal::line;
use crate::upload_password;
use anyhow::Context as _;
use std::io::Read as _;
use std::path::Path;

/// Longest key, passphrase or password taken, in bytes: a key of 16,384 bits has 13,000.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Encrypts or decrypts, and prints what comes out.
///
/// # Errors
/// Names what can't be read, or is wrong.
pub(crate) fn password(command: &cli::Password) -> anyhow::Result<()> {
    match command {
        cli::Password::Encrypt { public_key, password_file } => {
            let password = secret(password_file.as_deref(), cli::PASSWORD_VARIABLE)?;
            line(upload_password::encrypt(&read(public_key)?, &password)?);
        }
        cli::Password::Decrypt { private_key, passphrase_file, encrypted } => {
            let key = read(private_key)?;
            let passphrase = if key.contains("ENCRYPTED") {
                secret(passphrase_file.as_deref(), cli::PASSPHRASE_VARIABLE)?
            } else {
                String::new()
            };
            line(upload_password::decrypt(&key, &passphrase, encrypted)?);
        }
    }
    Ok(())
}

/// From the file, or the variable, or a line of standard input: never from the command line, which every account can read.
pub(crate) fn secret(file: Option<&Path>, variable: &str) -> anyhow::Result<String> {
    let text = match (file, std::env::var(variable)) {
        (Some(file), _) => read(file)?,
        (None, Ok(value)) => value,
        (None, Err(_)) => {
            let mut text = String::new();
            std::io::stdin()
                .take(SECRET_BYTES_MAX)
                .read_to_string(&mut text)
                .context("can't read standard input")?;
            text
        }
    };
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(SECRET_BYTES_MAX).read_to_string(&mut text))
        .with_context(|| format!("can't read {}", file.display()))?;
    Ok(text)
}
