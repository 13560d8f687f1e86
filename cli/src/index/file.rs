// SPDX-License-Identifier: GPL-3.0-or-later
//! The file of an index: what was proved of the hosts in one tree `pservers`.
//!
//! A header, a table of hosts, the loads of groups, and blocks of claims in order.
//! Every part has its SHA-256 in a part before it, so that only what is needed is read, and nothing
//! that was damaged is taken.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use domus_model::files::Digest;
use domus_model::vouch::{ClaimId, Load};
use domus_repo::TreeId;
use sha2::{Digest as _, Sha256};

/// What files of this format begin with.
const MAGIC: &[u8; 16] = b"domus index\0\0\0\0\x01";

/// Bytes of a header: magic, program, shared documents, two trees, three numbers, and the digests
/// of the tables and of all that.
const HEADER: usize = 16 + 32 + 32 + 20 + 20 + 3 * 8 + 32 + 32;

/// Bytes of a claim: what is claimed, and which host's it is.
const CLAIM: usize = ClaimId::LENGTH + 4;

/// Claims of a block: as many as a page holds.
const BLOCK: usize = 4096 / CLAIM;

/// Bytes that the table of blocks has for each: the first claim in it, and its SHA-256.
const BLOCK_ROW: usize = ClaimId::LENGTH + 32;

/// What stands for the number of domUs of a host that nobody vouches for.
const UNKNOWN: u32 = u32::MAX;

/// What the facts in an index were found by and in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// SHA-256 of the program.
    pub(crate) program: Digest,
    /// SHA-256 of the documents that all hosts share.
    pub(crate) shared: Digest,
}

/// What is in an index, but the claims.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tables {
    /// What git calls `pservers`, all zero if there is none.
    pub(crate) pservers: TreeId,
    /// What git calls `vservers`, all zero if there is none.
    pub(crate) vservers: TreeId,
    /// For each directory of `pservers` in order of names, how many domUs it has, if it is vouched
    /// for.
    pub(crate) hosts: Vec<Option<u32>>,
    /// What they carry, as JSON; nothing if no group promises to survive a loss.
    pub(crate) loads: Vec<u8>,
}

impl Tables {
    /// What the hosts carry, each with its place in the table.
    pub(crate) fn loads(&self) -> Result<Vec<(usize, Load)>> {
        if self.loads.is_empty() {
            return Ok(Vec::new());
        }
        let loads: Vec<(usize, Load)> = serde_json::from_slice(&self.loads)?;
        let is_known = |(host, _): &(usize, Load)| *host < self.hosts.len();
        ensure!(loads.iter().all(is_known), "a host is missing");
        Ok(loads)
    }
}

/// A claim, and the place of its host in the table.
pub(crate) type Claim = (ClaimId, u32);

/// An open index.
#[derive(Debug)]
pub(crate) struct IndexFile {
    file: File,
    pub(crate) tables: Tables,
    blocks: Vec<Block>,
    /// Where the first block is.
    start: u64,
    claims: usize,
}

#[derive(Debug)]
struct Block {
    first: ClaimId,
    digest: Digest,
}

