//! The network: certificates, proxies, and servers that cannot be reached.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::errors::small;
use crate::support::connections::{Gateway, certificate_file};
use crate::support::s3::{BUCKET, S3};
use crate::support::stub::nowhere;
use crate::support::{World, output, program, stderr, stdout};

/// The arguments of a sync of the users.
const USERS: [&str; 3] = ["sync", "--resource", "users"];

/// An unreachable server must be reported within this time.
const SOON: Duration = Duration::from_secs(10);

async fn succeeds(command: Command) -> Output {
    let shown = format!("{command:?}");
    let done = output(command).await;
    assert_eq!(done.status.code(), Some(0), "{shown}: {}", stderr(&done));
    done
}

/// Runs `command`, which must exit with `code` and print all of `messages` to stderr. Returns what it printed.
async fn fails(command: Command, code: i32, messages: &[&str]) -> String {
    let shown = format!("{command:?}");
    let failed = output(command).await;
    let printed = stderr(&failed);
    assert_eq!(failed.status.code(), Some(code), "{shown}: {printed}");
    for text in messages {
        assert!(printed.contains(text), "{shown} does not print {text:?}: {printed}");
    }
    printed
}

fn sync_from(world: &World, url: &str) -> Command {
    let mut command = world.command(&USERS);
    command.env("CLERK_LAKE_API_URL", url).env("CLERK_LAKE_RETRY_BUDGET", "3");
    command
}

