//! What the application is connected to: identity providers, directories, OAuth clients and machines.

mod directory;
mod enterprise_connection;
mod machine;
mod oauth_application;

use super::kept::{KeptField, kept};

pub use directory::DIRECTORIES;
pub use enterprise_connection::ENTERPRISE_CONNECTIONS;
pub use machine::MACHINES;
pub use oauth_application::OAUTH_APPLICATIONS;

/// How an attribute at the identity provider becomes one of the user's.
const CUSTOM_ATTRIBUTE: &[KeptField] = kept![
    Text "name" => "Display name",
    Text "key" => "Key in the user's metadata",
    Text "sso_path" => "Path of the value in the claims of a sign-in",
    Text "scim_path" => "Older name of `directory_path`",
    Text "directory_path" => "Path of the value in the directory's users",
    Flag "multi_valued" => "Whether the attribute has several values",
];
