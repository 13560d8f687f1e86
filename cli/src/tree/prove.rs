// SPDX-License-Identifier: GPL-3.0-or-later
//! The proof of a fleet: by several threads, never in memory as a whole, and with the index of
//! claims only of what changed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, anyhow, ensure};
use domus_model::load::{Frame, Moved, Proof, Scope};
use domus_repo::{CommitDocuments, Repo};

use super::{Proved, Reader, Tree};
use crate::index::{Index, Known, Renewal};
use crate::opened;

/// How many hosts a thread takes at a time: neighbours, as git packs them close to each other.
const SHARE: usize = 64;

/// A proof of all hosts.
struct Whole<'f> {
    proof: Proof<'f>,
    /// The directories in `vservers/` of which it is to prove that a domU has them.
    vservers: Vec<String>,
    /// What it leaves for the next.
    renewal: Option<Renewal>,
}

impl Tree {
    /// Proves the fleet.
    ///
    /// # Errors
    /// Its documents cannot be read.
    pub(crate) fn prove(&self) -> Result<Proved> {
        let reader = self.reader()?;
        let shared = reader.shared()?;
        let frame = Frame::read(&shared);
        let before = self.before().map(|before| before.reader()).transpose()?;
        let before = before.as_ref();
        let index = reader.commit().and_then(|it| Index::of(it, &shared));
        let whole = match index {
            Some(index) => reader.prove_with(&index, &frame, before)?,
            None => reader.prove_all(&frame)?,
        };
        let moved = before.map_or(Ok(Vec::new()), |before| reader.moved(before))?;
        let (vservers, moved) = (&whole.vservers, &moved);
        let (diagnostics, counts) = thread::scope(|scope| {
            let renewal = whole.renewal.as_ref();
            renewal.map(|renewal| scope.spawn(|| renewal.write()));
            whole.proof.finish(Scope::Fleet { vservers, moved })
        });
        let has_errors = opened::has_errors(&diagnostics);
        Ok(Proved {
            fleet: frame.fleet().filter(|_| !has_errors),
            files: reader.concerned(shared.clone(), &diagnostics)?,
            diagnostics,
            counts,
        })
    }

    /// What this one is compared with: the last commit, or the one before it; `None` if git has
    /// nothing.
    fn before(&self) -> Option<Self> {
        let (repo, id) = match self {
            Self::Work(root) => {
                let repo = Repo::open(root).ok()?;
                let id = repo.commit("HEAD").ok()?.id;
                (repo, id)
            }
            Self::Commit { repo, id } => {
                let repo = Repo::discover(repo).ok()?;
                let id = repo.parent(id).ok()??;
                (repo, id)
            }
        };
        let repo = repo.path().to_owned();
        Some(Self::Commit { repo, id })
    }
}

impl Reader {
    fn commit(&self) -> Option<&CommitDocuments> {
        match self {
            Self::Work(_) => None,
            Self::Commit(commit) => Some(commit),
        }
    }

