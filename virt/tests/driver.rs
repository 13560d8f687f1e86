// SPDX-License-Identifier: GPL-3.0-or-later
//! The same calls against libvirt's own test driver, which runs inside this process.

use domus_virt::{Hypervisor, Running};

/// A host in memory that has one domain, `test`, running.
const TEST: &str = "test:///default";

fn domain(name: &str) -> String {
    format!(
        "<domain type='test'><name>{name}</name><memory unit='MiB'>64</memory>\
         <os><type>hvm</type></os></domain>"
    )
}

fn names(hypervisor: &Hypervisor) -> Vec<String> {
    hypervisor
        .domains()
        .expect("list")
        .into_iter()
        .map(|domain| domain.name)
        .collect()
}

/// One test: all connections to the default host of the test driver share it.
#[test]
fn domains_come_and_go() {
    let hypervisor = Hypervisor::open(TEST).expect("open");
    assert_eq!(
        hypervisor.domains().expect("list"),
        [Running {
            name: "test".into(),
            id: 1
        }]
    );

    let id = hypervisor.create(&domain("web")).expect("create");
    assert!(id > 1);
    assert_eq!(names(&hypervisor), ["test", "web"]);
    let again = hypervisor.create(&domain("web")).expect_err("exists");
    let again = format!("{again:#}");
    assert!(
        again.starts_with("creating the domain: libvirt: ") && again.contains("web"),
        "{again}"
    );

    assert!(hypervisor.knows("web").expect("answer"));
    hypervisor.destroy("web").expect("destroy");
    assert_eq!(names(&hypervisor), ["test"]);
    assert!(!hypervisor.knows("web").expect("answer"));
    let gone = format!("{:#}", hypervisor.destroy("web").expect_err("gone"));
    assert_eq!(gone, "destroying web: no such domain runs");

    hypervisor.create(&domain("db")).expect("create");
    hypervisor.shutdown("db").expect("shutdown");
    assert_eq!(names(&hypervisor), ["test"]);

    std::thread::scope(|scope| {
        for n in 0..8 {
            let hypervisor = &hypervisor;
            scope.spawn(move || {
                hypervisor
                    .create(&domain(&format!("many{n}")))
                    .expect("create")
            });
        }
    });
    assert_eq!(names(&hypervisor).len(), 9);
}

#[test]
fn errors_carry_the_words_of_libvirt() {
    let nowhere = Hypervisor::open("test:///no/such/file.xml").expect_err("nowhere");
    let nowhere = format!("{nowhere:#}");
    assert!(nowhere.starts_with("connecting to libvirt at test:///no/such/file.xml: libvirt: "));
    assert!(nowhere.contains("/no/such/file.xml"), "{nowhere}");

    let hypervisor = Hypervisor::open(TEST).expect("open");
    let broken = format!("{:#}", hypervisor.create("<domain").expect_err("broken"));
    assert!(
        broken.starts_with("creating the domain: libvirt: "),
        "{broken}"
    );
    assert!(hypervisor.create("<domain>\0").is_err());
    let no_xen = format!("{:#}", hypervisor.dom0_memory().expect_err("no dom0"));
    assert!(
        no_xen.starts_with("asking Xen for dom0's memory: libvirt: "),
        "{no_xen}"
    );
}
