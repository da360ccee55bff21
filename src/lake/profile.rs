//! S3 settings from a profile of the AWS configuration files, for settings that the environment does not contain.
//!
//! The files and their precedence are those of the AWS command line: `~/.aws/credentials` before `~/.aws/config`. The
//! profile is the one named by `AWS_PROFILE`, or `default`. Access keys, session token, region, endpoint and web
//! identity are supported. Credential sources that need another program or a browser are not: they return an error.

use std::path::PathBuf;

use ini::{Ini, Properties};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use crate::error::{Error, Result};

/// The supported settings of a profile, and the store's configuration key for each.
const SUPPORTED: [(&str, AmazonS3ConfigKey); 8] = [
    ("aws_access_key_id", AmazonS3ConfigKey::AccessKeyId),
    ("aws_secret_access_key", AmazonS3ConfigKey::SecretAccessKey),
    ("aws_session_token", AmazonS3ConfigKey::Token),
    ("region", AmazonS3ConfigKey::Region),
    ("endpoint_url", AmazonS3ConfigKey::Endpoint),
    ("web_identity_token_file", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("role_arn", AmazonS3ConfigKey::RoleArn),
    ("role_session_name", AmazonS3ConfigKey::RoleSessionName),
];

/// Settings that are taken together or not at all, so that a key from the environment is never combined with a secret
/// from a profile.
const CREDENTIALS: [&str; 6] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "web_identity_token_file",
    "role_arn",
    "role_session_name",
];

/// Settings of credential sources that are not supported.
const UNSUPPORTED_SOURCES: [&str; 4] = ["sso_session", "sso_start_url", "credential_process", "source_profile"];

/// Adds to `builder` the profile's settings that the environment does not set.
///
/// # Errors
/// [`Settings`](crate::ErrorKind::Settings) if the profile named by `AWS_PROFILE` does not exist, or uses a credential
/// source that is not supported.
pub(super) fn complete(builder: AmazonS3Builder) -> Result<AmazonS3Builder> {
    let file = |variable: &str, name: &str| {
        let place = environment(variable).map(PathBuf::from);
        let place = place.or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".aws").join(name)));
        place.and_then(|place| std::fs::read_to_string(place).ok()).unwrap_or_default()
    };
    let files = [file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), file("AWS_CONFIG_FILE", "config")];
    apply(builder, environment("AWS_PROFILE").as_deref(), &files)
}

/// Returns whether the environment forbids to ask the metadata service of a cloud for credentials.
pub(super) fn is_metadata_disabled() -> bool {
    environment("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn apply(builder: AmazonS3Builder, named: Option<&str>, files: &[String; 2]) -> Result<AmazonS3Builder> {
    let name = named.unwrap_or("default");
    let [credentials, config] = files.each_ref().map(|text| Ini::load_from_str(text).unwrap_or_default());
    let sections = [credentials.section(Some(name)), section_of_config(&config, name)];
    let found: Vec<&Properties> = sections.into_iter().flatten().collect();
    if found.is_empty() {
        return if named.is_some() { Err(no_profile(name)) } else { Ok(builder) };
    }
    let setting_value = |setting: &str| found.iter().find_map(|section| section.get(setting));
    let is_set = |key: &AmazonS3ConfigKey| builder.get_config_value(key).is_some();
    let has_credentials = is_set(&AmazonS3ConfigKey::AccessKeyId)
        || is_set(&AmazonS3ConfigKey::WebIdentityTokenFile)
        || is_set(&AmazonS3ConfigKey::ContainerCredentialsRelativeUri)
        || is_set(&AmazonS3ConfigKey::ContainerCredentialsFullUri);
    let profile_has_credentials =
        setting_value("aws_access_key_id").is_some() || setting_value("web_identity_token_file").is_some();
    if !has_credentials
        && !profile_has_credentials
        && UNSUPPORTED_SOURCES.iter().any(|source| setting_value(source).is_some())
    {
        return Err(unsupported_source(name));
    }
    let wanted = SUPPORTED.into_iter().filter(|(setting, key)| {
        let open = if CREDENTIALS.contains(setting) { !has_credentials } else { !is_set(key) };
        // `role_arn` belongs to a web identity. Without one, the role is assumed with another profile's keys, which is
        // not supported.
        open && (*setting != "role_arn" || setting_value("web_identity_token_file").is_some())
    });
    let wanted: Vec<_> = wanted.filter_map(|(setting, key)| Some((key, setting_value(setting)?.to_owned()))).collect();
    Ok(wanted.into_iter().fold(builder, |builder, (key, value)| builder.with_config(key, value)))
}

/// Returns the profile's section of `~/.aws/config`. All sections there except `default` have the prefix `profile `.
fn section_of_config<'i>(config: &'i Ini, name: &str) -> Option<&'i Properties> {
    config.section(Some(format!("profile {name}"))).or_else(|| config.section(Some(name)))
}

