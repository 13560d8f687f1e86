// SPDX-License-Identifier: GPL-3.0-or-later
//! Domains on this host that nobody declared: which there are, and what becomes of them. What is to be
//! done is `domus_model::reconcile`'s to say.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use domus_model::fleet::Strays;
use domus_model::names::Name;
use domus_model::reconcile::{Fate, Seen, Stray, strays};
use domus_model::status::short;
use domus_system::program::Program;
use serde::Serializer;

use crate::context::Context;
use crate::live;
use crate::notes::{Notes, one_line};
use crate::observe::{Domains, Observer};

/// Those among `domains`, by name.
pub(crate) fn find(context: &Context, observer: &mut Observer, domains: &Domains) -> Vec<Stray> {
    let (host, policy) = (&context.host, context.host.strays);
    let mut undeclared = |domains: &BTreeMap<String, u32>, known| -> Vec<Seen> {
        let declared = |name: &String| host.domus.contains_key(name.as_str());
        let others = domains.iter().filter(|(name, _)| !declared(name));
        let mut seen = |(name, id): (&String, &u32)| seen(context, observer, name, *id, known);
        others.map(&mut seen).collect()
    };
    let mut all = undeclared(&domains.running, true);
    all.extend(undeclared(&domains.unknown, false));
    let unsettled = match policy {
        Strays::Destroy if !all.is_empty() => unsettled(context),
        _ => None,
    };
    strays(
        &context.fleet,
        &host.domus,
        policy,
        unsettled.as_deref(),
        all,
    )
}

/// What is known of one. Only what is destroyed has to be asked about. `known`: to libvirt.
fn seen(context: &Context, observer: &mut Observer, name: &str, id: u32, known: bool) -> Seen {
    let asks = context.host.strays == Strays::Destroy;
    let uuid = match known {
        _ if !asks => None,
        true => observer
            .hypervisor()
            .and_then(|it| it.uuid(name))
            .ok()
            .flatten(),
        false => observer.uuid(id),
    };
    let record = name.parse::<Name>().ok();
    let record = record.map(|name| Notes::on(&context.paths, &name).record());
    Seen {
        name: name.to_owned(),
        id,
        uuid,
        was_started: record.is_some_and(|record| record.commit.is_some()),
    }
}

/// Why it is not certain now what is declared: the host is about to be another.
fn unsettled(context: &Context) -> Option<String> {
    if context
        .taken
        .as_ref()
        .is_some_and(|taken| !taken.left.is_empty())
    {
        let commit = short(&context.commit);
        return Some(format!(
            "not all is done of taking {commit}: `domus-dom0 apply`"
        ));
    }
    match live::booted_next(context) {
        Ok(None) => None,
        Ok(Some(next)) => {
            let next = short(&next);
            Some(format!(
                "the commit {next} waits, and may declare it: `domus-dom0 apply`"
            ))
        }
        Err(error) => Some(format!(
            "the next commit is not known: {}",
            one_line(&error)
        )),
    }
}

/// Destroys a stray, as if its power were cut.
///
/// # Errors
/// Xen refuses, or it has ended meanwhile.
pub(crate) fn destroy(observer: &mut Observer, domains: &Domains, stray: &Stray) -> Result<()> {
    let Stray { name, id, .. } = stray;
    let done = match domains.running.contains_key(name) {
        true => observer.hypervisor().and_then(|it| it.destroy(name)),
        false => Program::new("xl").args(["destroy", &id.to_string()]).run(),
    };
    done.with_context(|| format!("destroying {name}, domain {id}, which nobody declared"))
}

/// Their names alone, for JSON.
pub(crate) fn as_names<S: Serializer>(strays: &[Stray], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(strays.iter().map(|stray| &stray.name))
}

/// Lines that say what becomes of them; nothing if there are none.
pub(crate) fn lines(strays: &[Stray]) -> String {
    let mut by_fate: Vec<(String, Vec<&str>)> = Vec::new();
    for stray in strays {
        let fate = match &stray.fate {
            Fate::Left => "left alone".to_owned(),
            Fate::Spared(why) => format!("left alone: {why}"),
            Fate::Destroyed => "`domus-dom0 run` destroys what is nobody's".to_owned(),
        };
        match by_fate.iter_mut().find(|(other, _)| *other == fate) {
            Some((_, names)) => names.push(&stray.name),
            None => by_fate.push((fate, vec![&stray.name])),
        }
    }
    let line = |(fate, names): &(String, Vec<&str>)| match names.len() {
        1 => format!(
            "strays: {} runs here and nobody declared it; {fate}\n",
            names[0]
        ),
        _ => format!(
            "strays: {} run here and nobody declared them; {fate}\n",
            names.join(", ")
        ),
    };
    by_fate.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strays_are_named_in_a_sentence() {
        let stray = |name: &str, fate| Stray {
            name: name.to_owned(),
            id: 7,
            fate,
        };
        assert_eq!(lines(&[]), "");
        let two = lines(&[stray("x", Fate::Left), stray("y", Fate::Left)]);
        assert_eq!(
            two,
            "strays: x, y run here and nobody declared them; left alone\n"
        );
        let each = lines(&[
            stray("x", Fate::Destroyed),
            stray("y", Fate::Spared("it has the UUID of web".into())),
        ]);
        assert_eq!(
            each,
            "strays: x runs here and nobody declared it; `domus-dom0 run` destroys what is nobody's\n\
             strays: y runs here and nobody declared it; left alone: it has the UUID of web\n"
        );
    }
}