impl IndexFile {
    /// Opens the index at `path`, if it is one, whole, and of this key.
    pub(crate) fn open(path: &Path, key: &Key) -> Result<Self> {
        let file = File::open(path)?;
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0)?;
        let (said, digest) = header.split_at(HEADER - 32);
        let mut fields = Fields(said);
        let is_ours = digest == sha256(said)
            && fields.take(16)? == MAGIC
            && fields.take(32)? == key.program
            && fields.take(32)? == key.shared;
        ensure!(is_ours, "it is damaged, or another program's");
        let (pservers, vservers) = (fields.array()?, fields.array()?);
        let [hosts, claims, loads] = [fields.number()?, fields.number()?, fields.number()?];
        let blocks = claims.div_ceil(BLOCK);
        let length = hosts * 4 + blocks * BLOCK_ROW + loads;
        let whole = (HEADER + length + claims * CLAIM) as u64;
        ensure!(file.metadata()?.len() == whole, "it is cut off");
        let mut tables = vec![0; length];
        file.read_exact_at(&mut tables, HEADER as u64)?;
        ensure!(fields.take(32)? == sha256(&tables), "it is damaged");
        let mut fields = Fields(&tables);
        let of_hosts = fields.take(hosts * 4)?.as_chunks().0.iter();
        let of_hosts = of_hosts.map(|domus| Some(u32::from_le_bytes(*domus)));
        let of_hosts = of_hosts.map(|domus| domus.filter(|domus| *domus != UNKNOWN));
        let hosts = of_hosts.collect();
        let of_blocks = (0..blocks).map(|_| {
            let first = ClaimId::from_bytes(fields.array()?);
            let digest = fields.array()?;
            Ok(Block { first, digest })
        });
        let blocks = of_blocks.collect::<Result<_>>()?;
        Ok(Self {
            file,
            tables: Tables {
                pservers,
                vservers,
                hosts,
                loads: fields.0.to_vec(),
            },
            blocks,
            start: (HEADER + length) as u64,
            claims,
        })
    }

    /// All claims, in order.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Result<Claim>> {
        (0..self.blocks.len()).flat_map(|index| match self.block(index) {
            Ok(claims) => claims.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    }

    /// Which hosts have these claims, which are in order: the claims found, each with its host.
    pub(crate) fn find(&self, wanted: &[ClaimId]) -> Result<Vec<Claim>> {
        let mut found = Vec::new();
        let mut read: Option<(usize, Vec<Claim>)> = None;
        for id in wanted {
            // A claim is there once, so it is in the last block that begins with it or before it.
            let after = self.blocks.partition_point(|block| block.first <= *id);
            let Some(index) = after.checked_sub(1) else {
                continue;
            };
            let claims = match read.take() {
                Some((known, claims)) if known == index => claims,
                _ => self.block(index)?,
            };
            if let Ok(at) = claims.binary_search_by_key(id, |claim| claim.0) {
                found.push(claims[at]);
            }
            read = Some((index, claims));
        }
        Ok(found)
    }

    fn block(&self, index: usize) -> Result<Vec<Claim>> {
        let before = index * BLOCK;
        let mut bytes = vec![0; (self.claims - before).min(BLOCK) * CLAIM];
        let at = self.start + (before * CLAIM) as u64;
        self.file.read_exact_at(&mut bytes, at)?;
        ensure!(sha256(&bytes) == self.blocks[index].digest, "it is damaged");
        let claims = bytes.chunks_exact(CLAIM).map(|claim| {
            let mut fields = Fields(claim);
            let id = ClaimId::from_bytes(fields.array()?);
            let host = u32::from_le_bytes(fields.array()?);
            let is_known = self.tables.hosts.get(host as usize);
            is_known.map(|_| (id, host)).context("a host is missing")
        });
        claims.collect()
    }
}

/// Writes an index; the claims are in order and each there once.
pub(crate) fn write(
    to: &mut impl Write,
    key: &Key,
    tables: &Tables,
    claims: &[Claim],
) -> io::Result<()> {
    let mut blocks = Vec::with_capacity(claims.len() * CLAIM);
    let mut rows = Vec::new();
    for of_block in claims.chunks(BLOCK) {
        let start = blocks.len();
        for (id, host) in of_block {
            blocks.extend_from_slice(&id.to_bytes());
            blocks.extend_from_slice(&host.to_le_bytes());
        }
        rows.extend_from_slice(&of_block[0].0.to_bytes());
        rows.extend_from_slice(&sha256(&blocks[start..]));
    }
    let hosts = tables.hosts.iter();
    let mut body: Vec<u8> = hosts
        .flat_map(|domus| domus.unwrap_or(UNKNOWN).to_le_bytes())
        .collect();
    body.extend_from_slice(&rows);
    body.extend_from_slice(&tables.loads);
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&key.program);
    header.extend_from_slice(&key.shared);
    header.extend_from_slice(&tables.pservers);
    header.extend_from_slice(&tables.vservers);
    for number in [tables.hosts.len(), claims.len(), tables.loads.len()] {
        header.extend_from_slice(&(number as u64).to_le_bytes());
    }
    header.extend_from_slice(&sha256(&body));
    let digest = sha256(&header);
    header.extend_from_slice(&digest);
    to.write_all(&header)?;
    to.write_all(&body)?;
    to.write_all(&blocks)
}

fn sha256(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Bytes that are read from the front.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).context("it is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().context("it is cut off")?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A number that counts what is in a file: such that sums of a few do not overflow.
    fn number(&mut self) -> Result<usize> {
        let number = u64::from_le_bytes(self.array()?);
        Ok(u32::try_from(number)? as usize)
    }
}
