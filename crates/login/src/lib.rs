//! Who someone is, and what they may: users, passwords, tokens of our own and of OpenID Connect issuers, roles and rights.
//!
//! It knows no HTTP and no job: credentials come in as what they are, an [`Identity`] or a [`Refused`] goes out. Nothing here is ever
//! printed or logged that somebody logs in with.
//!
//! Read these three first: [`Login`] (who is it?), [`User`] (what is kept of a user), [`Rights`] (what may they?).

#![warn(missing_docs)]

mod guesses;
mod issuer;
pub mod jwt;
mod login;
mod password;
mod rights;
mod roles;
mod token;
mod user;
mod users_file;
mod verifier;

pub use issuer::IssuerConfig;
pub use jwt::Algorithm;
pub use login::{Credentials, Identity, Login, Means, Refused, Settings};
pub use password::{PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN, PasswordHash, PasswordRefused};
pub use rights::{Access, Catalogue, Operation, Right, Rights, RightsRefused};
pub use roles::{ANONYMOUS, OPERATOR, Roles, USER};
pub use token::{NewToken, PREFIX, TOKENS_MAX, Token};
pub use user::{User, Users, UsersRefused};
pub use users_file::UsersFile;
