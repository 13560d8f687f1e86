// SPDX-License-Identifier: GPL-3.0-or-later
//! What a domain was given, and what it is given while it runs. Not all of it outlasts a reboot of
//! its guest: libvirt starts it again from its XML, which says nothing of a cap, nor of a weight
//! that was changed since.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use domus_model::changes::Given;
use domus_model::tune::Tune;
use domus_model::units::{CpuSet, Size};
use virt::domain::{Domain, SchedulerInfo};
use virt::sys::{VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_VCPU_LIVE, VIR_DOMAIN_VCPU_MAXIMUM};

use crate::hypervisor::{Hypervisor, words};

impl Hypervisor {
    /// What the domain `name` was given, if it is there: as libvirt has it, which does not waver
    /// while a guest starts.
    ///
    /// # Errors
    /// libvirt does not say.
    pub fn given(&self, name: &str) -> Result<Option<Given>> {
        let doing = || format!("asking what {name} was given");
        let Some(domain) = self.look_up(name).with_context(doing)? else {
            return Ok(None);
        };
        let cpus = self.connect.get_node_info().map_err(words);
        let cpus = cpus.with_context(doing)?.cpus;
        given(&domain, cpus).with_context(doing).map(Some)
    }

    /// Gives the domain `name` something while it runs.
    ///
    /// # Errors
    /// It does not run, or Xen refuses.
    pub fn tune(&self, name: &str, tune: &Tune) -> Result<()> {
        let doing = || format!("giving {name} {tune}");
        let domain = self.find(name).with_context(doing)?;
        self.give(&domain, tune).with_context(doing)
    }

    fn give(&self, domain: &Domain, tune: &Tune) -> Result<()> {
        let done = match tune {
            Tune::Memory(memory) => domain
                .set_memory_flags(memory.bytes() >> 10, VIR_DOMAIN_AFFECT_LIVE)
                .map(drop),
            Tune::Vcpus(vcpus) => domain
                .set_vcpus_flags(*vcpus, VIR_DOMAIN_VCPU_LIVE)
                .map(drop),
            Tune::Pin(pin) => return self.pin(domain, pin.as_ref()),
            Tune::Share { weight, cap } => domain
                .set_scheduler_parameters(&SchedulerInfo {
                    weight: Some(*weight),
                    cap: Some(*cap),
                    ..SchedulerInfo::default()
                })
                .map(drop),
        };
        done.map_err(words)
    }

    /// Lets all virtual CPUs of a domain run on these of the host, or on all.
    fn pin(&self, domain: &Domain, pin: Option<&CpuSet>) -> Result<()> {
        let bits = match pin {
            Some(pin) => pin.bits(),
            None => {
                let cpus = self.connect.get_node_info().map_err(words)?.cpus;
                // Those beyond the last one are nobody's.
                vec![u8::MAX; (cpus as usize).div_ceil(8)]
            }
        };
        let vcpus = domain.get_vcpus_flags(VIR_DOMAIN_VCPU_LIVE);
        for vcpu in 0..vcpus.map_err(words)? {
            domain.pin_vcpu(vcpu, &bits).map_err(words)?;
        }
        Ok(())
    }
}

/// What a domain was given, on a host with so many CPUs.
fn given(domain: &Domain, cpus: u32) -> Result<Given> {
    let max_memory = Size::from_kib(domain.get_max_memory().map_err(words)?);
    let vcpus = domain.get_vcpus_flags(VIR_DOMAIN_VCPU_LIVE);
    let vcpus = vcpus.map_err(words)?;
    let most = domain.get_vcpus_flags(VIR_DOMAIN_VCPU_LIVE | VIR_DOMAIN_VCPU_MAXIMUM);
    let xml = domain.get_xml_desc(0).map_err(words)?;
    Ok(Given {
        memory: current_memory(&xml).unwrap_or(max_memory),
        max_memory,
        vcpus,
        max_vcpus: most.map_err(words)?,
        pin: pinned(&xml, vcpus).filter(|pin| !pin.is_all_of(cpus)),
        share: share(domain)?,
    })
}