/// Returns a command for a lake in `s3`, whose endpoint is `endpoint`.
fn with_bucket(world: &World, s3: &S3, endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command.envs(s3.environment()).env("AWS_ENDPOINT_URL", endpoint);
    command.env("CLERK_LAKE_LAKE", format!("s3://{BUCKET}/lake"));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ca_certificates_this_machine_is_reached_and_https_says_what_is_missing() {
    let world = small().await;
    let none = [("SSL_CERT_FILE", "/nowhere/ca.pem"), ("SSL_CERT_DIR", "/nowhere")];
    let mut sync = world.command(&USERS);
    sync.envs(none);
    succeeds(sync).await;
    let mut demo = program(world.directory.path());
    demo.args(["demo", "--users", "20", "--days", "2"]).envs(none);
    succeeds(demo).await;
    for url in ["https://localhost:9", "https://clerk.invalid"] {
        let mut sync = sync_from(&world, url);
        sync.envs(none);
        fails(sync, 2, &["no CA certificates", "  help: ", "ca-certificates", "SSL_CERT_FILE"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_ca_can_be_named_for_clerk_and_for_s3() {
    let (world, s3) = (small().await, S3::start().await);
    let clerk = Gateway::tls("server", &world.simulator.url()).await;
    let store = Gateway::tls("server", &s3.url()).await;
    let (clerk, store) = (format!("https://localhost:{}", clerk.port()), format!("https://localhost:{}", store.port()));
    for variable in ["SSL_CERT_FILE", "AWS_CA_BUNDLE"] {
        let mut sync = with_bucket(&world, &s3, &store, &USERS);
        sync.env("CLERK_LAKE_API_URL", &clerk).env(variable, certificate_file("ca.pem"));
        succeeds(sync).await;
        assert!(s3.keys().iter().any(|key| key.starts_with("lake/clerk_user/")), "{variable}: {:?}", s3.keys());
        s3.clear();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_certificate_is_reported_at_once_with_the_variable_that_helps() {
    let (world, s3) = (small().await, S3::start().await);
    for (certificate, ca, message) in [
        ("server", None, "signed by an unknown CA"),
        ("self-signed", None, "self-signed"),
        ("self-signed", Some("self-signed.pem"), "self-signed"),
    ] {
        let clerk = Gateway::tls(certificate, &world.simulator.url()).await;
        let store = Gateway::tls(certificate, &s3.url()).await;
        let clerk = format!("localhost:{}", clerk.port());
        let store = format!("localhost:{}", store.port());
        let to_clerk = sync_from(&world, &format!("https://{clerk}"));
        let to_store = with_bucket(&world, &s3, &format!("https://{store}"), &["status"]);
        for (mut command, host) in [(to_clerk, clerk.as_str()), (to_store, store.as_str())] {
            // A file with some certificate, because this machine may have none.
            command.env("SSL_CERT_FILE", certificate_file(ca.unwrap_or("self-signed.pem")));
            if ca.is_none() && certificate == "self-signed" {
                command.env("SSL_CERT_FILE", certificate_file("ca.pem"));
            }
            let start = Instant::now();
            let printed = fails(command, 2, &[message, host, "  help: ", "SSL_CERT_FILE", "AWS_CA_BUNDLE"]).await;
            assert!(start.elapsed() < Duration::from_secs(5), "{certificate}: {:?}", start.elapsed());
            assert_eq!(printed.matches(message).count(), 1, "{printed}");
        }
    }
    let mut command = with_bucket(&world, &s3, "https://localhost:9", &["status"]);
    command.env("AWS_CA_BUNDLE", "/nowhere/ca.pem");
    fails(command, 2, &["AWS_CA_BUNDLE: /nowhere/ca.pem cannot be read", "PEM"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_leads_to_this_machine() {
    let (world, s3) = (small().await, S3::start().await);
    let closed = nowhere();
    let socks = closed.replace("http", "socks5h");
    let tls = Gateway::tls("server", &world.simulator.url()).await;
    for proxies in [
        vec![("HTTP_PROXY", &closed), ("HTTPS_PROXY", &closed)],
        vec![("http_proxy", &closed), ("https_proxy", &closed)],
        vec![("ALL_PROXY", &closed)],
        vec![("ALL_PROXY", &socks)],
    ] {
        let mut sync = with_bucket(&world, &s3, &s3.url(), &USERS);
        sync.envs(proxies.clone());
        succeeds(sync).await;
        let mut status = with_bucket(&world, &s3, &s3.url(), &["status"]);
        status.envs(proxies.clone());
        succeeds(status).await;
        let mut over_tls = sync_from(&world, &format!("https://127.0.0.1:{}", tls.port()));
        over_tls.envs(proxies).env("SSL_CERT_FILE", certificate_file("ca.pem"));
        succeeds(over_tls).await;
    }
    let mut from_a_role = with_bucket(&world, &s3, &s3.url(), &["status"]);
    from_a_role.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    from_a_role.env("AWS_METADATA_ENDPOINT", s3.url()).env("HTTP_PROXY", &closed);
    succeeds(from_a_role).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clerk_is_reached_through_a_socks_proxy() {
    let world = small().await;
    let tls = Gateway::tls("server", &world.simulator.url()).await;
    let socks = Gateway::socks(&format!("127.0.0.1:{}", tls.port())).await;
    let mut sync = sync_from(&world, "https://clerk.invalid");
    sync.env("SSL_CERT_FILE", certificate_file("ca.pem"));
    sync.env("HTTPS_PROXY", format!("socks5h://127.0.0.1:{}", socks.port()));
    succeeds(sync).await;
    assert!(socks.connections() > 0);
    let mut plain = sync_from(&world, "http://clerk.invalid");
    plain.env("HTTP_PROXY", format!("socks5h://127.0.0.1:{}", socks.port()));
    fails(plain, 2, &["would send the key unencrypted", "SOCKS"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socks_proxy_for_s3_is_refused() {
    let (world, s3) = (small().await, S3::start().await);
    for endpoint in ["http://s3.invalid", "https://s3.invalid"] {
        let mut status = with_bucket(&world, &s3, endpoint, &["status"]);
        status.env("ALL_PROXY", "socks5://name:password@127.0.0.1:9");
        let printed = fails(status, 2, &["ALL_PROXY names a SOCKS proxy", "  help: add s3.invalid to NO_PROXY"]).await;
        assert!(!printed.contains("password"), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_cannot_be_reached_is_named() {
    let world = small().await;
    let mut sync = sync_from(&world, "https://clerk.invalid");
    sync.env("SSL_CERT_FILE", certificate_file("ca.pem")).env("HTTPS_PROXY", nowhere());
    fails(sync, 4, &["cannot connect to clerk.invalid through the proxy in HTTPS_PROXY", "NO_PROXY"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_clerk_is_named_within_ten_seconds() {
    let world = small().await;
    let ca = certificate_file("ca.pem");
    // The TCP connection opens, but TLS does not.
    let silent = Gateway::silent().await;
    for url in [nowhere(), format!("https://localhost:{}", silent.port()), "https://clerk.invalid".to_owned()] {
        let start = Instant::now();
        let mut sync = world.command(&USERS);
        sync.env("CLERK_LAKE_API_URL", &url).env("SSL_CERT_FILE", &ca);
        let host = url.split_once("://").map(|(_, host)| host).expect("a host");
        let message = format!("cannot connect to {host}");
        fails(sync, 4, &[&message, "  help: check the network"]).await;
        assert!(start.elapsed() < SOON, "{url}: {:?}", start.elapsed());
        assert!(!world.path().exists(), "{url}: the lake was created");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_clerk_is_reported_while_the_sync_still_waits() {
    let world = small().await;
    let silent = Gateway::silent().await;
    let host = format!("127.0.0.1:{}", silent.port());
    let sign = format!("connecting to {host}: no response after 2 s");
    fails(sync_from(&world, &format!("http://{host}")), 4, &[&sign, &format!("no complete response from {host}")])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_store_is_named_within_ten_seconds_with_the_reason() {
    let (world, s3, silent) = (small().await, S3::start().await, Gateway::silent().await);
    let silent = format!("http://127.0.0.1:{}", silent.port());
    let closed = nowhere();
    for (endpoint, reason) in [(silent.as_str(), "did not answer within"), (&closed, "refused")] {
        for arguments in [&USERS[..], &["status"], &["query", "SELECT 1"], &["maintain"]] {
            let start = Instant::now();
            let command = with_bucket(&world, &s3, endpoint, arguments);
            let sign = format!("connecting to {endpoint}");
            let printed = fails(command, 4, &[endpoint, reason, "  help: ", "AWS_ENDPOINT_URL"]).await;
            // The retries of a refused connection may be over before the sign is due.
            let signs = printed.matches(&sign).count();
            assert!(signs == 1 || (signs == 0 && endpoint == closed), "{printed}");
            assert!(start.elapsed() < SOON, "{endpoint} {arguments:?}: {:?}", start.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_the_metadata_service_is_asked_only_if_that_is_allowed() {
    let (world, s3) = (small().await, S3::start().await);
    let silent = Gateway::silent().await;
    let closed = nowhere();
    let service = format!("http://127.0.0.1:{}", silent.port());
    for (endpoint, disabled) in [(&service, None), (&closed, None), (&service, Some("true"))] {
        let before = silent.connections();
        let mut status = with_bucket(&world, &s3, &s3.url(), &["status"]);
        status.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        status.env("AWS_METADATA_ENDPOINT", endpoint);
        if let Some(disabled) = disabled {
            status.env("AWS_EC2_METADATA_DISABLED", disabled);
        }
        let start = Instant::now();
        fails(status, 2, &["no S3 credentials were found", "  help: set AWS_ACCESS_KEY_ID"]).await;
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        assert!(disabled.is_none() || silent.connections() == before, "the metadata service was asked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_in_a_name_do_not_reach_the_terminal() {
    let world = World::with(|config| {
        config.users = 5;
        config.instance_id = "ins_\u{1b}[2Jevil\r\u{9b}".to_owned();
    })
    .await;
    succeeds(world.command(&USERS)).await;
    let is_clean = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
    let (odd_lake, odd_key) = (Some("a\u{1b}[31mlake"), Some("sk_live_\u{1b}x"));
    for (arguments, lake, key) in [
        (&["status"][..], None, None),
        (&["status"], odd_lake, None),
        (&USERS, odd_lake, None),
        (&USERS, None, odd_key),
    ] {
        let mut command = world.command(arguments);
        if let Some(lake) = lake {
            command.env("CLERK_LAKE_LAKE", lake);
        }
        if let Some(key) = key {
            command.env("CLERK_SECRET_KEY", key);
        }
        let done = output(command).await;
        let (out, err) = (stdout(&done), stderr(&done));
        assert!(is_clean(&out) && is_clean(&err), "{arguments:?}: {out:?} {err:?}");
        assert!(lake.is_some() || key.is_some() || out.contains(r"ins_\u001b[2Jevil\r"), "{out}");
    }
}