    /// Proves what the index does not know, and leaves what was found out in it. Where the index is
    /// none, or of no use, all is proved.
    fn prove_with<'f>(
        &self,
        index: &Index,
        frame: &'f Frame<'f>,
        before: Option<&Self>,
    ) -> Result<Whole<'f>> {
        let before = before.and_then(Self::commit);
        if let Some(commit) = self.commit()
            && let Ok(mut known) = index.read(commit, before)
            && let Ok(whole) = self.prove_rest(index, &mut known, commit, frame)
        {
            return Ok(whole);
        }
        let whole = self.prove_all(frame)?;
        let commit = self.commit();
        let renewal = commit.and_then(|commit| index.renewal(commit, None, &whole.proof));
        Ok(Whole { renewal, ..whole })
    }

    /// The domUs that are on another host than they were: before the commit, or in the last one.
    fn moved(&self, before: &Self) -> Result<Vec<Moved>> {
        let (mut gone, mut come) = (BTreeMap::new(), BTreeMap::new());
        for host in self.changed(before)? {
            let [was, is] = [before.domus(&host)?, self.domus(&host)?];
            gone.extend(was.difference(&is).map(|domu| (domu.clone(), host.clone())));
            come.extend(is.difference(&was).map(|domu| (domu.clone(), host.clone())));
        }
        let mut moved = Vec::new();
        for (domu, from) in gone {
            if let Some(to) = come.remove(&domu) {
                moved.push(Moved {
                    volumes: before.volumes(&from, &domu)?,
                    from,
                    to,
                    domu,
                });
            }
        }
        Ok(moved)
    }

    /// Proves the hosts that the index does not know, and that nobody else has what they claim.
    fn prove_rest<'f>(
        &self,
        index: &Index,
        known: &mut Known,
        commit: &CommitDocuments,
        frame: &'f Frame<'f>,
    ) -> Result<Whole<'f>> {
        let vservers = self.vservers()?;
        let mut proof = self.prove_hosts(frame, known.unknown())?;
        // Those that are known claim nothing twice among themselves: once is enough.
        let disputed = known.give_up(proof.claimed(), commit.hosts()?)?;
        proof.join(self.prove_hosts(frame, &disputed)?);
        // A domU that may run on other hosts is proved beside these, whoever knows them.
        ensure!(!proof.roams(), "all hosts are needed");
        let renewal = index.renewal(commit, Some(known), &proof);
        known.add_to(&mut proof)?;
        Ok(Whole {
            proof,
            vservers: known.without_domu(vservers)?,
            renewal,
        })
    }

    /// Proves all hosts.
    fn prove_all<'f>(&self, frame: &'f Frame<'f>) -> Result<Whole<'f>> {
        Ok(Whole {
            vservers: self.vservers()?,
            proof: self.prove_hosts(frame, &self.hosts()?)?,
            renewal: None,
        })
    }

    /// Proves these hosts, each core its part. `vservers` is listed before, or each domU's directory
    /// is looked for from the commit down.
    fn prove_hosts<'f>(&self, frame: &'f Frame<'f>, hosts: &[String]) -> Result<Proof<'f>> {
        let next = AtomicUsize::new(0);
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(hosts.len().div_ceil(SHARE)).max(1);
        let readers = (1..threads).map(|_| self.again());
        let readers = readers.collect::<Result<Vec<Self>>>()?;
        let proofs = thread::scope(|scope| {
            let next = &next;
            let spawn = |reader: Self| scope.spawn(move || reader.prove_shares(frame, hosts, next));
            let others: Vec<_> = readers.into_iter().map(spawn).collect();
            let mut proofs = vec![self.prove_shares(frame, hosts, next)];
            for other in others {
                let proof = other.join();
                proofs.push(proof.unwrap_or_else(|_| Err(anyhow!("a thread of the proof died"))));
            }
            proofs
        });
        let mut proofs = proofs.into_iter();
        let mut whole = proofs.next().unwrap_or_else(|| Ok(Proof::new(frame)))?;
        for proof in proofs {
            whole.join(proof?);
        }
        Ok(whole)
    }

    /// One thread's part of the proof: takes shares of the hosts until all are taken.
    fn prove_shares<'f>(
        &self,
        frame: &'f Frame<'f>,
        hosts: &[String],
        next: &AtomicUsize,
    ) -> Result<Proof<'f>> {
        let mut proof = Proof::new(frame);
        loop {
            let start = next.fetch_add(SHARE, Ordering::Relaxed);
            let Some(rest) = hosts.get(start..).filter(|rest| !rest.is_empty()) else {
                return Ok(proof);
            };
            for host in &rest[..rest.len().min(SHARE)] {
                let documents = self.host(host)?;
                if documents.is_empty() {
                    continue;
                }
                proof.add(host, &documents, &self.vservers_of(&documents)?);
            }
        }
    }

    /// The hosts that may not be as they are in another tree: where git knows, those that are not.
    fn changed(&self, other: &Self) -> Result<Vec<String>> {
        if let (Self::Commit(own), Self::Commit(other)) = (self, other) {
            let changed = own.hosts()?.changed(other.hosts()?);
            return Ok(changed.map(str::to_owned).collect());
        }
        let mut hosts = self.hosts()?;
        hosts.extend(other.hosts()?);
        hosts.sort();
        hosts.dedup();
        Ok(hosts)
    }
}