/// Weight and cap, where Xen's credit schedulers share out its CPUs.
fn share(domain: &Domain) -> Result<Option<(u32, u32)>> {
    let (scheduler, _) = domain.get_scheduler_type().map_err(words)?;
    if !["credit", "credit2"].contains(&scheduler.as_str()) {
        return Ok(None);
    }
    let info = domain.get_scheduler_parameters().map_err(words)?;
    Ok(info.weight.zip(info.cap))
}

/// Where the balloon of a domain was told to go, by its XML as libvirt writes it.
fn current_memory(xml: &str) -> Option<Size> {
    let (_, rest) = xml.split_once("<currentMemory unit='KiB'>")?;
    let (kib, _) = rest.split_once('<')?;
    kib.parse().ok().map(Size::from_kib)
}

/// The CPUs that the first `vcpus` virtual ones of a domain are pinned to, by its XML as libvirt
/// writes it. Where they differ, those of each count.
fn pinned(xml: &str, vcpus: u32) -> Option<CpuSet> {
    let mut sets: BTreeSet<&str> = BTreeSet::new();
    for element in xml.split("<vcpupin vcpu='").skip(1) {
        let (vcpu, rest) = element.split_once("' cpuset='")?;
        let (cpus, _) = rest.split_once('\'')?;
        if vcpu.parse::<u32>().is_ok_and(|vcpu| vcpu < vcpus) {
            sets.insert(cpus);
        }
    }
    let all: Vec<&str> = sets.into_iter().collect();
    all.join(",").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libvirt 11.3 writes it.
    const XML: &str = "<domain type='xen' id='3'>
  <name>web</name>
  <memory unit='KiB'>524288</memory>
  <currentMemory unit='KiB'>262144</currentMemory>
  <vcpu placement='static' current='2'>4</vcpu>
  <cputune>
    <vcpupin vcpu='0' cpuset='2-3'/>
    <vcpupin vcpu='1' cpuset='2-3'/>
    <vcpupin vcpu='3' cpuset='0-7'/>
  </cputune>
</domain>";

    #[test]
    fn what_libvirt_writes_is_read() {
        assert_eq!(current_memory(XML), Some(Size::from_mib(256)));
        let set = |text: &str| text.parse().ok();
        assert_eq!(pinned(XML, 2), set("2-3"));
        assert_eq!(pinned(XML, 4), set("0-7"));
        let plain = "<domain><vcpu>1</vcpu></domain>";
        assert_eq!((current_memory(plain), pinned(plain, 1)), (None, None));
    }

    /// On libvirt's test driver, whose domain `test` has two virtual CPUs.
    #[test]
    fn a_domain_gets_what_it_is_given() {
        let hypervisor = Hypervisor::open("test:///default").expect("libvirt");
        let given = || {
            let given = hypervisor.given("test").expect("it says");
            given.expect("it runs")
        };
        let before = given();
        assert_eq!((before.vcpus, before.max_vcpus), (2, 2));
        assert_eq!((&before.pin, before.share), (&None, None));
        let pin: Option<CpuSet> = Some("2-3".parse().expect("a set"));
        let memory = Size::from_mib(512);
        for tune in [Tune::Memory(memory), Tune::Vcpus(1), Tune::Pin(pin.clone())] {
            hypervisor.tune("test", &tune).expect("given");
        }
        let after = given();
        assert_eq!((after.memory, after.vcpus, &after.pin), (memory, 1, &pin));
        assert_eq!(after.max_memory, before.max_memory);
        hypervisor.tune("test", &Tune::Pin(None)).expect("given");
        assert_eq!(given().pin, None);
        let error = hypervisor.tune("test", &Tune::Vcpus(3)).expect_err("more");
        let error = format!("{error:#}");
        assert!(
            error.starts_with("giving test 3 virtual CPUs: libvirt: "),
            "{error}"
        );
        assert!(hypervisor.given("other").expect("it says").is_none());
    }
}