fn no_profile(name: &str) -> Error {
    Error::settings(format!("AWS_PROFILE: neither ~/.aws/credentials nor ~/.aws/config has a profile {name:?}"))
        .with_hint("check the name, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
}

fn unsupported_source(name: &str) -> Error {
    Error::settings(format!("the AWS profile {name:?} uses a credential source that clerk-lake does not support"))
        .with_hint(format!(
            "export the credentials first: eval \"$(aws configure export-credentials --profile {name} --format env)\""
        ))
}

#[expect(clippy::disallowed_methods, reason = "these are AWS variables, like those that object_store reads")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS_FILE: &str = "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\n\
        [work]\naws_access_key_id=WORK\naws_secret_access_key=t\naws_session_token=u\n";
    const CONFIG_FILE: &str = "[default]\nregion = eu-west-1\n[profile work]\nregion=eu-central-1\n\
        endpoint_url = http://localhost:9000\n[profile person]\nsso_session = office\n\
        [profile robot]\nweb_identity_token_file = /token\nrole_arn = arn:aws:iam::1:role/robot\n";

    fn with(builder: AmazonS3Builder, named: Option<&str>) -> Result<AmazonS3Builder> {
        apply(builder, named, &[CREDENTIALS_FILE.to_owned(), CONFIG_FILE.to_owned()])
    }

    fn value(builder: &AmazonS3Builder, key: AmazonS3ConfigKey) -> Option<String> {
        builder.get_config_value(&key)
    }

    #[test]
    fn the_named_profile_is_used_or_else_the_default_one() {
        let default = with(AmazonS3Builder::new(), None).unwrap();
        assert_eq!(value(&default, AmazonS3ConfigKey::AccessKeyId).as_deref(), Some("DEFAULT"));
        assert_eq!(value(&default, AmazonS3ConfigKey::Region).as_deref(), Some("eu-west-1"));
        let work = with(AmazonS3Builder::new(), Some("work")).unwrap();
        assert_eq!(value(&work, AmazonS3ConfigKey::AccessKeyId).as_deref(), Some("WORK"));
        assert_eq!(value(&work, AmazonS3ConfigKey::Token).as_deref(), Some("u"));
        assert_eq!(value(&work, AmazonS3ConfigKey::Endpoint).as_deref(), Some("http://localhost:9000"));
        let robot = with(AmazonS3Builder::new(), Some("robot")).unwrap();
        assert_eq!(value(&robot, AmazonS3ConfigKey::RoleArn).as_deref(), Some("arn:aws:iam::1:role/robot"));
    }

    #[test]
    fn the_environment_takes_precedence_and_its_keys_are_never_mixed_with_those_of_a_profile() {
        let builder = AmazonS3Builder::new().with_access_key_id("ENV").with_secret_access_key("e");
        let work = with(builder, Some("work")).unwrap();
        assert_eq!(value(&work, AmazonS3ConfigKey::AccessKeyId).as_deref(), Some("ENV"));
        assert_eq!(value(&work, AmazonS3ConfigKey::SecretAccessKey).as_deref(), Some("e"));
        assert_eq!(value(&work, AmazonS3ConfigKey::Token), None);
        assert_eq!(value(&work, AmazonS3ConfigKey::Region).as_deref(), Some("eu-central-1"));
    }

    #[test]
    fn a_missing_or_unsupported_profile_is_an_error() {
        assert!(with(AmazonS3Builder::new(), Some("none")).unwrap_err().to_string().contains("\"none\""));
        assert!(with(AmazonS3Builder::new(), Some("person")).unwrap_err().to_string().contains("\"person\""));
        assert!(apply(AmazonS3Builder::new(), None, &[String::new(), "]not ini".to_owned()]).is_ok());
    }
}
