// SPDX-License-Identifier: GPL-3.0-or-later
//! `pull` over https, from a real server on loopback whose certificate is known or is not.

mod common;
mod fleet;
mod server;

use std::fs;

use common::Ran;
use fleet::Fleet;
use server::Server;

#[test]
fn a_server_is_known_by_who_signed_its_certificate() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let server = Server::start(fleet.host.root());
    let remote = |path: &str| server.serve(&fleet, path);
    let pull = |trusted: &str| -> Ran {
        let mut pull = fleet.host.command(&["pull"]);
        pull.env("SSL_CERT_FILE", fleet.host.at(trusted));
        Ran::from(pull.output().expect("run"))
    };
    let first = fleet.running();
    let next = fleet.web("128MiB");
    remote("");
    fleet.host.write("nobody.pem", "");
    let refused = pull("nobody.pem");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("certificate"), "{refused:?}");
    // A server that sends hosts elsewhere is not the one that the fleet names.
    remote("/elsewhere");
    let refused = pull("tls.pem");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("redirect"), "{refused:?}");
    assert_eq!(fleet.running(), first);
    remote("");
    let log = || fs::read_to_string(fleet.host.at("https.log"));
    let pulled = pull("tls.pem");
    assert_eq!(pulled.code, 0, "{pulled:?} {:?}", log());
    assert_eq!(fleet.running(), next);
}
